//! Changes an account's metadata.

use super::{AccountServer, Addressed, deleted_mark};
use crate::errors::Refusal;
use crate::metadata::Keeper;
use crate::request;
use http::StatusCode;
use http::request::Parts;
use martlet_protocol::record::ContainerRecord;
use martlet_service::{Response, respond};
use martlet_storage::Space;

impl AccountServer {
    /// 204, or 404 when the account is not there.
    pub(super) async fn post_account(&self, head: &Parts, at: &Addressed) -> Result<Response, Refusal> {
        let timestamp = request::timestamp(&head.headers)?;
        let metadata = Keeper::Account.items(&head.headers, timestamp)?;
        let device = self.device(at)?;
        let known = device.container(Space::Accounts, at.hash).await?;
        if known.as_ref().is_none_or(ContainerRecord::is_deleted) {
            return Err(Refusal::NotFound(deleted_mark(known.as_ref())));
        }
        Keeper::Account.check(known.as_ref(), &metadata, &self.config.limits)?;
        match device
            .post_container(Space::Accounts, at.hash, timestamp, metadata)
            .await?
        {
            Some(_) => Ok(respond::empty(StatusCode::NO_CONTENT)),
            None => Err(Refusal::missing()),
        }
    }
}
