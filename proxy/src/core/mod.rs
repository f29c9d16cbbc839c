//! The core of the proxy: where things live, who must agree, and the controllers of accounts, containers and objects.
//!
//! - `placement`, `freshness`: the devices of a path, and what this proxy knows of each.
//! - `quorum`, `read_plan`, `merge`: decisions, as plain state machines.
//! - `fan_out`, `read`, `resume`: thin shells that carry the decisions out.
//! - `put`, `get`, `ranges`, `segment`, `post`, `delete`, `container`, `account`, `listing`: the controllers.
//! - `checks`, `info` (with `recent`), `authorize`, `answer`: what a request must look like, what is known, who may, what
//!   is said.
//!
//! A newcomer begins with `put`: the life of a PUT.

// A refusal is a whole response and is made seldom; boxing it would burden every caller.
#![allow(clippy::result_large_err)]

pub mod answer;
pub mod authorize;
pub mod info;

mod account;
mod backend;
pub(crate) mod checks;
mod config;
mod container;
pub(crate) mod content_type;
mod delete;
mod fan_out;
mod freshness;
mod get;
mod listing;
mod merge;
mod placement;
mod post;
mod put;
mod quorum;
mod ranges;
mod read;
mod read_plan;
mod recent;
mod resume;
mod seconds;
pub mod segment;
mod stream;

pub use authorize::{AllowAll, Authorize, Need};
pub use config::CoreConfig;
pub use info::{AccountInfo, ContainerInfo, Cors, Existence, Usage};
pub use put::TrailingMetadata;

use arc_swap::ArcSwap;
use http::Method;
use info::InfoCache;
use martlet_node_client::{Node, NodeClient};
use martlet_protocol::hash::HashSalt;
use martlet_protocol::limits::Limits;
use martlet_protocol::name::Target;
use martlet_protocol::policy::{Policies, PolicyIndex};
use martlet_ring::RingSet;
use martlet_service::{Clock, Request, Response, Tasks};
use placement::{Placer, Which};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Everything a controller needs. One for the whole proxy.
pub struct Core {
    config: CoreConfig,
    placer: Placer,
    salt: HashSalt,
    policies: Policies,
    limits: Limits,
    /// Calls that write.
    client: NodeClient,
    /// Calls that read: another node can stand in for one that is slow.
    reader: NodeClient,
    clock: Clock,
    info: InfoCache,
    /// Writes under way: they run to their end even when their client has left.
    tasks: Tasks,
    began: Instant,
    /// Moving average of how long a node takes to answer a read, in microseconds.
    read_latency_us: AtomicU64,
}

impl Core {
    pub fn new(
        config: CoreConfig,
        rings: Arc<ArcSwap<RingSet>>,
        salt: HashSalt,
        policies: Policies,
        limits: Limits,
        client: NodeClient,
        clock: Clock,
    ) -> Arc<Core> {
        let info = InfoCache::new(
            config.recheck_account_existence_ms,
            config.recheck_container_existence_ms,
        );
        Arc::new(Core {
            placer: Placer::new(rings, clock.clone()),
            reader: client.with_waits(config.read_waits()),
            client: client.with_waits(config.write_waits()),
            config,
            salt,
            policies,
            limits,
            clock,
            info,
            tasks: Tasks::new(),
            began: Instant::now(),
            read_latency_us: AtomicU64::new(0),
        })
    }

    /// Answers a request about an account, container or object. `authorize` is asked once the container is known.
    ///
    /// The request's headers are taken from the inside as they are (`X-Backend-*`, system metadata): whoever lets
    /// clients in strips theirs first. The response still carries system metadata, but no `X-Backend-*`.
    pub async fn handle(
        self: &Arc<Self>,
        request: Request,
        target: Target,
        authorize: &dyn Authorize,
    ) -> Response {
        let (head, body) = request.into_parts();
        // Each boxed, so that a HEAD does not carry the room that a PUT needs.
        match target {
            Target::Object(path) => match head.method {
                Method::GET | Method::HEAD => Box::pin(get::handle(self, &head, path, authorize)).await,
                Method::PUT => Box::pin(put::handle(self, &head, body, path, authorize)).await,
                Method::POST => Box::pin(post::handle(self, &head, path, authorize)).await,
                Method::DELETE => Box::pin(delete::handle(self, &head, path, authorize)).await,
                _ => answer::method_not_allowed("COPY, DELETE, GET, HEAD, OPTIONS, POST, PUT"),
            },
            Target::Container(path) => Box::pin(container::handle(self, &head, path, authorize)).await,
            Target::Account(account) => Box::pin(account::handle(self, &head, account, authorize)).await,
        }
    }

    /// The partition of a path and the devices that hold it, in ring order. Objects go by their container's policy.
    pub fn primaries(&self, target: &Target, policy: Option<PolicyIndex>) -> Option<(u32, Vec<Node>)> {
        let which = match target {
            Target::Account(_) => Which::Account,
            Target::Container(_) => Which::Container,
            Target::Object(_) => Which::Object(policy.unwrap_or_default()),
        };
        let hash = self.salt.hash(
            target.account(),
            target.container().map(|name| name.as_str()),
            target.object().map(|name| name.as_str()),
        );
        let placement = self.placer.place(which, &hash)?;
        let nodes = placement.primaries.iter().map(|peer| peer.node.clone()).collect();
        Some((placement.partition, nodes))
    }

    /// The storage policies, as `/info` shows them.
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Writes that still run behind answers already given; the process waits for them when it stops.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Milliseconds since this proxy began.
    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    fn saw_read_latency(&self, took: std::time::Duration) {
        let took = took.as_micros().min(u128::from(u32::MAX)) as u64;
        let known = self.read_latency_us.load(Ordering::Relaxed);
        let average = if known == 0 {
            took
        } else {
            (known * 31 + took) / 32
        };
        self.read_latency_us.store(average.max(1), Ordering::Relaxed);
    }

    /// How long a read waits for one node before it asks another too: eight times the usual time, within bounds.
    fn hedge_delay(&self) -> std::time::Duration {
        let usual = self.read_latency_us.load(Ordering::Relaxed);
        let wanted = std::time::Duration::from_micros(usual.saturating_mul(8));
        let bound = std::time::Duration::from_millis;
        wanted.clamp(bound(self.config.hedge_min_ms), bound(self.config.hedge_max_ms))
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
