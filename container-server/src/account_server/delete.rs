//! Deletes an account. Its containers need not be gone: they are reaped afterwards.

use super::{AccountServer, Addressed, deleted_mark};
use crate::errors::Refusal;
use crate::request;
use http::StatusCode;
use http::request::Parts;
use martlet_protocol::record::ContainerRecord;
use martlet_service::{Response, respond};
use martlet_storage::{DeleteContainerOutcome, Space};

impl AccountServer {
    /// 204 deleted, 404 when it is not there or already deleted, 409 when it was PUT later than this request.
    pub(super) async fn delete_account(&self, head: &Parts, at: &Addressed) -> Result<Response, Refusal> {
        let timestamp = request::timestamp(&head.headers)?;
        let device = self.device(at)?;
        let known = device.container(Space::Accounts, at.hash).await?;
        if known.as_ref().is_none_or(ContainerRecord::is_deleted) {
            return Err(Refusal::NotFound(deleted_mark(known.as_ref())));
        }
        match device
            .delete_container(Space::Accounts, at.hash, timestamp, |_| None)
            .await?
        {
            DeleteContainerOutcome::Deleted { record, .. } => {
                let mut response = respond::empty(StatusCode::NO_CONTENT);
                response.headers_mut().extend(deleted_mark(Some(&record)));
                Ok(response)
            }
            // Deleted by another request while this one was under way.
            DeleteContainerOutcome::NotFound => Err(Refusal::missing()),
            DeleteContainerOutcome::NotEmpty | DeleteContainerOutcome::Conflict { .. } => {
                Ok(respond::empty(StatusCode::CONFLICT))
            }
        }
    }
}
