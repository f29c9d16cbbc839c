//! The proxy role: the Swift pipeline and the S3 door joined on one port.

use crate::config::{NodeConfig, ProxyRoleConfig};
use crate::security::Watched;
use http::{Method, StatusCode};
use martlet_node_client::NodeClient;
use martlet_proxy::keystone::s3::{S3Verdict, Signed};
use martlet_proxy::{Proxy, S3Door, Users};
use martlet_replicator::Rings;
use martlet_s3_shim::signature::Claim;
use martlet_s3_shim::{Credential, Credentials, Lookup, S3};
use martlet_service::{
    Bounded, Bounds, BoxFuture, Clock, Handler, Request, Response, ServeOptions, Shutdown, metrics, respond,
    serve,
};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// How the clients' port is served; its certificate is watched.
pub fn listener(role: &ProxyRoleConfig, watched: &mut Watched) -> Result<ServeOptions, Box<dyn Error>> {
    let tls = match &role.tls {
        Some(files) => Some(watched.certificate(files)?),
        None => None,
    };
    Ok(ServeOptions {
        tls,
        max_connections: role.max_connections.max(1),
        ..ServeOptions::public("proxy")
    })
}

/// How long writes that run behind answers, and notifications, may take at the end.
const DRAIN: Duration = Duration::from_secs(5);

/// What answers clients, and the proxy behind it.
pub struct Front {
    handler: Arc<dyn Handler>,
    proxy: Arc<Proxy>,
}

impl Front {
    /// Answers until the end is asked for, and then ends what was begun.
    pub async fn serve(self, listener: TcpListener, options: ServeOptions, shutdown: Shutdown) {
        serve(listener, self.handler, options, shutdown).await;
        self.proxy.drain(DRAIN).await;
    }
}

/// Builds what answers clients. Within a runtime.
pub fn build(
    config: &NodeConfig,
    role: &ProxyRoleConfig,
    rings: Rings,
    client: &NodeClient,
    clock: &Clock,
) -> Result<Front, Box<dyn Error>> {
    let proxy = Proxy::new(
        role.pipeline.clone(),
        rings,
        config.cluster.salt(),
        config.policies(),
        client.clone(),
        clock.clone(),
    )?;
    if let Some(s3) = &role.s3 {
        let keys = Arc::new(Keys {
            users: proxy.users(),
            proxy: proxy.clone(),
        });
        proxy.set_s3(S3Door {
            info: s3.info(),
            answers_preflights: !s3.cors_preflight_allow_origin.is_empty(),
            handler: S3::new(s3.clone(), keys, proxy.inner(), clock.clone()),
        });
    }
    let bounds = Bounds {
        at_work: role.max_requests,
        waiting: role.max_waiting_requests,
        max_wait_ms: role.max_wait_ms,
    };
    let bounded = Bounded::new(proxy.clone(), &bounds, is_healthcheck);
    let handler: Arc<dyn Handler> = match role.expose_metrics {
        true => Arc::new(WithMetrics(bounded)),
        false => bounded,
    };
    Ok(Front { handler, proxy })
}

/// S3 keys are tempauth's users (access key `account:user`, secret the user's key), and the EC2 credentials of Keystone's.
struct Keys {
    users: Arc<Users>,
    proxy: Arc<Proxy>,
}

impl Credentials for Keys {
    fn find<'a>(&'a self, claim: &'a Claim) -> BoxFuture<'a, Lookup> {
        if let Some((secret, identity)) = self.users.secret(&claim.access_key) {
            let credential = Credential {
                secret: Some(secret),
                identity,
            };
            return Box::pin(std::future::ready(Lookup::Known(Box::new(credential))));
        }
        // Keystone's keys have no colon: a name of that form is a user whom tempauth does not know.
        let Some(keystone) = self.proxy.keystone().filter(|_| !claim.access_key.contains(':')) else {
            return Box::pin(std::future::ready(Lookup::UnknownKey));
        };
        Box::pin(async move {
            let signed = Signed {
                access: &claim.access_key,
                string_to_sign: &claim.string_to_sign,
                signature: &claim.signature,
            };
            match keystone.s3_credential(signed).await {
                S3Verdict::Known { secret, identity } => Lookup::Known(Box::new(Credential {
                    secret: secret.map(|secret| secret.reveal().to_owned()),
                    identity: (*identity).clone(),
                })),
                S3Verdict::Refused => Lookup::Refused,
                S3Verdict::Unavailable => Lookup::Unavailable,
            }
        })
    }
}

/// Whoever watches the proxy must be able to tell a busy one from a dead one.
fn is_healthcheck(request: &Request) -> bool {
    request.uri().path() == "/healthcheck"
}

/// Answers `/metrics` beside the proxy.
struct WithMetrics(Arc<Bounded>);

impl Handler for WithMetrics {
    fn call(&self, request: Request) -> BoxFuture<'_, Response> {
        if request.method() == Method::GET && request.uri().path() == "/metrics" {
            let response = respond::text(StatusCode::OK, metrics::render());
            return Box::pin(std::future::ready(response));
        }
        self.0.call(request)
    }
}
