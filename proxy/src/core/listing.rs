//! Answers a listing: asks a majority of replicas for pages, merges them, looks into doubtful subdirs, writes JSON.

use super::Core;
use super::answer;
use super::backend;
use super::checks;
use super::container::{Head, choose_head};
use super::info::Existence;
use super::merge::{Ask, Merge, Page, Row};
use super::placement::{Peer, Placement};
use super::read::{Read, read_majority};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};
use martlet_protocol::header;
use martlet_protocol::listing::{ListingError, ListingQuery};
use martlet_protocol::policy::Policies;
use martlet_protocol::query::Query;
use martlet_protocol::row::{ContainerRow, ListingEntry, ObjectRow};
use martlet_protocol::rows::{self, Packed};
use martlet_service::{Body, Response, collect};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::sync::Arc;

/// The most one replica's page may measure, in bytes: 10,000 rows of the longest names and types stay well below.
const MAX_PAGE_BYTES: usize = 128 << 20;
/// Rounds after which a listing that replicas disagree about everywhere is cut short with 503.
const MAX_ROUNDS: usize = 1_000;

/// A listing that was made.
#[derive(Debug)]
pub struct Listing<T> {
    pub head: Head,
    pub entries: Vec<ListingEntry<T>>,
}

/// Reads the listing parameters of a request.
pub fn parse_query(request: &Parts, max_limit: usize) -> Result<ListingQuery, Response> {
    let query = Query::parse(request.uri.query().unwrap_or(""));
    let query =
        query.map_err(|_| answer::said(StatusCode::PRECONDITION_FAILED, "Invalid UTF8 or contains NULL"))?;
    match ListingQuery::parse(&query, max_limit) {
        Ok(query) => Ok(query),
        Err(ListingError::LimitTooLarge(max)) => Err(checks::limit_too_large(max)),
    }
}

/// Lists a container or an account. The head tells whether it is there; entries are empty when it is not.
pub async fn list<T: Row + Packed>(
    core: &Core,
    placement: &Placement,
    path: &str,
    query: &ListingQuery,
    headers: &HeaderMap,
    max_page: usize,
) -> Result<Listing<T>, Response> {
    let lister = Lister {
        core,
        placement,
        path,
        headers,
    };
    let mut merge = Merge::new(query.limit, query.marker.clone(), query.reverse, max_page);
    let mut first_head: Option<Head> = None;
    let mut rounds = 0;
    while let Some(ask) = merge.wants() {
        rounds += 1;
        if rounds > MAX_ROUNDS {
            tracing::warn!(path, "a listing was given up: its replicas disagree too much");
            return Err(answer::unavailable());
        }
        let (head, pages) = lister.pages::<T>(query, &ask).await?;
        let head = first_head.get_or_insert(head);
        if head.existence != Existence::Exists {
            break;
        }
        merge.feed(pages);
        loop {
            let doubts = merge.doubts();
            if doubts.is_empty() {
                break;
            }
            for subdir in doubts {
                let inside = lister.holds_something::<T>(&subdir).await?;
                merge.settle(&subdir, inside);
            }
        }
    }
    let head = first_head.ok_or_else(answer::unavailable)?;
    Ok(Listing {
        head,
        entries: merge.finish(),
    })
}

struct Lister<'a> {
    core: &'a Core,
    placement: &'a Placement,
    path: &'a str,
    headers: &'a HeaderMap,
}

impl Lister<'_> {
    /// One page of each replica of a majority.
    async fn pages<T: Row + Packed>(
        &self,
        query: &ListingQuery,
        ask: &Ask,
    ) -> Result<(Head, Vec<Page<T>>), Response> {
        let asked = ListingQuery {
            limit: ask.limit,
            marker: ask.marker.clone(),
            ..query.clone()
        };
        let mut text = asked.to_query();
        text.push("format", "json");
        let mut headers = self.headers.clone();
        backend::put(
            &mut headers,
            header::X_BACKEND_MARTLET_ROWS,
            HeaderValue::from_static("1"),
        );
        let read = Read {
            placement: self.placement,
            method: Method::GET,
            path: self.path,
            query: Some(text.encode()),
            headers: Arc::new(headers),
            probe_headers: None,
        };
        let answers = read_majority(self.core, &read)
            .await
            .ok_or_else(answer::unavailable)?;
        let mut heads: Vec<(Arc<Peer>, StatusCode, HeaderMap)> = Vec::with_capacity(answers.len());
        let mut pages = Vec::with_capacity(answers.len());
        for (peer, response) in answers {
            let (parts, body) = response.into_parts();
            if parts.status.is_success() {
                match read_page(body).await {
                    Some(page) => pages.push(page),
                    None => {
                        tracing::debug!(device = peer.node.device, "a listing page could not be read");
                        continue;
                    }
                }
            }
            heads.push((peer, parts.status, parts.headers));
        }
        if heads.len() < self.placement.quorum() {
            return Err(answer::unavailable());
        }
        Ok((choose_head(&heads), pages))
    }

    /// Whether any live row begins with this.
    async fn holds_something<T: Row + Packed>(&self, subdir: &str) -> Result<bool, Response> {
        let query = ListingQuery {
            prefix: Some(subdir.to_owned()),
            ..ListingQuery::all(1)
        };
        let mut merge = Merge::<T>::new(1, None, false, checks_page());
        let mut rounds = 0;
        while let Some(ask) = merge.wants() {
            rounds += 1;
            if rounds > MAX_ROUNDS {
                return Err(answer::unavailable());
            }
            let (_, pages) = self.pages(&query, &ask).await?;
            merge.feed(pages);
        }
        Ok(!merge.finish().is_empty())
    }
}

