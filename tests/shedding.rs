//! A proxy that has more to do than it may says so at once, and goes on with what it has begun.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use support::Cluster;
use support::http::{Swift, request};

/// More than the sockets between two processes hold, so that it is at work until it is read.
const LARGE: u64 = 64 << 20;

/// Reads an answer's head and no more.
fn begin(address: &str, user: &Swift, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
    let head = format!(
        "GET {}{path} HTTP/1.1\r\nhost: x\r\nx-auth-token: {}\r\nconnection: close\r\n\r\n",
        user.account, user.token
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    stream
}

async fn shed(address: &str, what: &str) -> Option<u64> {
    let text = request(address, "GET", "/metrics", &[], "").await.unwrap().text();
    let name = format!("martlet_shed_total{{what=\"{what}\"}} ");
    text.lines()
        .find_map(|line| line.strip_prefix(&name)?.parse().ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_the_bounds_are_sent_away_at_once() {
    let cluster = Cluster::start();
    let role = "max_requests = 1\nmax_waiting_requests = 1\nmax_wait_ms = 3600000\nexpose_metrics = true";
    let (_proxy, address) = cluster.start_proxy_as(role, "");
    let user = Swift::login(&address, "test:tester", "testing").await;
    assert_eq!(user.call("PUT", "/c", &[], "").await.status, 201);
    assert_eq!(support::http::stream_in(&user, "/c/large", LARGE).await, 201);
    assert_eq!(user.call("PUT", "/c/small", &[], "small").await.status, 201);

    let mut at_work = begin(&address, &user, "/c/large");
    // Of two more one waits and one is sent away, whichever comes first.
    let ask = || {
        let user = user.clone();
        tokio::spawn(async move { user.call("GET", "/c/small", &[], "").await })
    };
    let (one, two) = (ask(), ask());
    let (sent_away, waits) = match futures(one, two).await {
        (first, rest) if first.status == 503 => (first, rest),
        (first, _) => panic!("{}: {}", first.status, first.text()),
    };
    assert_eq!(sent_away.header("retry-after"), "1");
    assert_eq!(shed(&address, "requests").await, Some(1));
    assert_eq!(
        request(&address, "GET", "/healthcheck", &[], "")
            .await
            .unwrap()
            .text(),
        "OK"
    );

    // The end of what is at work makes room for the one that waits.
    let mut rest = Vec::new();
    at_work.read_to_end(&mut rest).unwrap();
    assert!(rest.len() as u64 > LARGE);
    let answer = waits.await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "small"));
    assert_eq!(user.call("GET", "/c/small", &[], "").await.status, 200);
}

type Asked = tokio::task::JoinHandle<support::http::Answer>;

/// The first of two answers, and the other that is still to come.
async fn futures(mut one: Asked, mut two: Asked) -> (support::http::Answer, Asked) {
    tokio::select! {
        answer = &mut one => (answer.unwrap(), two),
        answer = &mut two => (answer.unwrap(), one),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_bounds_are_told_at_once() {
    let cluster = Cluster::start();
    let (_proxy, address) = cluster.start_proxy_as("max_connections = 2\nexpose_metrics = true", "");
    let hold = || {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
            .write_all(b"GET /healthcheck HTTP/1.1\r\nhost: x\r\n\r\n")
            .unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).unwrap();
        (String::from_utf8_lossy(&first).into_owned(), stream)
    };
    // Both keep their connections open; the one that looked whether the proxy is up may still be leaving.
    let mut held = Vec::new();
    support::wait_for("two connections to be served", || {
        let (first, stream) = hold();
        if first == "HTTP/1.1 200" {
            held.push(stream);
        }
        held.len() == 2
    });
    let told = support::http::raw(&address, b"GET /healthcheck HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(told.starts_with("HTTP/1.1 503 "), "{told}");
    assert!(told.contains("\r\nRetry-After: 1\r\n"), "{told}");
    // Those who left made room.
    held.clear();
    support::wait_for("room for another", || hold().0 == "HTTP/1.1 200");
    support::wait_for("room for the question", || {
        let told = support::http::raw(
            &address,
            b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        );
        told.contains("martlet_shed_total{what=\"connections\"} ")
    });
}
