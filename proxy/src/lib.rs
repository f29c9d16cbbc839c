//! The proxy: the public Swift API. A visible pipeline of steps around a core that places, writes and reads.
//!
//! `pipeline.rs` is the list of steps and the place to begin; `steps/` holds them; `core/` is what is left when all
//! steps have had their say. The proxy talks to storage nodes only through `martlet-node-client`.

pub mod acl;
pub mod ceilometer;
pub mod config;
pub mod context;
pub mod core;
pub mod grant;
pub mod keystone;
pub mod pipeline;
pub mod steps;
mod tls;

pub use crate::config::ProxyConfig;
pub use crate::core::{Core, CoreConfig};
pub use crate::steps::tempauth::users::Users;

use crate::ceilometer::Notifier;
use crate::keystone::Keystone;
use crate::pipeline::Next;
use crate::steps::tempauth::tokens::Tokens;
use arc_swap::ArcSwap;
use martlet_node_client::NodeClient;
use martlet_protocol::hash::HashSalt;
use martlet_protocol::policy::Policies;
use martlet_protocol::sync::{Realms, RealmsFile};
use martlet_ring::RingSet;
use martlet_service::{BoxFuture, Clock, Handler, Request, Response, Tasks, WatchedFile};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Between two looks at the realms file, unless it says otherwise.
const REALMS_CHECK_INTERVAL: Duration = Duration::from_secs(300);

/// The proxy as a handler: everything from outside enters here.
pub struct Proxy {
    edge: Arc<Edge>,
}

/// What all steps share. One for a process.
pub struct Edge {
    pub config: ProxyConfig,
    pub core: Arc<Core>,
    pub users: Arc<Users>,
    pub tokens: Tokens,
    /// Present when Keystone is on.
    pub keystone: Option<Keystone>,
    /// Present when Ceilometer is to hear of requests.
    pub ceilometer: Option<Notifier>,
    pub policies: Policies,
    pub clock: Clock,
    /// What steps do after their answer, such as deleting the parts of a replaced large object.
    pub tasks: Tasks,
    /// Whom other clusters' signatures are checked with.
    pub realms: Arc<WatchedFile<Realms>>,
    /// Asks about other domains, where that is wanted.
    pub resolver: Option<crate::steps::cname_lookup::Resolver>,
    /// When whoever is slowed down may go on.
    pub limiter: crate::steps::ratelimit::Limiter,
    /// Buckets (`account/container`) without parts of uploads, remembered for a short while.
    pub without_parts: moka::future::Cache<String, ()>,
    s3: OnceLock<S3Door>,
}

/// What the pipeline needs to know of the S3 door.
pub struct S3Door {
    pub handler: Arc<dyn Handler>,
    /// Its section of `/info`.
    pub info: serde_json::Value,
    /// Whether browsers' preflight requests about signed requests are its to answer.
    pub answers_preflights: bool,
}

impl Edge {
    /// The S3 door, once the assembly has hung it in.
    pub fn s3(&self) -> Option<&S3Door> {
        self.s3.get()
    }
}

impl Proxy {
    /// `rings` may be swapped while requests run; each request works with the set it began with.
    ///
    /// Within a runtime, where notifications are sent from.
    ///
    /// # Errors
    /// A sentence for the operator when the settings of Keystone or of the message broker cannot work.
    pub fn new(
        config: ProxyConfig,
        rings: Arc<ArcSwap<RingSet>>,
        salt: HashSalt,
        policies: Policies,
        client: NodeClient,
        clock: Clock,
    ) -> Result<Arc<Proxy>, String> {
        let keystone = match &config.authtoken {
            Some(authtoken) => Some(Keystone::new(
                authtoken,
                &config.keystoneauth,
                &config.s3token,
                &clock,
            )?),
            None => None,
        };
        let tasks = Tasks::new();
        let ceilometer = config.ceilometer.as_ref().map(Notifier::new).transpose()?;
        if let Some(notifier) = &ceilometer {
            notifier.start(&tasks);
        }
        let users = Arc::new(Users::new(&config.tempauth));
        let tokens = Tokens::new(
            users.token_prefix(),
            config.tempauth.token_life,
            config.tempauth.max_tokens,
        );
        let core = Core::new(
            config.app.clone(),
            rings,
            salt,
            policies.clone(),
            config.constraints.clone(),
            client,
            clock.clone(),
        );
        let s3 = OnceLock::new();
        let without_parts = moka::future::Cache::builder()
            .max_capacity(10_000)
            .time_to_live(Duration::from_secs(10))
            .build();
        let realms_conf = config
            .container_sync
            .as_ref()
            .and_then(|sync| sync.realms_conf.clone());
        let resolver = config.cname_lookup.as_ref().map(|lookup| {
            let servers: Vec<_> = lookup.nameservers.iter().map(|server| server.0).collect();
            crate::steps::cname_lookup::Resolver::new(&servers)
        });
        let edge = Edge {
            resolver,
            realms: Arc::new(WatchedFile::new(
                realms_conf,
                REALMS_CHECK_INTERVAL,
                RealmsFile::parsed,
            )),
            config,
            core,
            users,
            tokens,
            keystone,
            ceilometer,
            policies,
            clock,
            tasks,
            limiter: Default::default(),
            without_parts,
            s3,
        };
        Ok(Arc::new(Proxy { edge: Arc::new(edge) }))
    }

    /// Hangs the S3 door in: requests signed the S3 way go to it. The first door stays. Within a runtime.
    pub fn set_s3(&self, door: S3Door) {
        if self.edge.s3.set(door).is_err() {
            tracing::warn!("a second S3 door was offered and left outside");
            return;
        }
        let edge = self.edge.clone();
        self.edge.tasks.spawn("first question to Keystone", async move {
            if let Some(keystone) = &edge.keystone {
                keystone.try_out_s3().await;
            }
        });
    }

    /// The pipeline after authentication, for requests that a door of our own has proved: the user is in the request's
    /// extensions as an `Identity`, ACLs are checked as ever, internal headers are believed.
    pub fn inner(&self) -> Arc<dyn Handler> {
        Arc::new(Inner {
            edge: self.edge.clone(),
        })
    }

    /// The users of the configuration, with whose keys signatures are checked.
    pub fn users(&self) -> Arc<Users> {
        self.edge.users.clone()
    }

    /// Keystone, when it is on.
    pub fn keystone(&self) -> Option<&Keystone> {
        self.edge.keystone.as_ref()
    }

    /// Waits, at most so long each, for writes and clean-up that still run behind answers already given, and for
    /// notifications that have not been sent.
    pub async fn drain(&self, timeout: Duration) {
        if let Some(notifier) = &self.edge.ceilometer {
            notifier.close();
        }
        self.edge.core.tasks().join_all(timeout).await;
        self.edge.tasks.join_all(timeout).await;
    }
}

impl Handler for Proxy {
    fn call(&self, request: Request) -> BoxFuture<'_, Response> {
        Next::outer(self.edge.clone()).run(request)
    }
}

/// See [`Proxy::inner`].
struct Inner {
    edge: Arc<Edge>,
}

impl Handler for Inner {
    fn call(&self, request: Request) -> BoxFuture<'_, Response> {
        Next::inner(self.edge.clone()).run(request)
    }
}