/// Rows asked at once when a subdir is looked into: it is enough to find one.
fn checks_page() -> usize {
    1_000
}

/// Reads a page of full rows.
async fn read_page<T: Row + Packed>(body: Body) -> Option<Page<T>> {
    let bytes = collect(body, MAX_PAGE_BYTES).await.ok()?;
    if bytes.is_empty() {
        return Some(Page { entries: Vec::new() });
    }
    Some(Page {
        entries: rows::unpack(&bytes)?,
    })
}

/// 200 with a listing as JSON.
pub fn respond_json(mut headers: HeaderMap, entries: &impl Serialize) -> Response {
    match serde_json::to_vec(entries) {
        Ok(json) => {
            headers.insert(
                CONTENT_TYPE,
                HeaderValue::from_static("application/json; charset=utf-8"),
            );
            headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from(json.len()));
            martlet_service::respond::with(StatusCode::OK, headers, Body::full(json))
        }
        Err(error) => {
            tracing::error!(%error, "a listing could not be written");
            answer::page(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// Lines of a container listing, in the JSON that Swift's clients read.
pub struct ObjectLines(pub Vec<ListingEntry<ObjectRow>>);

impl Serialize for ObjectLines {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(ObjectLine))
    }
}

struct ObjectLine<'a>(&'a ListingEntry<ObjectRow>);

impl Serialize for ObjectLine<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let row = match self.0 {
            ListingEntry::Subdir(subdir) => return subdir_line(subdir, serializer),
            ListingEntry::Row(row) => row,
        };
        let (content_type, bytes) = shown_type_and_bytes(&row.content_type, row.size);
        let mut line = serializer.serialize_map(None)?;
        line.serialize_entry("bytes", &bytes)?;
        line.serialize_entry("hash", &row.etag)?;
        line.serialize_entry("name", &row.name)?;
        line.serialize_entry("content_type", &content_type)?;
        line.serialize_entry("last_modified", &row.last_modified().isoformat())?;
        if let Some(version) = row.version {
            line.serialize_entry("version_id", &version.text())?;
        }
        line.end()
    }
}

fn subdir_line<S: Serializer>(subdir: &str, serializer: S) -> Result<S::Ok, S::Error> {
    let mut line = serializer.serialize_map(Some(1))?;
    line.serialize_entry("subdir", subdir)?;
    line.end()
}

/// A `swift_bytes` parameter of the content type is the size of a large object, not a part of its type.
fn shown_type_and_bytes(content_type: &str, size: u64) -> (String, u64) {
    if !content_type.contains(';') {
        return (content_type.to_owned(), size);
    }
    let mut bytes = size;
    let mut shown = String::with_capacity(content_type.len());
    for (at, part) in content_type.split(';').map(str::trim).enumerate() {
        if let Some(value) = part.strip_prefix("swift_bytes=") {
            bytes = value.trim().parse().unwrap_or(bytes);
            continue;
        }
        if at > 0 {
            shown.push(';');
        }
        shown.push_str(part);
    }
    (shown, bytes)
}

/// Lines of an account listing, in the JSON that Swift's clients read.
pub struct ContainerLines<'a> {
    pub entries: Vec<ListingEntry<ContainerRow>>,
    pub policies: &'a Policies,
}

impl Serialize for ContainerLines<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let policies = self.policies;
        serializer.collect_seq(self.entries.iter().map(|entry| ContainerLine { entry, policies }))
    }
}

struct ContainerLine<'a> {
    entry: &'a ListingEntry<ContainerRow>,
    policies: &'a Policies,
}

impl Serialize for ContainerLine<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let row = match self.entry {
            ListingEntry::Subdir(subdir) => return subdir_line(subdir, serializer),
            ListingEntry::Row(row) => row,
        };
        let mut line = serializer.serialize_map(None)?;
        line.serialize_entry("name", &row.name)?;
        line.serialize_entry("count", &row.object_count)?;
        line.serialize_entry("bytes", &row.bytes_used)?;
        line.serialize_entry("last_modified", &row.put_timestamp.isoformat())?;
        if let Some(policy) = self.policies.by_index(row.policy) {
            line.serialize_entry("storage_policy", &policy.name)?;
        }
        line.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_objects_size_is_shown_and_its_mark_is_not() {
        for (content_type, expected) in [
            ("text/plain", ("text/plain", 5)),
            ("text/plain; charset=UTF-8", ("text/plain;charset=UTF-8", 5)),
            ("text/plain; swift_bytes=99", ("text/plain", 99)),
            ("a/b;swift_bytes=7;c=d", ("a/b;c=d", 7)),
            ("a/b;swift_bytes=junk", ("a/b", 5)),
        ] {
            let (shown, bytes) = shown_type_and_bytes(content_type, 5);
            assert_eq!((shown.as_str(), bytes), expected, "{content_type}");
        }
    }
}
