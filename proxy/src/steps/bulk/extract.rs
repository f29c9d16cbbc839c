//! `PUT ?extract-archive`: each file of an archive becomes an object, as the archive comes in.
//!
//! Small files are stored several at a time, since each waits for disks; large ones stream one after the other. At no
//! time is there more in memory than the small files under way.

use super::names::quote;
use super::outcome::{GivenUp, Outcome};
use super::source::{Source, SourceError};
use super::tar::{Archive, Entry, TarError, What};
use super::{Caller, max_path_length};
use crate::pipeline::Next;
use crate::steps::report::Report;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use martlet_protocol::header;
use martlet_protocol::name::{ContainerName, ContainerPath, Target};
use martlet_service::{Body, BodyError};
use std::collections::HashSet;

/// Files up to this many bytes are small.
const SMALL_FILE: u64 = 64 << 10;
/// Bytes read of an upload after the archive's end, or after it was given up, before the connection is let go.
const MAX_DRAIN: u64 = 16 << 20;

/// An archive and where it goes.
pub struct Upload {
    pub source: Source,
    pub target: Target,
    /// Below the account, without a slash at either end.
    pub base: String,
    /// Set on every object.
    pub headers: HeaderMap,
}

/// What the upload's own headers say of every file: metadata, expiry, and the content type when one was given.
pub fn headers_for_all(map: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for (name, value) in map {
        let text = name.as_str();
        let is_kept = text.starts_with("x-object-meta-")
            || [
                header::X_DELETE_AT,
                header::X_DELETE_AFTER,
                "x-detect-content-type",
            ]
            .contains(&text);
        if is_kept {
            kept.insert(name.clone(), value.clone());
        }
    }
    if let Some(given) = map.get(CONTENT_TYPE)
        // What curl says when nobody told it anything.
        && given.as_bytes() != b"application/x-www-form-urlencoded"
    {
        kept.insert(CONTENT_TYPE, given.clone());
    }
    kept
}

pub async fn extract(next: Next, caller: Caller, upload: Upload, refusal: Option<StatusCode>) -> Report {
    let mut extraction = Extraction {
        next,
        caller,
        target: upload.target,
        base: upload.base,
        headers: upload.headers,
        outcome: Outcome::default(),
        under_way: FuturesOrdered::new(),
        names_under_way: HashSet::new(),
        containers: HashSet::new(),
        containers_made: 0,
    };
    let mut archive = Archive::new(upload.source);
    let mut ended = match refusal {
        Some(status) => Err(GivenUp::from(status)),
        None => extraction.run(&mut archive).await,
    };
    let settled = extraction.settle_all().await;
    if ended.is_ok() {
        ended = settled;
    }
    archive.into_source().drain(MAX_DRAIN).await;
    extraction.outcome.of_extraction(ended)
}

/// An object to be made.
struct File {
    target: Target,
    /// Quoted, for the report.
    name: String,
    headers: HeaderMap,
    /// The container could not be made; the object may still be stored if it is there after all.
    container_failure: Option<(String, StatusCode)>,
}

struct Stored {
    file: File,
    status: StatusCode,
}

struct Extraction {
    next: Next,
    caller: Caller,
    target: Target,
    base: String,
    headers: HeaderMap,
    outcome: Outcome,
    under_way: FuturesOrdered<BoxFuture<'static, Stored>>,
    /// Of two files of one name the later one must stay, so they are never under way together.
    names_under_way: HashSet<String>,
    /// Containers that are there. Forgotten when there are too many to remember, and then asked for again.
    containers: HashSet<ContainerName>,
    containers_made: usize,
}

impl Extraction {
    async fn run(&mut self, archive: &mut Archive) -> Result<(), GivenUp> {
        let config = self.next.edge().config.bulk.clone();
        loop {
            let entry = archive.next().await.map_err(given_up)?;
            if self.outcome.failures.len() >= config.max_failed_extractions {
                return Ok(());
            }
            let Some(entry) = entry else { return Ok(()) };
            let Some(file) = self.prepare(&entry).await? else {
                continue;
            };
            if entry.size > SMALL_FILE {
                self.settle_all().await?;
                let stored = self.stream(archive, file, entry.size).await?;
                self.settle(stored)?;
                continue;
            }
            let content = gather(archive, entry.size).await.map_err(given_up)?;
            if self.names_under_way.contains(&file.name) {
                self.settle_all().await?;
            }
            while self.under_way.len() >= config.extract_concurrency.max(1) {
                self.settle_next().await?;
            }
            self.names_under_way.insert(file.name.clone());
            let put = self.put(&file, entry.size, Body::full(content));
            self.under_way.push_back(Box::pin(async move {
                let status = put.await;
                Stored { file, status }
            }));
        }
    }

