//! Answers other nodes' replicators about the devices of this node: `/<device>/martlet/<verb>/...` (see [`crate::wire`]).

mod lists;

use crate::account_report::AccountReports;
use crate::clients::Clients;
use crate::replicator::Rings;
use crate::transfer::{self, TransferError};
use crate::wire::{self, RowsPage, WireBuried, WireGrave};
use http::{Method, StatusCode};
use martlet_protocol::hash::{HashSalt, PathHash};
use martlet_protocol::percent;
use martlet_protocol::policy::PolicyIndex;
use martlet_protocol::query::Query;
use martlet_protocol::record::{ContainerRecord, ObjectRecord};
use martlet_protocol::timestamp::Timestamp;
use martlet_service::{
    Body, BoxFuture, Clock, CollectError, Handler, Request, Response, collect, headers, respond,
};
use martlet_storage::{Device, DeviceSet, Grave, RowsOutcome, Space, StorageError};
use serde::de::DeserializeOwned;

/// The handler. One for all devices of a node; root routes `/<device>/martlet/...` to it.
pub struct ReplicationServer {
    devices: DeviceSet,
    salt: HashSalt,
    reports: AccountReports,
    clients: Clients,
    /// Drawn at start: sequences of the change logs are compared only within it.
    instance: String,
}

/// Why a request is not served.
enum Refusal {
    BadRequest(&'static str),
    NotFound,
    WrongMethod,
    /// The device is not mounted, foreign, or not of this node.
    NoDevice,
    /// The record is newer than what is here and came without its body.
    BodyNeeded,
    Collect(CollectError),
    Transfer(TransferError),
    Storage(StorageError),
}

impl From<StorageError> for Refusal {
    fn from(error: StorageError) -> Self {
        Refusal::Storage(error)
    }
}

impl From<TransferError> for Refusal {
    fn from(error: TransferError) -> Self {
        match error {
            TransferError::Storage(error) => Refusal::Storage(error),
            error => Refusal::Transfer(error),
        }
    }
}

impl Refusal {
    fn answer(self) -> Response {
        match self {
            Refusal::BadRequest(why) => respond::text(StatusCode::BAD_REQUEST, why),
            Refusal::NotFound => respond::empty(StatusCode::NOT_FOUND),
            Refusal::WrongMethod => respond::empty(StatusCode::METHOD_NOT_ALLOWED),
            Refusal::NoDevice => respond::empty(StatusCode::INSUFFICIENT_STORAGE),
            Refusal::BodyNeeded => respond::empty(StatusCode::PRECONDITION_REQUIRED),
            Refusal::Collect(CollectError::TooLarge) => respond::empty(StatusCode::PAYLOAD_TOO_LARGE),
            Refusal::Collect(CollectError::Body(_)) => respond::empty(client_closed()),
            Refusal::Transfer(TransferError::Malformed(why)) => respond::text(StatusCode::BAD_REQUEST, why),
            Refusal::Transfer(_) => respond::empty(client_closed()),
            Refusal::Storage(error) => respond::empty(storage_status(&error)),
        }
    }
}

/// 499: the sender left before the end.
fn client_closed() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST)
}

