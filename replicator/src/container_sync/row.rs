//! Makes the other cluster have one row: an object as it is here, or its deletion. Done twice it does no harm.

use super::Shared;
use super::destination::OtherEnd;
use http::header::{
    ACCEPT_RANGES, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, DATE, ETAG, HeaderMap, HeaderName,
    LAST_MODIFIED, TRAILER, TRANSFER_ENCODING,
};
use http::{Method, StatusCode};
use martlet_node_client::{BackendRequest, RemoteError};
use martlet_protocol::record::ContainerRecord;
use martlet_protocol::row::ObjectRow;
use martlet_protocol::timestamp::Timestamp;
use martlet_protocol::{header, percent};
use martlet_ring::RingSet;
use martlet_service::{Body, Response, headers};
use std::fmt;

/// How the other cluster came to have a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// With its bytes.
    Put(u64),
    Deleted,
    /// It had it, or something newer.
    Present,
    /// It is not to be sent.
    Skipped,
}

/// Why it does not have it yet.
#[derive(Debug)]
pub enum NotSent {
    /// No device here has the object as new as its row, or none answers.
    NoSource,
    Remote(RemoteError),
    Refused(Method, StatusCode),
    /// Its address cannot be written.
    BadName,
}

impl NotSent {
    /// The other cluster is away: what follows would fare no better.
    pub fn is_silent(&self) -> bool {
        matches!(
            self,
            NotSent::Remote(RemoteError::Connect(_) | RemoteError::Stalled)
        )
    }
}

impl fmt::Display for NotSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotSent::NoSource => f.write_str("no device has the object as its row tells of it"),
            NotSent::Remote(error) => write!(f, "{error}"),
            NotSent::Refused(method, status) => write!(f, "{method} was answered with {status}"),
            NotSent::BadName => f.write_str("its name makes no address"),
        }
    }
}

/// One row and where it goes.
pub struct RowSync<'a> {
    pub shared: &'a Shared,
    pub rings: &'a RingSet,
    pub container: &'a ContainerRecord,
    /// This replica's place among those of the container: each reads from a device of its own first.
    pub place: usize,
    pub end: &'a OtherEnd,
}

impl RowSync<'_> {
    pub async fn send(&self, row: &ObjectRow) -> Result<Sent, NotSent> {
        if row.deleted {
            return self.delete(row).await;
        }
        if self.is_there(row).await? {
            return Ok(Sent::Present);
        }
        let (source, at) = self.source(row).await?;
        let map = source.headers();
        let is_upload = map.contains_key("x-object-sysmeta-martlet-multipart");
        // What it stands for lies in containers that no client can name.
        if is_upload {
            tracing::info!(
                account = self.container.account,
                container = self.container.container,
                object = row.name,
                "an object made of hidden parts is not sent to the other cluster"
            );
            return Ok(Sent::Skipped);
        }
        let out = outgoing(map, at);
        let length = headers::text(map, CONTENT_LENGTH.as_str()).and_then(|length| length.parse().ok());
        let (method, bytes) = (Method::PUT, length.unwrap_or(0));
        let answer = self.call(method.clone(), row, out, source.into_body()).await?;
        match answer.status() {
            status if status.is_success() => Ok(Sent::Put(bytes)),
            // Something newer came there meanwhile.
            StatusCode::CONFLICT => Ok(Sent::Present),
            status => Err(NotSent::Refused(method, status)),
        }
    }

    /// A deletion is older than what is there, or there is nothing: both are as good as done.
    async fn delete(&self, row: &ObjectRow) -> Result<Sent, NotSent> {
        let answer = self
            .call(Method::DELETE, row, moment(row.timestamp), Body::empty())
            .await?;
        match answer.status() {
            StatusCode::NOT_FOUND | StatusCode::CONFLICT => Ok(Sent::Deleted),
            status if status.is_success() => Ok(Sent::Deleted),
            status => Err(NotSent::Refused(Method::DELETE, status)),
        }
    }

    /// Whether the other cluster has the object as new as the row, or newer.
    async fn is_there(&self, row: &ObjectRow) -> Result<bool, NotSent> {
        let changed = row.last_modified();
        let answer = self
            .call(Method::HEAD, row, moment(changed), Body::empty())
            .await?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(false),
            status if status.is_success() => {
                let there = timestamp(answer.headers(), header::X_TIMESTAMP);
                Ok(there.is_some_and(|there| there.raw() >= changed.raw()))
            }
            status => Err(NotSent::Refused(Method::HEAD, status)),
        }
    }

    async fn call(
        &self,
        method: Method,
        row: &ObjectRow,
        map: HeaderMap,
        body: Body,
    ) -> Result<Response, NotSent> {
        // A link itself is looked at, not what it leads to.
        let query = (method == Method::HEAD).then_some("symlink=get");
        let request = self.end.request(method, &row.name, query, map, body);
        let request = request.ok_or(NotSent::BadName)?;
        self.shared.remote.send(request).await.map_err(NotSent::Remote)
    }

    /// The object from a device that has it as new as the row, and when it last changed.
    async fn source(&self, row: &ObjectRow) -> Result<(Response, Timestamp), NotSent> {
        let ring = self.rings.object(row.policy).ok_or(NotSent::NoSource)?;
        let (account, container) = (&self.container.account, &self.container.container);
        let hash = self.shared.salt.hash(account, Some(container), Some(&row.name));
        let partition = ring.partition(&hash);
        let mut primaries = ring.primaries(partition);
        let count = primaries.len().max(1);
        primaries.rotate_left(self.place % count);
        for node in primaries {
            let mut map = HeaderMap::new();
            let policy = row.policy.to_string();
            headers::set(&mut map, header::X_BACKEND_STORAGE_POLICY_INDEX, &policy);
            headers::set(&mut map, header::X_BACKEND_MARTLET_SERVER, "object");
            headers::set(&mut map, header::X_BACKEND_ALLOW_RESERVED_NAMES, "true");
            headers::set(&mut map, "user-agent", "container-sync");
            let path = format!(
                "/{partition}/{}/{}/{}",
                percent::quote_segment(account),
                percent::quote_segment(container),
                percent::quote(&row.name)
            );
            let request = BackendRequest {
                headers: map,
                ..BackendRequest::new(Method::GET, path)
            };
            let Some(response) = self.shared.neighbours.call(node, request).await else {
                continue;
            };
            let changed = timestamp(response.headers(), header::X_TIMESTAMP);
            match changed {
                Some(changed)
                    if response.status() == StatusCode::OK && changed.raw() >= row.last_modified().raw() =>
                {
                    return Ok((response, changed));
                }
                _ => {}
            }
        }
        Err(NotSent::NoSource)
    }
}

