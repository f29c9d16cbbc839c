//! Carries a read plan out: sends its questions, tells it the answers, and hands back what it chose.

use super::Core;
use super::backend;
use super::placement::{Peer, Placement};
use super::read_plan::{Heard, ReadPlan, Step};
use futures_util::stream::{FuturesUnordered, StreamExt};
use http::header::HeaderMap;
use http::{Method, StatusCode};
use martlet_node_client::NodeError;
use martlet_protocol::timestamp::Timestamp;
use martlet_service::{Body, Response};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One read of one path.
#[derive(Debug)]
pub struct Read<'a> {
    pub placement: &'a Placement,
    pub method: Method,
    /// Quoted, from the account on.
    pub path: &'a str,
    pub query: Option<String>,
    pub headers: Arc<HeaderMap>,
    /// Sent as HEAD to nodes whose body is not wanted; `None`: those get the same request.
    pub probe_headers: Option<Arc<HeaderMap>>,
}

/// The answer that was chosen.
#[derive(Debug)]
pub struct Taken {
    pub response: Response,
    /// Who gave it.
    pub peer: Arc<Peer>,
    /// Nodes that may hold the same, best first.
    pub others: Vec<Arc<Peer>>,
}

#[derive(Debug)]
pub enum Outcome {
    Taken(Box<Taken>),
    /// It is not there.
    NotFound,
    /// Too few nodes answered to say.
    Unavailable,
}

/// The nodes of a read in the order they are asked: primaries, then handoffs, which are looked up only when needed.
struct Candidates<'a> {
    placement: &'a Placement,
    peers: Vec<Arc<Peer>>,
    /// Primaries, and devices that were before the rings changed.
    known: usize,
    handoffs_known: bool,
}

impl Candidates<'_> {
    fn get(&mut self, at: usize) -> Option<Arc<Peer>> {
        if at >= self.known && !self.handoffs_known {
            let former = &self.placement.change.former;
            let is_new = |peer: &Arc<Peer>| {
                !former
                    .iter()
                    .any(|other| Arc::ptr_eq(&other.record, &peer.record))
            };
            self.peers
                .extend(self.placement.handoffs().into_iter().filter(is_new));
            self.handoffs_known = true;
        }
        self.peers.get(at).cloned()
    }
}

struct Gathered<'a> {
    plan: ReadPlan,
    candidates: Candidates<'a>,
    answers: Vec<Option<Response>>,
    step: Step,
}

/// Reads from one fresh node, or from a majority when none is; see `read_plan`.
pub async fn read(core: &Core, read: &Read<'_>, newest: bool) -> Outcome {
    let chosen = match newest {
        true => None,
        false => first_hoped(core, read),
    };
    let Some(peer) = chosen else {
        return Box::pin(read_by_plan(core, read, newest, None)).await;
    };
    // Nearly always one question is the whole of it, and no plan is made for one.
    let mut asking = std::pin::pin!(ask(core, read, Arc::clone(&peer), FIRST, true));
    let (asking, is_overdue): (Asking<'_>, bool) =
        match tokio::time::timeout(core.hedge_delay(), asking.as_mut()).await {
            Err(_) => (Box::pin(asking), true),
            Ok(answered) => match settled(core, read, answered) {
                Ok(outcome) => return outcome,
                Err(answered) => (Box::pin(std::future::ready(answered)), false),
            },
        };
    let first = First {
        peer,
        asking,
        is_overdue,
    };
    Box::pin(read_by_plan(core, read, newest, Some(first))).await
}

/// An answer, or why none came, of the candidate at a place.
type Answered = (usize, Arc<Peer>, Result<Response, NodeError>);
type Asking<'a> = Pin<Box<dyn Future<Output = Answered> + Send + 'a>>;

/// The place of a candidate that was asked before there was a plan.
const FIRST: usize = 0;

/// What was asked before there was a plan, and did not settle the matter alone, or not in time.
struct First<'a> {
    peer: Arc<Peer>,
    asking: Asking<'a>,
    is_overdue: bool,
}

fn is_hoped(core: &Core, peer: &Peer) -> bool {
    peer.record.freshness.is_hoped() && !peer.record.health.is_suspended(core.now_ms())
}

/// The primary that a plan would ask first, if it is hoped to be fresh. The others are not asked then; one that missed
/// something should hear of it all the same.
fn first_hoped(core: &Core, read: &Read<'_>) -> Option<Arc<Peer>> {
    let primaries = &read.placement.primaries;
    let first = primaries.iter().position(|peer| is_hoped(core, peer))?;
    for peer in primaries.iter().filter(|peer| !is_hoped(core, peer)) {
        let headers = read.probe_headers.as_ref().unwrap_or(&read.headers);
        core.nudge(peer, read.placement, read.path, headers);
    }
    primaries.get(first).cloned()
}

