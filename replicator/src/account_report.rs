//! The row an account is owed when replication changed what a container counts. The same row container servers send.

use crate::replicator::Rings;
use martlet_protocol::hash::HashSalt;
use martlet_protocol::header;
use martlet_protocol::record::ContainerRecord;
use martlet_protocol::timestamp::Timestamp;
use martlet_protocol::update::{Update, UpdateOp, UpdateTarget};
use martlet_ring::Ring;
use martlet_service::Clock;
use martlet_storage::Space;

/// Composes reports to the account's primaries.
#[derive(Clone)]
pub struct AccountReports {
    rings: Rings,
    salt: HashSalt,
    clock: Clock,
}

impl AccountReports {
    pub fn new(rings: Rings, salt: HashSalt, clock: Clock) -> Self {
        AccountReports { rings, salt, clock }
    }

    /// What storage calls with the record as it commits rows. Accounts owe nobody anything.
    pub fn composer(&self, space: Space) -> impl FnOnce(&ContainerRecord) -> Option<Update> + Send + 'static {
        let reports = self.clone();
        move |record| match space {
            Space::Containers => reports.report(record),
            Space::Accounts | Space::Objects(_) => None,
        }
    }

    fn report(&self, record: &ContainerRecord) -> Option<Update> {
        let rings = self.rings.load();
        let partition = rings
            .account
            .partition(&self.salt.hash(&record.account, None, None));
        let targets = targets(&rings.account, partition);
        (!targets.is_empty()).then(|| compose(record, targets, self.clock.now()))
    }
}

/// All primaries of a partition, as targets of an update.
pub fn targets(ring: &Ring, partition: u32) -> Vec<UpdateTarget> {
    let primaries = ring.primaries(partition).into_iter();
    primaries
        .map(|node| UpdateTarget {
            ip: node.ip.clone(),
            port: node.port,
            device: node.device.clone(),
            partition,
        })
        .collect()
}

fn compose(record: &ContainerRecord, targets: Vec<UpdateTarget>, at: Timestamp) -> Update {
    let headers = [
        (header::X_TIMESTAMP, at.internal()),
        (header::X_PUT_TIMESTAMP, record.put_timestamp.internal()),
        (header::X_DELETE_TIMESTAMP, record.delete_timestamp.internal()),
        (header::X_OBJECT_COUNT, record.object_count().to_string()),
        (header::X_BYTES_USED, record.bytes_used().to_string()),
        (header::X_BACKEND_STORAGE_POLICY_INDEX, record.policy.to_string()),
    ];
    Update {
        account: record.account.clone(),
        container: record.container.clone(),
        object: None,
        op: UpdateOp::Put,
        targets,
        headers: headers
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        coalesce: true,
    }
}
