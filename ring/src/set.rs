//! The rings one node works with: accounts, containers, and objects by storage policy.

use crate::Ring;
use martlet_protocol::policy::PolicyIndex;
use md5::{Digest, Md5};
use std::collections::BTreeMap;

/// All rings of a cluster as they stand at one moment; a reload replaces the whole set.
#[derive(Clone, Debug)]
pub struct RingSet {
    /// Where account records live (`account.ring.gz`).
    pub account: Ring,
    /// Where container records live (`container.ring.gz`).
    pub container: Ring,
    /// Where objects live, by storage policy (`object.ring.gz`, `object-1.ring.gz`, ...).
    pub objects: BTreeMap<PolicyIndex, Ring>,
}

impl RingSet {
    /// A number that differs, for all that matters, when any ring places something elsewhere. Never 0, which stands for
    /// "none".
    pub fn fingerprint(&self) -> u64 {
        let rings = [&self.account, &self.container]
            .into_iter()
            .map(|ring| (u64::MAX, ring));
        let objects = self
            .objects
            .iter()
            .map(|(policy, ring)| (u64::from(policy.0), ring));
        let mut md5 = Md5::new();
        for (name, ring) in rings.chain(objects) {
            md5.update(name.to_be_bytes());
            md5.update(ring.fingerprint());
        }
        let [a, b, c, d, e, f, g, h, ..] = <[u8; 16]>::from(md5.finalize());
        u64::from_be_bytes([a, b, c, d, e, f, g, h]).max(1)
    }

    /// The ring of a storage policy; `None` when this cluster has no such policy.
    pub fn object(&self, policy: PolicyIndex) -> Option<&Ring> {
        self.objects.get(&policy)
    }
}
