//! Changes a container's metadata.

use super::{Addressed, ContainerServer};
use crate::errors::Refusal;
use crate::metadata::Keeper;
use crate::request;
use http::StatusCode;
use http::request::Parts;
use martlet_service::{Response, respond};
use martlet_storage::Space;

impl ContainerServer {
    /// 204, or 404 when the container is not there.
    pub(super) async fn post_container(&self, head: &Parts, at: &Addressed) -> Result<Response, Refusal> {
        let timestamp = request::timestamp(&head.headers)?;
        let metadata = Keeper::Container.items(&head.headers, timestamp)?;
        let device = self.device(at)?;
        if Keeper::Container.sets_user_metadata(&metadata) {
            let known = device.container(Space::Containers, at.hash).await?;
            Keeper::Container.check(known.as_ref(), &metadata, &self.config.limits)?;
        }
        match device
            .post_container(Space::Containers, at.hash, timestamp, metadata)
            .await?
        {
            Some(_) => Ok(respond::empty(StatusCode::NO_CONTENT)),
            None => Err(Refusal::missing()),
        }
    }
}
