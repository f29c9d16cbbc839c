//! Accounts: made when first needed, described and listed by a majority, managed by those who may.

use super::Core;
use super::answer;
use super::authorize::{Authorize, Need};
use super::backend;
use super::checks::{self, Kind};
use super::container::{self, Head};
use super::fan_out::{Write, fan_out};
use super::info::{AccountInfo, Existence};
use super::listing;
use super::placement::{Placement, Which};
use super::quorum::best_response;
use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};
use martlet_protocol::header;
use martlet_protocol::name::{AccountName, Target};
use martlet_protocol::percent;
use martlet_service::{Body, Response, headers, respond};
use std::sync::Arc;

const METHODS: &str = "GET, HEAD, OPTIONS, POST";
const METHODS_OF_MANAGERS: &str = "DELETE, GET, HEAD, OPTIONS, POST, PUT";

/// Where an account lives.
pub fn place(core: &Core, account: &AccountName) -> Option<Placement> {
    core.placer
        .place(Which::Account, &core.salt.hash(account, None, None))
}

fn path(account: &AccountName) -> String {
    format!("/{}", percent::quote_segment(account))
}

/// What a majority says about an account.
pub async fn head(core: &Core, account: &AccountName, trans_id: &str) -> Head {
    match place(core, account) {
        Some(placement) => {
            let headers = backend::common_headers(Which::Account, trans_id);
            container::head_of(core, &placement, &path(account), headers).await
        }
        None => Head::of(Existence::Unknown),
    }
}

pub async fn handle(
    core: &Arc<Core>,
    request: &Parts,
    account: AccountName,
    authorize: &dyn Authorize,
) -> Response {
    let manages = core.config.allow_account_management;
    let done = match request.method {
        Method::GET | Method::HEAD => read(core, request, &account, authorize).await,
        Method::POST => post(core, request, &account, authorize).await,
        Method::PUT if manages => put(core, request, &account, authorize).await,
        Method::DELETE if manages => delete(core, request, &account, authorize).await,
        _ if manages => Err(answer::method_not_allowed(METHODS_OF_MANAGERS)),
        _ => Err(answer::method_not_allowed(METHODS)),
    };
    done.unwrap_or_else(|refusal| refusal)
}

async fn authorized(
    core: &Arc<Core>,
    request: &Parts,
    account: &AccountName,
    authorize: &dyn Authorize,
) -> Result<Arc<AccountInfo>, Response> {
    let info = core.account_info(account).await;
    let target = Target::Account(account.clone());
    authorize.authorize(Need {
        method: &request.method,
        target: &target,
        container_read_acl: None,
        container_write_acl: None,
        account: Some(&info),
        is_listing: request.method == Method::GET || request.method == Method::HEAD,
    })?;
    Ok(info)
}

