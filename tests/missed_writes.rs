//! What a device missed it takes at once when a proxy knows of it: no turn of the replicator comes here, and nobody asks
//! for a round.

mod support;

use support::copies::Placement;
use support::http::{Swift, request};
use support::{Cluster, NODES, NodeProcess, until};

const ACCOUNT: &str = "AUTH_test";
/// Between two turns of the replicator: more than any test may take.
const INTERVAL_MS: i64 = 3_600_000;

/// A cluster whose replicators work when they start, and then only for a reason.
struct Quiet {
    cluster: Cluster,
    nodes: Vec<NodeProcess>,
}

impl Quiet {
    async fn start() -> Quiet {
        let cluster = Cluster::start_processes();
        cluster.set_worker("replicate_interval_ms", INTERVAL_MS.into());
        let mut quiet = Quiet {
            cluster,
            nodes: Vec::new(),
        };
        for number in 1..=NODES {
            quiet.cluster.kill_node(number);
        }
        for number in 1..=NODES {
            quiet.bring_back(number);
        }
        for number in 1..=NODES {
            until("the first round to be over", async || {
                quiet.synced(number).await > 0.0
            })
            .await;
        }
        quiet
    }

    fn bring_back(&mut self, number: usize) {
        self.nodes.push(self.cluster.restart_node(number));
    }

    /// When the last complete round of a node's device began, seconds since 1970; 0 when there was none.
    async fn synced(&self, number: usize) -> f64 {
        let headers = [("x-backend-martlet-server", "account")];
        let target = format!("/d{number}/0/{ACCOUNT}");
        let answer = request(&self.cluster.node_address(number), "HEAD", &target, &headers, "").await;
        let answer = answer.expect("the node answers");
        answer.header("x-backend-martlet-synced").parse().unwrap_or(0.0)
    }

    /// Reads of objects that all nodes have answered.
    async fn object_reads(&self) -> u64 {
        let mut sum = 0;
        for number in 1..=NODES {
            let answer = request(&self.cluster.node_address(number), "GET", "/metrics", &[], "").await;
            let text = answer.expect("the node answers").text();
            let is_read = |line: &&str| {
                line.starts_with("martlet_requests_total{")
                    && line.contains("server=\"object\"")
                    && (line.contains("method=\"GET\"") || line.contains("method=\"HEAD\""))
            };
            let counts = text.lines().filter(is_read);
            sum += counts
                .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
                .sum::<u64>();
        }
        sum
    }
}

fn object(number: usize) -> String {
    format!("/box/{number}")
}

async fn fill(user: &Swift) {
    assert_eq!(user.call("PUT", "/box", &[], "").await.status / 100, 2);
    for number in 0..12 {
        assert_eq!(user.call("PUT", &object(number), &[], "first").await.status, 201);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_has_just_begun_soon_asks_one_device_for_each_object() {
    let quiet = Quiet::start().await;
    let (_proxy, address) = quiet.cluster.start_proxy("");
    let user = Swift::login(&address, "test:tester", "testing").await;
    fill(&user).await;
    until("each object to be asked of one device", async || {
        let before = quiet.object_reads().await;
        for number in 0..12 {
            assert_eq!(user.call("GET", &object(number), &[], "").await.text(), "first");
        }
        quiet.object_reads().await == before + 12
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_missed_a_write_and_was_not_restarted_takes_it_at_once() {
    let quiet = Quiet::start().await;
    let user = Swift::login(quiet.cluster.address(), "test:tester", "testing").await;
    fill(&user).await;
    let placement = Placement::of(&quiet.cluster);
    let away = placement.primaries(ACCOUNT, "box", "0")[0];
    // Too large to be sent before the node wants it: nothing of it waits in a socket until the node goes on.
    let second = vec![b's'; 200_000];
    quiet.cluster.pause_node(away);
    let answer = user.call("PUT", &object(0), &[], second.clone()).await;
    assert_eq!(answer.status, 201);
    quiet.cluster.resume_node(away);
    // Clients only read, and others have it: the one that lacks it must hear of it all the same.
    until("the device to have what it missed", async || {
        assert!(user.call("GET", &object(0), &[], "").await.body == second);
        placement.copy(away, ACCOUNT, "box", "0").await.body == second
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_whose_node_was_killed_is_believed_again_at_once() {
    let mut quiet = Quiet::start().await;
    let user = Swift::login(quiet.cluster.address(), "test:tester", "testing").await;
    fill(&user).await;
    let placement = Placement::of(&quiet.cluster);
    let primaries = placement.primaries(ACCOUNT, "box", "0");
    // Two of three: nobody is left who could be believed alone.
    for number in &primaries[..2] {
        quiet.cluster.kill_node(*number);
    }
    assert_eq!(user.call("PUT", &object(0), &[], "second").await.status, 201);
    for number in &primaries[..2] {
        quiet.bring_back(*number);
    }
    until("the object to be asked of one device", async || {
        let before = quiet.object_reads().await;
        assert_eq!(user.call("GET", &object(0), &[], "").await.text(), "second");
        quiet.object_reads().await == before + 1
    })
    .await;
}
