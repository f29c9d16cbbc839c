//! One request to one storage node: its headers, its path, and what its answer tells about the node.

use super::Core;
use super::freshness::Suppression;
use super::placement::{Peer, Placement, Which};
use http::header::{HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, StatusCode};
use martlet_node_client::{BackendRequest, NodeError};
use martlet_protocol::header;
use martlet_protocol::timestamp::Timestamp;
use martlet_service::{Body, Response, headers};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

/// How long a device that did not answer lately may take to be talked to again, its proof of the cluster key included.
const GREETING: Duration = Duration::from_millis(50);

// Read as names once, not for each request.
static X_BACKEND_MARTLET_SERVER: HeaderName = HeaderName::from_static(header::X_BACKEND_MARTLET_SERVER);
static X_TRANS_ID: HeaderName = HeaderName::from_static(header::X_TRANS_ID);
static X_BACKEND_MARTLET_MISSED: HeaderName = HeaderName::from_static(header::X_BACKEND_MARTLET_MISSED);
static X_BACKEND_STORAGE_POLICY_INDEX: HeaderName =
    HeaderName::from_static(header::X_BACKEND_STORAGE_POLICY_INDEX);

/// The headers that every request to a node carries.
pub fn common_headers(which: Which, trans_id: &str) -> HeaderMap {
    let mut head = HeaderMap::with_capacity(16);
    head.insert(
        X_BACKEND_MARTLET_SERVER.clone(),
        HeaderValue::from_static(which.server()),
    );
    if let Ok(value) = HeaderValue::from_str(trans_id) {
        head.insert(X_TRANS_ID.clone(), value);
    }
    head.insert(USER_AGENT, HeaderValue::from_static("martlet-proxy"));
    if let Which::Object(policy) = which {
        head.insert(
            X_BACKEND_STORAGE_POLICY_INDEX.clone(),
            HeaderValue::from(policy.0),
        );
    }
    head
}

/// Sets a header of a known name.
pub fn put(head: &mut HeaderMap, name: &'static str, value: HeaderValue) {
    head.insert(HeaderName::from_static(name), value);
}

/// Tells a device up to when it may have missed writes, so that it replicates now rather than at its next turn. Nearly
/// always there is nothing to tell.
pub fn tell_missed(peer: &Peer, headers: &mut HeaderMap) {
    if let Some(missed) = peer.record.freshness.missed()
        && let Ok(moment) = HeaderValue::from_str(&missed.normal())
    {
        headers.insert(X_BACKEND_MARTLET_MISSED.clone(), moment);
    }
}

/// Passes on a client's wish to see an object whose time is over, where the operator allows it.
pub fn open_expired(core: &Core, from: &HeaderMap, to: &mut HeaderMap) {
    if core.config.allow_open_expired && headers::is_true(from, header::X_OPEN_EXPIRED) {
        put(
            to,
            header::X_BACKEND_OPEN_EXPIRED,
            HeaderValue::from_static("true"),
        );
    }
}

/// The transaction id of a request, or a dash.
pub fn trans_id(headers: &HeaderMap, extensions: &http::Extensions) -> String {
    match extensions.get::<crate::context::Context>() {
        Some(context) => context.trans_id().to_owned(),
        None => headers::text(headers, header::X_TRANS_ID)
            .unwrap_or("-")
            .to_owned(),
    }
}

/// `/{partition}` and the quoted path.
pub fn backend_path(placement: &Placement, path: &str) -> String {
    const LONGEST_PARTITION: usize = 10;
    let mut out = String::with_capacity(path.len() + LONGEST_PARTITION + 1);
    // Writing to a string does not fail.
    let _ = write!(out, "/{}", placement.partition);
    out.push_str(path);
    out
}

/// A moment in an answer's header.
pub fn timestamp(head: &HeaderMap, name: &str) -> Option<Timestamp> {
    headers::text(head, name)
        .and_then(|text| Timestamp::parse(text).ok())
        .filter(|at| !at.is_zero())
}

