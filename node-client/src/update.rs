//! Delivers an owed row: the same request whether a server sends it at once or the updater later.

use crate::{BackendRequest, Node, NodeClient, NodeError};
use http::header::HeaderMap;
use http::{Method, Response};
use martlet_protocol::update::{Update, UpdateOp, UpdateTarget};
use martlet_protocol::{header, percent};
use martlet_service::{Body, headers};

/// Sends a row to one of its targets: the row of an object to a container server, or of a container to an account
/// server. A 2xx answer means that the row is with the target.
pub async fn send_update(
    client: &NodeClient,
    update: &Update,
    target: &UpdateTarget,
    user_agent: &str,
) -> Result<Response<Body>, NodeError> {
    let node = Node::at(&target.ip, target.port, &target.device);
    client
        .call(&node, update_request(update, target, user_agent))
        .await
}

/// The request that carries a row to a target.
pub fn update_request(update: &Update, target: &UpdateTarget, user_agent: &str) -> BackendRequest {
    let mut map = HeaderMap::with_capacity(update.headers.len() + 2);
    headers::set(&mut map, "user-agent", user_agent);
    let server = if update.object.is_some() {
        "container"
    } else {
        "account"
    };
    headers::set(&mut map, header::X_BACKEND_MARTLET_SERVER, server);
    for (name, value) in &update.headers {
        headers::set(&mut map, name, value);
    }
    let account = percent::quote_segment(&update.account);
    let container = percent::quote_segment(&update.container);
    let mut path = format!("/{}/{account}/{container}", target.partition);
    if let Some(object) = &update.object {
        path.push('/');
        path.push_str(&percent::quote(object));
    }
    let method = match update.op {
        UpdateOp::Put => Method::PUT,
        UpdateOp::Delete => Method::DELETE,
    };
    BackendRequest {
        headers: map,
        ..BackendRequest::new(method, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_travels_as_swift_sends_it() {
        let target = UpdateTarget {
            ip: "10.0.0.1".into(),
            port: 6201,
            device: "sda".into(),
            partition: 7,
        };
        let mut update = Update {
            account: "AUTH_a".into(),
            container: "c d".into(),
            object: Some("o/ä?".into()),
            op: UpdateOp::Delete,
            targets: vec![target.clone()],
            headers: vec![("x-timestamp".into(), "0000000001.00000".into())],
            coalesce: false,
        };
        let request = update_request(&update, &target, "updater");
        assert_eq!(
            (request.method, request.path.as_str()),
            (Method::DELETE, "/7/AUTH_a/c%20d/o/%C3%A4%3F")
        );
        assert_eq!(
            headers::text(&request.headers, "x-timestamp"),
            Some("0000000001.00000")
        );
        update.object = None;
        update.op = UpdateOp::Put;
        let request = update_request(&update, &target, "updater");
        assert_eq!(
            (request.method, request.path.as_str()),
            (Method::PUT, "/7/AUTH_a/c%20d")
        );
        assert_eq!(
            headers::text(&request.headers, "x-backend-martlet-server"),
            Some("account")
        );
    }
}
