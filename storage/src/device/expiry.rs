//! What is due, and a bound that spares the look when nothing can be.

use super::Device;
use crate::codec::keys;
use crate::error::StorageError;
use crate::index::Family;
use martlet_protocol::hash::PathHash;
use martlet_protocol::policy::PolicyIndex;
use std::sync::atomic::{AtomicU64, Ordering};

/// No expiry lies before this second. Lowered after each batch that brings an earlier one, raised by looking.
pub(crate) struct ExpiryFloor(AtomicU64);

impl ExpiryFloor {
    pub(super) fn new() -> Self {
        ExpiryFloor(AtomicU64::new(0))
    }

    pub(crate) fn lower(&self, secs: u64) {
        self.0.fetch_min(secs, Ordering::SeqCst);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    /// Raises it, unless it moved since it was read: then something came that the look did not see.
    fn raise(&self, seen: u64, to: u64) {
        // Moved meanwhile: the next look will raise it.
        let _ = self
            .0
            .compare_exchange(seen, to, Ordering::SeqCst, Ordering::SeqCst);
    }
}

impl Device {
    /// Objects that expire at or before `now_secs`, earliest first, at most `limit`.
    pub async fn due(
        &self,
        now_secs: u64,
        limit: usize,
    ) -> Result<Vec<(PolicyIndex, PathHash, u64)>, StorageError> {
        let seen = self.shared.expiry_floor.get();
        if seen > now_secs {
            return Ok(Vec::new());
        }
        let shared = self.shared.clone();
        self.shared
            .readers
            .run(move || {
                let mut found = Vec::new();
                let mut rows = shared.index.scan(Family::Expiries, &[], None);
                rows.seek_to_first();
                let mut floor = u64::MAX;
                while let Some((secs, policy, hash)) = rows.key().and_then(keys::read_expiry) {
                    floor = floor.min(secs);
                    if secs > now_secs || found.len() == limit {
                        break;
                    }
                    found.push((policy, hash, secs));
                    rows.next();
                }
                rows.status()?;
                shared.expiry_floor.raise(seen, floor);
                Ok(found)
            })
            .await
    }
}
