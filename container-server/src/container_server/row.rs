//! Takes the row of one object: the hot path, once per replica of every object PUT and DELETE.

use super::{Addressed, ContainerServer};
use crate::account_update::Caller;
use crate::errors::Refusal;
use crate::request::{self, BackendPath, Fields};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use martlet_protocol::header;
use martlet_protocol::name::ObjectName;
use martlet_protocol::policy::PolicyIndex;
use martlet_protocol::record::ContainerRecord;
use martlet_protocol::row::ObjectRow;
use martlet_protocol::timestamp::Timestamp;
use martlet_protocol::update::{Update, UpdateOp, UpdateTarget};
use martlet_service::{Response, respond};
use martlet_storage::{PutContainer, Row, RowHere, RowsHere, RowsOutcome, Space};

/// Overrides whether a row may create its container.
const AUTO_CREATE: &str = "x-backend-auto-create";

impl ContainerServer {
    /// 201, or 404 when the container was never here.
    pub(super) async fn put_row(
        &self,
        head: &Parts,
        at: &Addressed,
        object: ObjectName,
    ) -> Result<Response, Refusal> {
        let row = self.living_row(&head.headers, object)?;
        self.store_row(at, &head.headers, row, StatusCode::CREATED).await
    }

    fn living_row(&self, sent: &(impl Fields + ?Sized), object: ObjectName) -> Result<ObjectRow, Refusal> {
        let timestamp = request::timestamp(sent)?;
        Ok(ObjectRow {
            name: object.into(),
            timestamp,
            deleted: false,
            size: request::required_number(sent, header::X_SIZE)?,
            content_type: request::required_text(sent, header::X_CONTENT_TYPE)?.to_owned(),
            etag: request::required_text(sent, header::X_ETAG)?.to_owned(),
            content_type_timestamp: request::optional_timestamp(sent, header::X_CONTENT_TYPE_TIMESTAMP)?
                .unwrap_or(timestamp),
            meta_timestamp: request::optional_timestamp(sent, header::X_META_TIMESTAMP)?.unwrap_or(timestamp),
            policy: request::policy(sent, &self.policies)?.unwrap_or_default(),
            version: request::optional_version(sent)?,
        })
    }

    /// 204, or 404 when the container was never here. A row that was never here becomes a tombstone all the same: the
    /// PUT it answers may still be on its way.
    pub(super) async fn delete_row(
        &self,
        head: &Parts,
        at: &Addressed,
        object: ObjectName,
    ) -> Result<Response, Refusal> {
        let row = self.deleted_row(&head.headers, object)?;
        self.store_row(at, &head.headers, row, StatusCode::NO_CONTENT)
            .await
    }

    fn deleted_row(&self, sent: &(impl Fields + ?Sized), object: ObjectName) -> Result<ObjectRow, Refusal> {
        let timestamp = request::timestamp(sent)?;
        Ok(ObjectRow {
            name: object.into(),
            timestamp,
            deleted: true,
            size: 0,
            content_type: String::new(),
            etag: String::new(),
            content_type_timestamp: timestamp,
            meta_timestamp: timestamp,
            policy: request::policy(sent, &self.policies)?.unwrap_or_default(),
            version: None,
        })
    }

    async fn store_row(
        &self,
        at: &Addressed,
        sent: &HeaderMap,
        row: ObjectRow,
        done: StatusCode,
    ) -> Result<Response, Refusal> {
        let create = self
            .may_create(at, sent)
            .then(|| created_by_row(at, row.timestamp, row.policy));
        let device = self.device(at)?;
        let (updates, caller) = (self.updates.clone(), Caller::of_row(sent));
        let outbox = move |record: &ContainerRecord| updates.compose(record, &caller);
        match device
            .put_rows(Space::Containers, at.hash, vec![Row::Object(row)], create, outbox)
            .await?
        {
            RowsOutcome::Stored => Ok(respond::empty(done)),
            RowsOutcome::NoContainer => Err(Refusal::missing()),
        }
    }

    /// The same for a row that is committed with its object, because the container's replica is on the object's device.
    fn compose_here(&self, update: &Update, target: &UpdateTarget) -> Result<RowHere, Refusal> {
        let object = update.object.as_deref().ok_or_else(Refusal::missing)?;
        let path = BackendPath::of_row(&target.device, &update.account, &update.container, object)?;
        let (at, object) = self.addressed(path)?;
        let object = object.ok_or_else(Refusal::missing)?;
        let sent = update.headers.as_slice();
        let row = match update.op {
            UpdateOp::Put => self.living_row(sent, object)?,
            UpdateOp::Delete => self.deleted_row(sent, object)?,
        };
        let create = self
            .may_create(&at, sent)
            .then(|| created_by_row(&at, row.timestamp, row.policy));
        let (updates, caller) = (self.updates.clone(), Caller::of_row(sent));
        Ok(RowHere {
            target: target.clone(),
            container: at.hash,
            row: Row::Object(row),
            create,
            account_row: Box::new(move |record| updates.compose(record, &caller)),
        })
    }

    /// Only containers of the cluster's own accounts come into being by a row, unless the caller says otherwise.
    fn may_create(&self, at: &Addressed, sent: &(impl Fields + ?Sized)) -> bool {
        if sent.value(AUTO_CREATE).is_some() {
            return sent.is_true(AUTO_CREATE);
        }
        at.account.starts_with(&self.config.auto_create_account_prefix)
    }
}

impl RowsHere for ContainerServer {
    fn row_here(&self, update: &Update, target: &UpdateTarget) -> Option<RowHere> {
        self.compose_here(update, target).ok()
    }
}

/// The container a row brings into being, at the row's moment without its offset.
fn created_by_row(at: &Addressed, timestamp: Timestamp, policy: PolicyIndex) -> PutContainer {
    PutContainer {
        account: at.account.to_string(),
        container: at.container.to_string(),
        timestamp: timestamp.with_offset(0),
        policy: None,
        default_policy: policy,
        metadata: Vec::new(),
    }
}
