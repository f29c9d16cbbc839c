//! TLS with clients and between nodes: real certificates, a real client, and files that change under a running cluster.

mod support;

use martlet_service::{ClusterKeys, TlsClient, prove_key};
use std::path::Path;
use std::process::{Command, Output};
use support::certificates::Authority;
use support::http::Swift;
use support::{Cluster, NODES, send_signal, wait_for};

fn curl(authority: &Path, arguments: &[&str]) -> Output {
    Command::new("curl")
        .args(["-s", "-S", "-m", "30", "--cacert"])
        .arg(authority)
        .args(arguments)
        .output()
        .expect("curl starts")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// What curl calls a certificate that it does not believe.
const NOT_BELIEVED: Option<i32> = Some(60);

#[test]
fn clients_speak_tls() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (ours, foreign) = (Authority::new("ours"), Authority::new("foreign"));
    let (ca, other_ca) = (ours.write(folder, "ca.pem"), foreign.write(folder, "other.pem"));
    let (certificate, key) = ours.sign(folder, "proxy", &["127.0.0.1"]);
    let cluster = Cluster::start_with(&[
        "--tls-cert",
        certificate.to_str().unwrap(),
        "--tls-key",
        key.to_str().unwrap(),
    ]);
    let url = format!("https://{}", cluster.address());

    let login = curl(
        &ca,
        &[
            "-i",
            "-H",
            "x-auth-user: test:tester",
            "-H",
            "x-auth-key: testing",
            &format!("{url}/auth/v1.0"),
        ],
    );
    let login = said(&login);
    let header = |name: &str| {
        let mut lines = login.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.unwrap_or_else(|| panic!("{login}")).1.trim().to_owned()
    };
    // Where the client goes on is where it came from.
    let storage = header("x-storage-url");
    assert_eq!(storage, format!("{url}/v1/AUTH_test"));
    let token = format!("x-auth-token: {}", header("x-auth-token"));
    let body = folder.join("body");
    support::files::write_random(&body, 3_000_000);
    let back = folder.join("back");
    let done = |arguments: &[&str]| {
        let output = curl(&ca, &[&["-f", "-H", &token][..], arguments].concat());
        assert!(output.status.success(), "{}", said(&output));
    };
    done(&["-X", "PUT", &format!("{storage}/c")]);
    done(&["-T", body.to_str().unwrap(), &format!("{storage}/c/o")]);
    done(&["-o", back.to_str().unwrap(), &format!("{storage}/c/o")]);
    support::files::assert_equal(&body, &back);

    // Nobody else's certificate, and nothing but TLS.
    let health = format!("{url}/healthcheck");
    assert_eq!(curl(&other_ca, &[&health]).status.code(), NOT_BELIEVED);
    let plain = curl(&ca, &[&health.replace("https:", "http:")]);
    assert!(!plain.status.success());

    // Files that cannot be used change nothing; good ones are taken over while clients come and go.
    std::fs::write(&key, "not a key").unwrap();
    wait_for("the log to say so", || {
        cluster.logs().contains("changed files cannot be used")
    });
    assert_eq!(curl(&ca, &[&health]).stdout, b"OK");
    foreign.sign(folder, "proxy", &["127.0.0.1"]);
    wait_for("the new certificate", || {
        let before = curl(&ca, &[&health]);
        let after = curl(&other_ca, &[&health]);
        // Between two certificates there is never none.
        assert!(
            before.status.success() || after.status.success() || curl(&other_ca, &[&health]).status.success()
        );
        after.status.success()
    });
    assert_eq!(curl(&ca, &[&health]).status.code(), NOT_BELIEVED);
}

#[test]
fn a_certificate_that_cannot_be_used_is_named_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Authority::new("ours");
    let (certificate, key) = ours.sign(folder.path(), "proxy", &["127.0.0.1"]);
    let (_, other_key) = ours.sign(folder.path(), "other", &["127.0.0.1"]);
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    for (certificate, key, named) in [
        (&certificate, &other_key, "proxy.pem"),
        (&empty, &key, "empty.pem"),
        (&certificate, &empty, "empty.pem"),
        (&folder.path().join("none.pem"), &key, "none.pem"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_martlet"))
            .args(["dev", "--port", "0", "--tls-cert"])
            .arg(certificate)
            .arg("--tls-key")
            .arg(key)
            .output()
            .unwrap();
        assert!(!output.status.success());
        assert!(said(&output).contains(named), "{}", said(&output));
    }
}