/// When the device's last full replication pass began, as its answer says.
pub fn synced(head: &HeaderMap) -> Option<Timestamp> {
    timestamp(head, header::X_BACKEND_MARTLET_SYNCED)
}

/// What a device has finished by other rings than these says nothing of what these give it.
fn forget_other_rings(head: &mut HeaderMap, fingerprint: u64) {
    let rings = headers::text(head, header::X_BACKEND_MARTLET_RINGS);
    let rings = rings.and_then(|rings| u64::from_str_radix(rings, 16).ok());
    if rings != Some(fingerprint) {
        head.remove(header::X_BACKEND_MARTLET_SYNCED);
    }
}

/// The moment of the thing an answer is about, or of its deletion.
pub fn moment(head: &HeaderMap) -> Option<Timestamp> {
    timestamp(head, header::X_BACKEND_TIMESTAMP).or_else(|| timestamp(head, header::X_TIMESTAMP))
}

/// The headers without those that are only for the inside between proxy and nodes.
pub fn without_backend_headers(head: HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::with_capacity(head.keys_len());
    let mut current: Option<HeaderName> = None;
    for (name, value) in head {
        let named_again = name.is_none();
        if let Some(name) = name {
            current = (!name.as_str().starts_with("x-backend-")).then_some(name);
        }
        if let Some(name) = &current {
            if named_again {
                kept.append(name.clone(), value);
            } else {
                kept.insert(name.clone(), value);
            }
        }
    }
    kept
}

impl Core {
    /// Sends one request, and keeps the node's record: what it says of its replication, whether it answers.
    ///
    /// # Errors
    /// When no answer came, or one that only says that this node is not able (5xx); either way another may do better.
    pub(super) async fn ask(
        &self,
        peer: &Peer,
        method: Method,
        path: String,
        query: Option<String>,
        mut headers: HeaderMap,
        body: Body,
    ) -> Result<Response, NodeError> {
        let is_head = method == Method::HEAD;
        let client = match method {
            Method::GET | Method::HEAD => &self.reader,
            _ => &self.client,
        };
        tell_missed(peer, &mut headers);
        let request = BackendRequest {
            method,
            path,
            query,
            headers,
            body,
        };
        let answered = client.call(&peer.node, request).await;
        let response = self.hear(peer, answered)?;
        if is_head || response.status().is_success() {
            return Ok(response);
        }
        let (head, body) = response.into_parts();
        drain(body).await;
        Ok(Response::from_parts(head, Body::empty()))
    }

    /// Keeps the node's record from one of its answers; turns "not able" into an error.
    pub(super) fn hear(
        &self,
        peer: &Peer,
        answered: Result<Response, NodeError>,
    ) -> Result<Response, NodeError> {
        match answered {
            Ok(response) if response.status().is_server_error() => {
                let status = response.status();
                // A full or missing disk, and a server that fails, are the node's faults; other devices do better.
                self.blame(peer, &NodeError::Refused(status.as_u16()));
                Err(NodeError::Refused(status.as_u16()))
            }
            Ok(mut response) => {
                peer.record.health.good();
                forget_other_rings(response.headers_mut(), self.placer.fingerprint());
                Ok(response)
            }
            Err(error) => {
                if error.is_node_fault() {
                    self.blame(peer, &error);
                } else {
                    tracing::error!(%error, device = peer.node.device, "a request to a node could not be made");
                }
                Err(error)
            }
        }
    }

    /// Counts a fault of a node; tells the log when that makes it the last choice.
    pub(super) fn blame(&self, peer: &Peer, error: &NodeError) {
        let now_ms = self.now_ms();
        let was = peer.record.health.is_suspended(now_ms);
        peer.record.health.fault(now_ms, self.suppression());
        let (node, device) = (
            format_args!("{}:{}", peer.node.ip, peer.node.port),
            &peer.node.device,
        );
        if !was && peer.record.health.is_suspended(now_ms) {
            tracing::warn!(%node, device, %error, "device does not answer and is asked last for a while");
        } else {
            tracing::debug!(%node, device, %error, "device did not answer");
        }
        metrics::counter!("martlet_proxy_node_faults_total").increment(1);
    }

