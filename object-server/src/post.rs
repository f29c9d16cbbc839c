//! POST: new metadata over old data. What belongs to the data (sysmeta, the mark of a static large object) stays. Of an
//! object that has versions the caller names the one that is current: it is that one's metadata that changes.

use crate::container_update::Destination;
use crate::errors::Refusal;
use crate::request::{self, text};
use crate::run_to_end::RunToEnd;
use crate::server::Call;
use http::{HeaderMap, StatusCode};
use martlet_protocol::header;
use martlet_protocol::record::{ObjectMeta, ObjectRecord};
use martlet_protocol::timestamp::Timestamp;
use martlet_service::{Response, headers, respond};
use martlet_storage::{PostOutcome, Written};

pub(crate) async fn post(call: &Call<'_>) -> Result<Response, Refusal> {
    let map = call.headers;
    let timestamp = request::required_timestamp(map)?;
    let meta = ObjectMeta {
        timestamp,
        metadata: call.server.kept.of_post(map)?,
        delete_at: request::post_delete_at(map, timestamp)?,
        content_type: content_type(map, timestamp)?,
    };
    let version = request::current_version(map)?;
    let updates = call.server.updates.clone();
    let container_row = updates.compose(&call.address.device, Destination::parse(call)?);
    let (device, policy, hash) = (call.device.clone(), call.address.policy, call.address.hash);
    if !request::opens_expired(map)
        && let Some(record) = device.read_object(policy, hash).await?
        && record.is_expired(timestamp)
    {
        return Err(Refusal::not_found(None));
    }
    let commit = async move {
        let Written { outcome, owed } = match version {
            Some(id) => device.post_version(policy, hash, id, meta, container_row).await?,
            None => device
                .post_object(policy, hash, meta, container_row)
                .await?
                .into(),
        };
        updates.deliver(&device, owed).await;
        match outcome {
            PostOutcome::Stored { record, .. } => Ok(accepted(&record)),
            PostOutcome::NotFound { tombstone } => Err(Refusal::not_found(tombstone)),
            PostOutcome::Conflict { existing } => Err(Refusal::conflict(existing)),
        }
    };
    RunToEnd::new(&call.server.tasks, "object POST", commit).await
}

/// A content type, and the moment it was given: the request's own unless it says otherwise.
fn content_type(map: &HeaderMap, timestamp: Timestamp) -> Result<Option<(String, Timestamp)>, Refusal> {
    let Some(content_type) = text(map, "content-type")?.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let given_at = match text(map, "content-type-timestamp")? {
        Some(text) => Timestamp::parse(text.trim())
            .map_err(|_| Refusal::bad_request("Invalid Content-Type-Timestamp header"))?,
        None => timestamp,
    };
    Ok(Some((content_type.to_owned(), given_at)))
}

/// 202 with what the proxy may want to know of the data: its type in force and its sysmeta.
fn accepted(record: &ObjectRecord) -> Response {
    let mut response = respond::empty(StatusCode::ACCEPTED);
    let map = response.headers_mut();
    headers::set(map, "x-backend-content-type", record.content_type());
    for (name, value) in record
        .live_metadata()
        .filter(|(name, _)| header::is_sysmeta(name))
    {
        headers::set(map, name, value);
    }
    response
}