async fn read(
    core: &Arc<Core>,
    request: &Parts,
    account: &AccountName,
    authorize: &dyn Authorize,
) -> Result<Response, Response> {
    checks::name_length("Account", account, core.limits.max_account_name_length)?;
    authorized(core, request, account, authorize).await?;
    let query = listing::parse_query(request, core.limits.account_listing_limit)?;
    let placement = place(core, account).ok_or_else(answer::unavailable)?;
    let mut inner = backend::common_headers(
        Which::Account,
        &backend::trans_id(&request.headers, &request.extensions),
    );
    container::pass_inside_headers(&request.headers, &mut inner);
    let is_head = request.method == Method::HEAD;
    let (head, entries) = if is_head {
        (
            container::head_of(core, &placement, &path(account), inner).await,
            Vec::new(),
        )
    } else {
        let max_page = core.limits.account_listing_limit;
        let listed = listing::list(core, &placement, &path(account), &query, &inner, max_page).await?;
        (listed.head, listed.entries)
    };
    // An account nobody has made yet is an empty one.
    let head = match head.existence {
        Existence::Missing if core.config.account_autocreate => empty_account(core),
        _ => container::existing(head)?,
    };
    let mut shown = backend::without_backend_headers(head);
    shown.remove(http::header::CONTENT_LENGTH);
    shown.remove(http::header::CONTENT_TYPE);
    shown.insert(http::header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if is_head {
        return Ok(respond::with(StatusCode::NO_CONTENT, shown, Body::empty()));
    }
    let policies = &core.policies;
    Ok(listing::respond_json(
        shown,
        &listing::ContainerLines { entries, policies },
    ))
}

fn empty_account(core: &Core) -> HeaderMap {
    let mut head = HeaderMap::new();
    for name in [
        header::X_ACCOUNT_CONTAINER_COUNT,
        header::X_ACCOUNT_OBJECT_COUNT,
        header::X_ACCOUNT_BYTES_USED,
    ] {
        backend::put(&mut head, name, HeaderValue::from_static("0"));
    }
    let now = core.clock.now().normal();
    headers::set(&mut head, header::X_TIMESTAMP, &now);
    headers::set(&mut head, header::X_PUT_TIMESTAMP, &now);
    head
}

async fn put(
    core: &Arc<Core>,
    request: &Parts,
    account: &AccountName,
    authorize: &dyn Authorize,
) -> Result<Response, Response> {
    authorized(core, request, account, authorize).await?;
    checks::metadata(&request.headers, Kind::Account, &core.limits)?;
    checks::name_length("Account", account, core.limits.max_account_name_length)?;
    let kept = checks::kept_headers(&request.headers, Kind::Account);
    let status = send(
        core,
        Method::PUT,
        account,
        kept,
        &request.headers,
        &backend::trans_id(&request.headers, &request.extensions),
    )
    .await;
    Ok(status.map_or_else(answer::unavailable, answer::page))
}

async fn post(
    core: &Arc<Core>,
    request: &Parts,
    account: &AccountName,
    authorize: &dyn Authorize,
) -> Result<Response, Response> {
    authorized(core, request, account, authorize).await?;
    checks::metadata(&request.headers, Kind::Account, &core.limits)?;
    checks::name_length("Account", account, core.limits.max_account_name_length)?;
    let kept = checks::kept_headers(&request.headers, Kind::Account);
    let trans_id = backend::trans_id(&request.headers, &request.extensions);
    let status = send(
        core,
        Method::POST,
        account,
        kept.clone(),
        &request.headers,
        &trans_id,
    )
    .await;
    if status == Some(StatusCode::NOT_FOUND) && core.config.account_autocreate {
        create(core, account, &request.headers, &trans_id).await?;
        let status = send(core, Method::POST, account, kept, &request.headers, &trans_id).await;
        return Ok(status.map_or_else(answer::unavailable, answer::page));
    }
    Ok(status.map_or_else(answer::unavailable, answer::page))
}

async fn delete(
    core: &Arc<Core>,
    request: &Parts,
    account: &AccountName,
    authorize: &dyn Authorize,
) -> Result<Response, Response> {
    // A query is the sign of a client that meant something else (a bulk delete, say); an account is too dear for that.
    if request.uri.query().is_some_and(|query| !query.is_empty()) {
        return Err(answer::page(StatusCode::BAD_REQUEST));
    }
    authorized(core, request, account, authorize).await?;
    let trans_id = backend::trans_id(&request.headers, &request.extensions);
    let status = send(
        core,
        Method::DELETE,
        account,
        HeaderMap::new(),
        &request.headers,
        &trans_id,
    )
    .await;
    Ok(status.map_or_else(answer::unavailable, answer::page))
}

/// Makes an account that a container is to be made in, or that is to be described. Of the request's headers, `from`, only
/// the account's system metadata is kept, which no client can send.
///
/// # Errors
/// The answer for the client when a quorum of the account's servers did not do it.
pub async fn create(
    core: &Arc<Core>,
    account: &AccountName,
    from: &HeaderMap,
    trans_id: &str,
) -> Result<(), Response> {
    checks::name_length("Account", account, core.limits.max_account_name_length)?;
    let mut kept = HeaderMap::new();
    for (name, value) in from {
        if name.as_str().starts_with("x-account-sysmeta-") {
            kept.insert(name.clone(), value.clone());
        }
    }
    let status = send(core, Method::PUT, account, kept, &HeaderMap::new(), trans_id).await;
    match status {
        Some(status) if status.is_success() => Ok(()),
        _ => {
            tracing::warn!(account = account.as_str(), ?status, "account could not be made");
            Err(answer::unavailable())
        }
    }
}

/// Sends a write to all replicas of an account; what a quorum answered.
async fn send(
    core: &Arc<Core>,
    method: Method,
    account: &AccountName,
    kept: HeaderMap,
    from: &HeaderMap,
    trans_id: &str,
) -> Option<StatusCode> {
    let placement = place(core, account)?;
    let mut head = backend::common_headers(Which::Account, trans_id);
    container::pass_inside_headers(from, &mut head);
    head.extend(kept);
    headers::set(&mut head, header::X_TIMESTAMP, &core.clock.now().internal());
    let quorum = placement.quorum();
    let write = Write {
        method,
        path: path(account),
        query: None,
        headers: vec![head; placement.replicas],
        body: Bytes::new(),
        handoff_not_found: StatusCode::SERVICE_UNAVAILABLE,
        placement,
    };
    core.forget_account(account).await;
    let statuses = fan_out(core, write).await;
    core.forget_account(account).await;
    best_response(&statuses, quorum).map(|at| statuses[at])
}
