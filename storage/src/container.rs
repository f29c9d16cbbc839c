//! What callers say about containers, accounts and their rows, and what they hear back.

use crate::outbox::OutboxId;
use martlet_protocol::policy::PolicyIndex;
use martlet_protocol::record::ContainerRecord;
use martlet_protocol::row::{ContainerRow, ObjectRow};
use martlet_protocol::timestamp::Timestamp;

/// One of the key spaces of a device. Containers and accounts have records and rows, objects have records and bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Space {
    Objects(PolicyIndex),
    Containers,
    Accounts,
}

/// Header names with value and moment; an empty value removes.
pub type ContainerMetadata = Vec<(String, (String, Timestamp))>;

/// Creation or update of a container (or account, with an empty container name).
#[derive(Clone, Debug)]
pub struct PutContainer {
    pub account: String,
    pub container: String,
    pub timestamp: Timestamp,
    /// The policy the client asked for; a living container of another policy refuses.
    pub policy: Option<PolicyIndex>,
    /// For a new container when none was asked for.
    pub default_policy: PolicyIndex,
    pub metadata: ContainerMetadata,
}

/// What became of a [`PutContainer`]. The record is the one now in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutContainerOutcome {
    /// New, or new again after a deletion.
    Created {
        record: ContainerRecord,
        outbox: Option<OutboxId>,
    },
    Updated {
        record: ContainerRecord,
        outbox: Option<OutboxId>,
    },
    /// It lives under another policy; nothing changed.
    PolicyConflict {
        existing: PolicyIndex,
        record: ContainerRecord,
    },
    /// It was deleted later; nothing changed.
    Older { record: ContainerRecord },
}

/// What became of a DELETE of a container or account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeleteContainerOutcome {
    Deleted {
        record: ContainerRecord,
        outbox: Option<OutboxId>,
    },
    NotFound,
    /// Containers only: objects are still there.
    NotEmpty,
    /// It was created as late or later.
    Conflict {
        existing: Timestamp,
    },
}

/// A row of either kind: objects are rows of containers, containers are rows of accounts.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
pub enum Row {
    Object(ObjectRow),
    Container(ContainerRow),
}

impl Row {
    pub fn name(&self) -> &str {
        match self {
            Row::Object(row) => &row.name,
            Row::Container(row) => &row.name,
        }
    }

    pub fn deleted(&self) -> bool {
        match self {
            Row::Object(row) => row.deleted,
            Row::Container(row) => row.deleted(),
        }
    }

    /// The newest change of any part.
    pub fn newest(&self) -> Timestamp {
        match self {
            Row::Object(row) => row.last_modified(),
            Row::Container(row) => row
                .put_timestamp
                .max(row.delete_timestamp)
                .max(row.stats_timestamp),
        }
    }
}

/// What became of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowsOutcome {
    Stored,
    /// The container was never here and `create` was not given. (A deleted one takes rows: replicas must agree.)
    NoContainer,
}
