//! What the stories of Swift's probe tests are told with.

use super::copies::Placement;
use super::http::{Answer, Swift, request};
use super::{Cluster, NODES, NodeProcess, PATIENCE};
use std::time::Instant;

/// Of the sample user.
pub const ACCOUNT: &str = "AUTH_test";

/// A cluster to which things happen.
pub struct Story {
    pub cluster: Cluster,
    pub user: Swift,
    /// Nodes that came back in the place of killed ones.
    back: Vec<NodeProcess>,
}

impl Story {
    pub async fn begin() -> Story {
        let cluster = Cluster::start_processes();
        let user = Swift::login(cluster.address(), "test:tester", "testing").await;
        let story = Story {
            cluster,
            user,
            back: Vec::new(),
        };
        story.put("/box", "").await;
        // Every node has heard of the account and the container.
        story.cluster.pass();
        story
    }

    pub async fn put(&self, path: &str, body: impl Into<bytes::Bytes>) {
        let answer = self.user.call("PUT", path, &[], body).await;
        assert_eq!(answer.status / 100, 2, "PUT {path}: {}", answer.text());
    }

    pub async fn delete(&self, path: &str) {
        let answer = self.user.call("DELETE", path, &[], "").await;
        assert_eq!(answer.status, 204, "DELETE {path}: {}", answer.text());
    }

    pub fn bring_back(&mut self, number: usize) {
        self.back.push(self.cluster.restart_node(number));
    }

    /// Rounds until nothing is owed or left to do anywhere.
    pub fn heal(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let reports = self.cluster.reports();
            if reports.len() == NODES && reports.iter().all(|report| report["complete"] == true) {
                return;
            }
            let status = || self.cluster.martlet(&["status"]).1;
            assert!(
                Instant::now() < deadline,
                "the cluster does not heal: {reports:#?}\n{}",
                status()
            );
        }
    }

    /// What one server of one node says.
    pub async fn ask(
        &self,
        number: usize,
        server: &str,
        method: &str,
        path: &str,
        more: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut headers = vec![("x-backend-martlet-server", server)];
        headers.extend_from_slice(more);
        let target = format!("/d{number}/0/{path}");
        let address = self.cluster.node_address(number);
        let answer = request(&address, method, &target, &headers, body.to_owned()).await;
        answer.expect("the node answers")
    }

    pub fn account_primaries(&self) -> Vec<usize> {
        Placement::with_ring(&self.cluster, "account", 0).account_primaries(ACCOUNT)
    }

    pub fn container_primaries(&self, container: &str) -> Vec<usize> {
        Placement::with_ring(&self.cluster, "container", 0).container_primaries(ACCOUNT, container)
    }

    pub fn objects(&self) -> Placement {
        Placement::of(&self.cluster)
    }

    /// All primaries say the same, and it is this.
    pub async fn assert_object(&self, object: &str, expected: Option<&[u8]>) {
        let placement = self.objects();
        let primaries = placement.primaries(ACCOUNT, "box", object);
        let copies = placement.copies(ACCOUNT, "box", object).await;
        assert!(
            copies.windows(2).all(|pair| pair[0] == pair[1]),
            "{object}: {copies:?}"
        );
        let found = (copies[0].status == 200).then(|| copies[0].body.to_vec());
        assert_eq!(found.as_deref(), expected, "{object}");
        let handoff = (1..=NODES)
            .find(|number| !primaries.contains(number))
            .expect("four nodes");
        let copy = placement.copy(handoff, ACCOUNT, "box", object).await;
        assert_eq!(
            (copy.status, copy.timestamp.as_str()),
            (404, ""),
            "{object} on its handoff"
        );
    }

    /// Every replica of the container lists these.
    pub async fn assert_listing(&self, container: &str, expected: &str) {
        for number in self.container_primaries(container) {
            let answer = self
                .ask(
                    number,
                    "container",
                    "GET",
                    &format!("{ACCOUNT}/{container}"),
                    &[],
                    "",
                )
                .await;
            assert_eq!(answer.text(), expected, "{container} on {number}");
            let count = expected.lines().count().to_string();
            assert_eq!(answer.header("x-container-object-count"), count, "on {number}");
        }
    }
}