/// What a read comes to if this answer is to be believed alone; else the answer.
fn settled(core: &Core, read: &Read<'_>, (at, peer, answered): Answered) -> Result<Outcome, Answered> {
    let Ok(response) = answered else {
        return Err((at, peer, answered));
    };
    let synced = backend::synced(response.headers());
    let outcome = match heard(&response) {
        _ if !peer.record.freshness.is_proved_by(synced) => return Err((at, peer, Ok(response))),
        Some(Heard::Found(_)) => {
            let all = read.placement.primaries.iter();
            let others = all.filter(|other| !Arc::ptr_eq(other, &peer)).cloned();
            let mut others: Vec<Arc<Peer>> = others.collect();
            others.sort_by_key(|other| !is_hoped(core, other));
            others.extend(read.placement.change.former.iter().cloned());
            Outcome::Taken(Box::new(Taken {
                response,
                others,
                peer: Arc::clone(&peer),
            }))
        }
        Some(Heard::Missing(Some(_))) => Outcome::NotFound,
        Some(Heard::Missing(None)) | None => return Err((at, peer, Ok(response))),
    };
    peer.record.freshness.saw(synced);
    Ok(outcome)
}

async fn read_by_plan<'a>(
    core: &'a Core,
    read: &'a Read<'a>,
    newest: bool,
    first: Option<First<'a>>,
) -> Outcome {
    let placement = read.placement;
    let (mut primaries, mut newcomers) = in_order_of_hope(core, placement);
    // Who was asked stays the first, whatever was learnt of it since.
    if let Some(first) = &first
        && let Some(at) = primaries.iter().position(|peer| Arc::ptr_eq(peer, &first.peer))
    {
        primaries[..=at].rotate_right(1);
        newcomers[..=at].rotate_right(1);
    }
    let mut hopes: Vec<bool> = primaries.iter().map(|peer| is_hoped(core, peer)).collect();
    if let (Some(_), Some(hope)) = (&first, hopes.first_mut()) {
        *hope = true;
    }
    let change = &placement.change;
    let thin = primaries.iter().any(|peer| peer.record.freshness.may_lack_thin());
    let plan = ReadPlan::new(&hopes, primaries.len(), placement.replicas, newest)
        .after_thin_writes(thin)
        .after_a_ring_change(&newcomers, change.former.len(), change.former_replicas);
    let mut gathered = gather(core, read, plan, primaries, true, first).await;
    match gathered.step {
        Step::Take(at) => take(core, read, &mut gathered, at).await,
        Step::NotFound => Outcome::NotFound,
        Step::Ask { .. } | Step::Wait | Step::Unavailable => Outcome::Unavailable,
    }
}

/// The answers of a majority of primaries; `None` when too few answered.
pub async fn read_majority(core: &Core, read: &Read<'_>) -> Option<Vec<(Arc<Peer>, Response)>> {
    let placement = read.placement;
    let (primaries, newcomers) = in_order_of_hope(core, placement);
    let change = &placement.change;
    let plan = ReadPlan::majority(primaries.len(), primaries.len(), placement.replicas).after_a_ring_change(
        &newcomers,
        change.former.len(),
        change.former_replicas,
    );
    let mut gathered = gather(core, read, plan, primaries, false, None).await;
    if gathered.step == Step::Unavailable {
        return None;
    }
    let answers = std::mem::take(&mut gathered.answers).into_iter().enumerate();
    let told = answers.filter_map(|(at, answer)| Some((gathered.candidates.get(at)?, answer?)));
    Some(told.collect())
}

/// Primaries that are hoped to be fresh first, those that may have nothing yet late, those that do not answer last; else
/// ring order. With each, whether it may have nothing yet.
fn in_order_of_hope(core: &Core, placement: &Placement) -> (Vec<Arc<Peer>>, Vec<bool>) {
    let now_ms = core.now_ms();
    let newcomers = placement.change.newcomers.iter().copied();
    let newcomers = newcomers.chain(std::iter::repeat(false));
    let mut primaries: Vec<(Arc<Peer>, bool)> = placement.primaries.iter().cloned().zip(newcomers).collect();
    primaries.sort_by_key(|(peer, is_new)| {
        (
            peer.record.health.is_suspended(now_ms),
            *is_new,
            !peer.record.freshness.is_hoped(),
        )
    });
    primaries.into_iter().unzip()
}

