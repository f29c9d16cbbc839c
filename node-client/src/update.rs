//! Delivers an owed row: the same request whether a server sends it at once or the updater later.

use crate::{BackendRequest, Node, NodeClient, NodeError};
use http::header::HeaderMap;
use http::{Method, Response};
use martlet_protocol::percent;
use martlet_protocol::update::{Update, UpdateOp, UpdateTarget};
use martlet_service::{Body, headers};

/// Sends a row to one of its targets: the row of an object to a container server, or of a container to an account
/// server. A 2xx answer means that the row is with the target.
pub async fn send_update(
    client: &NodeClient,
    update: &Update,
    target: &UpdateTarget,
    user_agent: &str,
) -> Result<Response<Body>, NodeError> {
    client.call(&update_node(target), update_request(update, target, user_agent)).await
}

/// The request that carries a row to a target.
pub fn update_request(update: &Update, target: &UpdateTarget, user_agent: &str) -> BackendRequest {
    let mut map = HeaderMap::with_capacity(update.headers.len() + 1);
    headers::set(&mut map, "user-agent", user_agent);
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
    BackendRequest { headers: map, ..BackendRequest::new(method, path) }
}

/// A node known only by its address: what an update's target tells.
pub fn update_node(target: &UpdateTarget) -> Node {
    Node {
        id: 0,
        region: 0,
        zone: 0,
        ip: target.ip.clone(),
        port: target.port,
        replication_ip: target.ip.clone(),
        replication_port: target.port,
        device: target.device.clone(),
        weight: 0.0,
        meta: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_travels_as_swift_sends_it() {
        let target = UpdateTarget { ip: "10.0.0.1".into(), port: 6201, device: "sda".into(), partition: 7 };
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
        assert_eq!((request.method, request.path.as_str()), (Method::DELETE, "/7/AUTH_a/c%20d/o/%C3%A4%3F"));
        assert_eq!(headers::text(&request.headers, "x-timestamp"), Some("0000000001.00000"));
        update.object = None;
        update.op = UpdateOp::Put;
        let request = update_request(&update, &target, "updater");
        assert_eq!((request.method, request.path.as_str()), (Method::PUT, "/7/AUTH_a/c%20d"));
        assert_eq!((update_node(&target).port, update_node(&target).device.as_str()), (6201, "sda"));
    }
}
