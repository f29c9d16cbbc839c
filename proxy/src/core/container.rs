//! Containers: made, changed and deleted on all replicas; described and listed by a majority.

use super::Core;
use super::answer;
use super::authorize::{Authorize, Need};
use super::backend;
use super::checks::{self, Kind};
use super::fan_out::{Write, fan_out};
use super::info::{AccountInfo, ContainerInfo, Existence};
use super::listing;
use super::placement::{Peer, Placement, Which, assign_updates};
use super::quorum::best_response;
use super::read::{Read, read_majority};
use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};
use martlet_protocol::header;
use martlet_protocol::listing::ListingQuery;
use martlet_protocol::name::{AccountName, ContainerPath, Target};
use martlet_protocol::policy::PolicyIndex;
use martlet_protocol::timestamp::Timestamp;
use martlet_service::{Body, Response, headers, respond};
use std::sync::Arc;

const METHODS: &str = "DELETE, GET, HEAD, OPTIONS, POST, PUT";

/// What a majority says about a container or an account.
#[derive(Clone, Debug)]
pub struct Head {
    pub existence: Existence,
    /// Of the newest answer; empty when it is not there.
    pub headers: HeaderMap,
}

impl Head {
    pub fn of(existence: Existence) -> Self {
        Head {
            existence,
            headers: HeaderMap::new(),
        }
    }
}

/// Chooses among the answers of a majority. It is there when some replica has it and no newer deletion is known. The
/// newest put or post speaks; of equals, a replica that has missed nothing, then the one whose counts most agree with.
pub fn choose_head(answers: &[(Arc<Peer>, StatusCode, HeaderMap)]) -> Head {
    let put_at = |head: &HeaderMap| {
        backend::timestamp(head, header::X_BACKEND_PUT_TIMESTAMP)
            .or_else(|| backend::timestamp(head, header::X_PUT_TIMESTAMP))
            .unwrap_or(Timestamp::ZERO)
    };
    let deleted_at = |head: &HeaderMap| {
        backend::timestamp(head, header::X_BACKEND_DELETE_TIMESTAMP).unwrap_or(Timestamp::ZERO)
    };
    let here = || answers.iter().filter(|(_, status, _)| status.is_success());
    let newest_put = here().map(|(_, _, head)| put_at(head)).max();
    let newest_deletion = answers.iter().map(|(_, _, head)| deleted_at(head)).max();
    let is_there = newest_put.is_some_and(|put| newest_deletion.is_none_or(|deletion| deletion <= put));
    if !is_there {
        let status =
            |head: &HeaderMap| headers::text(head, header::X_ACCOUNT_STATUS).map(str::to_ascii_lowercase);
        let deleted = answers
            .iter()
            .any(|(_, _, head)| status(head).as_deref() == Some("deleted"));
        return Head::of(if deleted {
            Existence::Deleted
        } else {
            Existence::Missing
        });
    }
    let counts = |head: &HeaderMap| {
        let count = |name| headers::text(head, name).map(str::to_owned);
        [
            count(header::X_CONTAINER_OBJECT_COUNT),
            count(header::X_CONTAINER_BYTES_USED),
            count(header::X_ACCOUNT_CONTAINER_COUNT),
            count(header::X_ACCOUNT_OBJECT_COUNT),
            count(header::X_ACCOUNT_BYTES_USED),
        ]
    };
    let agreeing = |head: &HeaderMap| {
        here()
            .filter(|(_, _, other)| counts(other) == counts(head))
            .count()
    };
    let worth = |(peer, _, head): &&(Arc<Peer>, StatusCode, HeaderMap)| {
        (
            put_at(head),
            peer.record.freshness.is_proved_by(backend::synced(head)),
            agreeing(head),
        )
    };
    // `max_by_key` takes the last of equals; the first is the one asked first.
    let best = here().rev().max_by_key(worth);
    best.map_or(Head::of(Existence::Missing), |(_, _, head)| Head {
        existence: Existence::Exists,
        headers: head.clone(),
    })
}

/// Asks a majority for what they know of a path.
pub async fn head_of(core: &Core, placement: &Placement, path: &str, headers: HeaderMap) -> Head {
    let query = None;
    let read = Read {
        placement,
        method: Method::HEAD,
        path,
        query,
        headers: Arc::new(headers),
        probe_headers: None,
    };
    let Some(answers) = read_majority(core, &read).await else {
        return Head::of(Existence::Unknown);
    };
    let heads: Vec<_> = answers
        .into_iter()
        .map(|(peer, response)| {
            let (parts, _) = response.into_parts();
            (peer, parts.status, parts.headers)
        })
        .collect();
    choose_head(&heads)
}

