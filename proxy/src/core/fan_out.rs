//! Sends a write to all primaries at once, to handoffs for those that fail, and waits for a quorum.
//!
//! The work runs in a task of its own: once begun it ends, also when the client has left. Stragglers are waited for only
//! a little; a device that did not do the write is marked as having missed it before the client hears of success.

use super::Core;
use super::backend;
use super::placement::{Peer, Placement};
use super::quorum::best_response;
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use http::header::HeaderMap;
use http::{Method, StatusCode};
use martlet_node_client::NodeError;
use martlet_service::{Body, Response};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// A write without a body, or with a small one in memory.
#[derive(Debug)]
pub struct Write {
    pub placement: Placement,
    pub method: Method,
    /// Quoted, from the account on.
    pub path: String,
    pub query: Option<String>,
    /// One for each replica.
    pub headers: Vec<HeaderMap>,
    pub body: Bytes,
    /// What a handoff's 404 counts as: it never had the thing, which says nothing about whether the thing is there.
    pub handoff_not_found: StatusCode,
}

/// The handoffs that writes of one request may still take.
#[derive(Debug)]
pub struct Handoffs(Mutex<Option<VecDeque<Arc<Peer>>>>);

impl Handoffs {
    pub fn new() -> Self {
        Handoffs(Mutex::new(None))
    }

    /// The next one that is not known to be down; those come when no other is left.
    pub fn take(&self, core: &Core, placement: &Placement) -> Option<Arc<Peer>> {
        let mut left = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let left = left.get_or_insert_with(|| {
            let now_ms = core.now_ms();
            let mut handoffs = placement.handoffs();
            handoffs.sort_by_key(|peer| peer.record.health.is_suspended(now_ms));
            handoffs.into()
        });
        left.pop_front()
    }
}

/// Sends the write. Returns what each replica answered, 503 for those that did not: as soon as all have, or a quorum
/// agrees and stragglers have had their time.
pub async fn fan_out(core: &Arc<Core>, write: Write) -> Vec<StatusCode> {
    let quorum = write.placement.quorum();
    fan_out_until(core, write, move |statuses| {
        best_response(statuses, quorum).is_some()
    })
    .await
}

/// As [`fan_out`], with the heads of the answers.
pub async fn fan_out_heads(core: &Arc<Core>, write: Write) -> Vec<Answer> {
    let quorum = write.placement.quorum();
    let enough = move |statuses: &[StatusCode]| best_response(statuses, quorum).is_some();
    heads_until(core, write, enough).await
}

/// As [`fan_out`], with another idea of when enough is known. `enough` sees the statuses that are known.
pub async fn fan_out_until(
    core: &Arc<Core>,
    write: Write,
    enough: impl Fn(&[StatusCode]) -> bool + Send + 'static,
) -> Vec<StatusCode> {
    let answers = heads_until(core, write, enough).await;
    answers.into_iter().map(|answer| answer.status).collect()
}

async fn heads_until(
    core: &Arc<Core>,
    write: Write,
    enough: impl Fn(&[StatusCode]) -> bool + Send + 'static,
) -> Vec<Answer> {
    let (decided, decision) = oneshot::channel();
    let slots = write.headers.len();
    let task = run(Arc::clone(core), write, enough, decided);
    core.tasks.spawn("write", task);
    decision.await.unwrap_or_else(|_| vec![Answer::none(); slots])
}

/// What a replica answered to a write.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
}

impl Answer {
    /// Of a replica that did not.
    fn none() -> Self {
        Answer {
            status: StatusCode::SERVICE_UNAVAILABLE,
            headers: HeaderMap::new(),
        }
    }
}

async fn run(
    core: Arc<Core>,
    write: Write,
    enough: impl Fn(&[StatusCode]) -> bool,
    decided: oneshot::Sender<Vec<Answer>>,
) {
    let slots = write.headers.len();
    let handoffs = Handoffs::new();
    let path = backend::backend_path(&write.placement, &write.path);
    let mut asked: FuturesUnordered<_> = (0..slots)
        .map(|slot| write_slot(&core, &write, &path, &handoffs, slot))
        .collect();
    let mut answers: Vec<Option<Answer>> = vec![None; slots];
    let mut delivered = vec![false; slots];
    let mut deadline: Option<Instant> = None;
    loop {
        let next = match deadline {
            None => asked.next().await,
            Some(deadline) => match tokio::time::timeout_at(deadline, asked.next()).await {
                Ok(next) => next,
                Err(_) => break,
            },
        };
        let Some((slot, answer, on_primary)) = next else {
            break;
        };
        answers[slot] = Some(answer);
        delivered[slot] = on_primary;
        let known: Vec<StatusCode> = answers.iter().flatten().map(|answer| answer.status).collect();
        if deadline.is_none() && enough(&known) {
            deadline = Some(Instant::now() + Duration::from_millis(core.config.post_quorum_timeout_ms));
        }
    }
    // Whoever has not done it by now has missed it, as far as readers may rely on.
    core.mark_undelivered(&write.placement, &delivered);
    for (peer, answer) in write.placement.primaries.iter().zip(&answers) {
        if answer.is_none() {
            core.blame(peer, &NodeError::Stalled);
        }
    }
    let told = answers
        .into_iter()
        .map(|answer| answer.unwrap_or_else(Answer::none))
        .collect();
    // A client that has left needs no answer; the write goes on.
    let _ = decided.send(told);
    while asked.next().await.is_some() {}
}

/// Sends one replica's request: to its primary, then to handoffs until one is able. Says whether the primary did it.
async fn write_slot(
    core: &Core,
    write: &Write,
    path: &str,
    handoffs: &Handoffs,
    slot: usize,
) -> (usize, Answer, bool) {
    let Some(primary) = write.placement.primaries.get(slot) else {
        return (slot, Answer::none(), true);
    };
    let suspended = core.is_passed_by(primary).await;
    if !suspended {
        let mut sent = send(core, write, path, primary, slot).await;
        // The connection may have led to a process that is gone, and another runs in its place: a write that has fewer
        // primaries than it could have is one that a majority of primaries may not know.
        if matches!(sent, Err(NodeError::Reset(_))) && core.greets(primary).await {
            sent = send(core, write, path, primary, slot).await;
        }
        if let Ok(response) = sent {
            return (slot, drained(response).await, true);
        }
    }
    core.mark_missed(primary);
    while let Some(handoff) = handoffs.take(core, &write.placement) {
        if let Ok(response) = send(core, write, path, &handoff, slot).await {
            let mut answer = drained(response).await;
            if answer.status == StatusCode::NOT_FOUND {
                answer.status = write.handoff_not_found;
            }
            return (slot, answer, false);
        }
    }
    // Nobody else is left: the suspended one may have come back.
    if suspended && let Ok(response) = send(core, write, path, primary, slot).await {
        return (slot, drained(response).await, true);
    }
    (slot, Answer::none(), false)
}

async fn send(
    core: &Core,
    write: &Write,
    path: &str,
    peer: &Peer,
    slot: usize,
) -> Result<Response, NodeError> {
    let body = Body::full(write.body.clone());
    let headers = write.headers[slot].clone();
    core.ask(
        peer,
        write.method.clone(),
        path.to_owned(),
        write.query.clone(),
        headers,
        body,
    )
    .await
}

/// Reads what little body there is, so that the connection can be used again.
async fn drained(response: Response) -> Answer {
    let (head, body) = response.into_parts();
    backend::drain(body).await;
    Answer {
        status: head.status,
        headers: head.headers,
    }
}
