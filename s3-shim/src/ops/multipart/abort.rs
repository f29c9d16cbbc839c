//! AbortMultipartUpload.

use super::session::{find, no_such_upload, parts, remove, remove_parts, session_name, sessions_container};
use crate::errors::{Code, S3Result};
use crate::metadata::MULTIPART;
use crate::ops::{Call, empty};
use http::StatusCode;
use martlet_service::Response;
use martlet_service::headers::text;

/// Parts of one upload that are taken in one go; more than an upload can have.
const ALL: usize = 100_000;

pub(crate) async fn abort(call: Call) -> S3Result<Response> {
    let session = find(&call).await?;
    let name = session_name(&call.key, &session.id);
    // A completion may have been cut short between storing the object and removing the session: then the parts are
    // the object's, and only the session goes.
    let is_completed = match call.swift.head_object(&call.bucket, &call.key).await {
        Ok(stored) => text(&stored, MULTIPART) == Some(session.id.as_str()),
        Err(error) if error.code == Code::NoSuchKey => false,
        Err(error) => return Err(error),
    };
    remove(&call.swift, &sessions_container(&call.bucket), &name).await;
    if is_completed {
        return Err(no_such_upload(&session.id));
    }
    let parts = parts(&call.swift, &call.bucket, &call.key, &session.id, 0, ALL).await?;
    let numbers = parts.iter().map(|part| part.number).collect();
    remove_parts(&call.swift, &call.bucket, &call.key, &session.id, numbers).await;
    Ok(empty(StatusCode::NO_CONTENT))
}
