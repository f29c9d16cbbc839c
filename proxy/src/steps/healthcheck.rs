//! `/healthcheck` for load balancers.

use crate::Edge;
use crate::pipeline::Next;
use http::{Method, StatusCode};
use martlet_service::{Request, Response, respond};

pub fn concerns(request: &Request, _: &Edge) -> bool {
    request.uri().path() == "/healthcheck"
}

pub async fn run(request: Request, next: Next) -> Response {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if !is_read {
        return super::answer::method_not_allowed("GET, HEAD");
    }
    let disable_path = next.edge().config.healthcheck.disable_path.clone();
    // On a thread that may block: the file may be on a slow disk.
    let looked = !disable_path.is_empty()
        && tokio::task::spawn_blocking(move || std::path::Path::new(&disable_path).exists())
            .await
            .unwrap_or(false);
    if looked {
        return respond::text(StatusCode::SERVICE_UNAVAILABLE, "DISABLED BY FILE");
    }
    respond::text(StatusCode::OK, "OK")
}