/// What a majority says about a container.
pub async fn head(core: &Core, path: &ContainerPath, trans_id: &str) -> Head {
    match place(core, path) {
        Some(placement) => {
            let headers = backend::common_headers(Which::Container, trans_id);
            head_of(core, &placement, &path.path(), headers).await
        }
        None => Head::of(Existence::Unknown),
    }
}

/// Where a container lives.
pub fn place(core: &Core, path: &ContainerPath) -> Option<Placement> {
    core.placer.place(
        Which::Container,
        &core.salt.hash(&path.account, Some(&path.container), None),
    )
}

pub async fn handle(
    core: &Arc<Core>,
    request: &Parts,
    path: ContainerPath,
    authorize: &dyn Authorize,
) -> Response {
    let done = match request.method {
        Method::GET | Method::HEAD => read(core, request, &path, authorize).await,
        Method::PUT => put(core, request, &path, authorize).await,
        Method::POST => post(core, request, &path, authorize).await,
        Method::DELETE => delete(core, request, &path, authorize).await,
        _ => Err(answer::method_not_allowed(METHODS)),
    };
    done.unwrap_or_else(|refusal| refusal)
}

/// Asks the guard, with the container's rules as they are known.
fn authorize_with(
    authorize: &dyn Authorize,
    method: &Method,
    path: &ContainerPath,
    info: &ContainerInfo,
    account: &AccountInfo,
) -> Result<(), Response> {
    let target = Target::Container(path.clone());
    authorize.authorize(Need {
        method,
        target: &target,
        container_read_acl: info.read_acl.as_deref(),
        container_write_acl: info.write_acl.as_deref(),
        account: Some(account),
        is_listing: *method == Method::GET || *method == Method::HEAD,
    })
}

/// The account's existence as an answer: 404 for one that is not there, 410 for one an operator deleted.
fn account_answer(existence: Existence) -> Result<(), Response> {
    match existence {
        Existence::Exists => Ok(()),
        Existence::Missing => Err(answer::not_found()),
        Existence::Deleted => Err(answer::page(StatusCode::GONE)),
        Existence::Unknown => Err(answer::unavailable()),
    }
}

async fn read(
    core: &Arc<Core>,
    request: &Parts,
    path: &ContainerPath,
    authorize: &dyn Authorize,
) -> Result<Response, Response> {
    let (info, account) = tokio::join!(core.container_info(path), core.account_info(&path.account));
    authorize_with(authorize, &request.method, path, &info, &account)?;
    if account.existence == Existence::Deleted {
        return account_answer(account.existence).map(|()| answer::not_found());
    }
    let mut query = listing::parse_query(request, core.limits.container_listing_limit)?;
    if !lists_reserved(request, path, &query) {
        query.skip_reserved();
    }
    let placement = place(core, path).ok_or_else(answer::unavailable)?;
    let mut inner = backend::common_headers(
        Which::Container,
        &backend::trans_id(&request.headers, &request.extensions),
    );
    pass_inside_headers(&request.headers, &mut inner);
    if request.method == Method::HEAD {
        let head = head_of(core, &placement, &path.path(), inner).await;
        let shown = shown_headers(core, existing(head)?);
        return Ok(respond::with(StatusCode::NO_CONTENT, shown, Body::empty()));
    }
    let max_page = core.limits.container_listing_limit;
    let listed = listing::list(core, &placement, &path.path(), &query, &inner, max_page).await?;
    let shown = shown_headers(core, existing(listed.head)?);
    Ok(listing::respond_json(
        shown,
        &listing::ObjectLines(listed.entries),
    ))
}

/// Whether a listing may show the cluster's own names: in a container of its own, or where the inside asks for names that
/// begin so (versions of objects).
fn lists_reserved(request: &Parts, path: &ContainerPath, query: &ListingQuery) -> bool {
    let begins = |name: &str| name.starts_with('\0');
    let asks = query.prefix.as_deref().is_some_and(begins)
        && headers::is_true(&request.headers, header::X_BACKEND_ALLOW_RESERVED_NAMES);
    asks || begins(&path.container)
}

/// The headers of something that is there; else the answer that says so.
pub fn existing(head: Head) -> Result<HeaderMap, Response> {
    account_answer(head.existence).map(|()| head.headers)
}

