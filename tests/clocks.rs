//! A node whose clock is wrong is noticed by the others and named to the operator.

mod support;

use std::process::{Command, Stdio};
use support::http::request;
use support::{Cluster, wait_for};

/// Makes a process believe that it is 30 seconds later, as a machine with a wrong clock does.
const AHEAD: &str = r#"
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && clock == CLOCK_REALTIME) now->tv_sec += 30;
    return failed;
}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_ahead_is_named() {
    let cluster = Cluster::start_processes();
    let (is_well, said) = cluster.martlet(&["status"]);
    assert!(
        is_well && said.contains("CLOCK") && !said.contains("the clock of"),
        "{said}"
    );

    cluster.kill_node(2);
    let folder = tempfile::tempdir().unwrap();
    let (source, library) = (folder.path().join("ahead.c"), folder.path().join("ahead.so"));
    std::fs::write(&source, AHEAD).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .status();
    assert!(compiled.expect("there is a C compiler").success());
    let mut ahead = Command::new(env!("CARGO_BIN_EXE_martlet"))
        .args(["node", "--exit-with-stdin", "--config"])
        .arg(cluster.node_folder(2).join("node.toml"))
        .env("LD_PRELOAD", &library)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the node to write its pid", || {
        cluster.node_pid(2) == Some(ahead.id() as i32)
    });

    let (node, other) = (cluster.node_address(2), cluster.node_address(1));
    let named = format!("the clock of {node} is 30.0 s ahead of that of this machine");
    let (is_well, said) = cluster.martlet(&["status"]);
    assert!(
        !is_well && said.contains(&named) && said.contains("clocks are not in step"),
        "{said}"
    );
    assert!(said.contains("+30.0s") && said.contains("+0.0s"), "{said}");
    // The others notice as soon as they speak with it.
    cluster.martlet(&["pass"]);
    let named = format!("the clock of {node} is 30.0 s ahead of that of {other}");
    let said = cluster.martlet(&["status"]).1;
    assert!(said.contains(&named), "{said}");
    let time = request(&node, "GET", "/recon/time", &[], "")
        .await
        .unwrap()
        .text();
    let here = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let apart = time.parse::<f64>().expect("a number, as swift-recon takes it") - here.as_secs_f64();
    assert!((25.0..35.0).contains(&apart), "{apart}");
    let skew = request(&other, "GET", "/recon/skew", &[], "")
        .await
        .unwrap()
        .text();
    let skew: serde_json::Value = serde_json::from_str(&skew).unwrap();
    assert!(skew["seconds_ahead"][&node].as_f64().unwrap() > 29.0, "{skew}");
    let metrics = request(&other, "GET", "/metrics", &[], "").await.unwrap().text();
    let gauge = format!("martlet_clock_skew_seconds{{peer=\"{node}\"}} ");
    let seconds = metrics
        .lines()
        .find_map(|line| line.strip_prefix(&gauge))
        .expect("a gauge");
    assert!(seconds.parse::<f64>().unwrap() > 29.0, "{seconds}");
    assert!(
        cluster.logs().contains("the clock of a machine is off"),
        "a warning in the log"
    );

    // Set right, it is right again.
    drop(ahead.stdin.take());
    ahead.wait().unwrap();
    let _node = cluster.restart_node(2);
    wait_for("all clocks to be in step", || {
        cluster.martlet(&["pass"]);
        cluster.martlet(&["status"]).0
    });
    assert!(cluster.logs().contains("the clock of a machine is right again"));
}
