//! Deletes an empty container.

use super::{Addressed, ContainerServer};
use crate::account_update::{Caller, Told};
use crate::errors::Refusal;
use crate::request;
use http::StatusCode;
use http::request::Parts;
use martlet_service::{Response, respond};
use martlet_storage::{DeleteContainerOutcome, Space};

impl ContainerServer {
    /// 204 deleted, 404 when it is not there, 409 when it holds objects or was PUT later than this request.
    pub(super) async fn delete_container(&self, head: &Parts, at: &Addressed) -> Result<Response, Refusal> {
        let sent = &head.headers;
        let timestamp = request::timestamp(sent)?;
        let caller = Caller::read(sent)?;
        let device = self.device(at)?;
        let (compose, composed) = self.updates.composer(&caller);
        let entry = match device
            .delete_container(Space::Containers, at.hash, timestamp, compose)
            .await?
        {
            DeleteContainerOutcome::Deleted { outbox, .. } => outbox,
            DeleteContainerOutcome::NotFound => return Err(Refusal::missing()),
            DeleteContainerOutcome::NotEmpty | DeleteContainerOutcome::Conflict { .. } => {
                return Ok(respond::empty(StatusCode::CONFLICT));
            }
        };
        match self.updates.send(&device, entry, composed, &caller).await {
            Told::Settled => Ok(respond::empty(StatusCode::NO_CONTENT)),
            Told::NoAccount => Err(Refusal::missing()),
        }
    }
}