/// The cluster's nodes from now on speak TLS with certificates of this authority.
fn secure(cluster: &Cluster, authority: &Authority) {
    let folder = cluster.data();
    authority.write(folder, "ca.pem");
    authority.sign(folder, "node", &["127.0.0.1"]);
    for number in 1..=NODES {
        let path = cluster.node_folder(number).join("node.toml");
        let mut config: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
        let tls = "ca = '../ca.pem'\ncertificate = '../node.pem'\nkey = '../node.key'";
        let tls: toml::Table = tls.parse().unwrap();
        config["cluster"]
            .as_table_mut()
            .unwrap()
            .insert("tls".into(), tls.into());
        std::fs::write(&path, config.to_string()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_speak_tls_and_still_prove_the_key() {
    let mut cluster = Cluster::start_processes();
    cluster.stop();
    let ours = Authority::new("ours");
    secure(&cluster, &ours);
    cluster.start_again();
    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    assert_eq!(user.call("PUT", "/c", &[], "").await.status, 201);
    for number in 0..20 {
        let body = vec![b'x'; number * 20_000];
        assert_eq!(
            user.call("PUT", &format!("/c/o{number}"), &[], body).await.status,
            201
        );
    }
    for number in 0..20 {
        let answer = user.call("GET", &format!("/c/o{number}"), &[], "").await;
        assert_eq!((answer.status, answer.body.len()), (200, number * 20_000));
    }
    // Nodes among each other, and the operator's commands.
    cluster.kill_node(3);
    assert_eq!(user.call("PUT", "/c/missed", &[], "m").await.status, 201);
    let _node = cluster.restart_node(3);
    cluster.pass();
    let (is_well, status) = cluster.martlet(&["status"]);
    assert!(is_well, "{status}");

    let node = cluster.node_address(1);
    let (ip, target) = ("127.0.0.1", format!("https://{node}"));
    // Without TLS nobody is answered, without the key nobody is let in, and neither is the key enough without TLS.
    let plain = curl(
        &cluster.data().join("ca.pem"),
        &[&format!("http://{node}/healthcheck")],
    );
    assert!(!plain.status.success());
    let health = curl(
        &cluster.data().join("ca.pem"),
        &[&format!("{target}/healthcheck")],
    );
    assert_eq!(health.stdout, b"OK", "{}", said(&health));
    let stranger = curl(
        &cluster.data().join("ca.pem"),
        &[
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            &format!("{target}/d1/0/AUTH_test/c/missed"),
        ],
    );
    assert_eq!(stranger.stdout, b"401");
    let key = std::fs::read_to_string(cluster.data().join("cluster.key")).unwrap();
    let keys = ClusterKeys::parse(&key).unwrap();
    let trusted = async |authority: &Path| -> Result<(), String> {
        let tls = TlsClient::load(authority, None).unwrap();
        let stream = tokio::net::TcpStream::connect(&node).await.unwrap();
        let connected = tls.connect(ip, stream).await;
        let (mut stream, binding) = connected.map_err(|error| error.to_string())?;
        let proved = prove_key(&mut stream, &keys, &binding).await;
        proved.map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(trusted(&cluster.data().join("ca.pem")).await, Ok(()));
    let foreign = Authority::new("foreign").write(cluster.data(), "foreign.pem");
    assert!(trusted(&foreign).await.unwrap_err().contains("UnknownIssuer"));

    // A new authority everywhere: nobody believes the old certificates, and clients notice nothing after it is through.
    let next = Authority::new("next");
    next.sign(cluster.data(), "node", &["127.0.0.1"]);
    next.write(cluster.data(), "ca.pem");
    for number in 1..=NODES {
        send_signal(cluster.node_pid(number).unwrap(), rustix::process::Signal::HUP);
    }
    let old = ours.write(cluster.data(), "old.pem");
    let deadline = std::time::Instant::now() + support::PATIENCE;
    while trusted(&cluster.data().join("ca.pem")).await.is_err() {
        assert!(
            std::time::Instant::now() < deadline,
            "the new certificate is not in force"
        );
        tokio::task::yield_now().await;
    }
    assert!(trusted(&old).await.is_err());
    cluster.pass();
    assert_eq!(user.call("GET", "/c/missed", &[], "").await.text(), "m");
}
