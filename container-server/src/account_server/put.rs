//! Creates an account, or says again that it is there.

use super::{AccountServer, Addressed, deleted_mark};
use crate::errors::Refusal;
use crate::metadata::Keeper;
use crate::request;
use http::StatusCode;
use http::request::Parts;
use martlet_protocol::record::ContainerRecord;
use martlet_service::{Response, respond};
use martlet_storage::{PutContainer, PutContainerOutcome, Space};

impl AccountServer {
    /// 201 created, 202 was there, 403 when it was deleted: it must be reaped before it can be made again.
    pub(super) async fn put_account(&self, head: &Parts, at: &Addressed) -> Result<Response, Refusal> {
        let timestamp = request::timestamp(&head.headers)?;
        let metadata = Keeper::Account.items(&head.headers, timestamp)?;
        let device = self.device(at)?;
        let known = device.container(Space::Accounts, at.hash).await?;
        if known.as_ref().is_some_and(ContainerRecord::is_deleted) {
            return Ok(recently_deleted(known.as_ref()));
        }
        Keeper::Account.check(known.as_ref(), &metadata, &self.config.limits)?;
        let put = PutContainer {
            account: at.account.to_string(),
            container: String::new(),
            timestamp,
            policy: None,
            default_policy: Default::default(),
            metadata,
        };
        let status = match device
            .put_container(Space::Accounts, at.hash, put, |_| None)
            .await?
        {
            PutContainerOutcome::Created { .. } => StatusCode::CREATED,
            PutContainerOutcome::Updated { .. } => StatusCode::ACCEPTED,
            // Deleted by another request while this one was under way. Accounts have no policy to conflict over.
            PutContainerOutcome::Older { record } | PutContainerOutcome::PolicyConflict { record, .. } => {
                return Ok(recently_deleted(Some(&record)));
            }
        };
        Ok(respond::empty(status))
    }
}

fn recently_deleted(record: Option<&ContainerRecord>) -> Response {
    let mut response = respond::text(StatusCode::FORBIDDEN, "Recently deleted");
    response.headers_mut().extend(deleted_mark(record));
    response
}
