//! Forms that upload, through real processes: what browsers send, and what nobody should.

mod support;

use md5::{Digest, Md5};
use std::io::{Read, Write};
use std::net::TcpStream;
use support::http::{Answer, Swift, raw, request};
use support::signing::{in_seconds, sign};
use support::{Cluster, resident_bytes};

const KEY: &str = "account key";
const BOUNDARY: &str = "----WebKitFormBoundaryNcxTqxSlX7t4TDkR";

/// An account with a key, and the containers `box`, with a key of its own, and `other`.
async fn prepare(cluster: &Cluster) -> Swift {
    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    let key = [("x-account-meta-temp-url-key", KEY)];
    assert_eq!(user.call("POST", "", &key, "").await.status, 204);
    let key = [("x-container-meta-temp-url-key", "box key")];
    assert_eq!(user.call("PUT", "/box", &key, "").await.status, 201);
    assert_eq!(user.call("PUT", "/other", &[], "").await.status, 201);
    user
}

fn field(name: &str, value: &str) -> Vec<u8> {
    format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").into_bytes()
}

fn file(filename: &str, headers: &str, data: &[u8]) -> Vec<u8> {
    let disposition = format!("Content-Disposition: form-data; name=\"file\"; filename=\"{filename}\"");
    let mut part = format!("--{BOUNDARY}\r\n{disposition}\r\n{headers}\r\n").into_bytes();
    part.extend_from_slice(data);
    part.extend_from_slice(b"\r\n");
    part
}

fn end() -> Vec<u8> {
    format!("--{BOUNDARY}--\r\n").into_bytes()
}

/// The fields of a form that was signed for a path, for files of at most 1,000 bytes.
fn signed(key: &str, path: &str, redirect: &str, max_file_count: i64, expires: i64) -> Vec<u8> {
    let signature = sign(
        key,
        &format!("{path}\n{redirect}\n1000\n{max_file_count}\n{expires}"),
    );
    let mut fields = Vec::new();
    if !redirect.is_empty() {
        fields.extend(field("redirect", redirect));
    }
    fields.extend(field("max_file_size", "1000"));
    fields.extend(field("max_file_count", &max_file_count.to_string()));
    fields.extend(field("expires", &expires.to_string()));
    fields.extend(field("signature", &signature));
    fields
}

async fn post(cluster: &Cluster, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    let mut all = vec![("content-type", content_type.as_str())];
    all.extend_from_slice(headers);
    request(cluster.address(), "POST", path, &all, body)
        .await
        .expect("the proxy answers")
}

