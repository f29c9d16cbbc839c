//! One device in memory: objects, containers, accounts and listing rows, newest wins.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use martlet_protocol::header;
use martlet_protocol::listing::ListingQuery;
use martlet_protocol::percent;
use martlet_protocol::policy::PolicyIndex;
use martlet_protocol::query::Query;
use martlet_protocol::range::{Resolved, parse_ranges, resolve};
use martlet_protocol::row::{ListingEntry, ObjectRow};
use martlet_protocol::timestamp::Timestamp;
use martlet_service::{Body, BodyError, BoxFuture, Handler, Request, Response, headers, respond};
use md5::{Digest, Md5};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};

#[derive(Clone, Debug)]
pub struct Stored {
    pub timestamp: Timestamp,
    pub deleted: bool,
    pub body: Bytes,
    pub etag: String,
    pub headers: HeaderMap,
}

/// What is wrong with a device.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Requests are never answered.
    pub hangs: bool,
    /// Every request is answered 507.
    pub full: bool,
    /// Bodies of GET break after so many bytes.
    pub breaks_after: Option<usize>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Stored>,
    /// Containers and accounts.
    containers: BTreeMap<String, Stored>,
    rows: BTreeMap<String, BTreeMap<String, ObjectRow>>,
    synced: Timestamp,
    synced_rings: u64,
    faults: Faults,
    /// Method and path of each request, in order of arrival.
    requests: Vec<String>,
}

pub struct FakeDevice {
    name: String,
    state: Mutex<State>,
    others: OnceLock<Vec<Weak<FakeDevice>>>,
}

impl FakeDevice {
    pub fn new(name: &str) -> Arc<Self> {
        Arc::new(FakeDevice {
            name: name.into(),
            state: Mutex::default(),
            others: OnceLock::new(),
        })
    }

    pub fn know(&self, devices: &[Arc<FakeDevice>]) {
        let _ = self.others.set(devices.iter().map(Arc::downgrade).collect());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// The fingerprint of the rings that the device's replicator follows.
    pub fn set_rings(&self, fingerprint: u64) {
        self.state().synced_rings = fingerprint;
    }

    pub fn set_synced(&self, at: Timestamp) {
        self.state().synced = at;
    }

    pub fn object(&self, path: &str) -> Option<Stored> {
        self.state().objects.get(path).cloned()
    }

    pub fn set_object(&self, path: &str, stored: Option<Stored>) {
        match stored {
            Some(stored) => self.state().objects.insert(path.into(), stored),
            None => self.state().objects.remove(path),
        };
    }

    pub fn remove_row(&self, container: &str, object: &str) {
        if let Some(rows) = self.state().rows.get_mut(container) {
            rows.remove(object);
        }
    }

    pub fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }

    pub fn put_row(&self, container: &str, row: ObjectRow) {
        let mut state = self.state();
        let rows = state.rows.entry(container.into()).or_default();
        let merged = match rows.remove(&row.name) {
            Some(known) => known.merge(row),
            None => row,
        };
        rows.insert(merged.name.clone(), merged);
    }

