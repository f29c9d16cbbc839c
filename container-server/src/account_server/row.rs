//! Takes the row of one container: its timestamps and counts, as a container server reports them.

use super::{AccountServer, Addressed, deleted_mark};
use crate::errors::Refusal;
use crate::request;
use http::StatusCode;
use http::request::Parts;
use martlet_protocol::header;
use martlet_protocol::name::ContainerName;
use martlet_protocol::record::ContainerRecord;
use martlet_protocol::row::ContainerRow;
use martlet_service::{Response, headers, respond};
use martlet_storage::{PutContainer, Row, RowsOutcome, Space};

impl AccountServer {
    /// 201, 204 when the row says that the container is gone, 404 when there is no such account or it is deleted (unless
    /// `X-Account-Override-Deleted: yes`, as the reaper says).
    pub(super) async fn put_row(
        &self,
        head: &Parts,
        at: &Addressed,
        container: ContainerName,
    ) -> Result<Response, Refusal> {
        let sent = &head.headers;
        let timestamp =
            request::optional_timestamp(sent, header::X_TIMESTAMP)?.unwrap_or_else(|| self.clock.now());
        let row = ContainerRow {
            name: container.into(),
            put_timestamp: request::required_timestamp(sent, header::X_PUT_TIMESTAMP)?,
            delete_timestamp: request::required_timestamp(sent, header::X_DELETE_TIMESTAMP)?,
            object_count: request::required_number(sent, header::X_OBJECT_COUNT)?,
            bytes_used: request::required_number(sent, header::X_BYTES_USED)?,
            stats_timestamp: timestamp,
            policy: request::any_policy(sent)?.unwrap_or_default(),
        };
        let device = self.device(at)?;
        let known = device.container(Space::Accounts, at.hash).await?;
        let is_deleted = known.as_ref().is_some_and(ContainerRecord::is_deleted);
        if is_deleted && !headers::is_true(sent, header::X_ACCOUNT_OVERRIDE_DELETED) {
            return Err(Refusal::NotFound(deleted_mark(known.as_ref())));
        }
        let create = (known.is_none() && self.may_create(at)).then(|| PutContainer {
            account: at.account.to_string(),
            container: String::new(),
            timestamp: timestamp.with_offset(0),
            policy: None,
            default_policy: Default::default(),
            metadata: Vec::new(),
        });
        let done = if row.delete_timestamp > row.put_timestamp {
            StatusCode::NO_CONTENT
        } else {
            StatusCode::CREATED
        };
        match device
            .put_rows(
                Space::Accounts,
                at.hash,
                vec![Row::Container(row)],
                create,
                |_| None,
            )
            .await?
        {
            RowsOutcome::Stored => Ok(respond::empty(done)),
            RowsOutcome::NoContainer => Err(Refusal::missing()),
        }
    }
}
