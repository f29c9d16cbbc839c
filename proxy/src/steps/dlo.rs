//! Dynamic large objects: a manifest names a container and a prefix, and stands for all objects below it, in order.
//!
//! See "Dynamic Large Objects" in Swift's middleware documentation.

use super::answer;
use super::segments::{self, Joined, ObjectPiece, Piece, Pieces, RateLimit, SegmentError, Source, Wanted};
use crate::context::{self, Origin, target};
use crate::pipeline::Next;
use futures_util::stream;
use http::header::{HeaderMap, LAST_MODIFIED, RANGE};
use http::{Method, StatusCode};
use martlet_protocol::conditions::{Conditions, Verdict};
use martlet_protocol::date::parse_http_date;
use martlet_protocol::header;
use martlet_protocol::name::{AccountName, ContainerName, ContainerPath, ObjectName, ObjectPath, Target};
use martlet_protocol::percent;
use martlet_protocol::query::Query;
use martlet_protocol::range::{ByteRange, parse_ranges};
use martlet_protocol::timestamp::Timestamp;
use martlet_service::{Request, Response, collect, headers};
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// What an operator may set about dynamic large objects.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DloConfig {
    /// So many segments come at full speed.
    pub rate_limit_after_segment: u64,
    /// The others at this rate; 0: at full speed too.
    pub rate_limit_segments_per_sec: u32,
    /// Seconds one GET may take.
    pub max_get_time: u64,
}

impl Default for DloConfig {
    fn default() -> Self {
        DloConfig {
            rate_limit_after_segment: 10,
            rate_limit_segments_per_sec: 1,
            max_get_time: 86_400,
        }
    }
}

/// Bytes of one page of a segment listing.
const MAX_PAGE_BYTES: usize = 32 << 20;

pub async fn run(mut request: Request, next: Next) -> Response {
    let Some(target) = target(&request) else {
        return next.run(request).await;
    };
    let Target::Object(path) = &*target else {
        return next.run(request).await;
    };
    match *request.method() {
        Method::PUT => {
            let value = headers::text(request.headers(), header::X_OBJECT_MANIFEST);
            if value.is_some_and(|value| !is_valid_manifest(value)) {
                let words = "X-Object-Manifest must be in the format container/prefix";
                return answer::words(StatusCode::BAD_REQUEST, words);
            }
            next.run(request).await
        }
        Method::GET | Method::HEAD if context::query(&request).get("multipart-manifest") != Some("get") => {
            super::slo::ignore_range_if(request.headers_mut(), header::X_OBJECT_MANIFEST);
            let asked = Asked::of(&request, next.clone(), path.account.clone());
            let response = next.run(request).await;
            match headers::text(response.headers(), header::X_OBJECT_MANIFEST).map(percent::unquote) {
                Some(Ok(manifest)) if !manifest.is_empty() => {
                    let (parts, _) = response.into_parts();
                    Box::pin(asked.answer(parts.headers, &manifest)).await
                }
                _ => response,
            }
        }
        _ => next.run(request).await,
    }
}

fn is_valid_manifest(value: &str) -> bool {
    let parts = value.split_once('/');
    parts.is_some_and(|(container, prefix)| {
        !container.is_empty() && !prefix.is_empty() && !prefix.starts_with('/') && !value.contains(['?', '&'])
    })
}

/// Several ranges at once are answered with the whole, as in Swift.
fn single_range(header: Option<&str>) -> Option<&str> {
    header.filter(|header| parse_ranges(header).is_some_and(|ranges| ranges.len() == 1))
}

/// What is needed of a request after it was sent on.
struct Asked {
    origin: Origin,
    next: Next,
    account: AccountName,
    conditions: Conditions,
    range: Option<String>,
    is_head: bool,
}

impl Asked {
    fn of(request: &Request, next: Next, account: AccountName) -> Self {
        let map = request.headers();
        Asked {
            origin: Origin::of(request),
            next,
            account,
            conditions: Conditions::parse(|name| headers::text(map, name)),
            range: single_range(headers::text(map, RANGE.as_str())).map(str::to_owned),
            is_head: *request.method() == Method::HEAD,
        }
    }