    async fn answer(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let path = percent::unquote(parts.uri.path()).unwrap();
        let names: Vec<&str> = path.splitn(4, '/').collect();
        let (device, rest) = (names[1], names[3]);
        assert_eq!(device, self.name);
        let server = headers::text(&parts.headers, header::X_BACKEND_MARTLET_SERVER)
            .unwrap()
            .to_owned();
        self.state().requests.push(format!("{} {rest}", parts.method));
        let faults = self.state().faults.clone();
        if faults.hangs {
            std::future::pending::<()>().await;
        }
        if faults.full {
            return respond::empty(StatusCode::INSUFFICIENT_STORAGE);
        }
        let mut response = match (server.as_str(), &parts.method) {
            ("object", &Method::PUT) => self.put_object(rest, &parts.headers, body).await,
            ("object", &Method::DELETE) => self.delete_object(rest, &parts.headers),
            ("object", &Method::POST) => self.post_object(rest, &parts.headers),
            ("object", _) => self.get_object(rest, &parts.headers, &parts.method, faults.breaks_after),
            (_, &Method::PUT | &Method::POST | &Method::DELETE) => {
                self.change_container(rest, &parts.headers, &parts.method)
            }
            _ => self.get_container(rest, &parts.method, parts.uri.query()),
        };
        let (synced, rings) = {
            let state = self.state();
            (state.synced.normal(), state.synced_rings)
        };
        headers::set(response.headers_mut(), header::X_BACKEND_MARTLET_SYNCED, &synced);
        let rings = format!("{rings:016x}");
        headers::set(response.headers_mut(), header::X_BACKEND_MARTLET_RINGS, &rings);
        response
    }

    async fn put_object(&self, path: &str, head: &HeaderMap, mut body: Body) -> Response {
        let mut bytes = Vec::new();
        while let Some(chunk) = body.next().await {
            match chunk {
                Ok(chunk) => bytes.extend_from_slice(&chunk),
                Err(_) => return respond::empty(StatusCode::from_u16(499).unwrap()),
            }
        }
        let trailers = body.trailers().cloned().unwrap_or_default();
        let etag = match headers::text(head, header::X_BACKEND_MARTLET_ETAG) {
            Some(etag) => etag.to_owned(),
            None => match headers::text(&trailers, header::X_BACKEND_MARTLET_ETAG) {
                Some(etag) => etag.to_owned(),
                None => return respond::empty(StatusCode::from_u16(499).unwrap()),
            },
        };
        assert_eq!(
            etag,
            hex::encode(Md5::digest(&bytes)),
            "the proxy sent a wrong MD5"
        );
        let mut kept = head.clone();
        kept.extend(trailers);
        let timestamp = stamp(head);
        {
            let mut state = self.state();
            let known = state.objects.get(path);
            if head.contains_key("if-none-match") && known.is_some_and(|known| !known.deleted) {
                return respond::empty(StatusCode::PRECONDITION_FAILED);
            }
            if known.is_some_and(|known| known.timestamp >= timestamp) {
                return respond::empty(StatusCode::CONFLICT);
            }
            let size = bytes.len() as u64;
            let body = Bytes::from(bytes);
            state.objects.insert(
                path.into(),
                Stored {
                    timestamp,
                    deleted: false,
                    body,
                    etag: etag.clone(),
                    headers: kept,
                },
            );
            drop(state);
            self.tell_containers(path, head, size, &etag, false);
        }
        respond::empty(StatusCode::CREATED)
    }

    fn tell_containers(&self, path: &str, head: &HeaderMap, size: u64, etag: &str, deleted: bool) {
        let (container, object) = split_object(path);
        let timestamp = stamp(head);
        let row = ObjectRow {
            name: object.into(),
            timestamp,
            deleted,
            size,
            content_type: headers::text(head, "content-type").unwrap_or("").into(),
            etag: etag.into(),
            content_type_timestamp: timestamp,
            meta_timestamp: timestamp,
            policy: PolicyIndex(0),
            version: None,
        };
        let told = headers::text(head, header::X_CONTAINER_DEVICE)
            .unwrap_or("")
            .to_owned();
        for name in told.split(',') {
            let device = self
                .others
                .get()
                .into_iter()
                .flatten()
                .filter_map(Weak::upgrade)
                .find(|d| d.name == name);
            if let Some(device) = device {
                device.put_row(container, row.clone());
            }
        }
    }

