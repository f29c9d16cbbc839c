//! Keeps the list of rows whose object lies under another policy than its container's, so that they are found at once.

use super::batch::Batch;
use super::containers::ContainerKey;
use crate::codec::container::StoredContainer;
use crate::codec::keys;
use crate::container::{Row, Space};
use crate::error::StorageError;
use crate::index::Family;
use bytes::Bytes;
use martlet_protocol::hash::PathHash;
use martlet_protocol::policy::PolicyIndex;

impl Batch<'_> {
    /// A row was written into a container of this policy: its grave and its place among the strays go with it.
    pub(super) fn note_row(
        &mut self,
        at: ContainerKey,
        before: Option<&Row>,
        after: &Row,
        policy: PolicyIndex,
    ) {
        if let Some(before) = before.filter(|before| before.deleted()) {
            self.level_grave(at.space, at.hash, before.name(), before.newest());
        }
        if after.deleted() {
            self.dig_grave(at.space, at.hash, after.name(), after.newest());
        }
        let Row::Object(row) = after else { return };
        let key = keys::stray(at.hash, &row.name);
        if row.policy != policy {
            self.put(Family::Strays, &key, Bytes::new());
        } else if matches!(before, Some(Row::Object(before)) if before.policy != policy) {
            self.delete(Family::Strays, &key);
        }
    }

    /// A row goes for good.
    pub(super) fn forget_row(&mut self, at: ContainerKey, row: &Row) {
        if row.deleted() {
            self.level_grave(at.space, at.hash, row.name(), row.newest());
        }
        if at.space == Space::Containers {
            self.delete(Family::Strays, &keys::stray(at.hash, row.name()));
        }
    }

    /// When a container's policy changes, any of its rows may be a stray.
    pub(super) fn note_policy(&mut self, at: ContainerKey, old: &StoredContainer, new: &StoredContainer) {
        let has_rows = old.rows_digest != <[u8; 16]>::default();
        if at.space == Space::Containers && old.record.policy != new.record.policy && has_rows {
            self.put(Family::Strays, &keys::stray(at.hash, ""), Bytes::new());
        }
    }

    /// Strikes a row from the list when it is none, or is gone.
    pub(crate) fn settle_stray(&mut self, hash: PathHash, name: &str) -> Result<(), StorageError> {
        let at = ContainerKey::new(Space::Containers, hash)?;
        let policy = self.container(at)?.map(|stored| stored.record.policy);
        let row = self.row(&keys::row(&at.bytes, name))?;
        let is_stray =
            matches!((row, policy), (Some(Row::Object(row)), Some(policy)) if row.policy != policy);
        if !is_stray {
            self.delete(Family::Strays, &keys::stray(hash, name));
        }
        Ok(())
    }
}
