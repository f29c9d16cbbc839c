//! Rings change under load: no request fails, nothing is out of reach while data moves, a broken file changes nothing, and
//! a change of the partition power moves no file.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use support::copies::Placement;
use support::http::{Swift, request};
use support::{Cluster, NODES, files, send_signal, wait_for};

const OBJECTS: usize = 120;

/// Bodies on both sides of the inline limit.
fn body(number: usize) -> Vec<u8> {
    let length = if number.is_multiple_of(4) {
        100_000
    } else {
        100 + number
    };
    format!("{number} ")
        .into_bytes()
        .into_iter()
        .cycle()
        .take(length)
        .collect()
}

fn path(number: usize) -> String {
    format!("/kept/object-{number}")
}

/// `martlet ring` on a ring of the cluster.
fn ring(cluster: &Cluster, name: &str, words: &str) {
    let output = Command::new(env!("CARGO_BIN_EXE_martlet"))
        .args(["ring", &format!("{name}.builder")])
        .args(words.split_whitespace())
        .current_dir(cluster.data().join("rings"))
        .output()
        .unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(
        matches!(output.status.code(), Some(0 | 1)),
        "{name} {words}: {said}"
    );
}

/// Builders for the rings that the dev cluster made.
fn make_builders(cluster: &Cluster, names: &[&str]) {
    for name in names {
        let output = Command::new(env!("CARGO_BIN_EXE_martlet"))
            .args(["ring", &format!("{name}.ring.gz"), "write_builder", "0"])
            .current_dir(cluster.data().join("rings"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

async fn metric(address: &str, name: &str) -> u64 {
    let answer = request(address, "GET", "/metrics", &[], "")
        .await
        .expect("the node answers");
    let text = answer.text();
    let line = text
        .lines()
        .find(|line| line.split_whitespace().next() == Some(name));
    line.map_or(0, |line| line.split_whitespace().nth(1).unwrap().parse().unwrap())
}

/// Asks the nodes to look at the rings, and waits until each has counted one more of `name`; the proxy, which looks by
/// itself, until its log has one more of `logged`.
async fn wait_for_nodes(cluster: &Cluster, name: &str, logged: &str, change: impl FnOnce()) {
    let in_log = || {
        let log = std::fs::read_to_string(cluster.data().join("martlet.log")).unwrap_or_default();
        log.matches(logged).count()
    };
    let mut before = Vec::new();
    for number in 1..=NODES {
        before.push(metric(&cluster.node_address(number), name).await);
    }
    let log_before = in_log();
    change();
    for number in 1..=NODES {
        send_signal(cluster.node_pid(number).unwrap(), rustix::process::Signal::HUP);
    }
    for number in 1..=NODES {
        let address = cluster.node_address(number);
        let deadline = std::time::Instant::now() + support::PATIENCE;
        while metric(&address, name).await <= before[number - 1] {
            assert!(
                std::time::Instant::now() < deadline,
                "node {number} did not see the rings"
            );
            tokio::task::yield_now().await;
        }
    }
    wait_for("the proxy to see the rings", || in_log() > log_before);
}

/// Reads and writes without a pause until told to stop; every answer must be the right one.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(user: &Swift) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicUsize::new(0));
        let tasks = (0..3)
            .map(|worker| {
                let (user, stop, done) = (user.clone(), stop.clone(), done.clone());
                tokio::spawn(async move {
                    let mut turn = worker;
                    while !stop.load(Ordering::Relaxed) {
                        turn += 7;
                        step(&user, worker, turn).await;
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        Load { stop, done, tasks }
    }

    /// Waits for so many more steps.
    async fn goes_on(&self, steps: usize) {
        let goal = self.done.load(Ordering::Relaxed) + steps;
        while self.done.load(Ordering::Relaxed) < goal {
            assert!(
                !self.tasks.iter().any(|task| task.is_finished()),
                "a request failed"
            );
            tokio::task::yield_now().await;
        }
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("no request failed");
        }
    }
}

async fn step(user: &Swift, worker: usize, turn: usize) {
    let number = turn % OBJECTS;
    let answer = user.call("GET", &path(number), &[], "").await;
    assert_eq!(answer.status, 200, "GET {}", path(number));
    assert_eq!(answer.body, body(number), "GET {}", path(number));
    let own = format!("/kept/written-{worker}-{turn}");
    assert_eq!(
        user.call("PUT", &own, &[], body(turn)).await.status,
        201,
        "PUT {own}"
    );
    assert_eq!(
        user.call("GET", &own, &[], "").await.body,
        body(turn),
        "GET {own}"
    );
    assert_eq!(
        user.call("DELETE", &own, &[], "").await.status,
        204,
        "DELETE {own}"
    );
    assert_eq!(
        user.call("GET", &own, &[], "").await.status,
        404,
        "GET {own} after DELETE"
    );
}

async fn cluster_with_objects() -> (Cluster, Swift) {
    let cluster = Cluster::start_processes();
    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    assert_eq!(user.call("PUT", "/kept", &[], "").await.status, 201);
    for number in 0..OBJECTS {
        assert_eq!(
            user.call("PUT", &path(number), &[], body(number)).await.status,
            201
        );
    }
    cluster.pass();
    (cluster, user)
}

/// How many of the objects each node has a copy of.
async fn copies_by_node(cluster: &Cluster, user: &Swift) -> BTreeMap<usize, usize> {
    let placement = Placement::of(cluster);
    let account = user.account.trim_start_matches("/v1/");
    let mut counts = BTreeMap::new();
    for node in 1..=NODES {
        for number in 0..OBJECTS {
            let copy = placement
                .copy(node, account, "kept", &format!("object-{number}"))
                .await;
            *counts.entry(node).or_insert(0) += usize::from(copy.status == 200);
        }
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_is_drained_without_a_failed_request() {
    let (cluster, user) = cluster_with_objects().await;
    let load = Load::start(&user);
    load.goes_on(10).await;
    let names = ["object", "container", "account"];
    make_builders(&cluster, &names);
    for name in names {
        ring(&cluster, name, "set_weight d0 0");
    }
    // All three files change, and no node has a byte of what it is given now.
    wait_for_nodes(
        &cluster,
        "martlet_rings_loaded_total",
        "changed rings are in force",
        || {
            for name in names {
                ring(&cluster, name, "rebalance --seed 1");
            }
        },
    )
    .await;
    load.goes_on(60).await;
    cluster.pass();
    cluster.pass();
    load.goes_on(60).await;
    load.end().await;
    cluster.pass();
    let counts = copies_by_node(&cluster, &user).await;
    assert_eq!(
        counts,
        BTreeMap::from([(1, 0), (2, OBJECTS), (3, OBJECTS), (4, OBJECTS)])
    );
    let listing = user.call("GET", "/kept", &[], "").await.text();
    assert_eq!(
        listing.lines().filter(|name| name.starts_with("object-")).count(),
        OBJECTS
    );
}

/// Most replicas of every partition go to other devices at once, which no careful operator would do: what was there
/// is found where it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_missing_although_new_primaries_have_nothing() {
    let (cluster, user) = cluster_with_objects().await;
    make_builders(&cluster, &["object"]);
    // One replica, on the one device that has none of a quarter of the partitions.
    ring(&cluster, "object", "set_weight --yes r1 0");
    ring(&cluster, "object", "set_weight d3 100");
    ring(&cluster, "object", "set_replicas 1");
    wait_for_nodes(
        &cluster,
        "martlet_rings_loaded_total",
        "changed rings are in force",
        || {
            ring(&cluster, "object", "rebalance --force --seed 1");
        },
    )
    .await;
    for number in 0..OBJECTS {
        let answer = user.call("GET", &path(number), &[], "").await;
        assert_eq!(answer.status, 200, "GET {}", path(number));
        assert_eq!(answer.body, body(number));
    }
    assert_eq!(user.call("GET", "/kept/never", &[], "").await.status, 404);
    cluster.pass();
    cluster.pass();
    for number in 0..OBJECTS {
        assert_eq!(user.call("GET", &path(number), &[], "").await.status, 200);
    }
    let counts = copies_by_node(&cluster, &user).await;
    assert_eq!(counts, BTreeMap::from([(1, 0), (2, 0), (3, 0), (4, OBJECTS)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_rings_change_nothing() {
    let (cluster, user) = cluster_with_objects().await;
    let file = cluster.data().join("rings/object.ring.gz");
    let good = std::fs::read(&file).unwrap();
    let load = Load::start(&user);
    for broken in [&good[..good.len() / 2], b"", b"not a ring"] {
        wait_for_nodes(
            &cluster,
            "martlet_rings_refused_total",
            "changed rings cannot be used",
            || {
                replace(&file, broken);
            },
        )
        .await;
        load.goes_on(10).await;
    }
    replace(&file, &good);
    load.goes_on(20).await;
    load.end().await;
}

fn replace(file: &Path, bytes: &[u8]) {
    let temporary = file.with_extension("new");
    std::fs::write(&temporary, bytes).unwrap();
    std::fs::rename(&temporary, file).unwrap();
}

/// Body files of all devices, by name.
fn body_files(cluster: &Cluster) -> BTreeSet<String> {
    let devices = (1..=NODES).map(|number| cluster.node_folder(number).join("disk"));
    let all = devices.flat_map(|device| files::below(&device));
    all.map(|file| file.display().to_string())
        .filter(|name| name.contains("/bodies/"))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_partition_power_changes_and_no_file_moves() {
    let (cluster, user) = cluster_with_objects().await;
    let before = body_files(&cluster);
    assert!(before.len() >= OBJECTS / 4 * 3, "only {} files", before.len());
    let power = |cluster: &Cluster| {
        let bytes = std::fs::read(cluster.data().join("rings/object.ring.gz")).unwrap();
        martlet_ring::file::read(&bytes).unwrap().part_power()
    };
    let first = power(&cluster);
    make_builders(&cluster, &["object"]);
    let load = Load::start(&user);
    for step in ["prepare", "", "finish"] {
        wait_for_nodes(
            &cluster,
            "martlet_rings_loaded_total",
            "changed rings are in force",
            || {
                let name = format!("{step}_increase_partition_power");
                ring(&cluster, "object", name.trim_start_matches('_'));
                ring(&cluster, "object", "write_ring");
            },
        )
        .await;
        load.goes_on(30).await;
        cluster.pass();
    }
    load.end().await;
    assert_eq!(power(&cluster), first + 1);
    for number in 0..OBJECTS {
        let answer = user.call("GET", &path(number), &[], "").await;
        assert_eq!((answer.status, answer.body.len()), (200, body(number).len()));
    }
    let after = body_files(&cluster);
    let gone: Vec<&String> = before.difference(&after).collect();
    assert!(gone.is_empty(), "moved or removed: {gone:?}");
    let counts = copies_by_node(&cluster, &user).await;
    assert_eq!(counts.values().sum::<usize>(), 3 * OBJECTS, "{counts:?}");
}