    fn delete_object(&self, path: &str, head: &HeaderMap) -> Response {
        let timestamp = stamp(head);
        let known = self.object(path);
        if known.as_ref().is_some_and(|known| known.timestamp >= timestamp) {
            return respond::empty(StatusCode::CONFLICT);
        }
        let tombstone = Stored {
            timestamp,
            deleted: true,
            body: Bytes::new(),
            etag: String::new(),
            headers: HeaderMap::new(),
        };
        self.set_object(path, Some(tombstone));
        self.tell_containers(path, head, 0, "", true);
        match known.is_some_and(|known| !known.deleted) {
            true => respond::empty(StatusCode::NO_CONTENT),
            false => respond::empty(StatusCode::NOT_FOUND),
        }
    }

    fn post_object(&self, path: &str, head: &HeaderMap) -> Response {
        match self.object(path) {
            Some(mut stored) if !stored.deleted => {
                stored.headers = head.clone();
                self.set_object(path, Some(stored));
                respond::empty(StatusCode::ACCEPTED)
            }
            _ => respond::empty(StatusCode::NOT_FOUND),
        }
    }

    fn get_object(
        &self,
        path: &str,
        head: &HeaderMap,
        method: &Method,
        breaks_after: Option<usize>,
    ) -> Response {
        let Some(stored) = self.object(path) else {
            return respond::empty(StatusCode::NOT_FOUND);
        };
        let mut out = HeaderMap::new();
        let at = stored.timestamp.internal();
        headers::set(&mut out, header::X_BACKEND_TIMESTAMP, &at);
        if stored.deleted {
            return respond::with(StatusCode::NOT_FOUND, out, Body::empty());
        }
        headers::set(&mut out, header::X_BACKEND_DATA_TIMESTAMP, &at);
        headers::set(&mut out, header::X_TIMESTAMP, &stored.timestamp.normal());
        headers::set(&mut out, "etag", &stored.etag);
        for (name, value) in &stored.headers {
            if name.as_str().starts_with("x-object-") || name == "content-type" {
                out.insert(name.clone(), value.clone());
            }
        }
        let length = stored.body.len() as u64;
        let specs = headers::text(head, "range")
            .and_then(parse_ranges)
            .unwrap_or_default();
        let (status, start, end) = match resolve(&specs, length) {
            Resolved::Whole => (StatusCode::OK, 0, length),
            Resolved::Ranges(ranges) => {
                headers::set(&mut out, "content-range", &ranges[0].content_range(length));
                (StatusCode::PARTIAL_CONTENT, ranges[0].start, ranges[0].end)
            }
            Resolved::Unsatisfiable => {
                return respond::with(StatusCode::RANGE_NOT_SATISFIABLE, out, Body::empty());
            }
        };
        out.insert("content-length", (end - start).into());
        if *method == Method::HEAD {
            return respond::with(status, out, Body::empty());
        }
        let bytes = stored.body.slice(start as usize..end as usize);
        let mut chunks: Vec<Result<Bytes, BodyError>> = Vec::new();
        match breaks_after {
            Some(after) if after < bytes.len() => {
                chunks.extend((after > 0).then(|| Ok(bytes.slice(..after))));
                chunks.push(Err(BodyError::Corrupt));
            }
            _ => chunks.extend(
                bytes
                    .chunks(40_000)
                    .map(|chunk| Ok(Bytes::copy_from_slice(chunk))),
            ),
        }
        respond::with(status, out, Body::stream(futures_util::stream::iter(chunks)))
    }

    fn change_container(&self, path: &str, head: &HeaderMap, method: &Method) -> Response {
        let timestamp = stamp(head);
        let mut state = self.state();
        let known = state.containers.get(path).filter(|known| !known.deleted).cloned();
        let live = state
            .rows
            .get(path)
            .is_some_and(|rows| rows.values().any(|row| !row.deleted));
        let status = match (method, &known) {
            (&Method::PUT, None) => StatusCode::CREATED,
            (&Method::PUT, Some(_)) => StatusCode::ACCEPTED,
            (_, None) => return respond::empty(StatusCode::NOT_FOUND),
            (&Method::DELETE, Some(_)) if live => return respond::empty(StatusCode::CONFLICT),
            _ => StatusCode::NO_CONTENT,
        };
        let mut kept = known.map(|known| known.headers).unwrap_or_default();
        for (name, value) in head {
            let families = ["x-container-", "x-account-meta-", "x-account-sysmeta-"];
            if families.iter().any(|family| name.as_str().starts_with(family)) {
                kept.insert(name.clone(), value.clone());
            }
        }
        let deleted = *method == Method::DELETE;
        let stored = Stored {
            timestamp,
            deleted,
            body: Bytes::new(),
            etag: String::new(),
            headers: kept,
        };
        state.containers.insert(path.into(), stored);
        respond::empty(status)
    }

