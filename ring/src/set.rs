//! The rings one node works with: accounts, containers, and objects by storage policy.

use crate::Ring;
use martlet_protocol::policy::PolicyIndex;
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
    /// The ring of a storage policy; `None` when this cluster has no such policy.
    pub fn object(&self, policy: PolicyIndex) -> Option<&Ring> {
        self.objects.get(&policy)
    }
}
