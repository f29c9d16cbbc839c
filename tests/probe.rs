//! The stories of Swift's probe tests: nodes are stopped, something happens, they come back, one round runs, and every
//! copy on every device is looked at.

mod support;

use std::time::{SystemTime, UNIX_EPOCH};
use support::story::{ACCOUNT, Story};
use support::{NODES, wait_for};

fn seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_missed_creations_and_deletions_learns_of_them() {
    let mut story = Story::begin().await;
    story.put("/old", "").await;
    story.heal();
    let away = story.account_primaries()[0];
    story.cluster.kill_node(away);
    for container in ["new1", "new2"] {
        story.put(&format!("/{container}"), "").await;
    }
    story.delete("/old").await;
    let metadata = [("x-account-meta-colour", "blue")];
    assert_eq!(story.user.call("POST", "", &metadata, "").await.status, 204);
    story.bring_back(away);
    story.heal();
    for number in story.account_primaries() {
        let answer = story.ask(number, "account", "GET", ACCOUNT, &[], "").await;
        assert_eq!(answer.text(), "box\nnew1\nnew2\n", "on {number}");
        assert_eq!(answer.header("x-account-container-count"), "3");
        assert_eq!(answer.header("x-account-meta-colour"), "blue");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_missed_rows_metadata_and_its_end_learns_of_them() {
    let mut story = Story::begin().await;
    for object in ["a", "b", "c"] {
        story.put(&format!("/box/{object}"), object).await;
    }
    story.heal();
    let away = story.container_primaries("box")[0];
    story.cluster.kill_node(away);
    story.delete("/box/b").await;
    story.put("/box/d", "d").await;
    let metadata = [("x-container-meta-colour", "blue")];
    assert_eq!(story.user.call("POST", "/box", &metadata, "").await.status, 204);
    story.bring_back(away);
    story.heal();
    story.assert_listing("box", "a\nc\nd\n").await;
    for number in story.container_primaries("box") {
        let answer = story
            .ask(number, "container", "HEAD", &format!("{ACCOUNT}/box"), &[], "")
            .await;
        assert_eq!(answer.header("x-container-meta-colour"), "blue", "on {number}");
    }

    story.cluster.kill_node(away);
    for object in ["a", "c", "d"] {
        story.delete(&format!("/box/{object}")).await;
    }
    story.delete("/box").await;
    story.bring_back(away);
    story.heal();
    for number in story.container_primaries("box") {
        let answer = story
            .ask(number, "container", "HEAD", &format!("{ACCOUNT}/box"), &[], "")
            .await;
        assert_eq!(answer.status, 404, "on {number}");
    }
    assert_eq!(story.user.call("GET", "/box", &[], "").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_written_while_a_primary_was_away_goes_home() {
    let mut story = Story::begin().await;
    for (object, body) in [("small", vec![b's'; 10]), ("large", vec![b'l'; 200_000])] {
        let path = format!("/box/{object}");
        let placement = story.objects();
        let primaries = placement.primaries(ACCOUNT, "box", object);
        let handoff = (1..=NODES)
            .find(|number| !primaries.contains(number))
            .expect("four nodes");
        story.cluster.kill_node(primaries[0]);
        story.put(&path, body.clone()).await;
        let copy = placement.copy(handoff, ACCOUNT, "box", object).await;
        assert!(
            copy.status == 200 && copy.body == body,
            "the handoff has it meanwhile"
        );
        story.bring_back(primaries[0]);
        story.heal();
        story.assert_object(object, Some(&body)).await;

        story.cluster.kill_node(primaries[1]);
        story.delete(&path).await;
        story.bring_back(primaries[1]);
        assert_eq!(
            story.user.call("GET", &path, &[], "").await.status,
            404,
            "it does not return"
        );
        story.heal();
        story.assert_object(object, None).await;
    }
    story.assert_listing("box", "").await;
}

async fn versions(story: &Story) -> Vec<serde_json::Value> {
    let listed = story.user.call("GET", "/box?versions&format=json", &[], "").await;
    serde_json::from_slice(&listed.body).expect("a listing")
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_made_while_nodes_were_away_are_everywhere() {
    let mut story = Story::begin().await;
    // What was there before versions were, small and large.
    let bodies = [("small", vec![b's'; 10]), ("large", vec![b'l'; 200_000])];
    for (object, body) in &bodies {
        story.put(&format!("/box/{object}"), body.clone()).await;
    }
    let enabled = [("x-versions-enabled", "true")];
    assert_eq!(story.user.call("POST", "/box", &enabled, "").await.status, 204);
    let mut written: Vec<(String, Vec<u8>)> = Vec::new();
    for (object, first) in bodies {
        let primaries = story.objects().primaries(ACCOUNT, "box", object);
        let path = format!("/box/{object}");
        // Each write misses another replica of the object; the first one moves what had no version.
        for (turn, away) in primaries.iter().enumerate() {
            story.cluster.kill_node(*away);
            let mut body = first.clone();
            body[0] = b'1' + turn as u8;
            let answer = story.user.call("PUT", &path, &[], body.clone()).await;
            assert_eq!(answer.status, 201);
            let id = answer.header("x-object-version-id").to_owned();
            assert_eq!(story.user.call("GET", &path, &[], "").await.body, body);
            written.push((format!("{path}?version-id={id}"), body));
            story.bring_back(*away);
        }
    }
    story.heal();
    assert_eq!(versions(&story).await.len(), 8);
    // Whichever node is away, every version is read.
    for away in 1..=NODES {
        story.cluster.kill_node(away);
        for (path, body) in &written {
            let answer = story.user.call("GET", path, &[], "").await;
            assert!(
                answer.status == 200 && answer.body == *body,
                "{path} without {away}"
            );
        }
        story.bring_back(away);
    }
    story.heal();
    for (path, _) in &written {
        assert_eq!(
            story.user.call("DELETE", path, &[], "").await.status,
            204,
            "{path}"
        );
    }
    story.assert_listing("box", "").await;
    for row in versions(&story).await {
        let (name, id) = (row["name"].as_str().unwrap(), row["version_id"].as_str().unwrap());
        let path = format!("/box/{name}?version-id={id}");
        let length = if name == "small" { 10 } else { 200_000 };
        let kept = story.user.call("GET", &path, &[], "").await.body;
        assert_eq!((kept.len(), kept[0]), (length, name.as_bytes()[0]), "{path}");
        assert_eq!(
            story.user.call("DELETE", &path, &[], "").await.status,
            204,
            "{path}"
        );
    }
    assert_eq!(story.user.call("DELETE", "/box", &[], "").await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_reaches_a_container_server_that_was_away() {
    let mut story = Story::begin().await;
    let primaries = story.container_primaries("box");
    story.cluster.kill_node(primaries[1]);
    story.put("/box/object", "body").await;
    // The majority knows at once.
    assert_eq!(story.user.call("GET", "/box", &[], "").await.text(), "object\n");
    story.bring_back(primaries[1]);
    // The updater alone must do it: the row is owed to that very replica.
    wait_for("the row to be delivered", || {
        let (_, text) = story.cluster.martlet(&["pass", "--worker", "updater"]);
        text.matches("\"waiting\":0").count() == NODES
    });
    story.heal();
    story.assert_listing("box", "object\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_and_data_of_crossed_clocks_are_joined() {
    let story = Story::begin().await;
    let placement = story.objects();
    let primaries = placement.primaries(ACCOUNT, "box", "o");
    let path = format!("{ACCOUNT}/box/o");
    let base = seconds() - 1_000;
    let at = |offset: u64| format!("{}.00000", base + offset);
    let write = async |number: usize, method: &str, offset: u64, meta: (&str, &str), body: &str| {
        let at = at(offset);
        let headers = [("x-timestamp", at.as_str()), meta, ("content-type", "text/plain")];
        let headers = match method {
            "PUT" => &headers[..],
            _ => &headers[..2],
        };
        let answer = story.ask(number, "object", method, &path, headers, body).await;
        assert!(
            answer.status / 100 == 2,
            "{method} on {number}: {}",
            answer.status
        );
    };
    for number in &primaries {
        write(*number, "PUT", 1, ("x-object-meta-first", "1"), "first").await;
    }
    // The first hears of newer data only, the second of an older POST only, the third of the newest POST only.
    write(primaries[0], "PUT", 5, ("x-object-meta-second", "5"), "second").await;
    write(primaries[1], "POST", 3, ("x-object-meta-posted", "3"), "").await;
    write(primaries[2], "POST", 7, ("x-object-meta-posted", "7"), "").await;
    story.heal();
    story.assert_object("o", Some(b"second")).await;
    for number in &primaries {
        let answer = story.ask(*number, "object", "HEAD", &path, &[], "").await;
        assert_eq!(answer.header("x-backend-data-timestamp"), at(5), "on {number}");
        assert_eq!(answer.header("x-object-meta-posted"), "7", "on {number}");
        assert_eq!(
            answer.header("x-object-meta-second"),
            "",
            "a POST replaces it, on {number}"
        );
    }
    // A deletion between the data and the POST wins over both: there was nothing left to POST to.
    let deleted = at(6);
    let headers = [("x-timestamp", deleted.as_str())];
    assert_eq!(
        story
            .ask(primaries[1], "object", "DELETE", &path, &headers, "")
            .await
            .status,
        204
    );
    story.heal();
    story.assert_object("o", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_goes_and_what_was_taken_back_stays() {
    let mut story = Story::begin().await;
    let expiring = async |path: &str| {
        let headers = [("x-delete-after", "3")];
        let answer = story.user.call("PUT", path, &headers, "body").await;
        assert_eq!(answer.status, 201);
    };
    expiring("/box/due").await;
    expiring("/box/kept").await;
    let deadline = seconds() + 4;
    let placement = story.objects();
    let away = placement.primaries(ACCOUNT, "box", "kept")[0];
    story.cluster.kill_node(away);
    let headers = [("x-object-meta-kept", "yes")];
    assert_eq!(
        story.user.call("POST", "/box/kept", &headers, "").await.status,
        202
    );
    wait_for("the moment to pass", || seconds() > deadline);
    story.bring_back(away);
    story.heal();
    story.heal();
    assert_eq!(story.user.call("GET", "/box/due", &[], "").await.status, 404);
    assert_eq!(story.user.call("GET", "/box/kept", &[], "").await.text(), "body");
    story.assert_object("due", None).await;
    story.assert_object("kept", Some(b"body")).await;
    story.assert_listing("box", "kept\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_disk_is_full_again() {
    let mut story = Story::begin().await;
    for number in 0..30 {
        let body = vec![b'0' + (number % 10) as u8; if number % 5 == 0 { 150_000 } else { 100 }];
        story.put(&format!("/box/{number:02}"), body).await;
    }
    story.delete("/box/29").await;
    story.heal();
    let number = story.objects().primaries(ACCOUNT, "box", "00")[0];
    story.cluster.kill_node(number);
    story.cluster.replace_disk(number);
    story.bring_back(number);
    for object in 0..29 {
        let answer = story
            .user
            .call("GET", &format!("/box/{object:02}"), &[], "")
            .await;
        assert_eq!(answer.status, 200, "{object} is served meanwhile");
    }
    assert_eq!(story.user.call("GET", "/box/29", &[], "").await.status, 404);
    story.heal();
    for object in 0..29 {
        let body = vec![b'0' + (object % 10) as u8; if object % 5 == 0 { 150_000 } else { 100 }];
        story.assert_object(&format!("{object:02}"), Some(&body)).await;
    }
    let (ended_well, text) = story.cluster.martlet(&["dispersion"]);
    assert!(ended_well, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unformatted_disk_is_507_and_is_never_written_to() {
    let mut story = Story::begin().await;
    story.put("/box/object", "body").await;
    story.heal();
    let number = story.objects().primaries(ACCOUNT, "box", "object")[0];
    story.cluster.kill_node(number);
    let disk = story.cluster.node_folder(number).join("disk");
    let aside = disk.with_file_name("aside");
    std::fs::rename(&disk, &aside).expect("the disk is taken away");
    std::fs::create_dir(&disk).expect("its mount point stays");
    story.bring_back(number);
    let path = format!("{ACCOUNT}/box/object");
    assert_eq!(
        story.ask(number, "object", "GET", &path, &[], "").await.status,
        507
    );
    story.put("/box/object", "newer").await;
    assert_eq!(
        story.user.call("GET", "/box/object", &[], "").await.text(),
        "newer"
    );
    let empty = std::fs::read_dir(&disk).expect("it is there").next().is_none();
    assert!(empty, "the mount point was written to");
    let (ended_well, text) = story.cluster.martlet(&["status"]);
    assert!(!ended_well && text.contains("unavailable"), "{text}");
    // Mounted again while the node runs.
    std::fs::remove_dir(&disk).expect("it is empty");
    std::fs::rename(&aside, &disk).expect("the disk is back");
    story.heal();
    story.assert_object("object", Some(b"newer")).await;
}
