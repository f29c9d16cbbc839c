//! Takes damaged copies out of the index, so that they are never served and a replica brings them back.

use super::batch::Batch;
use super::containers::ContainerKey;
use super::objects::ObjectKey;
use super::recount;
use crate::body::files::{QuarantineNote, QuarantinedBody};
use crate::codec::keys;
use crate::codec::object::{FileId, Location, StoredObject};
use crate::container::Space;
use crate::error::StorageError;
use crate::index::Family;
use bytes::Bytes;
use martlet_protocol::timestamp::Timestamp;

/// Which copy of a body was found damaged.
#[derive(Clone, Debug)]
pub(crate) enum DamagedBody {
    File(FileId),
    Inline { timestamp: Timestamp, bytes: Vec<u8> },
}

impl Batch<'_> {
    /// The object goes, its body is put aside; unless it was replaced since the damage was seen.
    pub(crate) fn quarantine_body(
        &mut self,
        at: ObjectKey,
        body: DamagedBody,
        reason: String,
    ) -> Result<bool, StorageError> {
        let Some(old) = self.object(at)? else {
            return Ok(false);
        };
        let (same, aside) = match (body, old.location) {
            (DamagedBody::File(damaged), Location::File { id, .. }) => {
                (damaged == id, QuarantinedBody::File(id))
            }
            (DamagedBody::Inline { timestamp, bytes }, Location::Inline { .. }) => {
                (timestamp == old.record.timestamp, QuarantinedBody::Bytes(bytes))
            }
            _ => return Ok(false),
        };
        if !same {
            return Ok(false);
        }
        let note = note_of(&old, reason);
        self.replace_object(at, Some(old), None, None);
        self.effects.is_loss = true;
        self.effects.quarantine.push((aside, note));
        Ok(true)
    }

    /// The copy that was looked at goes, its body is put aside; a tombstone just goes.
    pub(crate) fn set_aside(
        &mut self,
        at: ObjectKey,
        newest: Timestamp,
        reason: String,
    ) -> Result<bool, StorageError> {
        let Some(old) = self.object(at)?.filter(|old| old.record.newest() == newest) else {
            return Ok(false);
        };
        let aside = match old.location {
            Location::Nowhere => None,
            Location::File { id, .. } => Some(QuarantinedBody::File(id)),
            Location::Inline { .. } => {
                let key = keys::body(at.policy, at.hash, old.record.timestamp);
                // A body that is gone leaves nothing to put aside but the note.
                let bytes = self.get(Family::Bodies, &key, <[u8]>::to_vec)?;
                Some(QuarantinedBody::Bytes(bytes.unwrap_or_default()))
            }
        };
        let note = note_of(&old, reason);
        self.replace_object(at, Some(old), None, None);
        self.effects.quarantine.extend(aside.map(|aside| (aside, note)));
        Ok(true)
    }

    /// A value that cannot be decoded goes, with what hangs on it; sums over it are taken anew. Runs in a batch of its
    /// own: it scans the index.
    pub(crate) fn quarantine_record(&mut self, family: Family, key: &[u8]) -> Result<(), StorageError> {
        let Some(value) = self.get(family, key, <[u8]>::to_vec)? else {
            return Ok(());
        };
        if !recount::is_damaged(family, key, &value) {
            // Written anew meanwhile.
            return Ok(());
        }
        self.delete(family, key);
        match family {
            Family::Objects => {
                if let Some((policy, _)) = keys::read_object(key) {
                    if let Some(end) = keys::after(key) {
                        self.delete_range(Family::Bodies, key, &end);
                    }
                    self.resum(Space::Objects(policy), key, &key[2..4])?;
                }
            }
            Family::Containers => {
                if let Some((space, _)) = keys::read_container(key) {
                    if let Some(end) = keys::after(key) {
                        self.delete_range(Family::Rows, key, &end);
                    }
                    self.resum(space, key, &key[1..3])?;
                }
            }
            Family::Rows => self.resum_container(key)?,
            _ => {}
        }
        // Counts of the device, and a body file that nobody names now, are put right at the next start.
        self.put(Family::Meta, recount::WANTED, Bytes::new());
        let note = QuarantineNote {
            what: format!("{family:?} {}", crate::codec::hex(key)),
            timestamp: Timestamp::ZERO.internal(),
            reason: "the record cannot be read".into(),
        };
        self.effects.is_loss = true;
        self.effects
            .quarantine
            .push((QuarantinedBody::Bytes(value), note));
        Ok(())
    }

    /// The digest of the range that `gone` was in, summed without it.
    fn resum(&mut self, space: Space, gone: &[u8], prefix: &[u8]) -> Result<(), StorageError> {
        let prefix = u16::from_be_bytes([prefix[0], prefix[1]]);
        let digest = recount::range_digest(self.index, space, prefix, Some(gone))?;
        self.set_digest(space, prefix, digest);
        Ok(())
    }

    /// Sums the container of a row anew, without that row.
    fn resum_container(&mut self, row_key: &[u8]) -> Result<(), StorageError> {
        let Some((space, hash)) = row_key.get(..17).and_then(keys::read_container) else {
            return Ok(());
        };
        let at = ContainerKey::new(space, hash)?;
        if let Some(old) = self.container(at)? {
            let new = recount::container(self.index, &at.bytes, old.clone(), |key| key == row_key)?;
            self.replace_container(at, Some(old), Some(new));
        }
        Ok(())
    }
}

fn note_of(stored: &StoredObject, reason: String) -> QuarantineNote {
    let record = &stored.record;
    QuarantineNote {
        what: format!("/{}/{}/{}", record.account, record.container, record.object),
        timestamp: record.timestamp.internal(),
        reason,
    }
}
