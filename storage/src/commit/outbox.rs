//! Updates that are owed: queued by sequence, or one per row when only the newest counts.

use super::batch::Batch;
use super::containers::ContainerKey;
use crate::codec::fingerprint::Fingerprint;
use crate::codec::{keys, update};
use crate::container::{RowsOutcome, Space};
use crate::error::StorageError;
use crate::index::Family;
use crate::outbox::{OutboxId, Owed, OwedRow, RowHere};
use martlet_protocol::update::Update;

impl Batch<'_> {
    /// Gives an object's row to the container that is here, and owes it to the others from this batch on. `None`: nobody
    /// else is owed anything.
    pub(crate) fn owe_row(&mut self, owed: OwedRow) -> Option<Owed> {
        let OwedRow { mut update, here } = owed;
        if let Some(here) = here {
            let target = here.target.clone();
            // A container that is not here or cannot be read keeps no object from being stored: the row stays owed.
            if matches!(self.put_row_here(here), Ok(RowsOutcome::Stored)) {
                update.targets.retain(|owed| *owed != target);
                if update.targets.is_empty() {
                    return None;
                }
            }
        }
        let id = self.add_to_outbox(&update);
        Some(Owed { id, update })
    }

    fn put_row_here(&mut self, here: RowHere) -> Result<RowsOutcome, StorageError> {
        let at = ContainerKey::new(Space::Containers, here.container)?;
        self.put_rows(at, vec![here.row], here.create, here.account_row)
    }

    /// Owes `update` from this batch on.
    pub(crate) fn add_to_outbox(&mut self, update: &Update) -> OutboxId {
        let version = self.next_sequence();
        let key = if update.coalesce {
            row_key(update)
        } else {
            keys::outbox_sequence(version)
        };
        let id = OutboxId {
            coalesced: update.coalesce,
            key,
            version,
        };
        self.write_outbox(id, update);
        id
    }

    fn write_outbox(&mut self, id: OutboxId, update: &Update) {
        let key = id.index_key();
        self.put(Family::Outbox, &key, update::encode(&key, id.version, update));
    }

    /// The update arrived: it is owed no more, unless a newer one took its place.
    pub(crate) fn ack_outbox(&mut self, id: OutboxId) -> Result<(), StorageError> {
        if !id.coalesced || self.owes(id)? {
            self.delete(Family::Outbox, &id.index_key());
        }
        Ok(())
    }

    /// What is owed has changed (some targets have it): the entry keeps its place. Acknowledged meanwhile: nothing.
    pub(crate) fn replace_in_outbox(&mut self, id: OutboxId, update: &Update) -> Result<(), StorageError> {
        if self.owes(id)? {
            self.write_outbox(id, update);
        }
        Ok(())
    }

    fn owes(&mut self, id: OutboxId) -> Result<bool, StorageError> {
        let key = id.index_key();
        match self.get(Family::Outbox, &key, |value| update::decode(&key, value))? {
            None => Ok(false),
            Some(Ok((version, _))) => Ok(version == id.version),
            Some(Err(_)) => Err(self.suspect(Family::Outbox, &key)),
        }
    }
}

/// One entry per row: the same container, account or object gives the same key.
fn row_key(update: &Update) -> Fingerprint {
    let mut hasher = blake3::Hasher::new();
    for part in [
        update.account.as_str(),
        &update.container,
        update.object.as_deref().unwrap_or(""),
    ] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let mut key = [0; 16];
    key.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    key
}
