//! Two clusters that mirror containers of each other: what is written here comes there, whoever is away meanwhile.

mod support;

use serde_json::Value;
use support::http::{Answer, Swift};
use support::uploads::upload;
use support::{Cluster, NodeProcess, until, wait_for};

/// A cluster with a proxy that trusts the other.
struct Side {
    cluster: Cluster,
    proxy: Option<NodeProcess>,
    address: String,
    user: Swift,
}

/// Longer than any test: only the rounds that the test asks for.
const ON_DEMAND: i64 = 86_400;

impl Side {
    /// `interval`: seconds between rounds.
    async fn start(arguments: &[&str], name: &str, interval: i64) -> Side {
        let mut cluster = Cluster::start_with(arguments);
        cluster.stop();
        let realms = cluster.data().join("container-sync-realms.conf");
        // Rounds that begin before the other side is known look again each time.
        std::fs::write(&realms, "[DEFAULT]\nmtime_check_interval = 0\n").expect("the realms are written");
        let path = realms.display().to_string();
        cluster.set_storage("container_sync", "realms_conf", path.into());
        cluster.set_storage("container_sync", "interval", interval.into());
        cluster.start_again();
        let (proxy, address) = start_proxy(&cluster, name);
        let user = Swift::login(&address, "test:tester", "testing").await;
        Side {
            cluster,
            proxy: Some(proxy),
            address,
            user,
        }
    }

    fn knows(&self, here: &str, there: &str, realm_key: &str) {
        let realms = format!(
            "[DEFAULT]\nmtime_check_interval = 0\n[us]\nkey = {realm_key}\ncluster_a = http://{here}/v1/\n\
             cluster_b = http://{there}/v1/\n"
        );
        let path = self.cluster.data().join("container-sync-realms.conf");
        std::fs::write(path, realms).expect("the realms are written");
    }

    async fn put(&self, path: &str, headers: &[(&str, &str)], body: impl Into<bytes::Bytes>) {
        let answer = self.user.call("PUT", path, headers, body).await;
        assert_eq!(answer.status, 201, "{path}: {}", answer.text());
    }

    async fn get(&self, path: &str) -> Answer {
        self.user.call("GET", path, &[], "").await
    }

    async fn text(&self, path: &str) -> String {
        let answer = self.get(path).await;
        format!("{} {}", answer.status, answer.text())
    }

    /// Rows that the devices have in their logs, as an operator sees it.
    fn unsent(&self) -> u64 {
        let (_, text) = self.cluster.martlet(&["status", "--json"]);
        let told: Value = serde_json::from_str(&text).expect("JSON");
        let devices = told.as_array().expect("a list").iter();
        let unsent = devices.map(|device| device["status"]["unsent"].as_u64().expect("a number"));
        unsent.sum()
    }

    /// One round on every node; the sum of a number of their reports.
    fn pass(&self) -> Round {
        // Every replica of the container knows every row by then.
        self.cluster.martlet(&["pass", "--worker", "updater"]);
        // A node that is away makes no report, and the command says so.
        let (_, text) = self.cluster.martlet(&["pass", "--worker", "container-sync"]);
        let reports = text.lines().filter_map(|line| line.split_once(": "));
        Round(
            reports
                .filter_map(|(_, report)| serde_json::from_str(report).ok())
                .collect(),
        )
    }
}

struct Round(Vec<Value>);

impl Round {
    fn sum(&self, what: &str) -> u64 {
        self.0
            .iter()
            .map(|report| report[what].as_u64().expect("a number"))
            .sum()
    }

    /// Objects sent, deletions sent, failures.
    fn numbers(&self) -> (u64, u64, u64) {
        (self.sum("puts"), self.sum("deletes"), self.sum("failures"))
    }
}

fn start_proxy(cluster: &Cluster, name: &str) -> (NodeProcess, String) {
    let realms = cluster.data().join("container-sync-realms.conf");
    cluster.start_proxy(&format!(
        "[container_sync]\nrealms_conf = '{}'\ncurrent = '//us/{name}'",
        realms.display()
    ))
}

/// `interval`: seconds between rounds of the first.
async fn two_sides(arguments: &[&str], interval: i64) -> (Side, Side) {
    let (a, b) = (
        Side::start(arguments, "a", interval).await,
        Side::start(&[], "b", ON_DEMAND).await,
    );
    a.knows(&a.address, &b.address, "realm");
    b.knows(&a.address, &b.address, "realm");
    (a, b)
}

