//! Streams a body to all replicas at once: one read of the client, one MD5, the bytes shared, never copied.
//!
//! Each replica has a bounded queue. While one is full the client is not read; one that stays full for
//! `upload_stall_ms` while a quorum goes on is dropped. Until the trailers are sent no replica takes the body for whole,
//! so letting go of the uploads at any point before leaves nothing stored.

use super::Core;
use super::answer;
use super::backend;
use super::checks::BodyLength;
use super::fan_out::Handoffs;
use super::placement::{Peer, Placement};
use super::put::{Incoming, Stored, check_promise, next_chunk, quorum_is_reachable, trailing};
use super::quorum::{PutQuorum, Step};
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use http::header::{HeaderMap, HeaderValue, TRAILER};
use http::{Method, StatusCode};
use martlet_node_client::{BackendRequest, NodeError, Ready, Upload};
use martlet_protocol::header;
use martlet_protocol::name::ObjectPath;
use martlet_service::{Response, headers};
use md5::{Digest, Md5};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Trailers the proxy may send, announced as HTTP asks: its own, and the metadata that steps learn from a body.
const TRAILERS: &str = "x-backend-martlet-etag, x-backend-martlet-length, \
    x-object-sysmeta-s3-checksum-type, x-object-sysmeta-s3-checksum-crc32, x-object-sysmeta-s3-checksum-crc32c, \
    x-object-sysmeta-s3-checksum-crc64nvme, x-object-sysmeta-s3-checksum-sha1, x-object-sysmeta-s3-checksum-sha256, \
    x-object-sysmeta-martlet-s3-etag, x-object-sysmeta-martlet-multipart, x-object-sysmeta-slo-etag, \
    x-object-sysmeta-slo-size, x-object-sysmeta-container-update-override-etag, \
    x-object-sysmeta-container-update-override-size, x-object-sysmeta-container-update-override-content-type";

/// A replica that takes bytes.
struct Open {
    slot: usize,
    peer: Arc<Peer>,
    upload: Upload,
}

/// What a quorum of replicas gave before the body.
struct Opened {
    quorum: PutQuorum,
    uploads: Vec<Open>,
    /// For each slot, the device that is to hold it now.
    on_primary: Vec<bool>,
}

/// Stores a body of any length; see the head of this file.
pub async fn store(
    core: &Arc<Core>,
    placement: Placement,
    path: &ObjectPath,
    headers: Vec<HeaderMap>,
    mut incoming: Incoming,
) -> Result<Stored, Response> {
    if !quorum_is_reachable(core, &placement).await {
        return Err(answer::unavailable());
    }
    let headers = headers
        .into_iter()
        .map(|head| with_stream_headers(head, incoming.length))
        .collect();
    let mut opened = match Opening::new(core, &placement, path, headers).run().await? {
        Ok(opened) => opened,
        Err(decided) => {
            return Ok(Stored {
                status: decided,
                etag: String::new(),
            });
        }
    };
    let (etag, length) = send_body(core, &mut opened, &mut incoming).await?;
    check_promise(incoming.promised_etag.as_deref(), &etag)?;
    let mut trailers = trailing(incoming.trailing.as_ref(), &incoming.body);
    headers::set(&mut trailers, header::X_BACKEND_MARTLET_ETAG, &etag);
    backend::put(
        &mut trailers,
        header::X_BACKEND_MARTLET_LENGTH,
        HeaderValue::from(length),
    );
    let (decided, decision) = oneshot::channel();
    core.tasks.spawn(
        "commit",
        commit(Arc::clone(core), placement, opened, trailers, decided),
    );
    match decision.await {
        Ok(Step::Succeed(status)) => Ok(Stored { status, etag }),
        Ok(Step::Fail(status)) => Err(answer::page(status)),
        Ok(Step::Wait | Step::TryHandoff(_) | Step::StartBody) | Err(_) => Err(answer::unavailable()),
    }
}

fn with_stream_headers(mut head: HeaderMap, length: BodyLength) -> HeaderMap {
    backend::put(
        &mut head,
        header::X_BACKEND_MARTLET_ETAG_TRAILER,
        HeaderValue::from_static("1"),
    );
    head.insert(TRAILER, HeaderValue::from_static(TRAILERS));
    if let BodyLength::Known(length) = length {
        // Room is kept on the device before the first byte: a full one says so at once.
        backend::put(
            &mut head,
            "x-backend-obj-content-length",
            HeaderValue::from(length),
        );
    }
    head
}

/// What a device said to the head of a PUT.
enum Said {
    Ready(Upload),
    Final(StatusCode),
    Failed,
}

/// The opening of all slots, on handoffs where primaries fail.
struct Opening<'a> {
    core: &'a Core,
    placement: &'a Placement,
    path: String,
    headers: Vec<HeaderMap>,
    handoffs: Handoffs,
    quorum: PutQuorum,
    uploads: Vec<Open>,
    on_primary: Vec<bool>,
    /// Which attempt of each slot counts; what earlier ones say is passed over.
    attempts: Vec<usize>,
    settled: Vec<bool>,
}

