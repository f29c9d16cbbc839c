//! The cluster key: who does not have it can neither read nor write at a storage node, and keys change while clients are
//! served.

mod support;

use martlet_service::{ClusterKeys, HandshakeError, Stream, prove_key};
use std::path::{Path, PathBuf};
use support::copies::Placement;
use support::http::{Swift, request};
use support::{Cluster, NODES, send_signal, wait_for};

/// Where a node listens, for somebody who does not have the key.
fn address_of(cluster: &Cluster, number: usize) -> String {
    let text = std::fs::read_to_string(cluster.node_folder(number).join("node.toml")).unwrap();
    let config: toml::Table = text.parse().unwrap();
    config["storage"]["bind"].as_str().unwrap().to_owned()
}

async fn status(address: &str, method: &str, target: &str) -> u16 {
    let headers = [
        ("x-timestamp", "9999999999.00000"),
        ("x-backend-storage-policy-index", "0"),
        ("content-type", "text/plain"),
    ];
    let body = if method == "PUT" { "forged" } else { "" };
    request(address, method, target, &headers, body)
        .await
        .expect("the node answers")
        .status
}

/// What a node says to the proof of a key.
async fn prove(address: &str, keys: &ClusterKeys) -> Result<(), HandshakeError> {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut stream = Stream::from(stream);
    prove_key(&mut stream, keys, &[0; 32]).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_can_neither_read_nor_write() {
    let cluster = Cluster::start_processes();
    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    assert_eq!(user.call("PUT", "/c", &[], "").await.status, 201);
    assert_eq!(user.call("PUT", "/c/o", &[], "ours").await.status, 201);

    // Every node and every partition: wherever the object is, it is asked for.
    for number in 1..=NODES {
        let node = address_of(&cluster, number);
        for (method, target) in [
            ("GET", format!("/d{number}/0/AUTH_test/c/o")),
            ("PUT", format!("/d{number}/0/AUTH_test/c/o")),
            ("DELETE", format!("/d{number}/0/AUTH_test/c/o")),
            ("POST", format!("/d{number}/0/AUTH_test/c/o")),
            ("GET", format!("/d{number}/0/AUTH_test/c")),
            ("DELETE", format!("/d{number}/0/AUTH_test")),
            ("GET", format!("/d{number}/martlet/ping")),
            ("GET", format!("/d{number}/martlet/digests/objects-0")),
            ("GET", "/martlet/status".into()),
            ("POST", "/martlet/pass".into()),
            ("PUT", "/healthcheck".into()),
            ("POST", "/recon/time".into()),
            ("GET", "/reconx".into()),
            ("GET", "//healthcheck".into()),
            ("OPTIONS", "*".into()),
        ] {
            assert_eq!(status(&node, method, &target).await, 401, "{method} {target}");
        }
        for target in ["/healthcheck", "/recon/time", "/recon/diskusage", "/metrics"] {
            assert_eq!(status(&node, "GET", target).await, 200, "{target}");
        }
        let foreign = ClusterKeys::parse(&"f".repeat(32)).unwrap();
        let refused = prove(&node, &foreign).await;
        assert!(matches!(refused, Err(HandshakeError::UnknownKey)), "{refused:?}");
        let metrics = request(&node, "GET", "/metrics", &[], "").await.unwrap().text();
        let counted = metrics
            .lines()
            .find_map(|line| line.strip_prefix("martlet_strangers_refused_total "));
        assert_eq!(counted, Some("16"), "fifteen requests and a foreign key");
    }
    wait_for("the log to tell of it", || {
        cluster.logs().contains("a stranger was refused")
    });

    // Nothing was done: all copies are as they were, and who has the key is answered.
    let placement = Placement::of(&cluster);
    for copy in placement.copies("AUTH_test", "c", "o").await {
        assert_eq!((copy.status, &copy.body[..]), (200, &b"ours"[..]));
    }
    assert_eq!(user.call("GET", "/c/o", &[], "").await.text(), "ours");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_can_be_closed_to_strangers() {
    let mut cluster = Cluster::start_processes();
    cluster.stop();
    for number in 1..=NODES {
        let path = cluster.node_folder(number).join("node.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("open_metrics = true"), "{text}");
        std::fs::write(&path, text.replace("open_metrics = true", "open_metrics = false")).unwrap();
    }
    cluster.start_again();
    let node = address_of(&cluster, 1);
    assert_eq!(status(&node, "GET", "/metrics").await, 401);
    assert_eq!(status(&node, "GET", "/healthcheck").await, 200);
    assert_eq!(status(&cluster.node_address(1), "GET", "/metrics").await, 200);
}

/// Has every node read its files now, and waits until it did.
async fn take_keys(cluster: &Cluster, keys: &[&str], probe: &str, is_known: bool) {
    let path = cluster.data().join("cluster.key");
    let replaced = path.with_extension("next");
    std::fs::write(&replaced, keys.join("\n")).unwrap();
    std::fs::rename(&replaced, &path).unwrap();
    let probe = ClusterKeys::parse(probe).unwrap();
    for number in 1..=NODES {
        let node = address_of(cluster, number);
        send_signal(cluster.node_pid(number).unwrap(), rustix::process::Signal::HUP);
        let deadline = std::time::Instant::now() + support::PATIENCE;
        while prove(&node, &probe).await.is_ok() != is_known {
            assert!(
                std::time::Instant::now() < deadline,
                "node {number} did not take the keys"
            );
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_change_while_clients_are_served() {
    let cluster = Cluster::start_processes();
    let old = std::fs::read_to_string(cluster.data().join("cluster.key")).unwrap();
    let (old, new, third) = (old.trim(), "n".repeat(40), "t".repeat(40));
    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    assert_eq!(user.call("PUT", "/c", &[], "").await.status, 201);
    let writes = async |name: &str| {
        for number in 0..8 {
            let path = format!("/c/{name}{number}");
            assert_eq!(user.call("PUT", &path, &[], "x").await.status, 201, "{path}");
        }
    };
    take_keys(&cluster, &[old, &new], &new, true).await;
    writes("both").await;
    // What cannot be used changes nothing: the third key is not known and the new one still is.
    std::fs::write(cluster.data().join("cluster.key"), "short").unwrap();
    for number in 1..=NODES {
        send_signal(cluster.node_pid(number).unwrap(), rustix::process::Signal::HUP);
    }
    wait_for("the log to say that the file is of no use", || {
        cluster.logs().matches("changed files cannot be used").count() >= NODES
    });
    writes("kept").await;
    take_keys(&cluster, &[&new, old, &third], &third, true).await;
    writes("turned").await;
    // The proxy looks by itself; once it calls with the new key the old one can go.
    wait_for("the proxy to call with the new key", || {
        let log = std::fs::read_to_string(cluster.data().join("martlet.log")).unwrap();
        log.lines()
            .rfind(|line| line.contains("cluster key"))
            .is_some_and(|line| line.contains("in force"))
    });
    take_keys(&cluster, &[&new], old, false).await;
    // Fresh connections on both sides.
    cluster.kill_node(2);
    let _node = cluster.restart_node(2);
    writes("new").await;
    cluster.pass();
    let listing = user.call("GET", "/c", &[], "").await.text();
    assert_eq!(listing.lines().count(), 32);
}

/// Runs `martlet node` on a configuration that must be refused; what it said.
fn refused(folder: &Path, storage: &str, cluster: &str) -> String {
    let text = format!(
        "[cluster]\nname = 'x'\nhash_path_suffix = 's'\nrings = 'rings'\npolicies = [{{ index = 0, name = 'gold' }}]\n\
         {cluster}\n[storage]\n{storage}\ndevices = [{{ name = 'd1', path = 'disk' }}]\n"
    );
    let path: PathBuf = folder.join("node.toml");
    std::fs::write(&path, text).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_martlet"))
        .args(["node", "--config"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn without_a_key_nothing_listens_where_strangers_are() {
    let folder = tempfile::tempdir().unwrap();
    for bind in ["0.0.0.0:8631", "[::]:8631", "10.0.0.1:8631"] {
        let said = refused(folder.path(), &format!("bind = '{bind}'"), "");
        assert!(
            said.contains("key_file in [cluster]") && said.contains(bind),
            "{said}"
        );
    }
    let binds = "bind = '127.0.0.1:8631'\ncontainer_bind = '0.0.0.0:8632'";
    assert!(refused(folder.path(), binds, "").contains("container_bind"));
    let binds = "bind = '127.0.0.1:8631'\nreplication_bind = '0.0.0.0:8632'";
    assert!(refused(folder.path(), binds, "").contains("replication_bind"));
    let missing = refused(folder.path(), "bind = '127.0.0.1:8631'", "key_file = 'none'");
    assert!(missing.contains("none: No such file"), "{missing}");
    let short = refused(folder.path(), "bind = '127.0.0.1:8631'", "key = 'short'");
    assert!(
        short.contains("at least 32 letters") && !short.contains("'short'"),
        "{short}"
    );
}
