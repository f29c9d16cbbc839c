//! DELETE: a tombstone takes the object's place, and tells late writes and other copies when it went. In a container
//! whose versions are kept a delete marker is put among them; a version that is named goes for good, and with it the
//! object if it was the current one.

use crate::container_update::Destination;
use crate::errors::Refusal;
use crate::request;
use crate::run_to_end::RunToEnd;
use crate::server::Call;
use http::StatusCode;
use martlet_protocol::header;
use martlet_protocol::timestamp::Timestamp;
use martlet_protocol::version::version_in;
use martlet_service::{Response, headers, respond};
use martlet_storage::{DeleteObject, DeleteOutcome, Written};

pub(crate) async fn delete(call: &Call<'_>) -> Result<Response, Refusal> {
    let timestamp = request::required_timestamp(call.headers)?;
    let if_delete_at = request::if_delete_at(call.headers)?;
    let address = &call.address;
    let object = DeleteObject {
        account: address.account.as_ref().into(),
        container: address.container.as_ref().into(),
        object: address.object.as_ref().into(),
        timestamp,
        if_delete_at,
    };
    let (device, policy, hash) = (call.device.clone(), address.policy, address.hash);
    let is_versioned = headers::is_true(call.headers, header::X_BACKEND_MARTLET_VERSIONED);
    let current = request::current_version(call.headers)?;
    let version = version_in(&address.container, &address.object).map(|(object, id)| {
        let salt = &call.server.config.salt;
        let hash = salt.hash(&address.account, Some(&address.container), Some(object));
        (object.to_owned(), hash, id)
    });
    let updates = call.server.updates.clone();
    let container_row = updates.compose(&address.device, Destination::parse(call)?);
    let commit = async move {
        let Written { outcome, owed } = match version {
            Some((name, hash, id)) => {
                let object = DeleteObject {
                    object: name,
                    ..object
                };
                device
                    .delete_version(policy, hash, id, current == Some(id), object, container_row)
                    .await?
            }
            None if is_versioned => device.mark_deleted(policy, hash, object, container_row).await?,
            None => device
                .delete_object(policy, hash, object, container_row)
                .await?
                .into(),
        };
        updates.deliver(&device, owed).await;
        match outcome {
            DeleteOutcome::Deleted { previous, .. } => {
                // An expired object was already gone to clients; the expirer, who names the expiry, wants to know
                // that it was this call that removed it.
                let was_gone = previous.is_expired(timestamp) && if_delete_at.is_none();
                let status = if was_gone {
                    StatusCode::NOT_FOUND
                } else {
                    StatusCode::NO_CONTENT
                };
                Ok(answer(status, timestamp, previous.content_type()))
            }
            DeleteOutcome::NotFound { tombstone, .. } => {
                let newest = tombstone.map_or(timestamp, |known| known.max(timestamp));
                Ok(answer(StatusCode::NOT_FOUND, newest, ""))
            }
            DeleteOutcome::Conflict { existing } => Err(Refusal::conflict(existing)),
            DeleteOutcome::DeleteAtMismatch => Err(Refusal::precondition_failed(
                "X-If-Delete-At and X-Delete-At do not match",
            )),
        }
    };
    RunToEnd::new(&call.server.tasks, "object DELETE", commit).await
}

fn answer(status: StatusCode, newest: Timestamp, content_type: &str) -> Response {
    let mut response = respond::empty(status);
    let map = response.headers_mut();
    headers::set(map, header::X_BACKEND_TIMESTAMP, &newest.internal());
    headers::set(map, "x-backend-content-type", content_type);
    response
}
