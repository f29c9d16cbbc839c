//! Stories of Swift's probe tests in which too few nodes are there, or hang: what is refused, what is served, and what
//! is never made up.

mod support;

use support::NODES;
use support::http::Answer;
use support::story::{ACCOUNT, Story};

async fn ask(story: &Story, method: &str, path: &str) -> Answer {
    story.user.call(method, path, &[], "").await
}

/// The node that is no primary of an object.
fn handoff(primaries: &[usize]) -> usize {
    let other = (1..=NODES).find(|number| !primaries.contains(number));
    other.expect("four nodes, three primaries")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_object_is_not_read_from_a_handoff_that_still_has_it() {
    let mut story = Story::begin().await;
    let placement = story.objects();
    let primaries = placement.primaries(ACCOUNT, "box", "object");
    story.cluster.kill_node(primaries[0]);
    story.put("/box/object", "body").await;
    let other = handoff(&primaries);
    let copy = placement.copy(other, ACCOUNT, "box", "object").await;
    assert_eq!(copy.status, 200, "the handoff took it");
    // The handoff hears nothing of what follows.
    story.cluster.kill_node(other);
    story.bring_back(primaries[0]);
    story.delete("/box/object").await;
    story.bring_back(other);
    for method in ["GET", "HEAD"] {
        assert_eq!(ask(&story, method, "/box/object").await.status, 404);
    }
    // Nor does it return when those that know of the deletion are away, but for one.
    for number in &primaries[1..] {
        story.cluster.kill_node(*number);
    }
    let status = ask(&story, "GET", "/box/object").await.status;
    assert!([404, 503].contains(&status), "{status}");
    for number in &primaries[1..] {
        story.bring_back(*number);
    }
    story.heal();
    story.assert_object("object", None).await;
    story.assert_listing("box", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_nodes_an_object_is_not_said_to_be_missing() {
    let mut story = Story::begin().await;
    story.put("/box/object", "body").await;
    let primaries = story.objects().primaries(ACCOUNT, "box", "object");
    for number in &primaries {
        story.cluster.kill_node(*number);
    }
    for (method, path) in [("GET", "/box/object"), ("HEAD", "/box/object")] {
        assert_eq!(ask(&story, method, path).await.status, 503, "{method} {path}");
    }
    let put = story.user.call("PUT", "/box/other", &[], "body").await;
    assert_eq!(put.status, 503, "{}", put.text());
    assert_eq!(ask(&story, "PUT", "/other").await.status, 503);
    for number in primaries {
        story.bring_back(number);
    }
    story.heal();
    assert_eq!(ask(&story, "GET", "/box/object").await.text(), "body");
    assert_eq!(ask(&story, "GET", "/box/other").await.status, 404);
    story.assert_listing("box", "object\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_whose_nodes_hang_is_changed_by_a_majority_or_not_at_all() {
    let story = Story::begin().await;
    story.put("/kept", "").await;
    story.put("/gone", "").await;
    story.heal();
    let primaries = story.container_primaries("gone");
    story.cluster.pause_node(primaries[0]);
    story.delete("/gone").await;
    assert_eq!(ask(&story, "GET", "/gone").await.status, 404);
    story.cluster.resume_node(primaries[0]);
    story.heal();

    let primaries = story.container_primaries("kept");
    for number in &primaries[..2] {
        story.cluster.pause_node(*number);
    }
    // It is answered, not waited for.
    let refused = ask(&story, "DELETE", "/kept").await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    for number in &primaries[..2] {
        story.cluster.resume_node(*number);
    }
    story.heal();
    let known = ask(&story, "GET", "").await.text();
    assert!(known.contains("box\n") && !known.contains("gone"), "{known}");
    // All replicas have come to agree, whichever way.
    let mut statuses = Vec::new();
    for number in primaries {
        let path = format!("{ACCOUNT}/kept");
        let answer = story.ask(number, "container", "HEAD", &path, &[], "").await;
        statuses.push(answer.status);
    }
    assert!(statuses.windows(2).all(|pair| pair[0] == pair[1]), "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_was_never_written_reads_like_an_empty_one() {
    let story = Story::begin().await;
    story.delete("/box").await;
    story.heal();
    let other = support::http::Swift::login(story.cluster.address(), "test2:tester2", "testing2").await;
    for format in ["", "?format=json", "?format=xml"] {
        let (made, never) = (
            ask(&story, "GET", format).await,
            other.call("GET", format, &[], "").await,
        );
        assert_eq!(made.status, never.status, "{format}");
        let shape = |answer: &Answer| answer.text().replace("AUTH_test2", "AUTH_test");
        assert_eq!(shape(&made), shape(&never), "{format}");
        for name in [
            "content-type",
            "x-account-container-count",
            "x-account-object-count",
            "x-account-bytes-used",
        ] {
            assert_eq!(made.header(name), never.header(name), "{format} {name}");
        }
    }
}