/// What clients see of a container: without the inside's headers, with the policy's name.
fn shown_headers(core: &Core, head: HeaderMap) -> HeaderMap {
    let policy = headers::text(&head, header::X_BACKEND_STORAGE_POLICY_INDEX).and_then(PolicyIndex::parse);
    let mut shown = backend::without_backend_headers(head);
    shown.remove(http::header::CONTENT_LENGTH);
    shown.remove(http::header::CONTENT_TYPE);
    shown.insert(http::header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(policy) = policy.and_then(|index| core.policies.by_index(index)) {
        headers::set(&mut shown, header::X_STORAGE_POLICY, &policy.name);
    }
    shown
}

/// Headers from the inside that the container and account servers act on.
pub fn pass_inside_headers(from: &HeaderMap, to: &mut HeaderMap) {
    for name in [
        header::X_BACKEND_ALLOW_RESERVED_NAMES,
        header::X_ACCOUNT_OVERRIDE_DELETED,
    ] {
        if let Some(value) = from.get(name) {
            backend::put(to, name, value.clone());
        }
    }
}

async fn put(
    core: &Arc<Core>,
    request: &Parts,
    path: &ContainerPath,
    authorize: &dyn Authorize,
) -> Result<Response, Response> {
    checks::metadata(&request.headers, Kind::Container, &core.limits)?;
    let policy = requested_policy(core, &request.headers)?;
    let (info, account) = tokio::join!(core.container_info(path), core.account_info(&path.account));
    authorize_with(authorize, &request.method, path, &info, &account)?;
    checks::name_length(
        "Container",
        &path.container,
        core.limits.max_container_name_length,
    )?;
    let trans_id = backend::trans_id(&request.headers, &request.extensions);
    if account.existence == Existence::Missing && core.config.account_autocreate {
        super::account::create(core, &path.account, &request.headers, &trans_id).await?;
    } else {
        account_answer(account.existence)?;
    }
    if !info.exists() {
        check_container_count(core, &path.account, &account)?;
    }
    let mut write = write(core, request, path, &trans_id)?;
    let default = core.policies.default_policy().index;
    for head in &mut write.headers {
        backend::put(
            head,
            header::X_BACKEND_STORAGE_POLICY_DEFAULT,
            HeaderValue::from(default.0),
        );
        if let Some(policy) = policy {
            backend::put(
                head,
                header::X_BACKEND_STORAGE_POLICY_INDEX,
                HeaderValue::from(policy.0),
            );
        }
    }
    Ok(carry_out(core, write, path).await)
}

/// Refuses a further container in an account that has its fill (Swift's `max_containers_per_account`).
fn check_container_count(core: &Core, name: &AccountName, account: &AccountInfo) -> Result<(), Response> {
    let max = core.config.max_containers_per_account;
    let is_free = core
        .config
        .max_containers_whitelist
        .iter()
        .any(|free| free.as_str() == name.as_str());
    if max > 0 && account.container_count >= max && !is_free {
        let words = format!("Reached container limit of {max}");
        return Err(answer::said(StatusCode::FORBIDDEN, words));
    }
    Ok(())
}

/// The policy a request names in `X-Storage-Policy`.
fn requested_policy(core: &Core, head: &HeaderMap) -> Result<Option<PolicyIndex>, Response> {
    let Some(value) = head.get(header::X_STORAGE_POLICY) else {
        return Ok(None);
    };
    let name = headers::value_text(value).unwrap_or("");
    if name.is_empty() {
        return Ok(None);
    }
    let policy = core.policies.by_name(name);
    let policy = policy.ok_or_else(|| answer::bad_request(format!("Invalid X-Storage-Policy {name:?}")))?;
    if policy.is_deprecated {
        return Err(answer::bad_request(format!(
            "Storage Policy {:?} is deprecated",
            policy.name
        )));
    }
    Ok(Some(policy.index))
}

async fn post(
    core: &Arc<Core>,
    request: &Parts,
    path: &ContainerPath,
    authorize: &dyn Authorize,
) -> Result<Response, Response> {
    checks::metadata(&request.headers, Kind::Container, &core.limits)?;
    let (info, account) = tokio::join!(core.container_info(path), core.account_info(&path.account));
    authorize_with(authorize, &request.method, path, &info, &account)?;
    account_answer(account.existence)?;
    let write = write(
        core,
        request,
        path,
        &backend::trans_id(&request.headers, &request.extensions),
    )?;
    Ok(carry_out(core, write, path).await)
}

async fn delete(
    core: &Arc<Core>,
    request: &Parts,
    path: &ContainerPath,
    authorize: &dyn Authorize,
) -> Result<Response, Response> {
    let (info, account) = tokio::join!(core.container_info(path), core.account_info(&path.account));
    authorize_with(authorize, &request.method, path, &info, &account)?;
    account_answer(account.existence)?;
    let write = write(
        core,
        request,
        path,
        &backend::trans_id(&request.headers, &request.extensions),
    )?;
    Ok(carry_out(core, write, path).await)
}

/// The write of a request on all replicas, each told which account replica hears of it.
fn write(core: &Core, request: &Parts, path: &ContainerPath, trans_id: &str) -> Result<Write, Response> {
    let placement = place(core, path).ok_or_else(answer::unavailable)?;
    let account = super::account::place(core, &path.account).ok_or_else(answer::unavailable)?;
    let mut common = backend::common_headers(Which::Container, trans_id);
    pass_inside_headers(&request.headers, &mut common);
    if request.method != Method::DELETE {
        common.extend(checks::kept_headers(&request.headers, Kind::Container));
    }
    headers::set(&mut common, header::X_TIMESTAMP, &core.clock.now().internal());
    let assigned = assign_updates(&account.primaries, &placement.primaries, placement.quorum());
    let each = assigned.into_iter().map(|assignment| {
        let mut head = common.clone();
        if !assignment.hosts.is_empty() {
            backend::put(
                &mut head,
                header::X_ACCOUNT_PARTITION,
                HeaderValue::from(account.partition),
            );
            headers::set(&mut head, header::X_ACCOUNT_HOST, &assignment.hosts);
            headers::set(&mut head, header::X_ACCOUNT_DEVICE, &assignment.devices);
        }
        head
    });
    Ok(Write {
        method: request.method.clone(),
        path: path.path(),
        query: None,
        headers: each.collect(),
        body: Bytes::new(),
        handoff_not_found: StatusCode::SERVICE_UNAVAILABLE,
        placement,
    })
}

/// Sends a write; forgets what was remembered before and after, so that no reader keeps the old.
async fn carry_out(core: &Arc<Core>, write: Write, path: &ContainerPath) -> Response {
    let quorum = write.placement.quorum();
    core.forget_container(path).await;
    let statuses = fan_out(core, write).await;
    core.forget_container(path).await;
    match best_response(&statuses, quorum) {
        Some(at) => answer::page(statuses[at]),
        None => answer::unavailable(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::freshness::{Freshness, Health};
    use crate::core::placement::PeerRecord;
    use martlet_node_client::Node;

    fn peer() -> Arc<Peer> {
        let node = Node {
            id: 0,
            region: 1,
            zone: 1,
            ip: "10.0.0.1".into(),
            port: 6200,
            replication_ip: "10.0.0.1".into(),
            replication_port: 6200,
            device: "d0".into(),
            weight: 1.0,
            meta: String::new(),
        };
        let record = PeerRecord {
            freshness: Freshness::new(Timestamp::from_secs(100)),
            health: Health::default(),
        };
        Arc::new(Peer {
            node,
            record: Arc::new(record),
        })
    }

    /// (status, put, deleted, synced, count)
    type Told = (u16, u64, u64, u64, &'static str);

    fn choose(told: &[Told]) -> Option<String> {
        let answers: Vec<_> = told
            .iter()
            .map(|(status, put, deleted, synced, count)| {
                let mut head = HeaderMap::new();
                let at = |secs: &u64| Timestamp::from_secs(*secs).internal();
                headers::set(&mut head, header::X_BACKEND_PUT_TIMESTAMP, &at(put));
                headers::set(&mut head, header::X_BACKEND_DELETE_TIMESTAMP, &at(deleted));
                headers::set(&mut head, header::X_BACKEND_MARTLET_SYNCED, &at(synced));
                headers::set(&mut head, header::X_CONTAINER_OBJECT_COUNT, count);
                (peer(), StatusCode::from_u16(*status).unwrap(), head)
            })
            .collect();
        let head = choose_head(&answers);
        let count = headers::text(&head.headers, header::X_CONTAINER_OBJECT_COUNT).map(str::to_owned);
        (head.existence == Existence::Exists).then_some(count).flatten()
    }

    #[test]
    fn the_newest_of_a_majority_speaks() {
        for (name, told, expected) in [
            (
                "both have it",
                &[(204, 5, 0, 0, "1"), (204, 5, 0, 0, "1")][..],
                Some("1"),
            ),
            (
                "one has it",
                &[(404, 0, 0, 0, ""), (204, 5, 0, 0, "1")],
                Some("1"),
            ),
            (
                "one knows it is deleted",
                &[(404, 5, 9, 0, ""), (204, 5, 0, 0, "1")],
                None,
            ),
            (
                "made again since",
                &[(404, 5, 9, 0, ""), (204, 10, 9, 0, "3")],
                Some("3"),
            ),
            ("nobody has it", &[(404, 0, 0, 0, ""), (404, 0, 0, 0, "")], None),
            (
                "the newer post",
                &[(204, 5, 0, 0, "1"), (204, 6, 0, 0, "2")],
                Some("2"),
            ),
            (
                "the fresh one",
                &[(204, 5, 0, 0, "1"), (204, 5, 0, 101, "2")],
                Some("2"),
            ),
            (
                "the ones that agree",
                &[(204, 5, 0, 0, "9"), (204, 5, 0, 0, "2"), (204, 5, 0, 0, "2")],
                Some("2"),
            ),
        ] {
            assert_eq!(choose(told).as_deref(), expected, "{name}");
        }
    }
}