    async fn answer(self, manifest_headers: HeaderMap, manifest: &str) -> Response {
        let Some((container, prefix)) = manifest.split_once('/') else {
            return answer::status(StatusCode::CONFLICT);
        };
        let Ok(container) = ContainerName::new(container) else {
            return answer::status(StatusCode::CONFLICT);
        };
        let limit = self.next.edge().config.constraints.container_listing_limit;
        let lister = Lister {
            next: self.next.clone(),
            origin: self.origin.clone(),
            path: ContainerPath {
                account: self.account,
                container,
            },
            prefix: prefix.to_owned(),
            page_limit: limit,
        };
        let page = match lister.page(None).await {
            Ok(page) => page,
            Err(PageError::Refused(response)) if self.is_head => {
                return answer::status(response.status()).map(|_| martlet_service::Body::empty());
            }
            Err(PageError::Refused(response)) => return *response,
            Err(PageError::Unreadable) => return answer::status(StatusCode::SERVICE_UNAVAILABLE),
        };
        let is_complete = page.len() < limit;
        let known_length = page.iter().map(|segment| segment.bytes).sum();
        let own_etag = headers::text(&manifest_headers, "etag")
            .unwrap_or("")
            .trim_matches('"')
            .to_owned();
        let etag = if is_complete { etag_of(&page) } else { own_etag };
        let last_modified = headers::text(&manifest_headers, LAST_MODIFIED.as_str())
            .and_then(parse_http_date)
            .map_or(Timestamp::ZERO, Timestamp::from_secs);
        let verdict = match self.conditions.is_empty() {
            true => Verdict::Proceed,
            false => self.conditions.evaluate_all(&etag, last_modified),
        };
        let config = &self.next.edge().config;
        let joined = Joined {
            headers: manifest_headers,
            etag,
            length: is_complete.then_some(known_length),
            known_length,
            verdict,
            is_head: self.is_head,
            wanted: Wanted::Header(self.range),
            source: Source {
                next: self.next.clone(),
                origin: self.origin,
                read_ahead: config.slo.read_ahead,
                rate_limit: RateLimit {
                    under_size: None,
                    after_segment: config.dlo.rate_limit_after_segment,
                    segments_per_sec: config.dlo.rate_limit_segments_per_sec,
                },
                max_time: Duration::from_secs(config.dlo.max_get_time),
            },
        };
        let page = Arc::new(page);
        segments::answer(joined, |range| lister.pieces(page.clone(), range)).await
    }
}

/// The MD5 of all segments' ETags, one after the other.
fn etag_of(segments: &[Segment]) -> String {
    let mut md5 = Md5::new();
    for segment in segments {
        md5.update(segment.hash.trim_matches('"').as_bytes());
    }
    hex::encode(md5.finalize())
}

/// A row of the segments' listing.
#[derive(Clone, Debug, Deserialize)]
struct Segment {
    name: String,
    bytes: u64,
    hash: String,
}

enum PageError {
    /// The listing was refused, in these words.
    Refused(Box<Response>),
    Unreadable,
}

#[derive(Clone)]
struct Lister {
    next: Next,
    origin: Origin,
    path: ContainerPath,
    prefix: String,
    page_limit: usize,
}