async fn gather<'a>(
    core: &'a Core,
    read: &'a Read<'a>,
    mut plan: ReadPlan,
    primaries: Vec<Arc<Peer>>,
    believes_fresh: bool,
    mut first: Option<First<'a>>,
) -> Gathered<'a> {
    let former = &read.placement.change.former;
    let count = primaries.len() * 2 + former.len();
    let mut peers = primaries;
    peers.extend(former.iter().cloned());
    let mut candidates = Candidates {
        placement: read.placement,
        known: peers.len(),
        peers,
        handoffs_known: false,
    };
    let mut answers: Vec<Option<Response>> = (0..count).map(|_| None).collect();
    let mut asked: FuturesUnordered<Asking<'a>> = FuturesUnordered::new();
    let mut patient = true;
    let step = loop {
        match plan.next() {
            Step::Ask { candidate, whole } => {
                if let Some(first) = first.take_if(|_| candidate == FIRST) {
                    asked.push(first.asking);
                    if first.is_overdue {
                        plan.overdue();
                    }
                    continue;
                }
                match candidates.get(candidate) {
                    Some(peer) => asked.push(Box::pin(ask(core, read, peer, candidate, whole))),
                    None => plan.failed(candidate),
                }
            }
            Step::Wait => {
                let limit = match (plan.asks_majority(), patient) {
                    (false, _) => core.hedge_delay(),
                    (true, true) => Duration::from_millis(core.config.post_quorum_timeout_ms),
                    // The node client's own timeouts end what is still out.
                    (true, false) => Duration::from_secs(3_600),
                };
                match tokio::time::timeout(limit, asked.next()).await {
                    Ok(Some((at, peer, answered))) => match answered {
                        Ok(response) => match heard(&response) {
                            Some(heard) => {
                                let synced = backend::synced(response.headers());
                                peer.record.freshness.saw(synced);
                                let fresh = believes_fresh && peer.record.freshness.is_proved_by(synced);
                                answers[at] = Some(response);
                                plan.heard(at, heard, fresh);
                            }
                            None => plan.failed(at),
                        },
                        Err(_) => plan.failed(at),
                    },
                    Ok(None) => break Step::Unavailable,
                    Err(_) => {
                        patient &= !plan.asks_majority();
                        plan.overdue();
                    }
                }
            }
            step @ (Step::Take(_) | Step::NotFound | Step::Unavailable) => break step,
        }
    };
    Gathered {
        plan,
        candidates,
        answers,
        step,
    }
}

async fn ask(core: &Core, read: &Read<'_>, peer: Arc<Peer>, at: usize, whole: bool) -> Answered {
    let (method, headers) = match &read.probe_headers {
        Some(probe) if !whole => (Method::HEAD, probe.as_ref().clone()),
        _ => (read.method.clone(), read.headers.as_ref().clone()),
    };
    let began = Instant::now();
    let path = backend::backend_path(read.placement, read.path);
    let answered = core
        .ask(&peer, method, path, read.query.clone(), headers, Body::empty())
        .await;
    if answered.is_ok() {
        core.saw_read_latency(began.elapsed());
    }
    (at, peer, answered)
}

/// What an answer says; `None` for one that says nothing about the thing (a refusal that no read should get).
fn heard(response: &Response) -> Option<Heard> {
    let moment = || backend::moment(response.headers());
    match response.status() {
        status if backend::is_found(status) => Some(Heard::Found(moment().unwrap_or(Timestamp::ZERO))),
        StatusCode::NOT_FOUND | StatusCode::GONE => Some(Heard::Missing(moment())),
        _ => None,
    }
}

/// The chosen answer; asked again with its body when only its head had been asked.
async fn take(core: &Core, read: &Read<'_>, gathered: &mut Gathered<'_>, chosen: usize) -> Outcome {
    let heard_whole = read.probe_headers.is_none() || gathered.plan.was_asked_whole(chosen);
    let moment_of = |response: &Response| backend::moment(response.headers()).unwrap_or(Timestamp::ZERO);
    let timestamp = gathered.answers[chosen]
        .as_ref()
        .map_or(Timestamp::ZERO, moment_of);
    let mut order = vec![chosen];
    order.extend(gathered.plan.others(chosen, timestamp));
    let mut tried = 0;
    while tried < order.len() {
        let at = order[tried];
        tried += 1;
        let Some(peer) = gathered.candidates.get(at) else {
            continue;
        };
        let response = if at == chosen && heard_whole {
            gathered.answers[at].take()
        } else {
            let (_, _, answered) = ask(core, read, Arc::clone(&peer), at, true).await;
            answered
                .ok()
                .filter(|response| backend::is_found(response.status()) && moment_of(response) >= timestamp)
        };
        let Some(response) = response else { continue };
        // Handoffs not looked up so far are left to whoever finds no other.
        let known = gathered.candidates.peers.len();
        let others = order[tried..]
            .iter()
            .filter(|at| **at < known)
            .filter_map(|at| gathered.candidates.get(*at))
            .collect();
        return Outcome::Taken(Box::new(Taken {
            response,
            peer,
            others,
        }));
    }
    Outcome::Unavailable
}