    fn get_container(&self, path: &str, method: &Method, query: Option<&str>) -> Response {
        let state = self.state();
        let mut out = HeaderMap::new();
        let Some(stored) = state.containers.get(path) else {
            return respond::empty(StatusCode::NOT_FOUND);
        };
        if stored.deleted {
            headers::set(
                &mut out,
                header::X_BACKEND_DELETE_TIMESTAMP,
                &stored.timestamp.internal(),
            );
            return respond::with(StatusCode::NOT_FOUND, out, Body::empty());
        }
        headers::set(
            &mut out,
            header::X_BACKEND_PUT_TIMESTAMP,
            &stored.timestamp.internal(),
        );
        out.extend(stored.headers.clone());
        let none = BTreeMap::new();
        let rows = state.rows.get(path).unwrap_or(&none);
        let live = rows.values().filter(|row| !row.deleted);
        headers::set(
            &mut out,
            header::X_CONTAINER_OBJECT_COUNT,
            &live.count().to_string(),
        );
        if *method == Method::HEAD {
            return respond::with(StatusCode::NO_CONTENT, out, Body::empty());
        }
        let query = Query::parse(query.unwrap_or("")).unwrap();
        let wanted = ListingQuery::parse(&query, 10_000).unwrap();
        let entries = page(rows, &wanted);
        respond::with(
            StatusCode::OK,
            out,
            Body::full(martlet_protocol::rows::pack(&entries)),
        )
    }
}

/// Rows in order, deleted ones too, up to the limit-th live entry.
fn page(rows: &BTreeMap<String, ObjectRow>, wanted: &ListingQuery) -> Vec<ListingEntry<ObjectRow>> {
    let (mut entries, mut live) = (Vec::new(), 0);
    let prefix = wanted.prefix.as_deref().unwrap_or("");
    for row in rows.values() {
        let is_past = wanted
            .marker
            .as_deref()
            .is_none_or(|marker| row.name.as_str() > marker);
        if !is_past || live >= wanted.limit || !row.name.starts_with(prefix) {
            continue;
        }
        let cut = wanted
            .delimiter
            .as_deref()
            .and_then(|delimiter| row.name[prefix.len()..].find(delimiter));
        match cut {
            None => {
                live += usize::from(!row.deleted);
                entries.push(ListingEntry::Row(row.clone()));
            }
            Some(cut) if !row.deleted => {
                let subdir = ListingEntry::Subdir(row.name[..=prefix.len() + cut].to_owned());
                if entries.last() != Some(&subdir) {
                    live += 1;
                    entries.push(subdir);
                }
            }
            Some(_) => {}
        }
    }
    entries
}

fn stamp(head: &HeaderMap) -> Timestamp {
    Timestamp::parse(headers::text(head, header::X_TIMESTAMP).unwrap()).unwrap()
}

/// `a/c/o/p` as `a/c` and `o/p`.
fn split_object(path: &str) -> (&str, &str) {
    let slash = path.match_indices('/').nth(1).unwrap().0;
    (&path[..slash], &path[slash + 1..])
}

impl Handler for FakeDevice {
    fn call(&self, request: Request) -> BoxFuture<'_, Response> {
        Box::pin(self.answer(request))
    }
}
