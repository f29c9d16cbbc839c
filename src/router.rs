//! Which server of a node answers a request that came to its listener.

use http::{HeaderName, Method, StatusCode};
use martlet_protocol::header;
use martlet_protocol::percent;
use martlet_protocol::timestamp::Timestamp;
use martlet_replicator::{Clients, Workers};
use martlet_service::logging::RequestLine;
use martlet_service::{BoxFuture, Handler, Request, Response, headers, metrics, respond};
use std::sync::Arc;
use std::time::Instant;

// Read as a name once, not for each request.
static X_BACKEND_MARTLET_MISSED: HeaderName = HeaderName::from_static(header::X_BACKEND_MARTLET_MISSED);

/// The servers of one node. A request goes to one of them by its path and the header that names the server.
pub struct Router {
    pub object: Arc<dyn Handler>,
    pub container: Arc<dyn Handler>,
    pub account: Arc<dyn Handler>,
    pub replication: Arc<dyn Handler>,
    /// Hear from proxies what a device has missed.
    pub workers: Arc<Workers>,
    /// Told of each request that a server of this node is asked.
    pub clients: Clients,
    /// Runs one round of replication and answers with its report.
    pub pass: Arc<dyn Handler>,
    /// Tells of the devices and the workers.
    pub status: Arc<dyn Handler>,
    /// What `swift-recon` asks.
    pub recon: Arc<dyn Handler>,
    /// Set on a listener that belongs to one server alone, as Swift's rings expect.
    pub only: Option<Server>,
    /// Whether this listener replicates; not where another one of the node does.
    pub replicates: bool,
}

/// One of the three servers of Swift's backend protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    Object,
    Container,
    Account,
}

enum Route {
    Healthcheck,
    Metrics,
    Pass,
    Status,
    Recon,
    Replication,
    ReplicationElsewhere,
    Server(Server),
    Nowhere,
}

impl Router {
    /// The same servers behind another listener.
    pub fn behind(&self, only: Option<Server>, replicates: bool) -> Router {
        Router {
            object: self.object.clone(),
            container: self.container.clone(),
            account: self.account.clone(),
            replication: self.replication.clone(),
            workers: self.workers.clone(),
            clients: self.clients.clone(),
            pass: self.pass.clone(),
            status: self.status.clone(),
            recon: self.recon.clone(),
            only,
            replicates,
        }
    }

    fn route(&self, request: &Request) -> Route {
        let path = request.uri().path();
        match path {
            "/healthcheck" => return Route::Healthcheck,
            "/metrics" => return Route::Metrics,
            "/martlet/pass" if request.method() == Method::POST => return Route::Pass,
            "/martlet/status" => return Route::Status,
            _ if path.starts_with("/recon/") => return Route::Recon,
            _ => {}
        }
        // /device/partition/account[/container[/object]], or /device/martlet/... for replication.
        let mut segments = path.splitn(6, '/').skip(1);
        if segments.nth(1) == Some("martlet") {
            return match self.replicates {
                true => Route::Replication,
                false => Route::ReplicationElsewhere,
            };
        }
        if let Some(server) = self.only {
            return Route::Server(server);
        }
        if let Some(named) = headers::text(request.headers(), header::X_BACKEND_MARTLET_SERVER) {
            return match named {
                "object" => Route::Server(Server::Object),
                "container" => Route::Server(Server::Container),
                "account" => Route::Server(Server::Account),
                _ => Route::Nowhere,
            };
        }
        match segments.filter(|segment| !segment.is_empty()).count() {
            1 => Route::Server(Server::Account),
            2 => Route::Server(Server::Container),
            3 => Route::Server(Server::Object),
            _ => Route::Nowhere,
        }
    }
}

impl Router {
    /// Passes on what a proxy says that a device has missed. Nonsense is passed over: it is advice.
    fn hear_of_missed_writes(&self, request: &Request) {
        let Some(told) = request.headers().get(&X_BACKEND_MARTLET_MISSED) else {
            return;
        };
        let moment = headers::value_text(told).and_then(|text| Timestamp::parse(text).ok());
        let device = request.uri().path().split('/').nth(1).map(percent::unquote);
        if let (Some(moment), Some(Ok(device))) = (moment, device) {
            self.workers.missed(&device, moment);
        }
    }

    /// What may be asked without the cluster key: whether the node is up, and what `swift-recon` wants to know. Nothing
    /// of it changes anything or shows a name of a client's.
    pub fn is_open(request: &Request) -> bool {
        let path = request.uri().path();
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        reads && (path == "/healthcheck" || path.starts_with("/recon/"))
    }

    /// The same with `/metrics`, which names devices and other nodes.
    pub fn is_open_with_metrics(request: &Request) -> bool {
        Self::is_open(request) || (request.method() == Method::GET && request.uri().path() == "/metrics")
    }
}

impl Handler for Router {
    fn call(&self, request: Request) -> BoxFuture<'_, Response> {
        let (name, handler) = match self.route(&request) {
            Route::Healthcheck => return answer(respond::text(StatusCode::OK, "OK")),
            Route::Metrics => return answer(respond::text(StatusCode::OK, metrics::render())),
            Route::Nowhere => return answer(respond::text(StatusCode::BAD_REQUEST, "Invalid path")),
            Route::ReplicationElsewhere => {
                let text = "Replication has a listener of its own: the rings must name it";
                return answer(respond::text(StatusCode::FORBIDDEN, text));
            }
            Route::Pass => ("replicator", &self.pass),
            Route::Status => ("status", &self.status),
            Route::Recon => ("recon", &self.recon),
            Route::Replication => ("replication", &self.replication),
            // These leave their own line for each request.
            Route::Server(server) => {
                self.clients.served();
                self.hear_of_missed_writes(&request);
                return match server {
                    Server::Object => &self.object,
                    Server::Container => &self.container,
                    Server::Account => &self.account,
                }
                .call(request);
            }
        };
        Box::pin(logged(name, handler, request))
    }
}

fn answer(response: Response) -> BoxFuture<'static, Response> {
    Box::pin(std::future::ready(response))
}

/// Answers, and leaves one line with the transaction id.
async fn logged(server: &'static str, handler: &Arc<dyn Handler>, request: Request) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let uri = request.uri().clone();
    let trans_id = request.headers().get(header::X_TRANS_ID).cloned();
    let response = handler.call(request).await;
    RequestLine {
        server,
        method: method.as_str(),
        path: uri.path_and_query().map_or("", |path| path.as_str()),
        status: response.status().as_u16(),
        trans_id: trans_id.as_ref().and_then(headers::value_text).unwrap_or("-"),
        duration: begun.elapsed(),
    }
    .emit();
    response
}
