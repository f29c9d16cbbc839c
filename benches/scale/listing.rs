//! A huge container beside a small one: pages and writes, turn by turn, so that a noisy machine disturbs both alike.

use crate::clients::login;
use crate::finding::{Finding, quantile};
use crate::loading::{self, name};
use crate::support::Cluster;
use crate::support::http::Swift;
use std::time::Instant;

const SMALL_ROWS: usize = 20_000;
const PAGE: usize = 10_000;
/// Pages and writes of each container.
const PAGES: usize = 40;
const WRITES: usize = 300;

pub async fn run(huge_rows: usize) -> Vec<Finding> {
    let mut cluster = Cluster::start();
    let user = login(cluster.address()).await;
    let containers = [("small", SMALL_ROWS), ("huge", huge_rows)];
    for (container, _) in containers {
        let made = user.call("PUT", &format!("/{container}"), &[], "").await;
        assert_eq!(made.status, 201, "{}", made.text());
    }
    cluster.stop();
    for (container, rows) in containers {
        loading::rows(&cluster, container, rows).await;
    }
    cluster.start_again();
    cluster.pass_of("replicator");
    let user = login(cluster.address()).await;
    let mut pages = [Vec::new(), Vec::new()];
    for turn in 0..PAGES {
        for (at, (container, rows)) in containers.into_iter().enumerate() {
            // Anywhere that leaves a whole page.
            let marker = (turn * 7_919_993) % (rows - PAGE);
            pages[at].push(page(&user, container, marker).await);
        }
    }
    let mut writes = [Vec::new(), Vec::new()];
    for turn in 0..WRITES {
        for (at, (container, _)) in containers.into_iter().enumerate() {
            let begun = Instant::now();
            let put = user
                .call("PUT", &format!("/{container}/new-{turn}"), &[], "body")
                .await;
            assert_eq!(put.status, 201, "{}", put.text());
            writes[at].push(begun.elapsed().as_secs_f64() * 1000.0);
        }
    }
    let mut found = Vec::new();
    for (what, [small, huge], goal) in [("page of 10000", pages, 1.5), ("PUT", writes, 1.5)] {
        let [mut small, mut huge] = [small, huge];
        let [small, huge] = [quantile(&mut small, 0.5), quantile(&mut huge, 0.5)];
        found.push(Finding::new(
            "listing",
            format!("{what}, container of {SMALL_ROWS} rows"),
            small,
            "ms",
            None,
        ));
        found.push(Finding::new(
            "listing",
            format!("{what}, container of {huge_rows} rows"),
            huge,
            "ms",
            None,
        ));
        found.push(Finding::new(
            "listing",
            format!("{what}, ratio"),
            huge / small,
            "x",
            Some(goal),
        ));
    }
    found
}

/// Milliseconds for a page of names after a marker.
async fn page(user: &Swift, container: &str, marker: usize) -> f64 {
    let begun = Instant::now();
    let path = format!("/{container}?limit={PAGE}&marker={}", name(marker));
    let answer = user.call("GET", &path, &[], "").await;
    let took = begun.elapsed().as_secs_f64() * 1000.0;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.text().lines().count(), PAGE);
    took
}
