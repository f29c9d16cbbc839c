//! Answers for accounts: their record, their listing, and the rows container servers send about their containers.

mod delete;
mod get;
mod headers;
mod post;
mod put;
mod row;

use crate::config::AccountServerConfig;
use crate::errors::Refusal;
use crate::front;
use crate::request::BackendPath;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method};
use martlet_protocol::hash::{HashSalt, PathHash};
use martlet_protocol::header;
use martlet_protocol::name::AccountName;
use martlet_protocol::policy::Policies;
use martlet_protocol::record::ContainerRecord;
use martlet_service::{BoxFuture, Clock, DeviceSeats, Handler, Request, Response};
use martlet_storage::{Device, DeviceSet};
use std::sync::Arc;
use std::time::Instant;

/// The account server of one node, for all its devices.
pub struct AccountServer {
    config: AccountServerConfig,
    devices: DeviceSet,
    /// Requests each device may work on at once.
    seats: DeviceSeats,
    clock: Clock,
    salt: HashSalt,
    policies: Policies,
}

/// The account a request is about.
struct Addressed {
    device: String,
    account: AccountName,
    hash: PathHash,
}

impl AccountServer {
    pub fn new(
        config: AccountServerConfig,
        devices: DeviceSet,
        clock: Clock,
        salt: HashSalt,
        policies: Policies,
    ) -> Arc<Self> {
        Arc::new(AccountServer {
            seats: DeviceSeats::new(devices.names(), config.max_requests_per_device),
            config,
            devices,
            clock,
            salt,
            policies,
        })
    }

    async fn route(&self, head: &Parts) -> Result<Response, Refusal> {
        let path = BackendPath::parse(head.uri.path())?;
        let hash = self.salt.hash(&path.account, None, None);
        let at = Addressed {
            device: path.device,
            account: path.account,
            hash,
        };
        let _seat = self.seats.take(&at.device)?;
        match (&head.method, path.container, path.object) {
            (&Method::PUT, Some(container), None) => self.put_row(head, &at, container).await,
            (_, Some(_), _) => Err(Refusal::BadRequest("Invalid path".into())),
            (&Method::PUT, None, _) => self.put_account(head, &at).await,
            (&Method::DELETE, None, _) => self.delete_account(head, &at).await,
            (&Method::POST, None, _) => self.post_account(head, &at).await,
            (&Method::HEAD, None, _) => self.head_account(head, &at).await,
            (&Method::GET, None, _) => self.get_account(head, &at).await,
            _ => Err(Refusal::MethodNotAllowed),
        }
    }

    fn device(&self, at: &Addressed) -> Result<Device, Refusal> {
        Ok(self.devices.get(&at.device)?)
    }

    /// Accounts of the cluster itself come into being by a row.
    fn may_create(&self, at: &Addressed) -> bool {
        at.account.starts_with(&self.config.auto_create_account_prefix)
    }
}

impl Handler for AccountServer {
    fn call(&self, request: Request) -> BoxFuture<'_, Response> {
        Box::pin(async move {
            let started = Instant::now();
            let (head, _body) = request.into_parts();
            let outcome = match head.method {
                Method::OPTIONS => Ok(front::options("account-server")),
                _ => self.route(&head).await,
            };
            front::finish("account", &head, started, outcome)
        })
    }
}

/// What tells a deleted account from one that never was.
fn deleted_mark(record: Option<&ContainerRecord>) -> HeaderMap {
    let mut out = HeaderMap::new();
    if record.is_some_and(ContainerRecord::is_deleted) {
        out.insert(header::X_ACCOUNT_STATUS, HeaderValue::from_static("Deleted"));
    }
    out
}
