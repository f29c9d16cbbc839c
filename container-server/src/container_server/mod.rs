//! Answers for containers: their record, their listing, and the rows object servers send about their objects.

mod delete;
mod get;
mod headers;
mod post;
mod put;
mod row;

use crate::account_update::{AccountTargets, AccountUpdates};
use crate::config::ContainerServerConfig;
use crate::errors::Refusal;
use crate::front;
use crate::request::BackendPath;
use http::Method;
use http::request::Parts;
use martlet_node_client::NodeClient;
use martlet_protocol::hash::{HashSalt, PathHash};
use martlet_protocol::name::{AccountName, ContainerName, ObjectName};
use martlet_protocol::policy::Policies;
use martlet_service::{BoxFuture, Clock, DeviceSeats, Handler, Request, Response};
use martlet_storage::{Device, DeviceSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The container server of one node, for all its devices.
pub struct ContainerServer {
    config: ContainerServerConfig,
    devices: DeviceSet,
    /// Requests each device may work on at once.
    seats: DeviceSeats,
    updates: AccountUpdates,
    salt: HashSalt,
    policies: Policies,
}

/// The container a request is about.
struct Addressed {
    device: String,
    account: AccountName,
    container: ContainerName,
    hash: PathHash,
}

impl ContainerServer {
    /// `account_targets` tells where the replicas of an account are, for the rows that are owed to it.
    pub fn new(
        config: ContainerServerConfig,
        devices: DeviceSet,
        client: NodeClient,
        account_targets: AccountTargets,
        clock: Clock,
        salt: HashSalt,
        policies: Policies,
    ) -> Arc<Self> {
        let timeout = Duration::from_millis(config.account_update_timeout_ms);
        let updates = AccountUpdates::new(client, account_targets, clock, timeout);
        Arc::new(ContainerServer {
            seats: DeviceSeats::new(devices.names(), config.max_requests_per_device),
            config,
            devices,
            updates,
            salt,
            policies,
        })
    }

    async fn route(&self, head: &Parts) -> Result<Response, Refusal> {
        let (at, object) = self.addressed(BackendPath::parse(head.uri.path())?)?;
        let _seat = self.seats.take(&at.device)?;
        match (&head.method, object) {
            (&Method::PUT, Some(object)) => self.put_row(head, &at, object).await,
            (&Method::DELETE, Some(object)) => self.delete_row(head, &at, object).await,
            (&Method::PUT, None) => self.put_container(head, &at).await,
            (&Method::DELETE, None) => self.delete_container(head, &at).await,
            (&Method::POST, None) => self.post_container(head, &at).await,
            (&Method::POST, Some(_)) => Err(Refusal::BadRequest("Invalid path".into())),
            (&Method::HEAD, _) => self.head_container(head, &at).await,
            (&Method::GET, _) => self.get_container(head, &at).await,
            _ => Err(Refusal::MethodNotAllowed),
        }
    }

    /// The container of a path, and the object whose row it is about.
    fn addressed(&self, path: BackendPath) -> Result<(Addressed, Option<ObjectName>), Refusal> {
        let container = path
            .container
            .ok_or_else(|| Refusal::BadRequest("Container is required".into()))?;
        let hash = self.salt.hash(&path.account, Some(&container), None);
        let at = Addressed {
            device: path.device,
            account: path.account,
            container,
            hash,
        };
        Ok((at, path.object))
    }

    fn device(&self, at: &Addressed) -> Result<Device, Refusal> {
        Ok(self.devices.get(&at.device)?)
    }
}

impl Handler for ContainerServer {
    fn call(&self, request: Request) -> BoxFuture<'_, Response> {
        Box::pin(async move {
            let started = Instant::now();
            let (head, _body) = request.into_parts();
            let outcome = match head.method {
                Method::OPTIONS => Ok(front::options("container-server")),
                _ => self.route(&head).await,
            };
            front::finish("container", &head, started, outcome)
        })
    }
}
