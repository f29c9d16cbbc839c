//! The proxy role: the Swift pipeline and the S3 door joined on one port.

use crate::config::{NodeConfig, ProxyRoleConfig};
use crate::security::Watched;
use http::{Method, StatusCode};
use martlet_node_client::NodeClient;
use martlet_proxy::{Proxy, S3Door, Users};
use martlet_replicator::Rings;
use martlet_s3_shim::{Credential, Credentials, S3};
use martlet_service::{
    Bounded, Bounds, BoxFuture, Clock, Handler, Request, Response, ServeOptions, metrics, respond,
};
use std::error::Error;
use std::sync::Arc;

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

/// Builds what answers clients.
pub fn build(
    config: &NodeConfig,
    role: &ProxyRoleConfig,
    rings: Rings,
    client: &NodeClient,
    clock: &Clock,
) -> Result<Arc<dyn Handler>, Box<dyn Error>> {
    let proxy = Proxy::new(
        role.pipeline.clone(),
        rings,
        config.cluster.salt(),
        config.policies(),
        client.clone(),
        clock.clone(),
    )?;
    if let Some(s3) = &role.s3 {
        let keys = Arc::new(TempAuthKeys(proxy.users()));
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
    let bounded = Bounded::new(proxy, &bounds, is_healthcheck);
    Ok(if role.expose_metrics {
        Arc::new(WithMetrics(bounded))
    } else {
        bounded
    })
}

/// S3 keys are tempauth's users: access key `account:user`, secret the user's key.
struct TempAuthKeys(Arc<Users>);

impl Credentials for TempAuthKeys {
    fn secret(&self, access_key: &str) -> Option<Credential> {
        let (secret, identity) = self.0.secret(access_key)?;
        Some(Credential { secret, identity })
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