    /// What an entry becomes; `None` when it becomes nothing, whether by rule or because it failed.
    async fn prepare(&mut self, entry: &Entry) -> Result<Option<File>, GivenUp> {
        if entry.what == What::NoFile {
            return Ok(None);
        }
        let limits = self.next.edge().config.constraints.clone();
        let Some(path) = place(&self.base, &entry.name) else {
            return Ok(None);
        };
        let name = quote(&path[..path.len().min(max_path_length(&limits))]);
        let target = match choose(&self.target, &path) {
            Ok(target) => target,
            Err(status) => {
                self.outcome.fail(name, status);
                return Ok(None);
            }
        };
        if entry.what == What::SparseFile {
            // Its bytes would have to be put together from a map; stored as they stand they would be wrong.
            self.outcome.fail(name, StatusCode::BAD_REQUEST);
            return Ok(None);
        }
        if entry.size > limits.max_file_size {
            self.outcome.fail(name, StatusCode::PAYLOAD_TOO_LARGE);
            return Ok(None);
        }
        let mut map = self.headers.clone();
        for (name, value) in &entry.headers {
            let (Ok(name), Ok(value)) = (
                HeaderName::from_bytes(name.as_bytes()),
                HeaderValue::from_bytes(value),
            ) else {
                // An attribute that no header can carry must not be lost in silence.
                self.outcome.fail(quote(&path), StatusCode::BAD_REQUEST);
                return Ok(None);
            };
            map.insert(name, value);
        }
        let container_failure = self.make_container(&target).await?;
        Ok(Some(File {
            target,
            name,
            headers: map,
            container_failure,
        }))
    }

    /// Makes the container of a file unless it is there.
    async fn make_container(&mut self, target: &Target) -> Result<Option<(String, StatusCode)>, GivenUp> {
        let Some(path) = target.container_path() else {
            return Ok(None);
        };
        if self.containers.contains(&path.container) {
            return Ok(None);
        }
        self.settle_all().await?;
        let head = self.ask(Method::HEAD, &path).await;
        if head.is_success() {
            self.remember(path.container);
            return Ok(None);
        }
        let status = match head {
            StatusCode::NOT_FOUND => self.ask(Method::PUT, &path).await,
            status => status,
        };
        if !status.is_success() {
            if status == StatusCode::UNAUTHORIZED {
                return Err(status.into());
            }
            return Ok(Some((quote(path.container.as_bytes()), status)));
        }
        self.containers_made += 1;
        let most = self.next.edge().config.bulk.max_containers_per_extraction;
        if self.containers_made > most {
            let words = format!("More than {most} containers to create from tar.");
            return Err(GivenUp::bad(words));
        }
        self.remember(path.container);
        Ok(None)
    }

    fn remember(&mut self, container: ContainerName) {
        if self.containers.len() > self.next.edge().config.bulk.max_containers_per_extraction {
            self.containers.clear();
        }
        self.containers.insert(container);
    }

    fn ask(&self, method: Method, path: &ContainerPath) -> impl Future<Output = StatusCode> + Send + use<> {
        let target = Target::Container(path.clone());
        let mut request = self.caller.request(method, target, "BulkExpand");
        request
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        let next = self.next.clone();
        async move { next.run(request).await.status() }
    }

    fn put(&self, file: &File, size: u64, body: Body) -> impl Future<Output = StatusCode> + Send + use<> {
        let mut request = self
            .caller
            .request(Method::PUT, file.target.clone(), "BulkExpand");
        request.headers_mut().extend(file.headers.clone());
        request
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from(size));
        *request.body_mut() = body;
        let next = self.next.clone();
        async move { next.run(request).await.status() }
    }

    /// Stores a large file while it is read. What its PUT does not want is left for the archive to pass over.
    async fn stream(&mut self, archive: &mut Archive, file: File, size: u64) -> Result<Stored, GivenUp> {
        let (mut sender, body) = Body::sized_channel(4, size);
        let feed = async {
            loop {
                match archive.read().await {
                    Ok(Some(chunk)) => {
                        if sender.send(chunk).await.is_err() {
                            return Ok(());
                        }
                    }
                    Ok(None) => {
                        // A PUT that has gone has answered already.
                        let _ = sender.finish().await;
                        return Ok(());
                    }
                    Err(error) => {
                        sender.abort(BodyError::Aborted).await;
                        return Err(error);
                    }
                }
            }
        };
        let put = self.put(&file, size, body);
        let (fed, status) = tokio::join!(feed, put);
        if let Err(error) = fed {
            if !status.is_success() {
                self.outcome.fail(file.name, status);
            }
            return Err(given_up(error));
        }
        Ok(Stored { file, status })
    }

    async fn settle_all(&mut self) -> Result<(), GivenUp> {
        let mut outcome = Ok(());
        while !self.under_way.is_empty() {
            // All are heard, even when the first one already ends everything.
            let settled = self.settle_next().await;
            if outcome.is_ok() {
                outcome = settled;
            }
        }
        outcome
    }

    async fn settle_next(&mut self) -> Result<(), GivenUp> {
        match self.under_way.next().await {
            Some(stored) => {
                self.names_under_way.remove(&stored.file.name);
                self.settle(stored)
            }
            None => Ok(()),
        }
    }

    fn settle(&mut self, stored: Stored) -> Result<(), GivenUp> {
        let Stored { file, status } = stored;
        if status.is_success() {
            if let Some(container) = file.target.container() {
                self.remember(container.clone());
            }
            self.outcome.done += 1;
            return Ok(());
        }
        if let Some((container, status)) = file.container_failure {
            self.outcome.fail(container, status);
        }
        self.outcome.fail(file.name, status);
        if status == StatusCode::UNAUTHORIZED {
            return Err(status.into());
        }
        Ok(())
    }
}

