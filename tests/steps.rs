//! Steps of the pipeline that need a configuration of their own: other clusters' signatures, other domains' names, and
//! Swift's log line.

mod support;

use martlet_protocol::sync::Signed;
use std::net::UdpSocket;
use support::http::{Swift, raw, request};
use support::{Cluster, wait_for};

/// The log of a proxy that a test started.
fn log_of(cluster: &Cluster, address: &str) -> String {
    let port = address.rsplit(':').next().expect("a port");
    let path = cluster.node_folder(1).join(format!("proxy-{port}.log"));
    std::fs::read_to_string(path).expect("the proxy logs")
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cluster_brings_what_it_has_under_its_own_time() {
    let cluster = Cluster::start();
    let realms = cluster.data().join("container-sync-realms.conf");
    std::fs::write(
        &realms,
        "[us]\nkey = first\nkey2 = second\ncluster_here = http://here/v1\ncluster_there = http://there/v1\n",
    )
    .unwrap();
    let (_proxy, address) = cluster.start_proxy(&format!(
        "proxy_logging = {{ log_format = 'swift', log_msg_template = '{{method}} {{path}} {{status_int}} {{log_info}}' }}
         [container_sync]
         realms_conf = '{}'
         current = '//us/here'",
        realms.display()
    ));
    let user = Swift::login(&address, "test:tester", "testing").await;
    let key = [("x-container-sync-key", "users")];
    assert_eq!(user.call("PUT", "/box", &key, "").await.status, 201);
    assert_eq!(user.call("PUT", "/keyless", &[], "").await.status, 201);

    let send = async |method: &str, path: &str, at: &str, realm_key: &str, user_key: &str, body: &str| {
        let path = format!("{}{path}", user.account);
        let signed = Signed {
            method,
            path: &path,
            timestamp: at,
            nonce: "nonce",
            user_key,
        };
        let auth = format!("us nonce {}", signed.signature(realm_key));
        let headers = [("x-container-sync-auth", auth.as_str()), ("x-timestamp", at)];
        request(&address, method, &path, &headers, body.to_owned())
            .await
            .unwrap()
    };
    let (first, later) = ("1600000000.12345", "1700000000.00000");
    assert_eq!(
        send("PUT", "/box/o", first, "first", "users", "old").await.status,
        201
    );
    let got = user.call("GET", "/box/o", &[], "").await;
    assert_eq!((got.text().as_str(), got.header("x-timestamp")), ("old", first));
    // The second key is good as well; what is older than what is there changes nothing.
    assert_eq!(
        send("PUT", "/box/o", later, "second", "users", "new")
            .await
            .status,
        201
    );
    assert_eq!(
        send("PUT", "/box/o", first, "first", "users", "old").await.status,
        202
    );
    assert_eq!(
        send("HEAD", "/box/o", later, "first", "users", "").await.status,
        200
    );
    assert_eq!(user.call("GET", "/box/o", &[], "").await.text(), "new");
    assert_eq!(
        send("DELETE", "/box/o", first, "first", "users", "").await.status,
        409
    );
    let now = "1700000001.00000";
    assert_eq!(
        send("DELETE", "/box/o", now, "first", "users", "").await.status,
        204
    );
    assert_eq!(user.call("GET", "/box/o", &[], "").await.status, 404);

    for (path, realm_key, user_key, note) in [
        ("/box/o", "third", "users", "cs:invalid-sig"),
        ("/box/o", "first", "others", "cs:invalid-sig"),
        ("/keyless/o", "first", "", "cs:no-local-user-key"),
        ("/none/o", "first", "users", "cs:no-local-user-key"),
    ] {
        let refused = send("PUT", path, later, realm_key, user_key, "x").await;
        assert_eq!(refused.status, 401, "{path} {realm_key} {user_key}");
        assert_eq!(
            refused.text(),
            "X-Container-Sync-Auth header not valid; contact cluster operator for support."
        );
        assert_eq!(
            refused.header("www-authenticate"),
            "SwiftContainerSync realm=\"AUTH_test\""
        );
        let line = format!("PUT {}{path} 401 {note}", user.account);
        wait_for("the reason in the log", || {
            log_of(&cluster, &address).contains(&line)
        });
    }
    for (auth, note) in [
        ("us nonce", "cs:not-3-args"),
        ("fr nonce sig", "cs:no-local-realm-key"),
    ] {
        let path = format!("{}/box/o", user.account);
        let headers = [("x-container-sync-auth", auth)];
        let refused = request(&address, "PUT", &path, &headers, "x").await.unwrap();
        assert_eq!(refused.status, 401, "{auth}");
        wait_for("the reason in the log", || {
            log_of(&cluster, &address).contains(note)
        });
    }

    for (to, status) in [
        ("//us/there/AUTH_test/box", 204),
        ("//us/nowhere/AUTH_test/box", 400),
        ("//fr/there/AUTH_test/box", 400),
        ("//us/there", 400),
        ("http://127.0.0.1:8080/v1/AUTH_test/box", 204),
        ("http://elsewhere.example/v1/AUTH_test/box", 400),
        ("ftp://127.0.0.1/v1/AUTH_test/box", 400),
        ("", 204),
    ] {
        let answer = user
            .call("POST", "/box", &[("x-container-sync-to", to)], "")
            .await;
        assert_eq!(answer.status, status, "{to}: {}", answer.text());
    }
    let info = request(&address, "GET", "/info", &[], "").await.unwrap();
    let info: serde_json::Value = serde_json::from_slice(&info.body).unwrap();
    assert_eq!(
        info["container_sync"]["realms"],
        serde_json::json!({"US": {"clusters": {"HERE": {"current": true}, "THERE": {}}}})
    );
}

/// A name server that knows a few CNAMEs.
fn name_server(names: &'static [(&'static str, &'static str)]) -> String {
    fn labels(name: &str) -> Vec<u8> {
        let labels = name.split('.').flat_map(|label| {
            let length = label.len() as u8;
            std::iter::once(length).chain(label.bytes())
        });
        labels.chain([0]).collect()
    }
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("its address").to_string();
    std::thread::spawn(move || {
        let mut bytes = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut bytes) {
            let asked = &bytes[12..length - 4];
            let known = names.iter().find(|(name, _)| labels(name) == asked);
            let mut reply = bytes[..length].to_vec();
            reply[2] = 0x81;
            reply[3] = if known.is_some() { 0x80 } else { 0x83 };
            if let Some((_, cname)) = known {
                reply[7] = 1;
                let data = labels(cname);
                reply.extend_from_slice(&[0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, data.len() as u8]);
                reply.extend_from_slice(&data);
            }
            let _ = socket.send_to(&reply, from);
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn domains_of_others_lead_to_their_containers() {
    let server = name_server(&[
        ("mysite.com", "box.AUTH-test.example.net"),
        ("far.com", "mysite.com"),
        ("farther.com", "far.com"),
        ("circle.com", "circle.com"),
    ]);
    let cluster = Cluster::start();
    let (_proxy, address) = cluster.start_proxy(&format!(
        "[cname_lookup]
         storage_domain = ['example.net']
         lookup_depth = 2
         nameservers = ['{server}']
         [domain_remap]
         storage_domain = ['example.net']"
    ));
    let user = Swift::login(&address, "test:tester", "testing").await;
    assert_eq!(user.call("PUT", "/box", &[], "").await.status, 201);
    assert_eq!(user.call("PUT", "/box/o", &[], "content").await.status, 201);
    for (host, status, words) in [
        ("mysite.com", " 200 ", "content"),
        ("MySite.com:8080", " 200 ", "content"),
        ("far.com", " 200 ", "content"),
        ("farther.com", " 400 ", "CNAME lookup failed after 2 tries"),
        (
            "circle.com",
            " 400 ",
            "CNAME lookup failed to resolve to a valid domain",
        ),
        (
            "lost.com",
            " 400 ",
            "CNAME lookup failed to resolve to a valid domain",
        ),
        (
            "a..b",
            " 400 ",
            "CNAME lookup failed to resolve to a valid domain",
        ),
        ("box.AUTH-test.example.net", " 200 ", "content"),
    ] {
        let text = format!(
            "GET /o HTTP/1.1\r\nHost: {host}\r\nX-Auth-Token: {}\r\nConnection: close\r\n\r\n",
            user.token
        );
        let address = address.clone();
        let answer = tokio::task::spawn_blocking(move || raw(&address, text.as_bytes()))
            .await
            .unwrap();
        assert!(
            answer.contains(status) && answer.ends_with(words),
            "{host}: {answer}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_in_swifts_own_line() {
    let cluster = Cluster::start();
    let (_proxy, address) = cluster.start_proxy(
        "[proxy_logging]
         log_format = 'swift'
         log_anonymization_salt = 'salt'",
    );
    let user = Swift::login(&address, "test:tester", "testing").await;
    assert_eq!(user.call("PUT", "/box", &[], "").await.status, 201);
    let headers = [
        ("user-agent", "a tester"),
        ("x-forwarded-for", "1.2.3.4, 5.6.7.8"),
    ];
    assert_eq!(user.call("PUT", "/box/o", &headers, "content").await.status, 201);
    assert_eq!(
        user.call("GET", "/box/o?temp_url_sig=0123456789abcdef0123", &headers, "")
            .await
            .status
            / 100,
        4
    );
    let cut = &user.token[..16];
    wait_for("both lines", || {
        let log = log_of(&cluster, &address);
        let put = log
            .lines()
            .find(|line| line.contains(" PUT /v1/AUTH_test/box/o "));
        let get = log
            .lines()
            .any(|line| line.contains("/box/o%3Ftemp_url_sig%3D0123456789abcdef... "));
        let Some(put) = put else { return false };
        let fields: Vec<&str> = put.split_whitespace().collect();
        let begin = fields
            .iter()
            .position(|field| *field == "1.2.3.4")
            .expect("the client's address");
        assert_eq!(&fields[begin + 1..begin + 2], ["127.0.0.1"]);
        assert_eq!(
            &fields[begin + 3..begin + 12],
            [
                "PUT",
                "/v1/AUTH_test/box/o",
                "HTTP/1.1",
                "201",
                "-",
                "a%20tester",
                &format!("{cut}..."),
                "7",
                fields[begin + 11]
            ]
        );
        assert_eq!(fields.len() - begin, 22, "{put}");
        // The policy of the container, and who it was.
        assert_eq!(&fields[begin + 20..], ["0", "test:tester"]);
        get
    });
    assert!(
        !log_of(&cluster, &address).contains(&user.token),
        "a token is in the log"
    );
}