fn timestamp(map: &HeaderMap, name: &str) -> Option<Timestamp> {
    Timestamp::parse(headers::text(map, name)?).ok()
}

fn moment(at: Timestamp) -> HeaderMap {
    let mut map = HeaderMap::new();
    headers::set(&mut map, header::X_TIMESTAMP, &at.internal());
    map
}

/// What goes with an object that last changed at a moment: all that a client could have set. What is kept of a link is
/// said in the words by which links are made; a manifest goes as it is kept.
fn outgoing(map: &HeaderMap, at: Timestamp) -> HeaderMap {
    const LINK: &str = "x-object-sysmeta-symlink-target";
    const OWN: [HeaderName; 6] = [
        ACCEPT_RANGES,
        CONNECTION,
        DATE,
        LAST_MODIFIED,
        TRAILER,
        TRANSFER_ENCODING,
    ];
    let mut out = HeaderMap::with_capacity(map.len());
    for (name, value) in map {
        let text = name.as_str();
        if let Some(rest) = text.strip_prefix(LINK) {
            let public = format!("x-symlink-target{rest}");
            if let (Ok(public), false) = (HeaderName::try_from(public), rest == "-bytes") {
                out.insert(public, value.clone());
            }
        } else if !is_internal(text) && !OWN.contains(name) {
            out.append(name.clone(), value.clone());
        }
    }
    headers::set(&mut out, header::X_TIMESTAMP, &at.normal());
    if let Some(etag) = headers::text(map, ETAG.as_str()) {
        headers::set(&mut out, ETAG.as_str(), etag.trim_matches('"'));
    }
    if let Some(content_type) = headers::text(map, CONTENT_TYPE.as_str()) {
        let items = content_type.split(';');
        let clean: Vec<&str> = items
            .filter(|item| !item.trim_start().starts_with("swift_bytes="))
            .collect();
        headers::set(&mut out, CONTENT_TYPE.as_str(), &clean.join(";"));
    }
    debug_assert!(map.contains_key(CONTENT_LENGTH), "a 200 says how long it is");
    out
}

fn is_internal(name: &str) -> bool {
    const FAMILIES: [&str; 3] = ["x-backend-", "x-object-sysmeta-", "x-object-transient-sysmeta-"];
    const TRACES: [&str; 2] = ["x-trans-id", "x-openstack-request-id"];
    FAMILIES.iter().any(|family| name.starts_with(family)) || TRACES.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_could_have_set_goes_along() {
        let mut map = HeaderMap::new();
        for (name, value) in [
            ("content-length", "3"),
            ("content-type", "text/plain;swift_bytes=7;charset=utf-8"),
            ("etag", "\"abc\""),
            ("x-object-meta-color", "grün"),
            ("x-static-large-object", "True"),
            ("x-delete-at", "99"),
            ("x-timestamp", "0000000001.00000"),
            ("x-backend-timestamp", "0000000001.00000"),
            ("x-object-sysmeta-slo-etag", "e"),
            ("x-object-sysmeta-symlink-target", "d/p"),
            ("x-object-sysmeta-symlink-target-etag", "t"),
            ("x-object-sysmeta-symlink-target-bytes", "5"),
            ("last-modified", "then"),
            ("date", "now"),
        ] {
            headers::set(&mut map, name, value);
        }
        let out = outgoing(&map, Timestamp::from_secs(5));
        let mut found: Vec<(&str, &str)> = out
            .iter()
            .map(|(name, value)| (name.as_str(), headers::value_text(value).unwrap()))
            .collect();
        found.sort_unstable();
        assert_eq!(
            found,
            [
                ("content-length", "3"),
                ("content-type", "text/plain;charset=utf-8"),
                ("etag", "abc"),
                ("x-delete-at", "99"),
                ("x-object-meta-color", "grün"),
                ("x-static-large-object", "True"),
                ("x-symlink-target", "d/p"),
                ("x-symlink-target-etag", "t"),
                ("x-timestamp", "0000000005.00000"),
            ]
        );
    }
}