    /// Asks a device that may have missed writes for the head of something, now and then, while others are read from: so
    /// it hears that it should replicate, and this proxy hears when it has.
    pub(super) fn nudge(&self, peer: &Arc<Peer>, placement: &Placement, path: &str, headers: &HeaderMap) {
        if !peer.record.freshness.may_nudge(self.now_ms()) {
            return;
        }
        let path = backend_path(placement, path);
        let mut headers = headers.clone();
        tell_missed(peer, &mut headers);
        let (client, peer) = (self.reader.clone(), Arc::clone(peer));
        let fingerprint = self.placer.fingerprint();
        self.tasks.spawn("nudge", async move {
            let request = BackendRequest {
                headers,
                ..BackendRequest::new(Method::HEAD, path)
            };
            // One that does not answer hears of it the next time.
            if let Ok(mut response) = client.call(&peer.node, request).await {
                forget_other_rings(response.headers_mut(), fingerprint);
                peer.record.freshness.saw(synced(response.headers()));
            }
        });
    }

    fn suppression(&self) -> Suppression {
        Suppression {
            limit: self.config.error_suppression_limit.max(1),
            interval_ms: self.config.error_suppression_interval.get().as_millis() as u64,
        }
    }

    /// Whether a write goes past this device at once. A suspended one that can be talked to again is written to: passed
    /// by, it would miss writes that then have too few primaries, should another device go before it has replicated.
    pub(super) async fn is_passed_by(&self, peer: &Peer) -> bool {
        peer.record.health.is_suspended(self.now_ms()) && !self.greets(peer).await
    }

    /// Whether the device can be talked to, soon.
    pub(super) async fn greets(&self, peer: &Peer) -> bool {
        let reached = tokio::time::timeout(GREETING, self.client.reachable(&peer.node)).await;
        matches!(reached, Ok(Ok(())))
    }

    /// A write did not reach this device: it is not believed until it has replicated.
    pub(super) fn mark_missed(&self, peer: &Peer) {
        peer.record.freshness.miss(self.clock.now());
    }

    /// A write is over and did not reach the primaries for which `delivered` has `false`.
    pub(super) fn mark_undelivered(&self, placement: &Placement, delivered: &[bool]) {
        let is_thin = delivered.iter().filter(|done| **done).count() < placement.quorum();
        for (peer, _) in placement
            .primaries
            .iter()
            .zip(delivered)
            .filter(|(_, done)| !**done)
        {
            match is_thin {
                true => peer.record.freshness.miss_thin(self.clock.now()),
                false => self.mark_missed(peer),
            }
        }
    }
}

/// Reads what little body an answer has, so that its connection can be used again.
pub async fn drain(body: Body) {
    const LITTLE: usize = 64 << 10;
    if body.as_full().is_none() {
        // A body that is long or breaks costs its connection, no more.
        let _ = martlet_service::collect(body, LITTLE).await;
    }
}

/// 200, 204, 206 and the conditional answers: the node has the thing.
pub fn is_found(status: StatusCode) -> bool {
    status.is_success()
        || matches!(
            status,
            StatusCode::NOT_MODIFIED | StatusCode::PRECONDITION_FAILED | StatusCode::RANGE_NOT_SATISFIABLE
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backend_headers_stay_inside() {
        let mut head = HeaderMap::new();
        head.append("x-backend-timestamp", HeaderValue::from_static("1"));
        head.append("etag", HeaderValue::from_static("e"));
        head.append("x-object-meta-a", HeaderValue::from_static("1"));
        head.append("x-object-meta-a", HeaderValue::from_static("2"));
        head.append("x-backend-martlet-synced", HeaderValue::from_static("1"));
        head.append("x-backend-martlet-synced", HeaderValue::from_static("2"));
        let kept = without_backend_headers(head);
        assert_eq!(kept.len(), 3);
        assert_eq!(kept.get_all("x-object-meta-a").iter().count(), 2);
    }
}
