//! Segments that change, nodes that die and clients that leave while a large object is being sent: whoever gets bytes
//! gets the right ones, and nothing stays behind.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use support::http::Swift;
use support::{Cluster, wait_for};

/// More than the sockets on the way can hold: a client that does not read holds the sending up.
const SEGMENTS: usize = 48;
const SEGMENT_BYTES: usize = 1 << 20;
/// A segment that is not asked for before its turn is near.
const LATE: usize = 40;
const CLIENTS: usize = 24;

/// No segment is like another.
fn segment(index: usize) -> Vec<u8> {
    let bytes = (0..SEGMENT_BYTES).map(|at| (at.wrapping_mul(at) >> 5) as u8 ^ (index * 37) as u8);
    bytes.collect()
}

/// `/big/whole`, of all segments in `/segs`; its bytes.
async fn store(user: &Swift) -> Vec<u8> {
    for container in ["/segs", "/big"] {
        assert_eq!(user.call("PUT", container, &[], "").await.status, 201);
    }
    let mut whole = Vec::new();
    let mut manifest = Vec::new();
    for index in 0..SEGMENTS {
        let body = segment(index);
        whole.extend_from_slice(&body);
        let path = format!("/segs/{index:02}");
        assert_eq!(user.call("PUT", &path, &[], body).await.status, 201);
        manifest.push(format!(r#"{{"path":"{path}"}}"#));
    }
    let manifest = format!("[{}]", manifest.join(","));
    let made = user
        .call("PUT", "/big/whole?multipart-manifest=put", &[], manifest)
        .await;
    assert_eq!(made.status, 201, "{}", made.text());
    whole
}

/// A GET whose client reads when it likes.
struct Download(TcpStream);

impl Download {
    /// Reads the head, and the first byte of the body.
    fn begin(cluster: &Cluster, user: &Swift) -> Download {
        let mut stream = TcpStream::connect(cluster.address()).expect("the proxy accepts");
        let request = format!(
            "GET {}/big/whole HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {}\r\nConnection: close\r\n\r\n",
            user.account, user.token
        );
        stream.write_all(request.as_bytes()).expect("the proxy reads");
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).expect("a head");
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 200 "));
        stream.read_exact(&mut byte).expect("a body");
        assert_eq!(byte[0], segment(0)[0]);
        Download(stream)
    }

    /// What else comes until the connection ends.
    fn rest(mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // A body that is broken off may be told by a reset.
        let _ = self.0.read_to_end(&mut bytes);
        bytes
    }
}

/// One end of a connection on this machine, from the kernel's table.
struct End {
    local_port: u16,
    remote_port: u16,
    /// What came and was not read, bytes.
    unread: usize,
}

/// The ends that a process holds: established ones, and those that only the other side has left. The table
/// is not read at one instant, so that a look may miss one.
fn held_ends() -> Vec<End> {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("this is Linux");
    let hex =
        |text: &str| usize::from_str_radix(text.rsplit_once(':').expect("a pair").1, 16).expect("a number");
    let end = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        ["01", "08"].contains(&columns[3]).then(|| End {
            local_port: hex(columns[1]) as u16,
            remote_port: hex(columns[2]) as u16,
            unread: hex(columns[4]),
        })
    };
    table.lines().skip(1).filter_map(end).collect()
}

fn port(address: &str) -> u16 {
    address
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse().ok())
        .expect("an address")
}

/// Clients the proxy still holds a connection of, whether or not they have left.
fn clients_of(cluster: &Cluster) -> usize {
    let door = port(cluster.address());
    held_ends().iter().filter(|end| end.local_port == door).count()
}

/// Bytes that nodes have sent and the proxy has not taken.
fn unread_from_nodes(cluster: &Cluster) -> usize {
    let nodes: Vec<u16> = (1..=4)
        .map(|number| port(&cluster.node_address(number)))
        .collect();
    let ends = held_ends();
    let from_nodes = ends.iter().filter(|end| nodes.contains(&end.remote_port));
    from_nodes.map(|end| end.unread).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_whose_segment_changes_meanwhile_breaks_off_before_it() {
    let cluster = Cluster::start();
    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    let whole = store(&user).await;
    let late = format!("/segs/{LATE:02}");
    for change in ["PUT", "DELETE"] {
        let download = Download::begin(&cluster, &user);
        let body = if change == "PUT" { segment(0) } else { Vec::new() };
        assert!(user.call(change, &late, &[], body).await.status < 300);
        let rest = download.rest();
        assert!(
            rest.len() < LATE * SEGMENT_BYTES,
            "{change}: {} bytes came",
            rest.len()
        );
        assert!(rest == whole[1..][..rest.len()], "{change}: wrong bytes");
        assert_eq!(
            user.call("PUT", &late, &[], segment(LATE)).await.status,
            201,
            "{change}"
        );
        assert!(user.call("GET", "/big/whole", &[], "").await.body == whole);
    }
    // A range that does not touch it is not concerned.
    assert_eq!(user.call("DELETE", &late, &[], "").await.status, 204);
    let (from, to) = ((LATE - 1) * SEGMENT_BYTES - 5, LATE * SEGMENT_BYTES);
    let range = format!("bytes={from}-{}", to - 1);
    let part = user
        .call("GET", "/big/whole", &[("range", range.as_str())], "")
        .await;
    assert_eq!(part.status, 206);
    assert!(part.body == whole[from..to]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_die_are_no_end_however_long_the_client_takes() {
    let cluster = Cluster::start_processes();
    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    let whole = store(&user).await;
    let mut restarted = Vec::new();
    for number in 1..=2 {
        // By the time the client reads on, what was opened for it has died with its node.
        let download = Download::begin(&cluster, &user);
        cluster.kill_node(number);
        let rest = download.rest();
        assert!(rest == whole[1..], "node {number}: {} bytes came", rest.len());
        restarted.push(cluster.restart_node(number));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_leave_leave_nothing_behind() {
    let cluster = Cluster::start_processes();
    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    let whole = store(&user).await;
    wait_for("the last PUT's connection to end", || clients_of(&cluster) == 0);
    let downloads: Vec<Download> = (0..CLIENTS).map(|_| Download::begin(&cluster, &user)).collect();
    wait_for("the proxy to hold them all", || clients_of(&cluster) == CLIENTS);
    wait_for("segments to be begun for them", || {
        unread_from_nodes(&cluster) > 0
    });
    drop(downloads);
    wait_for("their connections to end", || clients_of(&cluster) == 0);
    wait_for("what was on its way to them to be given up", || {
        unread_from_nodes(&cluster) == 0
    });
    assert!(user.call("GET", "/big/whole", &[], "").await.body == whole);
}
