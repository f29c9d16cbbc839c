//! The daemons of a real cluster: deleted accounts are emptied, strays move, damage is repaired, deletions are forgotten,
//! and an operator sees it all.

mod support;

use serde_json::Value;
use support::copies::Placement;
use support::http::{Swift, request};
use support::{Cluster, NODES, files, wait_for};

async fn login(cluster: &Cluster) -> Swift {
    Swift::login(cluster.address(), "test:tester", "testing").await
}

async fn put(user: &Swift, path: &str, body: &str) {
    let answer = user.call("PUT", path, &[], body.to_owned()).await;
    assert_eq!(answer.status / 100, 2, "PUT {path}: {}", answer.text());
}

/// A request to one server of one node, as a proxy or a daemon makes it.
async fn direct(
    cluster: &Cluster,
    number: usize,
    server: &str,
    method: &str,
    path: &str,
    more: &[(&str, &str)],
) -> u16 {
    let mut headers = vec![("x-backend-martlet-server", server)];
    headers.extend_from_slice(more);
    let target = format!("/d{number}/0{path}");
    let answer = request(&cluster.node_address(number), method, &target, &headers, "").await;
    answer.expect("the node answers").status
}

fn now() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    format!("{:.5}", since.expect("after 1970").as_secs_f64())
}

