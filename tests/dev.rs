//! `martlet dev` as a person meets it: it starts, says what to paste, keeps data when asked, ends in order.

mod support;

use std::process::Command;
use std::time::Duration;
use support::http::{Swift, request};
use support::{Cluster, NODES, is_running, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn data_is_kept_over_a_restart() {
    let mut cluster = Cluster::start();
    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    assert_eq!(user.call("PUT", "/box", &[], "").await.status, 201);
    assert_eq!(
        user.call("PUT", "/box/note", &[("x-object-meta-colour", "red")], "hello")
            .await
            .status,
        201
    );

    let took = cluster.stop();
    assert!(took < Duration::from_secs(10), "ending took {took:?}");
    cluster.start_again();

    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    let note = user.call("GET", "/box/note", &[], "").await;
    assert_eq!(
        (
            note.status,
            note.text().as_str(),
            note.header("x-object-meta-colour")
        ),
        (200, "hello", "red")
    );
    assert_eq!(user.call("GET", "/box", &[], "").await.text(), "note\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sample_user_may_do_what_swifts_sample_says() {
    let cluster = Cluster::start();
    let address = cluster.address();
    for (user, key, account) in [
        ("admin:admin", "admin", "/v1/AUTH_admin"),
        ("test:tester", "testing", "/v1/AUTH_test"),
        ("test:tester2", "testing2", "/v1/AUTH_test"),
        ("test2:tester2", "testing2", "/v1/AUTH_test2"),
    ] {
        let login = Swift::login(address, user, key).await;
        assert_eq!(login.account, account, "{user}");
        assert_eq!(login.call("PUT", "/own", &[], "").await.status / 100, 2, "{user}");
    }
    let no_admin = Swift::login(address, "test:tester3", "testing3").await;
    assert_eq!(no_admin.call("PUT", "/not-mine", &[], "").await.status, 403);
    let reseller = Swift::login(address, "admin:admin", "admin").await;
    let token = [("x-auth-token", reseller.token.as_str())];
    let other = request(address, "HEAD", "/v1/AUTH_test2", &token, "")
        .await
        .unwrap();
    assert_eq!(other.status, 204);
    assert_eq!(
        request(address, "GET", "/v1/AUTH_test", &[], "")
            .await
            .unwrap()
            .status,
        401
    );
    let wrong = [("x-auth-user", "test:tester"), ("x-auth-key", "wrong")];
    assert_eq!(
        request(address, "GET", "/auth/v1.0", &wrong, "")
            .await
            .unwrap()
            .status,
        401
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn anyone_can_see_how_it_is() {
    let cluster = Cluster::start();
    let address = cluster.address();
    let health = request(address, "GET", "/healthcheck", &[], "").await.unwrap();
    assert_eq!((health.status, health.text().as_str()), (200, "OK"));
    let info = request(address, "GET", "/info", &[], "").await.unwrap();
    let info: serde_json::Value = serde_json::from_slice(&info.body).expect("/info is JSON");
    assert_eq!(info["swift"]["max_object_name_length"], 1024);
    assert_eq!(info["swift"]["policies"][0]["name"], "gold");
    let user = Swift::login(address, "test:tester", "testing").await;
    let answer = user.call("PUT", "/seen", &[], "").await;
    let trans_id = answer.header("x-trans-id").to_owned();
    assert!(trans_id.starts_with("tx"), "{trans_id}");
    let metrics = request(address, "GET", "/metrics", &[], "").await.unwrap().text();
    assert!(metrics.contains("martlet_requests_total"), "{metrics}");
    wait_for("the request's lines at the proxy and behind it", || {
        let logs = cluster.logs();
        let lines: Vec<_> = logs.lines().filter(|line| line.contains(&trans_id)).collect();
        lines.iter().any(|line| line.contains("container")) && lines.len() > NODES - 1
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_processes_that_can_be_replaced() {
    let mut cluster = Cluster::start_processes();
    for number in 1..=NODES {
        assert!(cluster.node_folder(number).join("node.toml").is_file());
        assert!(is_running(cluster.node_pid(number).expect("a pid file")));
    }
    cluster.kill_node(2);
    let killed = cluster.node_pid(2);
    let _replacement = cluster.restart_node(2);
    assert_ne!(cluster.node_pid(2), killed);
    let pids: Vec<_> = (1..=NODES)
        .map(|number| cluster.node_pid(number).expect("a pid file"))
        .collect();
    let took = cluster.stop();
    assert!(took < Duration::from_secs(15), "ending took {took:?}");
    assert!(!pids.into_iter().any(is_running), "a node outlived the cluster");
}

#[test]
fn a_misspelt_key_is_refused_at_start_with_the_right_one() {
    let mut cluster = Cluster::start();
    cluster.stop();
    let config = cluster.node_folder(1).join("node.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("fallocate_reserve", "fallocate_reserv")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_martlet"))
        .args(["node", "--config"])
        .arg(&config)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && errors.contains("did you mean `fallocate_reserve`?"),
        "{errors}"
    );
}
