//! `/healthcheck` for load balancers.

use crate::pipeline::Next;
use http::{Method, StatusCode};
use martlet_service::{Request, Response, respond};

pub async fn run(request: Request, next: Next) -> Response {
    if request.uri().path() != "/healthcheck" {
        return next.run(request).await;
    }
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if !is_read {
        return super::answer::method_not_allowed("GET, HEAD");
    }
    let disable_path = &next.edge().config.healthcheck.disable_path;
    if !disable_path.is_empty() && tokio::fs::try_exists(disable_path).await.unwrap_or(false) {
        return respond::text(StatusCode::SERVICE_UNAVAILABLE, "DISABLED BY FILE");
    }
    respond::text(StatusCode::OK, "OK")
}