impl Lister {
    async fn page(&self, marker: Option<&str>) -> Result<Vec<Segment>, PageError> {
        let mut query = Query::default();
        query.push("format", "json");
        query.push("prefix", self.prefix.as_str());
        query.push("limit", self.page_limit.to_string());
        if let Some(marker) = marker {
            query.push("marker", marker);
        }
        let target = Target::Container(self.path.clone());
        let request = self.origin.request(Method::GET, target, &query.encode());
        let response = self.next.clone().run(request).await;
        if !response.status().is_success() {
            return Err(PageError::Refused(Box::new(response)));
        }
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(Vec::new());
        }
        let bytes = collect(response.into_body(), MAX_PAGE_BYTES)
            .await
            .map_err(|_| PageError::Unreadable)?;
        serde_json::from_slice(&bytes).map_err(|_| PageError::Unreadable)
    }

    /// The pieces of a run of bytes; further pages are read when their turn comes.
    fn pieces(&self, first_page: Arc<Vec<Segment>>, range: Option<ByteRange>) -> Pieces {
        let range = range.unwrap_or(ByteRange {
            start: 0,
            end: u64::MAX,
        });
        let state = Walk {
            lister: self.clone(),
            is_last_page: first_page.len() < self.page_limit,
            marker: first_page.last().map(|segment| segment.name.clone()),
            page: VecDeque::from((*first_page).clone()),
            position: 0,
            range,
        };
        Box::pin(stream::unfold(Some(state), |state| async move {
            let mut state = state?;
            match state.next_piece().await {
                Ok(Some(piece)) => Some((Ok(piece), Some(state))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        }))
    }
}

struct Walk {
    lister: Lister,
    page: VecDeque<Segment>,
    is_last_page: bool,
    marker: Option<String>,
    /// Where in the large object the next segment begins.
    position: u64,
    range: ByteRange,
}

impl Walk {
    async fn next_piece(&mut self) -> Result<Option<Piece>, SegmentError> {
        while self.position < self.range.end {
            let Some(segment) = self.page.pop_front() else {
                if self.is_last_page {
                    return Ok(None);
                }
                self.read_page().await?;
                continue;
            };
            let (start, end) = (self.position, self.position.saturating_add(segment.bytes));
            self.position = end;
            let range = ByteRange {
                start: self.range.start.clamp(start, end) - start,
                end: self.range.end.clamp(start, end) - start,
            };
            if range.is_empty() {
                continue;
            }
            let object = ObjectName::new(segment.name).map_err(|_| invalid("a segment's name is not one"))?;
            let ContainerPath { account, container } = self.lister.path.clone();
            let path = ObjectPath {
                account,
                container,
                object,
            };
            // Any object below the prefix will do: the manifest says nothing of their ETags.
            return Ok(Some(Piece::Object(ObjectPiece {
                path: path.into(),
                etag: None,
                size: segment.bytes,
                range,
            })));
        }
        Ok(None)
    }

    async fn read_page(&mut self) -> Result<(), SegmentError> {
        let page = match self.lister.page(self.marker.as_deref()).await {
            Ok(page) => page,
            Err(PageError::Refused(response)) => {
                return Err(invalid(&format!(
                    "{} for the listing of segments",
                    response.status()
                )));
            }
            Err(PageError::Unreadable) => {
                return Err(SegmentError::Unavailable(
                    "the listing of segments broke off".into(),
                ));
            }
        };
        self.is_last_page = page.len() < self.lister.page_limit;
        self.marker = page.last().map(|segment| segment.name.clone());
        self.page = page.into();
        Ok(())
    }
}

fn invalid(words: &str) -> SegmentError {
    SegmentError::Invalid(words.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_name_a_container_and_a_prefix() {
        for (value, expected) in [
            ("c/p", true),
            ("c/p/q", true),
            ("c%20d/p", true),
            ("c/", false),
            ("/p", false),
            ("c", false),
            ("c//p", false),
            ("c/p?x", false),
            ("c/p&x", false),
            ("", false),
        ] {
            assert_eq!(is_valid_manifest(value), expected, "{value}");
        }
    }

    #[test]
    fn one_range_is_served_and_several_are_not() {
        assert_eq!(single_range(Some("bytes=0-4")), Some("bytes=0-4"));
        assert_eq!(single_range(Some("bytes=0-4,10-14")), None);
        assert_eq!(single_range(Some("junk")), None);
        assert_eq!(single_range(None), None);
    }

    #[test]
    fn the_etag_is_of_the_etags() {
        let segment = |hash: &str| Segment {
            name: "n".into(),
            bytes: 1,
            hash: hash.into(),
        };
        // md5("ab")
        assert_eq!(
            etag_of(&[segment("a"), segment("\"b\"")]),
            "187ef4436122d1cc2f40dc2b92f0eba0"
        );
    }
}
