//! A thousand segments of 1 MiB stream as one object: each byte in its place, and memory flat.

mod support;

use support::http::{Swift, stream_through};
use support::{Cluster, NODES, resident_bytes};

const SEGMENTS: usize = 1_000;
const SEGMENT_BYTES: usize = 1 << 20;
/// What may be resident more at any later moment than after the first segments.
const GROWTH_BYTES: u64 = 64 << 20;
/// Segments after which connections and buffers are as large as they get.
const WARM: u64 = 64;

/// Segments that are objects of their own; the others are the same again. All of them for `make test-large`.
fn distinct() -> usize {
    match std::env::var_os("MARTLET_TEST_LARGE") {
        Some(_) => SEGMENTS,
        None => 50,
    }
}

/// Bytes from which every segment is cut, each from another place, so that none can stand in for its neighbour.
struct Pattern(Vec<u8>);

impl Pattern {
    fn new() -> Self {
        let block: Vec<u8> = (0..4093_u32).map(|at| (at.wrapping_mul(at) >> 3) as u8).collect();
        Pattern(block.into_iter().cycle().take(SEGMENT_BYTES + 4093).collect())
    }

    fn segment(&self, index: usize) -> &[u8] {
        let shift = (index % distinct()) * 61 % 4093;
        &self.0[shift..shift + SEGMENT_BYTES]
    }

    /// Fails unless these are the bytes of the whole at a position.
    fn check(&self, mut at: u64, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (index, offset) = (at as usize / SEGMENT_BYTES, at as usize % SEGMENT_BYTES);
            let now = bytes.len().min(SEGMENT_BYTES - offset);
            assert!(
                bytes[..now] == self.segment(index)[offset..offset + now],
                "wrong bytes in segment {index}"
            );
            at += now as u64;
            bytes = &bytes[now..];
        }
    }
}

fn resident(cluster: &Cluster) -> u64 {
    let nodes = (1..=NODES).filter_map(|number| cluster.node_pid(number));
    let mut pids: Vec<u32> = nodes.map(|pid| pid as u32).chain([cluster.pid()]).collect();
    pids.sort_unstable();
    pids.dedup();
    pids.into_iter().map(resident_bytes).sum()
}

async fn a_thousand_segments(cluster: Cluster) {
    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    let pattern = Pattern::new();
    assert_eq!(user.call("PUT", "/segs", &[], "").await.status, 201);
    for index in 0..distinct() {
        let body = pattern.segment(index).to_vec();
        let answer = user.call("PUT", &format!("/segs/{index:04}"), &[], body).await;
        assert_eq!(answer.status, 201);
    }
    let entries: Vec<String> = (0..SEGMENTS)
        .map(|index| format!(r#"{{"path":"/segs/{:04}"}}"#, index % distinct()))
        .collect();
    let manifest = format!("[{}]", entries.join(","));
    let made = user
        .call("PUT", "/segs/whole?multipart-manifest=put", &[], manifest)
        .await;
    assert_eq!(made.status, 201, "{}", made.text());

    let (mut at, mut sampled, mut warm, mut most) = (0_u64, 0, 0, 0);
    let (status, length) = stream_through(&user, "/segs/whole", |bytes| {
        pattern.check(at, bytes);
        at += bytes.len() as u64;
        let segments = at / SEGMENT_BYTES as u64;
        if segments >= sampled + 8 {
            sampled = segments;
            let now = resident(&cluster);
            if segments <= WARM {
                warm = now;
            }
            most = most.max(now);
        }
    })
    .await;
    assert_eq!((status, length), (200, (SEGMENTS * SEGMENT_BYTES) as u64));
    let growth = most.saturating_sub(warm);
    assert!(growth < GROWTH_BYTES, "memory grew by {} MiB", growth >> 20);
    println!("resident: {} MiB, then at most {} MiB", warm >> 20, most >> 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_one_process() {
    a_thousand_segments(Cluster::start()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_sockets() {
    a_thousand_segments(Cluster::start_processes()).await;
}