fn storage_status(error: &StorageError) -> StatusCode {
    match error {
        StorageError::Full | StorageError::Unavailable(_) => StatusCode::INSUFFICIENT_STORAGE,
        StorageError::Busy | StorageError::Closed => StatusCode::SERVICE_UNAVAILABLE,
        StorageError::Corrupt(_) => StatusCode::UNPROCESSABLE_ENTITY,
        StorageError::Io(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl Handler for ReplicationServer {
    fn call(&self, request: Request) -> BoxFuture<'_, Response> {
        Box::pin(async move {
            let mut response = match self.route(request).await {
                Ok(response) => response,
                Err(refusal) => refusal.answer(),
            };
            if self.clients.are_here() {
                headers::set(response.headers_mut(), wire::CLIENTS, "1");
            }
            response
        })
    }
}

/// A request taken apart.
struct Asked<'a> {
    device: Device,
    method: Method,
    query: Query,
    /// What follows the verb in the path.
    words: Vec<&'a str>,
}

impl Asked<'_> {
    fn space(&self) -> Result<Space, Refusal> {
        let word = self.words.first().ok_or(Refusal::BadRequest("no space"))?;
        wire::parse_space(word).ok_or(Refusal::BadRequest("unknown space"))
    }

    fn hash(&self) -> Result<PathHash, Refusal> {
        let word = self.words.get(1).ok_or(Refusal::BadRequest("no hash"))?;
        word.parse().map_err(|_| Refusal::BadRequest("not a path hash"))
    }

    fn policy(&self) -> Result<PolicyIndex, Refusal> {
        match self.space()? {
            Space::Objects(policy) => Ok(policy),
            Space::Containers | Space::Accounts => Err(Refusal::BadRequest("not a space of objects")),
        }
    }

    /// Containers or accounts.
    fn listed_space(&self) -> Result<Space, Refusal> {
        match self.space()? {
            Space::Objects(_) => Err(Refusal::BadRequest("not a space of containers or accounts")),
            space => Ok(space),
        }
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Refusal> {
        let Some(text) = self.query.get(name) else {
            return Ok(None);
        };
        text.parse()
            .map(Some)
            .map_err(|_| Refusal::BadRequest("a query value does not parse"))
    }

    /// The asked limit, at least one and at most `most`.
    fn limit(&self, most: usize) -> Result<usize, Refusal> {
        Ok(self.number::<usize>("limit")?.unwrap_or(most).clamp(1, most))
    }

    fn only_get(&self) -> Result<(), Refusal> {
        if self.method == Method::GET {
            Ok(())
        } else {
            Err(Refusal::WrongMethod)
        }
    }
}

impl ReplicationServer {
    /// Serves the devices of this node. `salt` proves that a pushed record stands under its own hash; `rings` and `clock`
    /// serve the reports that accounts are owed when pushed rows change the counts of a container.
    pub fn new(devices: DeviceSet, salt: HashSalt, rings: Rings, clock: Clock) -> Self {
        let reports = AccountReports::new(rings, salt.clone(), clock);
        ReplicationServer {
            devices,
            salt,
            reports,
            clients: Clients::default(),
            instance: martlet_service::trans_id::new(),
        }
    }

    /// Replicators that ask hear whether this node serves these.
    pub fn telling_of(self, clients: Clients) -> Self {
        ReplicationServer { clients, ..self }
    }

    async fn route(&self, request: Request) -> Result<Response, Refusal> {
        let (parts, body) = request.into_parts();
        let mut words = parts.uri.path().split('/').skip(1);
        let device = words.next().unwrap_or_default();
        let device = percent::unquote(device).map_err(|_| Refusal::BadRequest("device is not UTF-8"))?;
        if words.next() != Some("martlet") {
            return Err(Refusal::NotFound);
        }
        let verb = words.next().unwrap_or_default();
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let query = query.map_err(|_| Refusal::BadRequest("query is not UTF-8"))?;
        if verb == "ping" {
            if parts.method != Method::GET {
                return Err(Refusal::WrongMethod);
            }
            let device = self.devices.get_in_doubt(&device).ok_or(Refusal::NoDevice)?;
            let mut response = respond::empty(StatusCode::OK);
            headers::set(
                response.headers_mut(),
                wire::RECLAIMED,
                &device.reclaimed_up_to().internal(),
            );
            return Ok(response);
        }
        let device = self.devices.get(&device).map_err(|_| Refusal::NoDevice)?;
        let asked = Asked {
            device,
            method: parts.method,
            query,
            words: words.collect(),
        };
        match verb {
            "digests" => self.digests(&asked).await,
            "versions" => lists::versions(&asked).await,
            "objects" => lists::send_objects(&asked, body).await,
            "changes" => self.changes(&asked).await,
            "object" => match asked.method {
                Method::GET => send_object(&asked).await,
                Method::PUT => self.take_object(&asked, &parts.headers, body).await,
                _ => Err(Refusal::WrongMethod),
            },
            "container" => match asked.method {
                Method::GET => send_container(&asked).await,
                Method::PUT => self.take_container(&asked, body).await,
                _ => Err(Refusal::WrongMethod),
            },
            "row" => send_row(&asked).await,
            "buried" | "reclaim" if asked.method != Method::PUT => Err(Refusal::WrongMethod),
            "buried" => {
                let graves = read_graves(asked.space()?, body).await?;
                let told = asked.device.buried(graves).await?;
                let told: Vec<WireBuried> = told.into_iter().map(WireBuried::from).collect();
                Ok(respond::json(StatusCode::OK, &told))
            }
            "reclaim" => {
                let graves = read_graves(asked.space()?, body).await?;
                asked.device.reclaim(graves).await?;
                Ok(respond::empty(StatusCode::NO_CONTENT))
            }
            "rows" => match asked.method {
                Method::GET => send_rows(&asked).await,
                Method::PUT => self.take_rows(&asked, body).await,
                _ => Err(Refusal::WrongMethod),
            },
            _ => Err(Refusal::NotFound),
        }
    }

    async fn digests(&self, asked: &Asked<'_>) -> Result<Response, Refusal> {
        asked.only_get()?;
        let space = asked.space()?;
        let named = asked.query.get("prefixes").map(wire::parse_prefixes);
        let named = named
            .map(|named| named.ok_or(Refusal::BadRequest("prefixes do not parse")))
            .transpose()?;
        let sequence = asked.device.last_sequence(space);
        let mut digests = asked.device.digests(space).await?;
        if let Some(mut named) = named {
            named.sort_unstable();
            digests.retain(|(prefix, _)| named.binary_search(prefix).is_ok());
        }
        let mut response = packed(wire::pack_digests(&digests));
        self.stamp(&mut response, sequence);
        Ok(response)
    }

    async fn changes(&self, asked: &Asked<'_>) -> Result<Response, Refusal> {
        asked.only_get()?;
        let since = asked.number("since")?.unwrap_or(0);
        let page = asked
            .device
            .changes(asked.space()?, since, asked.limit(wire::MAX_CHANGES)?)
            .await?;
        let mut response = packed(wire::pack_changes(&page.entries));
        self.stamp(&mut response, page.next);
        headers::set(
            response.headers_mut(),
            wire::TRIMMED_BEFORE,
            &page.trimmed_before.to_string(),
        );
        Ok(response)
    }

    fn stamp(&self, response: &mut Response, sequence: u64) {
        headers::set(response.headers_mut(), wire::INSTANCE, &self.instance);
        headers::set(response.headers_mut(), wire::SEQUENCE, &sequence.to_string());
    }

    async fn take_object(
        &self,
        asked: &Asked<'_>,
        map: &http::HeaderMap,
        body: Body,
    ) -> Result<Response, Refusal> {
        let (policy, hash) = (asked.policy()?, asked.hash()?);
        let arrival = transfer::read_frame(map, body).await?;
        let record = arrival.record;
        let own = self
            .salt
            .hash(&record.account, Some(&record.container), Some(&record.object));
        if own != hash {
            return Err(Refusal::BadRequest("the record belongs under another hash"));
        }
        let known = asked.device.read_object(policy, hash).await?;
        let writer = match (needs_body(known.as_ref(), &record), arrival.body) {
            (true, Some(body)) => Some(body.store(&asked.device, None).await?),
            (true, None) => return Err(Refusal::BodyNeeded),
            (false, _) => None,
        };
        asked.device.merge_object(policy, hash, record, writer).await?;
        Ok(respond::empty(StatusCode::NO_CONTENT))
    }

    async fn take_container(&self, asked: &Asked<'_>, body: Body) -> Result<Response, Refusal> {
        let (space, hash) = (asked.listed_space()?, asked.hash()?);
        let record: ContainerRecord = read_json(body, wire::MAX_RECORD_BYTES).await?;
        let container = Some(record.container.as_str()).filter(|_| space == Space::Containers);
        if self.salt.hash(&record.account, container, None) != hash {
            return Err(Refusal::BadRequest("the record belongs under another hash"));
        }
        asked.device.merge_container(space, hash, record).await?;
        Ok(respond::empty(StatusCode::NO_CONTENT))
    }

    async fn take_rows(&self, asked: &Asked<'_>, body: Body) -> Result<Response, Refusal> {
        let (space, hash) = (asked.listed_space()?, asked.hash()?);
        let page: RowsPage = read_json(body, wire::MAX_LIST_BYTES).await?;
        if page.len() > wire::MAX_ROWS || !page.fits(space) {
            return Err(Refusal::BadRequest("too many rows, or rows of another kind"));
        }
        let report = self.reports.composer(space);
        match asked
            .device
            .put_rows(space, hash, page.rows(), None, report)
            .await?
        {
            RowsOutcome::Stored => Ok(respond::empty(StatusCode::NO_CONTENT)),
            RowsOutcome::NoContainer => Err(Refusal::NotFound),
        }
    }
}

/// Whether merging `record` over what is known takes its data, so that its body must come along.
pub fn needs_body(known: Option<&ObjectRecord>, record: &ObjectRecord) -> bool {
    if record.is_tombstone() {
        return false;
    }
    match known {
        None => true,
        Some(known) => known.clone().merge(record.clone()).data,
    }
}

async fn read_graves(space: Space, body: Body) -> Result<Vec<Grave>, Refusal> {
    let graves: Vec<WireGrave> = read_json(body, wire::MAX_LIST_BYTES).await?;
    if graves.len() > wire::MAX_GRAVES {
        return Err(Refusal::BadRequest("too many graves"));
    }
    let graves = graves.into_iter().map(|grave| grave.read(space));
    graves
        .collect::<Option<_>>()
        .ok_or(Refusal::BadRequest("not a path hash"))
}

async fn send_object(asked: &Asked<'_>) -> Result<Response, Refusal> {
    let (policy, hash) = (asked.policy()?, asked.hash()?);
    let have: Option<Timestamp> = asked.number("have")?;
    let record = asked
        .device
        .read_object(policy, hash)
        .await?
        .ok_or(Refusal::NotFound)?;
    let body_wanted = !record.is_tombstone() && have.is_none_or(|have| have < record.timestamp);
    let (record, reader) = if body_wanted {
        let open = asked
            .device
            .open_object(policy, hash)
            .await?
            .ok_or(Refusal::NotFound)?;
        let reader = Some(open.body).filter(|_| !open.record.is_tombstone());
        (open.record, reader)
    } else {
        (record, None)
    };
    let (map, body) = transfer::frame(&record, reader)?;
    let mut response = Response::new(body);
    *response.headers_mut() = map;
    Ok(response)
}

async fn send_container(asked: &Asked<'_>) -> Result<Response, Refusal> {
    let record = asked
        .device
        .container(asked.listed_space()?, asked.hash()?)
        .await?;
    Ok(respond::json(StatusCode::OK, &record.ok_or(Refusal::NotFound)?))
}

async fn send_row(asked: &Asked<'_>) -> Result<Response, Refusal> {
    asked.only_get()?;
    let (space, hash) = (asked.listed_space()?, asked.hash()?);
    let name = asked.query.get("name").ok_or(Refusal::BadRequest("no name"))?;
    if asked.device.container(space, hash).await?.is_none() {
        return Err(Refusal::NotFound);
    }
    let row = asked.device.row(space, hash, name.to_owned()).await?;
    let page = RowsPage::new(row.into_iter().collect(), false);
    Ok(respond::json(StatusCode::OK, &page))
}

async fn send_rows(asked: &Asked<'_>) -> Result<Response, Refusal> {
    let (space, hash) = (asked.listed_space()?, asked.hash()?);
    let after = asked.query.get("after").map(str::to_owned);
    let page = rows_page(&asked.device, space, hash, after, asked.query.get("until")).await?;
    if asked.query.get("have") == Some(page.digest().as_str()) {
        return Ok(respond::empty(StatusCode::NO_CONTENT));
    }
    Ok(respond::json(StatusCode::OK, &page))
}

/// Up to [`wire::MAX_ROWS`] rows after a name, up to and including `until`.
pub async fn rows_page(
    device: &Device,
    space: Space,
    hash: PathHash,
    after: Option<String>,
    until: Option<&str>,
) -> Result<RowsPage, StorageError> {
    let rows = device.rows_after(space, hash, after, wire::MAX_ROWS).await?;
    let full = rows.len() == wire::MAX_ROWS;
    let mut page = RowsPage::new(rows, full);
    if let Some(until) = until {
        let before = page.len();
        page.objects.retain(|row| row.name.as_str() <= until);
        page.containers.retain(|row| row.name.as_str() <= until);
        page.more = full && page.len() == before && page.last_name() != Some(until);
    }
    Ok(page)
}

async fn read_json<T: DeserializeOwned>(body: Body, limit: usize) -> Result<T, Refusal> {
    let bytes = collect(body, limit).await.map_err(Refusal::Collect)?;
    serde_json::from_slice(&bytes).map_err(|_| Refusal::BadRequest("JSON does not parse"))
}

fn packed(bytes: bytes::Bytes) -> Response {
    let mut response = Response::new(Body::full(bytes));
    headers::set(response.headers_mut(), "content-type", "application/octet-stream");
    response
}