fn sum(reports: &[Value], field: &str) -> u64 {
    reports.iter().filter_map(|report| report[field].as_u64()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_account_is_emptied() {
    let cluster = Cluster::start();
    let user = login(&cluster).await;
    for container in ["photos", "films", "empty"] {
        put(&user, &format!("/{container}"), "").await;
    }
    let versions = [("x-versions-enabled", "true")];
    assert_eq!(user.call("POST", "/films", &versions, "").await.status, 204);
    // The last of them has two versions.
    for object in ["photos/a", "photos/b%20c", "films/d/e", "films/d/e"] {
        put(&user, &format!("/{object}"), "body").await;
    }
    cluster.pass();
    let accounts = Placement::with_ring(&cluster, "account", 0).account_primaries("AUTH_test");
    for number in accounts {
        let headers = [("x-timestamp", now())];
        let headers = [("x-timestamp", headers[0].1.as_str())];
        let status = direct(&cluster, number, "account", "DELETE", "/AUTH_test", &headers).await;
        assert_eq!(status, 204);
    }
    let reports = cluster.pass_of("reaper");
    assert_eq!(sum(&reports, "objects"), 5, "{reports:?}");
    // Rows travel to the containers by themselves; a container that was not empty yet goes with the next round.
    wait_for("the account to be empty", || {
        cluster.pass();
        let reports = cluster.pass_of("reaper");
        sum(&reports, "remaining") == 0 && sum(&reports, "containers") == 0
    });
    let objects = Placement::of(&cluster);
    for (container, object) in [("photos", "a"), ("photos", "b c"), ("films", "d/e")] {
        for number in objects.primaries("AUTH_test", container, object) {
            let path = format!("/AUTH_test/{container}/{}", object.replace(' ', "%20"));
            let status = direct(&cluster, number, "object", "HEAD", &path, &[]).await;
            assert_eq!(status, 404, "{path} on {number}");
        }
    }
    let containers = Placement::with_ring(&cluster, "container", 0);
    for container in ["photos", "films", "empty"] {
        for number in containers.container_primaries("AUTH_test", container) {
            let path = format!("/AUTH_test/{container}");
            assert_eq!(
                direct(&cluster, number, "container", "HEAD", &path, &[]).await,
                404
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_under_a_wrong_policy_moves_to_the_containers() {
    let mut cluster = Cluster::start();
    let primaries = Placement::with_ring(&cluster, "container", 0).container_primaries("AUTH_test", "box");
    login(&cluster).await;
    // Two replicas heard of a container under policy 0, the third of an older one under policy 1, which wins.
    for (number, at, policy) in [
        (primaries[0], "1700000002.00000", "0"),
        (primaries[1], "1700000002.00000", "0"),
        (primaries[2], "1700000001.00000", "1"),
    ] {
        let headers = [("x-timestamp", at), ("x-backend-storage-policy-index", policy)];
        let status = direct(&cluster, number, "container", "PUT", "/AUTH_test/box", &headers).await;
        assert_eq!(status, 201);
    }
    let objects = Placement::of(&cluster);
    let mut headers = vec![
        ("x-timestamp", "1700000003.00000"),
        ("x-backend-storage-policy-index", "0"),
    ];
    let hosts: Vec<String> = primaries
        .iter()
        .map(|number| cluster.node_address(*number))
        .collect();
    let devices: Vec<String> = primaries.iter().map(|number| format!("d{number}")).collect();
    let (hosts, devices) = (hosts.join(","), devices.join(","));
    headers.extend([
        ("x-container-host", hosts.as_str()),
        ("x-container-device", devices.as_str()),
        ("x-container-partition", "0"),
        ("content-type", "text/plain"),
    ]);
    let large = "x".repeat(100_000);
    for (name, body) in [("small", "body"), ("large", large.as_str())] {
        for number in objects.primaries("AUTH_test", "box", name) {
            let target = format!("/d{number}/0/AUTH_test/box/{name}");
            let mut headers = headers.clone();
            headers.push(("x-backend-martlet-server", "object"));
            let answer = request(
                &cluster.node_address(number),
                "PUT",
                &target,
                &headers,
                body.to_owned(),
            )
            .await;
            assert_eq!(answer.expect("the node answers").status, 201);
        }
    }
    let moved = Placement::with_ring(&cluster, "object-1", 1);
    wait_for("the objects to move", || {
        cluster.pass();
        let strays: u64 = status(&cluster)
            .iter()
            .filter_map(|device| device["status"]["strays"].as_u64())
            .sum();
        strays == 0
    });
    cluster.pass();
    for (name, body) in [("small", "body"), ("large", large.as_str())] {
        for copy in moved.copies("AUTH_test", "box", name).await {
            assert_eq!((copy.status, &copy.body[..]), (200, body.as_bytes()), "{name}");
            assert!(
                copy.timestamp.starts_with("1700000003.00000_"),
                "{}",
                copy.timestamp
            );
        }
        for copy in objects.copies("AUTH_test", "box", name).await {
            // Its deletion is as old as the object: it may be forgotten already.
            let is_gone = copy.timestamp.is_empty() || copy.timestamp.starts_with("1700000003.00000_");
            assert!(
                copy.status == 404 && is_gone,
                "{name} under the old policy: {copy:?}"
            );
        }
    }
    // A proxy that has not heard of the container before.
    cluster.stop();
    cluster.start_again();
    let user = login(&cluster).await;
    let answer = user.call("GET", "/box/large", &[], "").await;
    assert_eq!((answer.status, answer.body.len()), (200, large.len()));
    assert_eq!(answer.header("x-timestamp"), "1700000003.00000");
    assert_eq!(user.call("GET", "/box", &[], "").await.text(), "large\nsmall\n");
}

fn status(cluster: &Cluster) -> Vec<Value> {
    let (_, text) = cluster.martlet(&["status", "--json"]);
    let end = text.rfind(']').map_or(text.len(), |end| end + 1);
    serde_json::from_str(&text[..end]).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn sum_of_status(cluster: &Cluster, field: &str) -> u64 {
    let devices = status(cluster);
    devices
        .iter()
        .filter_map(|device| device["status"][field].as_u64())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_auditor_finds_what_nobody_has_read_and_repairs_it() {
    let cluster = Cluster::start_processes();
    let user = login(&cluster).await;
    put(&user, "/box", "").await;
    let body = "b".repeat(300_000);
    put(&user, "/box/object", &body).await;
    let placement = Placement::of(&cluster);
    let number = placement.primaries("AUTH_test", "box", "object")[1];
    let bodies = cluster.node_folder(number).join("disk/bodies");
    wait_for("the body to stand in its place", || {
        !files::below(&bodies).is_empty()
    });
    let file = files::below(&bodies).remove(0);
    let mut bytes = std::fs::read(&file).expect("the body is there");
    bytes[5_000] ^= 1;
    std::fs::write(&file, bytes).expect("it can be damaged");
    let reports = cluster.pass_of("auditor");
    assert_eq!(
        (sum(&reports, "damaged"), sum(&reports, "repaired")),
        (1, 1),
        "{reports:?}"
    );
    let copy = placement.copy(number, "AUTH_test", "box", "object").await;
    assert!(copy.status == 200 && copy.body == body.as_bytes());
    wait_for("the quarantine to be counted", || {
        sum_of_status(&cluster, "quarantined") == 1
    });
    let (_, text) = cluster.martlet(&["recon", "quarantined"]);
    assert!(text.contains("\"objects\":1"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_deletions_are_forgotten_everywhere() {
    let mut cluster = Cluster::start();
    cluster.stop();
    cluster.set_worker("reclaim_age", 0.into());
    cluster.start_again();
    // With no age at all every start is a long absence: each device asks the others before it serves.
    wait_for("devices to be believed", || cluster.martlet(&["status"]).0);
    let user = login(&cluster).await;
    put(&user, "/box", "").await;
    for number in 0..20 {
        put(&user, &format!("/box/{number}"), "body").await;
    }
    put(&user, "/box/kept", "body").await;
    cluster.pass();
    for number in 0..20 {
        let answer = user.call("DELETE", &format!("/box/{number}"), &[], "").await;
        assert_eq!(answer.status, 204);
    }
    wait_for("tombstones to go", || {
        cluster.pass();
        sum_of_status(&cluster, "tombstones") == 0
    });
    let placement = Placement::of(&cluster);
    for copy in placement.copies("AUTH_test", "box", "7").await {
        assert_eq!((copy.status, copy.timestamp.as_str()), (404, ""));
    }
    cluster.pass();
    assert_eq!(user.call("GET", "/box", &[], "").await.text(), "kept\n");
    assert_eq!(user.call("GET", "/box/7", &[], "").await.status, 404);
    assert_eq!(user.call("GET", "/box/kept", &[], "").await.status, 200);
    // What is forgotten can be written again.
    put(&user, "/box/7", "again").await;
    assert_eq!(user.call("GET", "/box/7", &[], "").await.text(), "again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_devices_copies_and_workers() {
    let cluster = Cluster::start_processes();
    let user = login(&cluster).await;
    put(&user, "/box", "").await;
    put(&user, "/box/object", "body").await;
    cluster.pass();
    let devices = status(&cluster);
    assert_eq!(devices.len(), NODES);
    assert!(
        devices.iter().all(|device| device["status"]["state"] == "ok"),
        "{devices:?}"
    );
    assert_eq!(sum_of_status(&cluster, "objects"), 3);
    assert!(
        devices
            .iter()
            .all(|device| device["status"]["lag_seconds"].as_f64() >= Some(0.0))
    );
    let (ended_well, table) = cluster.martlet(&["status"]);
    assert!(
        ended_well && table.lines().count() == NODES + 1 && table.contains("QUARANTINE"),
        "{table}"
    );

    let (ended_well, text) = cluster.martlet(&["where", "/v1/AUTH_test/box/object"]);
    assert!(
        ended_well && text.matches("it belongs here").count() == 3,
        "{text}"
    );
    assert!(text.contains("4 bytes"), "{text}");
    let (_, text) = cluster.martlet(&["where", "AUTH_test/box"]);
    assert!(
        text.matches("it belongs here").count() == 3 && text.contains("1 objects"),
        "{text}"
    );
    let (_, text) = cluster.martlet(&["where", "AUTH_test"]);
    assert!(text.matches("primary").count() == 3, "{text}");
    let (ended_well, text) = cluster.martlet(&["where", "/v1/AUTH_test/nowhere/object"]);
    assert!(
        !ended_well && text.contains("no server knows the container"),
        "{text}"
    );

    for check in [
        "version",
        "time",
        "mem",
        "load",
        "sockstat",
        "mounted",
        "unmounted",
        "swiftconfmd5",
        "ringmd5",
        "devices",
        "diskusage",
        "quarantined",
        "async",
        "replication/object",
        "replication/container",
        "replication/account",
        "updater/object",
        "updater/container",
        "auditor/object",
        "auditor/container",
        "auditor/account",
        "expirer/object",
        "driveaudit",
        "sharding",
        "relinker",
        "reconstruction/object",
    ] {
        let (ended_well, text) = cluster.martlet(&["recon", check]);
        assert!(ended_well && text.lines().count() == NODES, "{check}: {text}");
    }
    let (ended_well, _) = cluster.martlet(&["recon", "nonsense"]);
    assert!(!ended_well);
    let (_, text) = cluster.martlet(&["recon", "replication/object"]);
    assert!(
        text.contains("replication_last") && !text.contains("\"replication_last\":null"),
        "{text}"
    );

    let (ended_well, text) = cluster.martlet(&["dispersion"]);
    assert!(
        ended_well && text.contains("objects-0: 100.00% of copies found (3 of 3 of 1 sampled)"),
        "{text}"
    );
    let metrics = request(&cluster.node_address(1), "GET", "/metrics", &[], "")
        .await
        .expect("an answer");
    for name in [
        "martlet_device_up",
        "martlet_device_lag_seconds",
        "martlet_device_outbox",
        "martlet_worker_last_pass_timestamp",
    ] {
        assert!(metrics.text().contains(name), "{name}");
    }

    let gone = Placement::of(&cluster).primaries("AUTH_test", "box", "object")[0];
    cluster.kill_node(gone);
    let (ended_well, text) = cluster.martlet(&["status"]);
    assert!(
        !ended_well && text.contains("unreachable") && text.contains("1 of 4 devices are not ok"),
        "{text}"
    );
    let (_, text) = cluster.martlet(&["where", "/v1/AUTH_test/box/object"]);
    assert!(
        text.contains("it could not be asked") && text.matches("it belongs here").count() == 2,
        "{text}"
    );
    let (ended_well, text) = cluster.martlet(&["dispersion"]);
    assert!(!ended_well && text.contains("lack 1 of their copies"), "{text}");
}
