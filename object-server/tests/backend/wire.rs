//! The same over a socket: framing, early answers, callers that leave.

use crate::house::{House, get};
use martlet_service::{ServeOptions, Shutdown, ShutdownTrigger, serve};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Serves a house on a free port until the trigger is dropped.
async fn serve_on_port(house: &House) -> (TcpStream, ShutdownTrigger) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (trigger, shutdown) = Shutdown::new();
    tokio::spawn(serve(
        listener,
        house.server.clone(),
        ServeOptions::internal("object"),
        shutdown,
    ));
    (TcpStream::connect(address).await.unwrap(), trigger)
}

/// What comes back until the text is seen, or to the end of the connection.
async fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let received = stream.read(&mut buffer).await.unwrap();
        read.extend_from_slice(&buffer[..received]);
        let seen = String::from_utf8_lossy(&read).into_owned();
        if received == 0 || seen.contains(text) {
            return seen;
        }
    }
}

fn head(timestamp: u64, rest: &str) -> String {
    format!(
        "PUT /sda/7/a/c/o HTTP/1.1\r\nhost: node\r\nx-timestamp: {timestamp}\r\ncontent-type: text/plain\r\n{rest}\r\n"
    )
}

#[tokio::test]
async fn put_and_get_over_a_socket() {
    let house = House::new();
    let (mut stream, _trigger) = serve_on_port(&house).await;
    let put = head(5, "content-length: 4\r\n") + "data";
    stream.write_all(put.as_bytes()).await.unwrap();
    assert!(
        read_until(&mut stream, "\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 201 Created\r\n")
    );
    stream
        .write_all(b"GET /sda/7/a/c/o HTTP/1.1\r\nhost: node\r\n\r\n")
        .await
        .unwrap();
    let answer = read_until(&mut stream, "\r\n\r\ndata").await;
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("content-length: 4\r\n"),
        "{answer}"
    );
    stream
        .write_all(b"HEAD /sda/7/a/c/o HTTP/1.1\r\nhost: node\r\n\r\n")
        .await
        .unwrap();
    let answer = read_until(&mut stream, "\r\n\r\n").await;
    assert!(
        answer.contains("content-length: 4\r\n") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn chunked_bodies_and_their_trailers() {
    let house = House::new();
    let (mut stream, _trigger) = serve_on_port(&house).await;
    let put = head(
        5,
        "transfer-encoding: chunked\r\ntrailer: x-backend-martlet-etag\r\nx-backend-martlet-etag-trailer: 1\r\n",
    );
    let body = "2\r\nda\r\n2\r\nta\r\n0\r\nx-backend-martlet-etag: 8d777f385d3dfec8815d20f7496026dc\r\n\r\n";
    stream.write_all((put + body).as_bytes()).await.unwrap();
    assert!(
        read_until(&mut stream, "\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 201")
    );
    assert_eq!(get(&house).await.text(), "data");
}

#[tokio::test]
async fn what_cannot_succeed_is_told_instead_of_continue() {
    let house = House::new();
    house.store("9", b"data").await;
    let (mut stream, _trigger) = serve_on_port(&house).await;
    let expecting = "content-length: 1000000\r\nexpect: 100-continue\r\n";
    stream.write_all(head(5, expecting).as_bytes()).await.unwrap();
    let answer = read_until(&mut stream, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 409 Conflict\r\n"), "{answer}");
    assert!(
        answer.contains("x-backend-timestamp: 0000000009.00000\r\n"),
        "{answer}"
    );
    let (mut stream, _trigger) = serve_on_port(&house).await;
    stream.write_all(head(10, expecting).as_bytes()).await.unwrap();
    assert!(
        read_until(&mut stream, "\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 100 Continue\r\n")
    );
}

#[tokio::test]
async fn a_caller_that_leaves_midway_has_stored_nothing() {
    let house = House::new();
    for framing in [
        "content-length: 10\r\n\r\ndata",
        "transfer-encoding: chunked\r\n\r\n4\r\ndata\r\n",
    ] {
        let (mut stream, trigger) = serve_on_port(&house).await;
        let request = head(5, framing);
        stream
            .write_all(request.trim_end_matches("\r\n").as_bytes())
            .await
            .unwrap();
        stream.shutdown().await.unwrap();
        // The server closes its end when it has given the request up.
        let answer = tokio::time::timeout(Duration::from_secs(10), read_until(&mut stream, "\r\n\r\n")).await;
        let answer = answer.expect("the server gave the request up");
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
        drop(trigger);
        assert_eq!(get(&house).await.status, 404);
        assert_eq!(house.device.stats().await.unwrap().objects, 0);
    }
}