/// `container/object` of a file in the archive; `None` for files that would be in no container.
fn place(base: &str, name: &[u8]) -> Option<Vec<u8>> {
    let name = name.strip_prefix(b"./").unwrap_or(name);
    let begin = name.iter().position(|byte| *byte != b'/').unwrap_or(name.len());
    let mut path = Vec::new();
    if !base.is_empty() {
        path.extend_from_slice(base.as_bytes());
        path.push(b'/');
    }
    path.extend_from_slice(&name[begin..]);
    path.contains(&b'/').then_some(path)
}

/// The object a path names; else the status its PUT would have had.
fn choose(target: &Target, path: &[u8]) -> Result<Target, StatusCode> {
    let path = std::str::from_utf8(path).map_err(|_| StatusCode::PRECONDITION_FAILED)?;
    if path.contains('\0') {
        return Err(StatusCode::PRECONDITION_FAILED);
    }
    match Target::parse(&format!("{}/{path}", target.account())) {
        Ok(chosen @ Target::Object(_)) => Ok(chosen),
        Ok(_) | Err(_) => Err(StatusCode::BAD_REQUEST),
    }
}

async fn gather(archive: &mut Archive, size: u64) -> Result<Bytes, TarError> {
    let mut gathered = BytesMut::new();
    while let Some(chunk) = archive.read().await? {
        if chunk.len() as u64 == size {
            // A copy: a slice would hold on to all that came with it.
            return Ok(Bytes::copy_from_slice(&chunk));
        }
        gathered.extend_from_slice(&chunk);
    }
    Ok(gathered.freeze())
}

fn given_up(error: TarError) -> GivenUp {
    match error {
        TarError::Source(SourceError::Upload(BodyError::Timeout)) => StatusCode::REQUEST_TIMEOUT.into(),
        error => GivenUp::bad(format!("Invalid Tar File: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use martlet_service::headers;

    #[test]
    fn files_find_their_place() {
        for (base, name, expected) in [
            ("", "c/o", Some("c/o")),
            ("", "./c/o", Some("c/o")),
            ("", "/c/o", Some("c/o")),
            ("", "file", None),
            ("", "./file", None),
            ("", "", None),
            ("c", "file", Some("c/file")),
            ("c", "/d/file", Some("c/d/file")),
            ("c/d", "./e/file", Some("c/d/e/file")),
        ] {
            let found = place(base, name.as_bytes()).map(|path| String::from_utf8(path).unwrap());
            assert_eq!(found.as_deref(), expected, "{base:?} {name:?}");
        }
    }

    #[test]
    fn names_that_cannot_be_are_told() {
        let account = Target::parse("AUTH_a").unwrap();
        let long_container = format!("{}/o", "c".repeat(257));
        for (path, expected) in [
            (&b"c/o"[..], Ok("/AUTH_a/c/o")),
            (b"c//o", Ok("/AUTH_a/c//o")),
            (b"c/", Err(400)),
            (b"c/\xff", Err(412)),
            (b"\0c/o", Err(412)),
            (long_container.as_bytes(), Err(400)),
        ] {
            let found = choose(&account, path)
                .map(|target| target.path())
                .map_err(|status| status.as_u16());
            assert_eq!(found.as_deref(), expected.as_deref(), "{path:?}");
        }
    }

    #[test]
    fn what_every_file_is_given() {
        let mut map = HeaderMap::new();
        for (name, value) in [
            ("x-object-meta-a", "1"),
            ("x-delete-after", "60"),
            ("content-type", "application/x-tar"),
            ("x-detect-content-type", "true"),
            ("x-auth-token", "t"),
            ("etag", "of the archive"),
        ] {
            headers::set(&mut map, name, value);
        }
        let kept = headers_for_all(&map);
        let mut names: Vec<_> = kept.keys().map(|name| name.as_str()).collect();
        names.sort();
        assert_eq!(
            names,
            [
                "content-type",
                "x-delete-after",
                "x-detect-content-type",
                "x-object-meta-a"
            ]
        );
        headers::set(&mut map, "content-type", "application/x-www-form-urlencoded");
        assert!(!headers_for_all(&map).contains_key("content-type"));
    }
}
