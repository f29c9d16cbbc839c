//! Runs one step of the workload over keep-alive connections and measures it.

use crate::doors::Door;
use crate::options::Options;
use crate::server::Cluster;
use bytes::Bytes;
use http::{Method, Request, response};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rand::RngCore;
use std::time::{Duration, Instant};

const SMALL_BYTES: usize = 4 << 10;
const LARGE_BYTES: usize = 64 << 20;
const SEGMENT_BYTES: usize = 1 << 20;
/// Listings of one step and round.
const LISTINGS: usize = 40;

/// The contents of all objects, made once.
pub struct Bodies {
    small: Bytes,
    large: Bytes,
}

impl Bodies {
    pub fn random() -> Bodies {
        let mut bytes = vec![0; LARGE_BYTES];
        rand::rng().fill_bytes(&mut bytes);
        let large = Bytes::from(bytes);
        Bodies {
            small: large.slice(..SMALL_BYTES),
            large,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Step {
    Small(&'static str),
    Large(&'static str),
    /// One object of many mebibytes, and the same bytes as so many segments.
    Whole,
    Joined,
    List(usize),
}

impl Step {
    /// In the order they run: what is read or deleted was written before.
    pub fn all(options: &Options) -> Vec<Step> {
        let mut steps: Vec<Step> = ["PUT", "GET", "HEAD", "DELETE"].map(Step::Small).to_vec();
        steps.extend(["PUT", "GET"].map(Step::Large));
        steps.extend([Step::Whole, Step::Joined]);
        steps.extend(options.row_counts.iter().map(|rows| Step::List(*rows)));
        steps
    }

    /// Whether a door has this step: S3 makes segmented objects in another way.
    pub fn is_for(self, door: &Door) -> bool {
        !matches!(self, Step::Whole | Step::Joined) || matches!(door, Door::Swift { .. })
    }

    pub fn name(self) -> String {
        match self {
            Step::Small(verb) => format!("{verb} 4 KiB"),
            Step::Large(verb) => format!("{verb} 64 MiB"),
            Step::Whole => "GET as one".to_owned(),
            Step::Joined => "GET as segments".to_owned(),
            Step::List(rows) => format!("LIST {rows}"),
        }
    }
}

/// What one run of a step gave.
#[derive(Default)]
pub struct Measured {
    pub latencies: Vec<Duration>,
    pub elapsed: Duration,
    pub cpu_seconds: f64,
    pub errors: usize,
}

/// One keep-alive connection.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    pub async fn open(address: &str) -> Option<Connection> {
        let stream = tokio::net::TcpStream::connect(address).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        // Ends with the sender, or with the server.
        tokio::spawn(connection);
        Some(Connection { sender })
    }

    /// The head, and the length of a body read to its end. `None`: no whole answer came.
    pub async fn call(&mut self, request: Request<Full<Bytes>>) -> Option<(response::Parts, usize)> {
        self.sender.ready().await.ok()?;
        let (head, mut body) = self.sender.send_request(request).await.ok()?.into_parts();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            length += frame.ok()?.data_ref().map_or(0, Bytes::len);
        }
        Some((head, length))
    }
}

/// One unit of work: requests that follow each other, and the body length that the last must bring, if it is known.
type Work = (Vec<Request<Full<Bytes>>>, Option<usize>);

pub async fn run(
    cluster: &Cluster,
    door: &Door,
    step: Step,
    round: usize,
    options: &Options,
    bodies: &Bodies,
) -> Measured {
    let container = door.container();
    let works: Vec<Work> = match step {
        Step::Small(verb) => {
            let key = |index: usize| format!("small-{round}-{index:06}");
            if verb != "PUT" && !options.wants(&format!("{} PUT 4 KiB", door.name())) {
                let puts = (0..options.requests)
                    .map(|index| work(door, "PUT", container, &key(index), &bodies.small));
                if let Some(failed) = unseen(cluster, options, puts.collect()).await {
                    return failed;
                }
            }
            (0..options.requests)
                .map(|index| work(door, verb, container, &key(index), &bodies.small))
                .collect()
        }
        Step::Large(verb) => {
            // The same few names in every round, so that the disk does not fill.
            let key = |index: usize| format!("large-{index:03}");
            if verb != "PUT" && !options.wants(&format!("{} PUT 64 MiB", door.name())) {
                let count = options.large_requests;
                let puts = (0..count).map(|index| work(door, "PUT", container, &key(index), &bodies.large));
                if let Some(failed) = unseen(cluster, options, puts.collect()).await {
                    return failed;
                }
            }
            (0..options.large_requests)
                .map(|index| work(door, verb, container, &key(index), &bodies.large))
                .collect()
        }
        Step::Whole | Step::Joined => {
            let is_first = matches!(step, Step::Whole)
                || !options.wants(&format!("{} {}", door.name(), Step::Whole.name()));
            if round == 0
                && is_first
                && let Some(failed) = prepare_segments(cluster, door, options, bodies).await
            {
                return failed;
            }
            let name = if matches!(step, Step::Whole) {
                "plain"
            } else {
                "segmented"
            };
            let get = door.object(Method::GET, container, name, Bytes::new());
            vec![(vec![get], Some(options.segments * SEGMENT_BYTES))]
        }
        Step::List(rows) => {
            let container = format!("rows-{}-{rows}", door.name());
            if round == 0 {
                door.create(cluster.address(), &container).await;
                let puts =
                    (0..rows).map(|index| work(door, "PUT", &container, &row_name(index), &Bytes::new()));
                if let Some(failed) = unseen(cluster, options, puts.collect()).await {
                    return failed;
                }
            }
            (0..LISTINGS)
                .map(|_| (door.listing(&container, rows, row_name), None))
                .collect()
        }
    };
    drive(cluster, options, works).await
}

/// Stores the segments, the object they make up, and its bytes once more as a plain object.
async fn prepare_segments(
    cluster: &Cluster,
    door: &Door,
    options: &Options,
    bodies: &Bodies,
) -> Option<Measured> {
    let container = door.container();
    let body = bodies.large.slice(..SEGMENT_BYTES);
    let puts = (0..options.segments).map(|index| work(door, "PUT", container, &segment_name(index), &body));
    if let Some(failed) = unseen(cluster, options, puts.collect()).await {
        return Some(failed);
    }
    let entries: Vec<String> = (0..options.segments)
        .map(|index| format!("{{\"path\":\"/{container}/{}\"}}", segment_name(index)))
        .collect();
    let manifest = Bytes::from(format!("[{}]", entries.join(",")));
    let joined = door.object(
        Method::PUT,
        container,
        "segmented?multipart-manifest=put",
        manifest,
    );
    let mut copied = door.object(Method::PUT, container, "plain", Bytes::new());
    let source = format!("/{container}/segmented").parse().expect("a header value");
    copied.headers_mut().insert("x-copy-from", source);
    unseen(cluster, options, vec![(vec![joined, copied], None)]).await
}

fn segment_name(index: usize) -> String {
    format!("segment-{index:05}")
}

fn row_name(index: usize) -> String {
    format!("row-{index:06}")
}

fn work(door: &Door, verb: &'static str, container: &str, key: &str, body: &Bytes) -> Work {
    let method = Method::from_bytes(verb.as_bytes()).expect("a method");
    let expected = (method == Method::GET).then_some(body.len());
    let sent = if method == Method::PUT {
        body.clone()
    } else {
        Bytes::new()
    };
    (vec![door.object(method, container, key, sent)], expected)
}

/// What must be there before a step, not part of its time. What failed here fails the step.
async fn unseen(cluster: &Cluster, options: &Options, works: Vec<Work>) -> Option<Measured> {
    let errors = drive(cluster, options, works).await.errors;
    (errors > 0).then(|| Measured {
        errors,
        ..Measured::default()
    })
}

/// Requests are built and signed before the clock starts.
async fn drive(cluster: &Cluster, options: &Options, works: Vec<Work>) -> Measured {
    let total = works.len();
    let mut shares: Vec<Vec<Work>> = (0..options.connections.min(total)).map(|_| Vec::new()).collect();
    let lanes = shares.len();
    for (index, work) in works.into_iter().enumerate() {
        shares[index % lanes].push(work);
    }
    let mut connections = Vec::with_capacity(lanes);
    for share in shares {
        match Connection::open(cluster.address()).await {
            Some(connection) => connections.push((connection, share)),
            None => {
                return Measured {
                    errors: total,
                    ..Measured::default()
                };
            }
        }
    }
    let cpu_before = cluster.cpu_seconds();
    let begun = Instant::now();
    let tasks: Vec<_> = connections
        .into_iter()
        .map(|(connection, share)| tokio::spawn(drive_one(connection, share)))
        .collect();
    let mut measured = Measured {
        latencies: Vec::with_capacity(total),
        ..Measured::default()
    };
    for task in tasks {
        let (latencies, errors) = task.await.expect("a client task ends");
        measured.latencies.extend(latencies);
        measured.errors += errors;
    }
    measured.elapsed = begun.elapsed();
    measured.cpu_seconds = cluster.cpu_seconds() - cpu_before;
    measured
}

async fn drive_one(mut connection: Connection, share: Vec<Work>) -> (Vec<Duration>, usize) {
    let mut latencies = Vec::with_capacity(share.len());
    let total = share.len();
    for (requests, expected) in share {
        let begun = Instant::now();
        let mut right = true;
        for request in requests {
            let Some((head, length)) = connection.call(request).await else {
                // The connection is gone, and with it all that was still to be asked.
                return (latencies.clone(), total - latencies.len());
            };
            right &= head.status.is_success() && expected.is_none_or(|expected| expected == length);
        }
        if right {
            latencies.push(begun.elapsed());
        }
    }
    let errors = total - latencies.len();
    (latencies, errors)
}
