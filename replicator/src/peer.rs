//! Calls to another device's [`crate::ReplicationServer`]: typed questions and answers, each with a deadline.

mod lists;

use crate::clients::Clients;
use crate::courtesy::Courtesy;
use crate::planner::Digest;
use crate::transfer::{self, Arrival, TransferError};
use crate::wire::{self, RowsPage, WireBuried, WireGrave};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use martlet_node_client::{BackendRequest, Node, NodeClient, NodeError, Ready};
use martlet_protocol::hash::PathHash;
use martlet_protocol::percent;
use martlet_protocol::policy::PolicyIndex;
use martlet_protocol::record::{ContainerRecord, ObjectRecord};
use martlet_protocol::row::ObjectRow;
use martlet_protocol::timestamp::Timestamp;
use martlet_service::{Body, Response, collect, headers};
use martlet_storage::{BodyReader, Change, Grave, Space, StorageError, Version};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// Chunks of a body that wait between reading it here and writing it there.
const UPLOAD_CHUNKS: usize = 4;

/// Why a peer did not do what was asked.
#[derive(Debug)]
pub enum PeerError {
    /// Not there: no connection, no answer in time, its device not mounted or not known. Asking again now is no use.
    Silent(String),
    /// It has too much to do, or a full disk: this item must wait for another round.
    Refused(StatusCode),
    /// It answered something that is not the protocol.
    Malformed(String),
    /// The transfer broke midway.
    Transfer(TransferError),
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerError::Silent(why) => write!(f, "not reachable: {why}"),
            PeerError::Refused(status) => write!(f, "refused with {status}"),
            PeerError::Malformed(what) => write!(f, "malformed answer: {what}"),
            PeerError::Transfer(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for PeerError {}

impl From<NodeError> for PeerError {
    fn from(error: NodeError) -> Self {
        PeerError::Silent(error.to_string())
    }
}

impl From<StorageError> for PeerError {
    fn from(error: StorageError) -> Self {
        PeerError::Transfer(TransferError::Storage(error))
    }
}

impl From<TransferError> for PeerError {
    fn from(error: TransferError) -> Self {
        PeerError::Transfer(error)
    }
}

impl PeerError {
    /// The peer itself is away; the rest of its round is dropped.
    pub fn is_silent(&self) -> bool {
        matches!(self, PeerError::Silent(_))
    }

    /// Too much to do, here or there: worth another try in a moment.
    pub fn is_busy(&self) -> bool {
        match self {
            PeerError::Refused(status) => *status == StatusCode::SERVICE_UNAVAILABLE,
            error => error.local() == Some(&StorageError::Busy),
        }
    }

    /// What the local device said.
    pub fn local(&self) -> Option<&StorageError> {
        match self {
            PeerError::Transfer(TransferError::Storage(error)) => Some(error),
            _ => None,
        }
    }
}

/// The digests of a peer, and where its change log stood before they were taken.
#[derive(Debug)]
pub struct TheirDigests {
    pub digests: Vec<Digest>,
    pub instance: String,
    pub sequence: u64,
}

/// A part of a peer's change log.
#[derive(Debug)]
pub struct TheirChanges {
    pub entries: Vec<Change>,
    pub instance: String,
    pub next: u64,
    pub trimmed_before: u64,
}

/// What a peer said about a range of rows.
#[derive(Debug)]
pub enum TheirRows {
    /// The same as here.
    Equal,
    Page(RowsPage),
    /// It has no such container.
    NoContainer,
}

/// One device of another node (or of this one), as a replicator talks to it.
#[derive(Clone)]
pub struct Peer {
    client: NodeClient,
    node: Node,
    /// Told when the peer says that it serves clients.
    clients: Clients,
    /// For each question and its answer; bodies of objects have the stall timeout of the client instead.
    deadline: Duration,
}

impl Peer {
    /// Speaks with a device over the replication network, as the ring names it.
    pub fn new(client: NodeClient, node: Node, deadline: Duration, clients: Clients) -> Self {
        let node = Node {
            ip: node.replication_ip.clone(),
            port: node.replication_port,
            ..node
        };
        Peer {
            client,
            node,
            clients,
            deadline,
        }
    }

    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Whether the device is there; the newest deletion that it has forgotten.
    pub async fn ping(&self) -> Result<Timestamp, PeerError> {
        let (map, _) = self.get("ping", None).await?;
        let text = headers::text(&map, wire::RECLAIMED).unwrap_or("0");
        Timestamp::parse(text).map_err(|_| malformed("reclaimed"))
    }

    /// What the device holds where another has these graves.
    pub async fn buried(&self, space: Space, graves: &[Grave]) -> Result<Vec<WireBuried>, PeerError> {
        let response = self.answer(self.graves_request("buried", space, graves)?).await?;
        let told: Vec<WireBuried> = self.json(response, wire::MAX_LIST_BYTES).await?;
        if told.len() == graves.len() {
            Ok(told)
        } else {
            Err(malformed("as many answers as graves"))
        }
    }

    /// Makes the device forget these deletions.
    pub async fn reclaim(&self, space: Space, graves: &[Grave]) -> Result<(), PeerError> {
        let request = self.graves_request("reclaim", space, graves)?;
        taken(&self.answer(request).await?)
    }

    fn graves_request(
        &self,
        verb: &str,
        space: Space,
        graves: &[Grave],
    ) -> Result<BackendRequest, PeerError> {
        let graves: Vec<WireGrave> = graves.iter().map(WireGrave::of).collect();
        self.json_request(&format!("{verb}/{}", wire::space_name(space)), &graves)
    }

    /// Digests of the given prefixes, or of all.
    pub async fn digests(
        &self,
        space: Space,
        only: Option<&BTreeSet<u16>>,
    ) -> Result<TheirDigests, PeerError> {
        let named = only.filter(|prefixes| prefixes.len() <= wire::MAX_NAMED_PREFIXES);
        let query = named.map(|prefixes| format!("prefixes={}", wire::write_prefixes(prefixes)));
        let (map, bytes) = self
            .get(&format!("digests/{}", wire::space_name(space)), query)
            .await?;
        let digests = wire::unpack_digests(&bytes).map_err(|_| malformed("digests"))?;
        Ok(TheirDigests {
            digests,
            instance: instance(&map)?,
            sequence: number(&map, wire::SEQUENCE)?,
        })
    }

    /// All versions below a prefix, ascending. A prefix is one of 65,536 parts of a device: its versions fit in memory.
    pub async fn versions(&self, space: Space, prefix: u16) -> Result<Vec<Version>, PeerError> {
        let path = format!("versions/{}/{prefix:04x}", wire::space_name(space));
        let mut versions: Vec<Version> = Vec::new();
        loop {
            let query = versions.last().map(|last| format!("after={}", last.hash));
            let (_, bytes) = self.get(&path, query).await?;
            let page = wire::unpack_versions(&bytes).map_err(|_| malformed("versions"))?;
            if lists::add_page(&mut versions, page)? {
                return Ok(versions);
            }
        }
    }

    /// Changes after a sequence.
    pub async fn changes(&self, space: Space, since: u64) -> Result<TheirChanges, PeerError> {
        let path = format!("changes/{}", wire::space_name(space));
        let (map, bytes) = self.get(&path, Some(format!("since={since}"))).await?;
        Ok(TheirChanges {
            entries: wire::unpack_changes(&bytes).map_err(|_| malformed("changes"))?,
            instance: instance(&map)?,
            next: number(&map, wire::SEQUENCE)?,
            trimmed_before: number(&map, wire::TRIMMED_BEFORE)?,
        })
    }

    /// An object's record, with its body unless the data of moment `have` is as new. `None`: it is not there (any more).
    pub async fn fetch(
        &self,
        policy: PolicyIndex,
        hash: PathHash,
        have: Option<Timestamp>,
    ) -> Result<Option<Arrival>, PeerError> {
        let query = have.map(|have| format!("have={have}"));
        let request = self.request(
            Method::GET,
            &object_path(policy, hash),
            query,
            HeaderMap::new(),
            Body::empty(),
        );
        let response = self.answer(request).await?;
        match response.status() {
            StatusCode::OK => {
                let (parts, body) = response.into_parts();
                let frame = transfer::read_frame(&parts.headers, body);
                Ok(Some(self.in_time(frame).await??))
            }
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(refused(status)),
        }
    }

    /// Gives the peer a record without its body. `false`: it lacks that data and needs the body too.
    pub async fn push_record(
        &self,
        policy: PolicyIndex,
        hash: PathHash,
        record: &ObjectRecord,
    ) -> Result<bool, PeerError> {
        let (map, body) = transfer::frame(record, None)?;
        let request = self.request(Method::PUT, &object_path(policy, hash), None, map, body);
        let response = self.answer(request).await?;
        if response.status() == StatusCode::PRECONDITION_REQUIRED {
            return Ok(false);
        }
        taken(&response).map(|()| true)
    }

    /// Gives the peer a record with its body. The body may take long: each piece of it has the client's stall timeout.
    pub async fn push_object(
        &self,
        policy: PolicyIndex,
        hash: PathHash,
        record: &ObjectRecord,
        body: BodyReader,
        budget: Option<&Courtesy>,
    ) -> Result<(), PeerError> {
        let (map, mut body) = transfer::frame(record, Some(body))?;
        let request = self.request(Method::PUT, &object_path(policy, hash), None, map, Body::empty());
        let mut upload = self.client.open(&self.node, request, UPLOAD_CHUNKS)?;
        if let Ready::Answered(response) = upload.ready().await? {
            return taken(&response);
        }
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(TransferError::Broken)?;
            let length = chunk.len() as u64;
            upload.send(chunk).await?;
            if let Some(budget) = budget {
                budget.carried(length).await;
            }
        }
        taken(&upload.finish(None).await?)
    }

    /// The record of a container or account.
    pub async fn container(
        &self,
        space: Space,
        hash: PathHash,
    ) -> Result<Option<ContainerRecord>, PeerError> {
        let path = format!("container/{}/{hash}", wire::space_name(space));
        let request = self.request(Method::GET, &path, None, HeaderMap::new(), Body::empty());
        let response = self.answer(request).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        self.json(response, wire::MAX_RECORD_BYTES).await.map(Some)
    }

    /// Gives the peer the record of a container or account.
    pub async fn push_container(
        &self,
        space: Space,
        hash: PathHash,
        record: &ContainerRecord,
    ) -> Result<(), PeerError> {
        self.put_json(&format!("container/{}/{hash}", wire::space_name(space)), record)
            .await
    }

    /// Rows after a name, up to and including `until`; [`TheirRows::Equal`] when their digest is `have`.
    pub async fn rows(
        &self,
        space: Space,
        hash: PathHash,
        after: Option<&str>,
        until: Option<&str>,
        have: &str,
    ) -> Result<TheirRows, PeerError> {
        let mut query = format!("have={have}");
        for (name, value) in [("after", after), ("until", until)] {
            if let Some(value) = value {
                query.push_str(&format!("&{name}={}", percent::quote_segment(value)));
            }
        }
        let path = format!("rows/{}/{hash}", wire::space_name(space));
        let request = self.request(Method::GET, &path, Some(query), HeaderMap::new(), Body::empty());
        let response = self.answer(request).await?;
        match response.status() {
            StatusCode::NO_CONTENT => Ok(TheirRows::Equal),
            StatusCode::NOT_FOUND => Ok(TheirRows::NoContainer),
            _ => Ok(TheirRows::Page(self.json(response, wire::MAX_LIST_BYTES).await?)),
        }
    }

    /// The row of an object; `None` also when there is no such container.
    pub async fn row(
        &self,
        space: Space,
        hash: PathHash,
        name: &str,
    ) -> Result<Option<ObjectRow>, PeerError> {
        let path = format!("row/{}/{hash}", wire::space_name(space));
        let query = format!("name={}", percent::quote_segment(name));
        let request = self.request(Method::GET, &path, Some(query), HeaderMap::new(), Body::empty());
        let response = self.answer(request).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let page: RowsPage = self.json(response, wire::MAX_LIST_BYTES).await?;
        Ok(page.objects.into_iter().next())
    }

    /// Gives the peer rows of a container that it has.
    pub async fn push_rows(&self, space: Space, hash: PathHash, page: &RowsPage) -> Result<(), PeerError> {
        self.put_json(&format!("rows/{}/{hash}", wire::space_name(space)), page)
            .await
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        query: Option<String>,
        mut map: HeaderMap,
        body: Body,
    ) -> BackendRequest {
        headers::set(&mut map, "user-agent", "replicator");
        BackendRequest {
            method,
            path: format!("/martlet/{path}"),
            query,
            headers: map,
            body,
        }
    }

    async fn in_time<T>(&self, work: impl Future<Output = T>) -> Result<T, PeerError> {
        tokio::time::timeout(self.deadline, work)
            .await
            .map_err(|_| PeerError::Silent("no answer in time".into()))
    }

    async fn answer(&self, request: BackendRequest) -> Result<Response, PeerError> {
        let response = self.in_time(self.client.call(&self.node, request)).await??;
        if headers::text(response.headers(), wire::CLIENTS) == Some("1") {
            self.clients.served_elsewhere();
        }
        Ok(response)
    }

    /// A question whose answer is short enough to hold in memory.
    async fn get(&self, path: &str, query: Option<String>) -> Result<(HeaderMap, Bytes), PeerError> {
        let request = self.request(Method::GET, path, query, HeaderMap::new(), Body::empty());
        let response = self.answer(request).await?;
        if response.status() != StatusCode::OK {
            return Err(refused(response.status()));
        }
        let (parts, body) = response.into_parts();
        let bytes = self.in_time(collect(body, wire::MAX_LIST_BYTES)).await?;
        let bytes = bytes.map_err(|_| PeerError::Silent("the answer broke off".into()))?;
        Ok((parts.headers, bytes))
    }

    /// A PUT whose body is a value as JSON.
    fn json_request(&self, path: &str, value: &impl Serialize) -> Result<BackendRequest, PeerError> {
        let text = serde_json::to_vec(value).map_err(|error| PeerError::Malformed(error.to_string()))?;
        Ok(self.request(Method::PUT, path, None, HeaderMap::new(), Body::full(text)))
    }

    async fn put_json(&self, path: &str, value: &impl Serialize) -> Result<(), PeerError> {
        taken(&self.answer(self.json_request(path, value)?).await?)
    }

    async fn json<T: DeserializeOwned>(&self, response: Response, limit: usize) -> Result<T, PeerError> {
        if response.status() != StatusCode::OK {
            return Err(refused(response.status()));
        }
        let bytes = self.in_time(collect(response.into_body(), limit)).await?;
        let bytes = bytes.map_err(|_| PeerError::Silent("the answer broke off".into()))?;
        serde_json::from_slice(&bytes).map_err(|error| PeerError::Malformed(error.to_string()))
    }
}

fn object_path(policy: PolicyIndex, hash: PathHash) -> String {
    format!("object/{}/{hash}", wire::space_name(Space::Objects(policy)))
}

/// Whether a push was taken. 507 here may be a full disk as well as a missing one: only this push has failed.
fn taken(response: &Response) -> Result<(), PeerError> {
    if response.status().is_success() {
        Ok(())
    } else {
        Err(PeerError::Refused(response.status()))
    }
}

/// To a question 507 is a device that is not there, 404 and 405 a peer that does not speak this protocol.
fn refused(status: StatusCode) -> PeerError {
    match status {
        StatusCode::INSUFFICIENT_STORAGE | StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            PeerError::Silent(format!("its device answered {status}"))
        }
        status => PeerError::Refused(status),
    }
}

fn malformed(what: &str) -> PeerError {
    PeerError::Malformed(what.into())
}

fn instance(map: &HeaderMap) -> Result<String, PeerError> {
    headers::text(map, wire::INSTANCE)
        .map(str::to_owned)
        .ok_or_else(|| malformed("no instance"))
}

fn number(map: &HeaderMap, name: &str) -> Result<u64, PeerError> {
    let text = headers::text(map, name).ok_or_else(|| malformed(name))?;
    text.parse().map_err(|_| malformed(name))
}