/// One attempt to open one slot, and what came of it.
struct Attempt {
    slot: usize,
    number: usize,
    peer: Arc<Peer>,
    said: Said,
}

impl<'a> Opening<'a> {
    fn new(core: &'a Core, placement: &'a Placement, path: &ObjectPath, headers: Vec<HeaderMap>) -> Self {
        let slots = headers.len();
        Opening {
            core,
            placement,
            path: backend::backend_path(placement, &path.path()),
            headers,
            handoffs: Handoffs::new(),
            // Handoffs are counted where they are taken.
            quorum: PutQuorum::new(slots, usize::MAX),
            uploads: Vec::with_capacity(slots),
            on_primary: vec![true; slots],
            attempts: vec![0; slots],
            settled: vec![false; slots],
        }
    }

    /// Opens every slot until a quorum takes bytes and the others had their time: the late get one handoff, then are
    /// left behind.
    ///
    /// # Errors
    /// Outer: the refusal for the client. Inner: the PUT is decided without its body (something newer is there).
    async fn run(mut self) -> Result<Result<Opened, StatusCode>, Response> {
        let grace = Duration::from_millis(self.core.config.open_grace_ms);
        let mut attempts = FuturesUnordered::new();
        let primaries = self.placement.primaries.iter().take(self.headers.len());
        let passed_by = join_all(primaries.map(|primary| self.core.is_passed_by(primary))).await;
        for (slot, (primary, passed_by)) in self.placement.primaries.iter().zip(passed_by).enumerate() {
            let stand_in = match passed_by {
                true => self.handoffs.take(self.core, self.placement),
                false => None,
            };
            self.on_primary[slot] = stand_in.is_none();
            attempts.push(self.attempt(slot, stand_in.unwrap_or_else(|| Arc::clone(primary))));
        }
        let mut step = self.quorum.next();
        let mut deadline: Option<Instant> = None;
        let mut graces_left = 2;
        loop {
            match step {
                Step::Fail(status) => return Err(answer::page(status)),
                Step::Succeed(status) => return Ok(Err(status)),
                Step::StartBody if self.quorum.settled() => break,
                Step::StartBody => {
                    deadline.get_or_insert_with(|| Instant::now() + grace);
                }
                Step::Wait | Step::TryHandoff(_) => {}
            }
            let next = match deadline {
                None => attempts.next().await,
                Some(deadline) => tokio::time::timeout_at(deadline, attempts.next())
                    .await
                    .unwrap_or_default(),
            };
            let Some(attempt) = next else {
                // Time is over, or nothing is out.
                deadline = None;
                graces_left -= 1;
                for slot in 0..self.settled.len() {
                    if self.settled[slot] {
                        continue;
                    }
                    match self.stand_in(slot).filter(|_| graces_left > 0) {
                        Some(handoff) => attempts.push(self.attempt(slot, handoff)),
                        None => self.leave_behind(slot),
                    }
                }
                step = self.quorum.next();
                continue;
            };
            if attempt.number != self.attempts[attempt.slot] || self.settled[attempt.slot] {
                continue;
            }
            let slot = attempt.slot;
            match attempt.said {
                Said::Ready(upload) => {
                    self.settled[slot] = true;
                    self.uploads.push(Open {
                        slot,
                        peer: attempt.peer,
                        upload,
                    });
                    self.quorum.connected(slot);
                }
                Said::Final(status) => {
                    self.settled[slot] = true;
                    self.quorum.answered(slot, status);
                }
                Said::Failed => match self.stand_in(slot) {
                    Some(handoff) => attempts.push(self.attempt(slot, handoff)),
                    None => self.leave_behind(slot),
                },
            }
            step = self.quorum.next();
        }
        if self.uploads.is_empty() {
            return Err(answer::unavailable());
        }
        Ok(Ok(Opened {
            quorum: self.quorum,
            uploads: self.uploads,
            on_primary: self.on_primary,
        }))
    }

    /// The handoff a failed slot goes to, if the plan wants one and one is left.
    fn stand_in(&mut self, slot: usize) -> Option<Arc<Peer>> {
        match self.quorum.failed(slot) {
            Step::TryHandoff(_) => self.handoffs.take(self.core, self.placement),
            _ => None,
        }
    }

    fn leave_behind(&mut self, slot: usize) {
        self.settled[slot] = true;
        self.on_primary[slot] = false;
        self.quorum.stalled(slot);
    }