async fn names(user: &Swift, container: &str) -> String {
    user.call("GET", container, &[], "").await.text()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_uploads_its_files() {
    let cluster = Cluster::start();
    let user = prepare(&cluster).await;
    let path = format!("{}/box/up/", user.account);
    let expires = in_seconds(600);
    let files = [
        file("one.txt", "Content-Type: text/plain\r\n", b"Test File\nOne\n"),
        file(
            "two.html.gz",
            "Content-Type: text/html\r\nContent-Encoding: gzip\r\n",
            b"--\r\n--x\r\n",
        ),
        // An input that nobody chose a file for.
        file("", "Content-Type: application/octet-stream\r\n", b""),
        file("\u{2661} empty.css", "", b""),
    ];
    let body = [
        signed(KEY, &path, "http://page.org/done?a=b", 3, expires),
        files.concat(),
        end(),
    ]
    .concat();
    let answer = post(&cluster, &path, &[("origin", "http://page.org")], body.clone()).await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    assert_eq!(
        answer.header("location"),
        "http://page.org/done?a=b&status=201&message="
    );
    assert!(
        answer
            .text()
            .contains("href=\"http://page.org/done?a=b&amp;status=201&amp;message=\"")
    );

    assert_eq!(
        names(&user, "/box").await,
        "up/one.txt\nup/two.html.gz\nup/\u{2661} empty.css\n"
    );
    for (name, content_type, encoding, data) in [
        ("one.txt", "text/plain", "", "Test File\nOne\n"),
        ("two.html.gz", "text/html", "gzip", "--\r\n--x\r\n"),
        ("%E2%99%A1%20empty.css", "text/css", "", ""),
    ] {
        let kept = user.call("GET", &format!("/box/up/{name}"), &[], "").await;
        let seen = (
            kept.header("content-type"),
            kept.header("content-encoding"),
            kept.text(),
        );
        assert_eq!(seen, (content_type, encoding, data.to_owned()), "{name}");
    }

    // The same in pieces of one byte each.
    let mut chunked = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\
         Content-Type: multipart/form-data; boundary=\"{BOUNDARY}\"\r\n\r\n"
    )
    .into_bytes();
    for byte in &body {
        chunked.extend_from_slice(b"1\r\n");
        chunked.push(*byte);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let answer = raw(cluster.address(), &chunked);
    assert!(answer.starts_with("HTTP/1.1 303"), "{answer}");
    assert!(answer.contains("status=201"), "{answer}");

    // To the container itself, without a redirect; what the form says of type and end is for every file.
    let path = format!("{}/box", user.account);
    let hints = [
        field("x_delete_after", "500"),
        field("content-type", "image/png"),
        field("content-encoding", "br"),
    ];
    let late = field("content-type", "text/late");
    let files = [file("three", "Content-Type: text/plain\r\n", b"3"), late];
    let body = [
        signed("box key", &path, "", 1, expires),
        hints.concat(),
        files.concat(),
        end(),
    ]
    .concat();
    let answer = post(&cluster, &path, &[], body).await;
    assert_eq!((answer.status, answer.text().as_str()), (201, "201 Created"));
    assert_eq!(answer.header("content-type"), "text/plain");
    let kept = user.call("HEAD", "/box/three", &[], "").await;
    assert_eq!(
        (kept.header("content-type"), kept.header("content-encoding")),
        ("image/png", "br")
    );
    let ends: i64 = kept.header("x-delete-at").parse().expect("it ends");
    assert!((in_seconds(400)..=in_seconds(500)).contains(&ends));

    // Scripts of pages that the container names may read the answer.
    let allow = [("x-container-meta-access-control-allow-origin", "http://page.org")];
    assert_eq!(user.call("POST", "/box", &allow, "").await.status, 204);
    let body = [signed(KEY, &path, "", 1, expires), file("four", "", b"4"), end()].concat();
    let answer = post(&cluster, &path, &[("origin", "http://page.org")], body).await;
    assert_eq!(
        (answer.status, answer.header("access-control-allow-origin")),
        (201, "http://page.org")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_streams_through() {
    let cluster = Cluster::start();
    let user = prepare(&cluster).await;
    let path = format!("{}/box/", user.account);
    let expires = in_seconds(600);
    let size = 24 << 20;
    let signature = sign(KEY, &format!("{path}\n\n{size}\n1\n{expires}"));
    let fields = [
        field("max_file_size", &size.to_string()),
        field("max_file_count", "1"),
        field("expires", &expires.to_string()),
        field("signature", &signature),
    ];
    let data: Vec<u8> = (0..size).map(|at: usize| b"\r\n--x"[at * at % 5]).collect();
    let body = [fields.concat(), file("large", "", &data), end()].concat();
    assert_eq!(post(&cluster, &path, &[], body).await.status, 201);
    let kept = user.call("HEAD", "/box/large", &[], "").await;
    assert_eq!(kept.header("content-length"), size.to_string());
    let md5: String = Md5::digest(&data)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(kept.header("etag"), md5);
}

/// Sends a form whose file is `blocks` blocks of 1 MiB; the answer, and the most that the server had resident meanwhile.
fn stream_form(cluster: &Cluster, path: &str, fields: &[u8], blocks: u64) -> (String, u64) {
    let block = vec![b'\r'; 1 << 20];
    let start = file("streamed", "", b"");
    let start = &start[..start.len() - 2];
    let end = [b"\r\n".to_vec(), end()].concat();
    let length = (fields.len() + start.len() + end.len()) as u64 + (blocks << 20);
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\
         Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    );
    let mut stream = TcpStream::connect(cluster.address()).expect("the proxy accepts");
    let mut send = |bytes: &[u8]| stream.write_all(bytes).expect("the proxy reads on");
    send(head.as_bytes());
    send(fields);
    send(start);
    let mut most = 0;
    for _ in 0..blocks {
        send(&block);
        most = most.max(resident_bytes(cluster.pid()));
    }
    send(&end);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    (answer, most)
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_does_not_grow_with_a_file() {
    let cluster = Cluster::start();
    let user = prepare(&cluster).await;
    let path = format!("{}/box/", user.account);
    let (blocks, expires) = (384u64, in_seconds(600));
    let size = blocks << 20;
    let signature = sign(KEY, &format!("{path}\n\n{size}\n1\n{expires}"));
    let fields = [
        field("max_file_size", &size.to_string()),
        field("max_file_count", "1"),
        field("expires", &expires.to_string()),
        field("signature", &signature),
    ]
    .concat();
    let (answer, most) = stream_form(&cluster, &path, &fields, blocks);
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let kept = user.call("HEAD", "/box/streamed", &[], "").await;
    assert_eq!(kept.header("content-length"), size.to_string());
    assert!(most < 256 << 20, "{} MiB were resident", most >> 20);
    println!("most resident: {} MiB", most >> 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_good_for_what_was_signed() {
    let cluster = Cluster::start();
    let user = prepare(&cluster).await;
    let account = user.account.as_str();
    let (at_box, at_other) = (format!("{account}/box/"), format!("{account}/other/"));
    let soon = in_seconds(600);
    let upload = file("x", "", b"data");
    let missing = [("content-type", "text/plain")];
    for (path, fields, status, words) in [
        (
            &at_box,
            signed("no key", &at_box, "", 1, soon),
            401,
            "FormPost: Invalid Signature",
        ),
        (
            &at_box,
            signed("", &at_box, "", 1, soon),
            401,
            "FormPost: Invalid Signature",
        ),
        (
            &at_other,
            signed("box key", &at_other, "", 1, soon),
            401,
            "FormPost: Invalid Signature",
        ),
        (
            &at_other,
            signed(KEY, &at_box, "", 1, soon),
            401,
            "FormPost: Invalid Signature",
        ),
        (
            &account.to_owned(),
            signed(KEY, account, "", 1, soon),
            401,
            "FormPost: Invalid Signature",
        ),
        (
            &at_box,
            signed(KEY, &at_box, "", 1, in_seconds(-5)),
            401,
            "FormPost: Form Expired",
        ),
        (
            &at_box,
            signed(KEY, &at_box, "", 0, soon),
            400,
            "FormPost: Max File Count Exceeded",
        ),
        (&at_box, Vec::new(), 400, "FormPost: Max File Count Exceeded"),
        (
            &at_box,
            field("max_file_count", "many"),
            400,
            "FormPost: max_file_count not an integer",
        ),
        (
            &at_box,
            [signed(KEY, &at_box, "", 1, soon), field("max_file_size", "big")].concat(),
            400,
            "FormPost: max_file_size not an integer",
        ),
        (
            &at_box,
            [signed(KEY, &at_box, "", 1, soon), field("x_delete_at", "soon")].concat(),
            400,
            "FormPost: x_delete_at not an integer: Unix timestamp required.",
        ),
        (
            &at_box,
            [signed(KEY, &at_box, "", 1, soon), field("x_delete_after", "soon")].concat(),
            400,
            "FormPost: x_delete_after not an integer: Number of seconds required.",
        ),
    ] {
        let body = [fields, upload.clone(), end()].concat();
        let answer = post(&cluster, path, &[], body).await;
        assert_eq!(answer.status, status, "{words}: {}", answer.text());
        assert!(answer.text().contains(words), "{words}: {}", answer.text());
    }
    // A form is no way around a token that is wrong, and a POST that is no form is none.
    assert_eq!(
        post(&cluster, &at_box, &[("x-auth-token", "AUTH_tk00")], end())
            .await
            .status,
        401
    );
    let answer = request(cluster.address(), "POST", &at_box, &missing, "x").await;
    assert_eq!(answer.map(|answer| answer.status), Some(401));
    assert_eq!(names(&user, "/box").await + &names(&user, "/other").await, "");

    // A file too many or too large is refused; what came before it stays.
    let files = [file("a", "", b"1"), file("b", "", b"2")].concat();
    let body = [signed(KEY, &at_box, "http://r", 1, soon), files.clone(), end()].concat();
    let answer = post(&cluster, &at_box, &[], body).await;
    assert_eq!(answer.status, 303);
    assert_eq!(
        answer.header("location"),
        "http://r?status=400&message=max%20file%20count%20exceeded"
    );
    assert_eq!(names(&user, "/box").await, "a\n");
    for size in [1_001, 100_000, 3_000_000] {
        let large = file("large", "", &vec![b'l'; size]);
        let body = [
            signed(KEY, &at_box, "", 2, soon),
            file("c", "", &[b'c'; 1000]),
            large,
            end(),
        ]
        .concat();
        let answer = post(&cluster, &at_box, &[], body).await;
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (400, "FormPost: max_file_size exceeded"),
            "{size}"
        );
        assert_eq!(names(&user, "/box").await, "a\nc\n");
    }

    // The name of a file stays a name, and inside the container.
    for name in ["../other/x", "/other/x", "a\\b", "..", &"n".repeat(1025), "\0x"] {
        let body = [signed(KEY, &at_box, "", 1, soon), file(name, "", b"1"), end()].concat();
        let answer = post(&cluster, &at_box, &[], body).await;
        assert!(
            answer.status == 201 || (400..500).contains(&answer.status),
            "{name}: {}",
            answer.status
        );
    }
    assert_eq!(names(&user, "/other").await, "");
    assert_eq!(
        names(&user, "/box").await,
        "..\n../other/x\n/other/x\na\na\\b\nc\n"
    );

    // What the storage says of a refused file is passed on.
    let gone = format!("{account}/gone/");
    let body = [signed(KEY, &gone, "", 1, soon), upload.clone(), end()].concat();
    assert_eq!(post(&cluster, &gone, &[], body).await.status, 404);
    let body = [signed(KEY, &gone, "http://r", 1, soon), upload, end()].concat();
    assert_eq!(
        post(&cluster, &gone, &[], body).await.header("location"),
        "http://r?status=404&message="
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_bodies_store_nothing() {
    let cluster = Cluster::start();
    let user = prepare(&cluster).await;
    let path = format!("{}/box/", user.account);
    let form = || signed(KEY, &path, "", 9, in_seconds(600));
    let upload = file("x", "", b"data");
    let open = upload[..upload.len() - 2].to_vec();
    let mid_header =
        format!("--{BOUNDARY}\r\nContent-Disposition: form-data; filename=\"x\"\r\n").into_bytes();
    let long_header = file("x", &format!("A: {}\r\n", "a".repeat(9_000)), b"data");
    let not_text = [field("a", "")[..].to_vec(), b"\xff".to_vec()].concat();
    let many = (0..200)
        .flat_map(|number| field(&number.to_string(), "v"))
        .collect::<Vec<u8>>();
    for (what, body) in [
        ("nothing", Vec::new()),
        ("no boundary", b"data".to_vec()),
        (
            "junk before the boundary",
            [b"XX".to_vec(), form(), upload.clone(), end()].concat(),
        ),
        ("no files", [form(), end()].concat()),
        ("no end", [form(), open.clone()].concat()),
        (
            "half an end",
            [form(), open.clone(), format!("\r\n--{BOUNDARY}-").into_bytes()].concat(),
        ),
        (
            "a longer boundary",
            [
                form(),
                open,
                format!("\r\n--{BOUNDARY}x\r\n\r\n").into_bytes(),
                end(),
            ]
            .concat(),
        ),
        ("headers that do not end", [form(), mid_header.clone()].concat()),
        ("a boundary among headers", [form(), mid_header, end()].concat()),
        ("long headers", [form(), long_header, end()].concat()),
        (
            "bytes that are no text",
            [not_text, form(), upload.clone(), end()].concat(),
        ),
        ("many fields", [many, form(), upload.clone(), end()].concat()),
        ("only line ends", b"\r\n".repeat(10_000)),
    ] {
        let answer = post(&cluster, &path, &[], body).await;
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
        assert!(answer.text().contains("FormPost"), "{what}: {}", answer.text());
        assert_eq!(names(&user, "/box").await, "", "{what}");
    }
    for boundary in ["\"\"", &"b".repeat(300)] {
        let content_type = format!("multipart/form-data; boundary={boundary}");
        let headers = [("content-type", content_type.as_str())];
        let answer = request(cluster.address(), "POST", &path, &headers, "x")
            .await
            .expect("an answer");
        assert!(
            (400..500).contains(&answer.status),
            "{boundary}: {}",
            answer.status
        );
    }
    // A client that leaves in the middle of a file leaves nothing.
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\
         Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    );
    raw(cluster.address(), &[head.into_bytes(), form(), upload].concat());
    assert_eq!(names(&user, "/box").await, "");
}
