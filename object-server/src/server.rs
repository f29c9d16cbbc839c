//! The server: finds the device a request is for, bounds what one device is asked at once, and picks the verb.

use crate::config::ObjectServerConfig;
use crate::container_update::Updates;
use crate::errors::Refusal;
use crate::metadata::KeptHeaders;
use crate::request::Address;
use crate::{delete, get, post, put};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use martlet_node_client::NodeClient;
use martlet_protocol::header;
use martlet_service::logging::RequestLine;
use martlet_service::{
    Body, BoxFuture, Clock, DeviceSeats, Handler, NoSeat, Request, Response, Tasks, headers, respond,
};
use martlet_storage::{Device, DeviceSet, RowsHere};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The methods an object has, as `Allow` tells them.
const METHODS: &str = "DELETE, GET, HEAD, POST, PUT";

/// Serves the objects of a node's devices.
pub struct ObjectServer {
    pub(crate) config: ObjectServerConfig,
    pub(crate) kept: KeptHeaders,
    pub(crate) updates: Updates,
    pub(crate) clock: Clock,
    /// Commits whose callers have left.
    pub(crate) tasks: Tasks,
    devices: DeviceSet,
    /// Requests each device may work on at once.
    seats: DeviceSeats,
}

/// One request on its way to a verb.
pub(crate) struct Call<'r> {
    pub server: &'r ObjectServer,
    pub headers: &'r HeaderMap,
    pub address: Address<'r>,
    pub device: Device,
}

impl ObjectServer {
    /// `rows_here` composes the rows of containers that are on an object's own device; see [`RowsHere`].
    pub fn new(
        config: ObjectServerConfig,
        devices: DeviceSet,
        client: NodeClient,
        clock: Clock,
        rows_here: Option<Arc<dyn RowsHere>>,
    ) -> Arc<Self> {
        let timeout = Duration::from_millis(config.settings.container_update_timeout_ms);
        Arc::new(ObjectServer {
            kept: KeptHeaders::new(&config),
            updates: Updates::new(client, timeout, rows_here),
            clock,
            tasks: Tasks::new(),
            seats: DeviceSeats::new(devices.names(), config.settings.max_requests_per_device),
            devices,
            config,
        })
    }

    /// Waits, at most so long, for commits whose callers have left. To be called after the listeners have ended and
    /// before the devices are closed.
    pub async fn drain(&self, timeout: Duration) {
        self.tasks.join_all(timeout).await;
    }

    async fn answer(&self, parts: &Parts, body: Body) -> Result<Response, Refusal> {
        let address = Address::parse(parts.uri.path(), &parts.headers, &self.config)?;
        let device = self.devices.get(&address.device)?;
        let _seat = self.seats.take(&address.device).map_err(too_much)?;
        let call = Call {
            server: self,
            headers: &parts.headers,
            address,
            device,
        };
        // Each boxed, so that a HEAD does not carry the room that a PUT needs.
        match parts.method {
            Method::GET => Box::pin(get::get(&call)).await,
            Method::HEAD => Box::pin(get::head(&call)).await,
            Method::PUT => Box::pin(put::put(&call, body)).await,
            Method::POST => Box::pin(post::post(&call)).await,
            Method::DELETE => Box::pin(delete::delete(&call)).await,
            _ => Ok(method_not_allowed()),
        }
    }
}

fn too_much(_: NoSeat) -> Refusal {
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "Too many requests for this device",
    )
}

impl Handler for ObjectServer {
    fn call(&self, request: Request) -> BoxFuture<'_, Response> {
        Box::pin(async move {
            let started = Instant::now();
            let (parts, body) = request.into_parts();
            let response = match is_known(&parts.method) {
                true => self
                    .answer(&parts, body)
                    .await
                    .unwrap_or_else(|refusal| refuse(&parts, refusal)),
                false => method_not_allowed(),
            };
            RequestLine {
                server: "object",
                method: parts.method.as_str(),
                path: parts.uri.path(),
                status: response.status().as_u16(),
                trans_id: trans_id(&parts),
                duration: started.elapsed(),
            }
            .emit();
            response
        })
    }
}

fn is_known(method: &Method) -> bool {
    METHODS.split(", ").any(|known| known == method.as_str())
}

fn method_not_allowed() -> Response {
    let mut response = respond::empty(StatusCode::METHOD_NOT_ALLOWED);
    headers::set(response.headers_mut(), "allow", METHODS);
    response
}

fn trans_id(parts: &Parts) -> &str {
    headers::text(&parts.headers, header::X_TRANS_ID).unwrap_or("-")
}

/// Answers, and logs what the answer does not tell: an operator finds the device and the cause by the transaction id.
fn refuse(parts: &Parts, refusal: Refusal) -> Response {
    if let Some(cause) = &refusal.cause {
        let (path, status, trans_id) = (parts.uri.path(), refusal.status.as_u16(), trans_id(parts));
        match refusal.status.is_server_error() {
            true => tracing::error!(path, status, trans_id, cause, "request failed"),
            false => tracing::info!(path, status, trans_id, cause, "request refused"),
        }
    }
    refusal.into_response()
}