    /// Begins one attempt. The future holds the upload, so that dropping it lets the upload go.
    fn attempt(&mut self, slot: usize, peer: Arc<Peer>) -> impl Future<Output = Attempt> + use<'a> {
        let primary = &self.placement.primaries[slot];
        self.on_primary[slot] = Arc::ptr_eq(primary, &peer);
        self.attempts[slot] += 1;
        let number = self.attempts[slot];
        let mut request = BackendRequest::new(Method::PUT, self.path.clone());
        request.headers = self.headers[slot].clone();
        backend::tell_missed(&peer, &mut request.headers);
        let core = self.core;
        async move {
            let said = open(core, &peer, request).await;
            Attempt {
                slot,
                number,
                peer,
                said,
            }
        }
    }
}

async fn open(core: &Core, peer: &Peer, request: BackendRequest) -> Said {
    let ready = async {
        let mut upload = core
            .client
            .open(&peer.node, request, core.config.upload_queue_chunks)?;
        let ready = upload.ready().await?;
        Ok((upload, ready))
    };
    match ready.await {
        Ok((upload, Ready::Continue)) => Said::Ready(upload),
        Ok((_, Ready::Answered(response))) => match core.hear(peer, Ok(response)) {
            Ok(response) => Said::Final(response.status()),
            Err(_) => Said::Failed,
        },
        Err(error) => {
            core.blame(peer, &error);
            Said::Failed
        }
    }
}

/// Reads the client to its end and feeds every replica; the MD5 of the body and its length.
async fn send_body(
    core: &Core,
    opened: &mut Opened,
    incoming: &mut Incoming,
) -> Result<(String, u64), Response> {
    opened.quorum.body_started();
    let mut md5 = Md5::new();
    let mut length: u64 = 0;
    while let Some(chunk) = next_chunk(core, &mut incoming.body).await? {
        length += chunk.len() as u64;
        match incoming.length {
            BodyLength::Known(known) if length > known => {
                return Err(answer::bad_request("Body is longer than its Content-Length"));
            }
            BodyLength::Chunked if length > core.limits.max_file_size => {
                return Err(answer::said(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "Your request is too large.",
                ));
            }
            BodyLength::Known(_) | BodyLength::Chunked => {}
        }
        md5.update(&chunk);
        if let Step::Fail(status) = feed(core, opened, &chunk).await {
            return Err(answer::page(status));
        }
    }
    if matches!(incoming.length, BodyLength::Known(known) if known != length) {
        return Err(answer::client_disconnect());
    }
    Ok((hex::encode(md5.finalize()), length))
}

/// Gives one chunk to every replica. Those that break, or stay full while the others have taken it, are dropped.
async fn feed(core: &Core, opened: &mut Opened, chunk: &Bytes) -> Step {
    let patience = Duration::from_millis(core.config.upload_stall_ms);
    let sent = opened
        .uploads
        .iter_mut()
        .map(|open| tokio::time::timeout(patience, open.upload.send(chunk.clone())));
    let sent = join_all(sent).await;
    let mut step = Step::Wait;
    let mut results = sent.into_iter();
    opened.uploads.retain(|open| {
        let error = match results.next() {
            Some(Ok(Ok(()))) | None => return true,
            Some(Ok(Err(error))) => error,
            Some(Err(_)) => NodeError::Stalled,
        };
        core.blame(&open.peer, &error);
        step = opened.quorum.stalled(open.slot);
        false
    });
    step
}

/// Ends the body on every replica and hears their answers. Runs to its end whatever becomes of the client.
async fn commit(
    core: Arc<Core>,
    placement: Placement,
    opened: Opened,
    trailers: HeaderMap,
    decided: oneshot::Sender<Step>,
) {
    let Opened {
        mut quorum,
        uploads,
        on_primary,
    } = opened;
    let mut delivered = vec![false; on_primary.len()];
    let mut finishing: FuturesUnordered<_> = uploads
        .into_iter()
        .map(|open| {
            let (core, trailers) = (&core, trailers.clone());
            async move {
                let answered = core.hear(&open.peer, open.upload.finish(Some(trailers)).await);
                (open.slot, answered.map(|response| response.status()))
            }
        })
        .collect();
    let mut step = quorum.next();
    let mut deadline: Option<Instant> = None;
    loop {
        let next = match deadline {
            None => finishing.next().await,
            Some(deadline) => tokio::time::timeout_at(deadline, finishing.next())
                .await
                .unwrap_or_default(),
        };
        let Some((slot, answered)) = next else { break };
        step = match answered {
            Ok(status) => {
                delivered[slot] = on_primary[slot];
                quorum.answered(slot, status)
            }
            Err(_) => quorum.failed(slot),
        };
        if deadline.is_none() && !matches!(step, Step::Wait) {
            deadline = Some(Instant::now() + Duration::from_millis(core.config.post_quorum_timeout_ms));
        }
    }
    core.mark_undelivered(&placement, &delivered);
    // A client that has left needs no answer; the stragglers go on.
    let _ = decided.send(step);
    while finishing.next().await.is_some() {}
}