fn sync_to<'v>(to: &'v str, key: &'v str) -> [(&'v str, &'v str); 2] {
    [("x-container-sync-to", to), ("x-container-sync-key", key)]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_here_comes_there_and_back() {
    let (a, b) = two_sides(&[], ON_DEMAND).await;
    a.put("/box", &[], "").await;
    let big: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let text = [("content-type", "text/plain"), ("x-object-meta-color", "grün")];
    a.put("/box/small%20%C3%A4%3F", &text, "before").await;
    a.put("/box/big", &[], big.clone()).await;
    a.put("/box/both", &[], "from a").await;
    // From here on the containers are mirrors of each other; what was there already goes along.
    let answer = a
        .user
        .call("POST", "/box", &sync_to("//us/b/AUTH_test/box", "users"), "")
        .await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    b.put("/box", &sync_to("//US/A/AUTH_test/box", "users"), "").await;
    for side in [&a, &b] {
        side.put("/segs", &sync_to("//us/b/AUTH_test/segs", "users"), "")
            .await;
    }
    a.put("/segs/1", &[], "one").await;
    a.put("/segs/2", &[], "two").await;
    let manifest = r#"[{"path":"/segs/1"},{"path":"/segs/2"}]"#;
    a.put("/box/slo?multipart-manifest=put", &text, manifest).await;
    a.put("/box/link", &[("x-symlink-target", "box/both")], "").await;
    b.put("/box/both", &[], "newer, from b").await;

    // The replicas share the work: one round sends everything once, but for what is newer there.
    let first = a.pass();
    assert_eq!((first.numbers(), first.sum("present")), ((6, 0, 0), 1));
    let object = "/box/small%20%C3%A4%3F";
    let (here, there) = (a.get(object).await, b.get(object).await);
    assert_eq!((there.status, there.text().as_str()), (200, "before"));
    for name in [
        "content-type",
        "x-object-meta-color",
        "x-timestamp",
        "etag",
        "last-modified",
    ] {
        assert_eq!(there.header(name), here.header(name), "{name}");
    }
    assert!(b.get("/box/big").await.body == big);
    assert_eq!(b.text("/box/slo").await, "200 onetwo");
    assert_eq!(b.get("/box/slo").await.header("content-type"), "text/plain");
    assert_eq!(b.text("/box/link?symlink=get").await, "200 ");
    assert_eq!(b.text("/box/link").await, "200 newer, from b");
    assert_eq!(b.text("/box/both").await, "200 newer, from b");
    // The next round only makes sure, and then there is nothing left to look at.
    let second = a.pass();
    assert_eq!(second.numbers(), (0, 0, 0));
    assert!(second.sum("present") > 0);
    assert_eq!(a.unsent(), 0);
    let third = a.pass();
    assert_eq!((third.numbers(), third.sum("present")), ((0, 0, 0), 0));

    assert_eq!(b.pass().numbers(), (1, 0, 0));
    assert_eq!(a.text("/box/both").await, "200 newer, from b");
    b.pass();

    // Deletions and changes of metadata go along; a deletion older than what is there changes nothing.
    assert_eq!(a.user.call("DELETE", "/box/big", &[], "").await.status, 204);
    assert_eq!(a.user.call("DELETE", "/box/both", &[], "").await.status, 204);
    b.put("/box/both", &[], "newest").await;
    let color = [("x-object-meta-color", "blau")];
    assert_eq!(a.user.call("POST", object, &color, "").await.status, 202);
    assert_eq!(a.pass().numbers(), (1, 2, 0));
    assert_eq!(b.get("/box/big").await.status, 404);
    assert_eq!(b.text("/box/both").await, "200 newest");
    assert_eq!(b.get(object).await.header("x-object-meta-color"), "blau");
    b.pass();
    assert_eq!(a.text("/box/both").await, "200 newest");

    // Seen by operators.
    let (_, text) = a.cluster.martlet(&["recon", "container-sync", "--json"]);
    assert!(text.contains("\"puts\""), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_sent_is_sent_later() {
    let (a, mut b) = two_sides(&["--processes"], ON_DEMAND).await;
    a.put("/box", &sync_to("//us/b/AUTH_test/box", "users"), "").await;
    let named = |n: usize| format!("/box/{n}");
    let put_some = async |from: usize, to: usize| {
        for n in from..to {
            a.put(&named(n), &[], format!("body {n}")).await;
        }
    };
    let missing = async |b: &Side, upto: usize| {
        let mut missing = Vec::new();
        for n in 0..upto {
            if b.text(&named(n)).await != format!("200 body {n}") {
                missing.push(n);
            }
        }
        missing
    };
    put_some(0, 12).await;
    // There is no container there, then it has another key: nothing comes, and nothing is forgotten.
    assert_eq!(a.pass().numbers(), (0, 0, 12));
    b.put("/box", &sync_to("//us/a/AUTH_test/box", "others"), "")
        .await;
    let refused = a.pass();
    assert_eq!((refused.sum("puts"), refused.sum("present")), (0, 0));
    assert!(refused.sum("failures") >= 12);
    assert_eq!(missing(&b, 12).await.len(), 12);
    let mend = sync_to("//us/a/AUTH_test/box", "users");
    assert_eq!(b.user.call("POST", "/box", &mend, "").await.status, 204);
    // A wrong key of the realm is refused as well.
    b.knows(&a.address, &b.address, "another");
    assert_eq!(a.pass().sum("puts"), 0);
    b.knows(&a.address, &b.address, "realm");
    assert_eq!(a.pass().sum("failures"), 0);
    assert_eq!(missing(&b, 12).await, [0; 0]);

    // Rows whose replica is away are sent by the others, one round later.
    a.cluster.kill_node(1);
    put_some(12, 36).await;
    a.pass();
    a.pass();
    assert_eq!(missing(&b, 36).await, [0; 0]);
    let _node = a.cluster.restart_node(1);
    a.cluster.pass();
    assert_eq!(a.pass().numbers(), (0, 0, 0));

    // The other cluster is away: each node gives up soon, and goes on when it is back.
    drop(b.proxy.take());
    put_some(36, 40).await;
    let away = a.pass();
    assert!(away.sum("puts") == 0 && away.sum("failures") > 0);
    let (proxy, address) = start_proxy(&b.cluster, "b");
    (b.user, b.proxy) = (
        Swift::login(&address, "test:tester", "testing").await,
        Some(proxy),
    );
    a.knows(&a.address, &address, "realm");
    a.pass();
    a.pass();
    assert_eq!(missing(&b, 40).await, [0; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_in_parts_stay_where_they_are() {
    let (a, b) = two_sides(&[], ON_DEMAND).await;
    b.put("/box", &sync_to("//us/a/AUTH_test/box", "users"), "").await;
    a.put("/box", &sync_to("//us/b/AUTH_test/box", "users"), "").await;
    upload(a.cluster.address(), "box", "in-parts", "one part").await;
    a.put("/box/plain", &[], "plain").await;
    assert_eq!(a.text("/box/in-parts").await, "200 one part");
    // It is told as left out, holds nothing up, and is not looked at for ever.
    let first = a.pass();
    assert_eq!((first.numbers(), first.sum("skipped")), ((1, 0, 0), 1));
    assert_eq!(b.get("/box/in-parts").await.status, 404);
    assert_eq!(b.text("/box/plain").await, "200 plain");
    a.pass();
    let third = a.pass();
    assert_eq!((third.numbers(), third.sum("skipped")), ((0, 0, 0), 0));
    // What takes its place goes as anything else.
    a.put("/box/in-parts", &[], "whole").await;
    assert_eq!(a.pass().numbers(), (1, 0, 0));
    assert_eq!(b.text("/box/in-parts").await, "200 whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_takes_nothing_is_left_alone_for_a_while() {
    let (a, b) = two_sides(&[], 1).await;
    a.put("/box", &sync_to("//us/b/AUTH_test/box", "users"), "").await;
    a.put("/box/o", &[], "content").await;
    // There is no container there. The pause of each failure in a row is twice the one before.
    wait_for("a round that leaves the container out", || {
        let (_, reports) = a.cluster.martlet(&["recon", "container-sync", "--json"]);
        let mut paused = reports.split("\"paused\":").skip(1);
        paused.any(|rest| !rest.trim_start().starts_with('0'))
    });
    // Once it is there, everything comes by itself.
    b.put("/box", &sync_to("//us/a/AUTH_test/box", "users"), "").await;
    until("the object to come", async || b.get("/box/o").await.status == 200).await;
    assert_eq!(b.text("/box/o").await, "200 content");
}
