//! Creates a container, or says again that it is there.

use super::{Addressed, ContainerServer};
use crate::account_update::{Caller, Told};
use crate::errors::Refusal;
use crate::metadata::Keeper;
use crate::request;
use http::StatusCode;
use http::request::Parts;
use martlet_protocol::header;
use martlet_protocol::policy::PolicyIndex;
use martlet_service::headers::set;
use martlet_service::{Response, respond};
use martlet_storage::{PutContainer, PutContainerOutcome, Space};

impl ContainerServer {
    /// 201 created, 202 was there, 409 when it is there under another policy or deleted later than this request.
    pub(super) async fn put_container(&self, head: &Parts, at: &Addressed) -> Result<Response, Refusal> {
        let sent = &head.headers;
        let timestamp = request::timestamp(sent)?;
        let requested = request::policy(sent, &self.policies)?;
        let default = request::named_policy(sent, header::X_BACKEND_STORAGE_POLICY_DEFAULT, &self.policies)?;
        let caller = Caller::read(sent)?;
        let metadata = Keeper::Container.items(sent, timestamp)?;
        let device = self.device(at)?;
        if Keeper::Container.sets_user_metadata(&metadata) {
            let known = device.container(Space::Containers, at.hash).await?;
            Keeper::Container.check(known.as_ref(), &metadata, &self.config.limits)?;
        }
        let put = PutContainer {
            account: at.account.to_string(),
            container: at.container.to_string(),
            timestamp,
            policy: requested,
            default_policy: default.unwrap_or(self.policies.default_policy().index),
            metadata,
        };
        let (compose, composed) = self.updates.composer(&caller);
        let (status, record, entry) = match device
            .put_container(Space::Containers, at.hash, put, compose)
            .await?
        {
            PutContainerOutcome::Created { record, outbox } => (StatusCode::CREATED, record, outbox),
            PutContainerOutcome::Updated { record, outbox } => (StatusCode::ACCEPTED, record, outbox),
            PutContainerOutcome::PolicyConflict { existing, .. } => {
                return Ok(with_policy(StatusCode::CONFLICT, existing));
            }
            PutContainerOutcome::Older { record } => {
                return Ok(with_policy(StatusCode::CONFLICT, record.policy));
            }
        };
        match self.updates.send(&device, entry, composed, &caller).await {
            Told::Settled => {}
            Told::NoAccount => return Err(Refusal::missing()),
        }
        Ok(with_policy(status, record.policy))
    }
}

fn with_policy(status: StatusCode, policy: PolicyIndex) -> Response {
    let mut response = respond::empty(status);
    set(
        response.headers_mut(),
        header::X_BACKEND_STORAGE_POLICY_INDEX,
        &policy.to_string(),
    );
    response
}
