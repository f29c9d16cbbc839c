//! Moves objects that lie under another policy than their container's: the container decides.
//!
//! Such objects come about when a container is made twice, under two policies, while the network is parted. Storage lists
//! their rows as they are written. The first primary of the container that answers moves each: the newest copy goes to the
//! right policy with a timestamp one offset later, so that clients see the same moment; then the row follows; then a
//! tombstone of that offset takes the place of the old copies. Deletions move as objects do. Cut short anywhere, it can
//! be done again.

use crate::account_report::AccountReports;
use crate::neighbours::Neighbours;
use crate::peer::{Peer, PeerError};
use crate::replicator::Rings;
use crate::sweep::{self, Tally};
use crate::wire::RowsPage;
use martlet_node_client::Node;
use martlet_protocol::hash::{HashSalt, PathHash};
use martlet_protocol::policy::PolicyIndex;
use martlet_protocol::record::{ContainerRecord, ObjectRecord};
use martlet_protocol::row::ObjectRow;
use martlet_protocol::timestamp::Timestamp;
use martlet_ring::{Ring, RingSet};
use martlet_service::Clock;
use martlet_storage::{Device, DeviceSet, Row, Space, StorageError, Stray};
use serde::Serialize;
use std::sync::Arc;

/// What one pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReconcileReport {
    /// Objects and deletions that lie under the right policy now.
    pub moved: u64,
    /// Rows of which no copy was found anywhere yet.
    pub missing: u64,
    pub failures: u64,
}

/// Moves strays of the local containers. Clones share everything.
#[derive(Clone)]
pub struct Reconciler(Arc<Shared>);

struct Shared {
    neighbours: Neighbours,
    devices: DeviceSet,
    rings: Rings,
    reports: AccountReports,
    salt: HashSalt,
}

/// How moving one row ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moved {
    Done,
    /// It is no stray, or not any more.
    NotNeeded,
    Missing,
    Failed,
}

/// One pass over one device.
struct Sweep<'a> {
    shared: &'a Shared,
    rings: Arc<RingSet>,
    device: &'a Device,
    report: &'a mut ReconcileReport,
}

impl Reconciler {
    pub fn new(
        neighbours: Neighbours,
        devices: DeviceSet,
        rings: Rings,
        clock: Clock,
        salt: HashSalt,
    ) -> Self {
        let reports = AccountReports::new(rings.clone(), salt.clone(), clock);
        Reconciler(Arc::new(Shared {
            neighbours,
            devices,
            rings,
            reports,
            salt,
        }))
    }

    /// Moves every stray of which this node's devices know.
    pub async fn pass(&self) -> ReconcileReport {
        let sum = sweep::over_devices(&self.0.devices, &*self.0).await;
        metrics::counter!("martlet_reconciler_moved_total").increment(sum.moved);
        metrics::gauge!("martlet_reconciler_missing").set(sum.missing as f64);
        metrics::counter!("martlet_reconciler_failures_total").increment(sum.failures);
        sum
    }
}

impl sweep::Sweep for Shared {
    type Report = ReconcileReport;
    const UNREADABLE: &'static str = "strays";

    async fn sweep(
        &self,
        name: &str,
        device: &Device,
        report: &mut ReconcileReport,
    ) -> Result<(), StorageError> {
        let mut sweep = Sweep {
            shared: self,
            rings: self.rings.load_full(),
            device,
            report,
        };
        sweep.all(name).await
    }
}

impl Tally for ReconcileReport {
    fn add(&mut self, other: &Self) {
        self.moved += other.moved;
        self.missing += other.missing;
        self.failures += other.failures;
    }

    fn fail(&mut self) {
        self.failures += 1;
    }
}

impl Sweep<'_> {
    async fn all(&mut self, name: &str) -> Result<(), StorageError> {
        const PAGE: usize = 1_000;
        let rings = self.rings.clone();
        let own = self.shared.neighbours.own(&rings.container, name);
        let mut after = None;
        loop {
            let page = self.device.strays(after, PAGE).await?;
            for stray in &page {
                self.one(own, stray).await?;
            }
            after = page.last().cloned();
            if page.len() < PAGE {
                return Ok(());
            }
        }
    }

    async fn one(&mut self, own: Option<&Node>, stray: &Stray) -> Result<(), StorageError> {
        let rings = self.rings.clone();
        let ring = &rings.container;
        let Some(record) = self.device.container(Space::Containers, stray.hash).await? else {
            return self.device.settle_stray(stray.clone()).await;
        };
        let acts = match own {
            Some(own) => {
                let partition = ring.partition(&stray.hash);
                self.shared.neighbours.acts(ring, own, partition).await
            }
            None => false,
        };
        let settled = if stray.name.is_empty() {
            self.whole_container(stray.hash, &record, acts).await?
        } else {
            let row = self
                .device
                .row(Space::Containers, stray.hash, stray.name.clone())
                .await?;
            match row {
                Some(Row::Object(row)) if acts => self.row(stray.hash, &record, row).await?,
                // Whoever acts for the container will change the row.
                _ => true,
            }
        };
        if settled {
            self.device.settle_stray(stray.clone()).await?;
        }
        Ok(())
    }

    /// Any row may be a stray: the container's policy has changed. `false`: some must be looked at again.
    async fn whole_container(
        &mut self,
        hash: PathHash,
        record: &ContainerRecord,
        acts: bool,
    ) -> Result<bool, StorageError> {
        const PAGE: usize = 1_000;
        let mut after = None;
        let mut settled = true;
        loop {
            let rows = self
                .device
                .rows_after(Space::Containers, hash, after, PAGE)
                .await?;
            for row in &rows {
                if let Row::Object(row) = row
                    && row.policy != record.policy
                {
                    settled &= acts && self.row(hash, record, row.clone()).await?;
                }
            }
            after = rows.last().map(|row| row.name().to_owned());
            if rows.len() < PAGE {
                return Ok(settled);
            }
        }
    }

    async fn row(
        &mut self,
        hash: PathHash,
        record: &ContainerRecord,
        row: ObjectRow,
    ) -> Result<bool, StorageError> {
        let moved = self.move_row(hash, record, row).await?;
        match moved {
            Moved::Done => self.report.moved += 1,
            Moved::NotNeeded => {}
            Moved::Missing => self.report.missing += 1,
            Moved::Failed => self.report.failures += 1,
        }
        Ok(matches!(moved, Moved::Done | Moved::NotNeeded))
    }

    async fn move_row(
        &self,
        container: PathHash,
        record: &ContainerRecord,
        row: ObjectRow,
    ) -> Result<Moved, StorageError> {
        let (from, to) = (row.policy, record.policy);
        if from == to {
            return Ok(Moved::NotNeeded);
        }
        let (Some(from_ring), Some(to_ring)) = (self.rings.object(from), self.rings.object(to)) else {
            return Ok(Moved::Failed);
        };
        let hash = self
            .shared
            .salt
            .hash(&record.account, Some(&record.container), Some(&row.name));
        let Some(found) = self.newest(from_ring, from, hash).await else {
            return Ok(Moved::Failed);
        };
        let source = match found {
            Some((source, _)) if source.timestamp < row.timestamp && row.deleted => tombstone(record, &row),
            Some((source, _)) => source,
            None if row.deleted => tombstone(record, &row),
            None => {
                // Moved before, and the row did not follow?
                match self.newest(to_ring, to, hash).await {
                    None => return Ok(Moved::Failed),
                    Some(Some((there, _))) if there.timestamp >= row.timestamp => {
                        return self.move_row_only(container, row, to, there.timestamp).await;
                    }
                    Some(_) => return Ok(Moved::Missing),
                }
            }
        };
        let at = later(source.timestamp);
        let mut target = source.clone();
        target.timestamp = at;
        if target.data.is_some()
            && !self
                .bring_here(from_ring, from, to, hash, &source, &target)
                .await?
        {
            return Ok(Moved::Failed);
        }
        if !self.give(to_ring, to, hash, &target).await? {
            return Ok(Moved::Failed);
        }
        let mut row = row;
        if source.data.is_none() {
            row.deleted = true;
        }
        let moved = self.move_row_only(container, row, to, at).await?;
        if moved == Moved::Done {
            let grave = ObjectRecord {
                timestamp: at,
                data: None,
                meta: None,
                ..source
            };
            for node in from_ring.primaries(from_ring.partition(&hash)) {
                let peer = self.shared.neighbours.peer(node);
                if let Err(error) = peer.push_record(from, hash, &grave).await {
                    let peer = crate::replicator::node_name(node);
                    // Replication brings it there.
                    tracing::info!(peer, %error, "the old copy of a moved object stays for now");
                }
            }
        }
        Ok(moved)
    }

    /// The newest record of a majority of the primaries, and who has it. `None`: no majority answered.
    async fn newest(
        &self,
        ring: &Ring,
        policy: PolicyIndex,
        hash: PathHash,
    ) -> Option<Option<(ObjectRecord, Peer)>> {
        let primaries = ring.primaries(ring.partition(&hash));
        let mut answered = 0;
        let mut newest: Option<(ObjectRecord, Peer)> = None;
        for node in &primaries {
            let peer = self.shared.neighbours.peer(node);
            let Ok(told) = peer.fetch(policy, hash, Some(no_body())).await else {
                continue;
            };
            answered += 1;
            let Some(arrival) = told else { continue };
            match &mut newest {
                None => newest = Some((arrival.record, peer)),
                Some((known, holder)) => {
                    if known.merge(arrival.record).data {
                        *holder = peer;
                    }
                }
            }
        }
        (answered > primaries.len() / 2).then_some(newest)
    }

    /// Stores the object on this device under the right policy, from whoever has the body.
    async fn bring_here(
        &self,
        ring: &Ring,
        from: PolicyIndex,
        to: PolicyIndex,
        hash: PathHash,
        source: &ObjectRecord,
        target: &ObjectRecord,
    ) -> Result<bool, StorageError> {
        let known = self.device.read_object(to, hash).await?;
        if known.is_some_and(|known| known.timestamp >= target.timestamp) {
            return Ok(true);
        }
        for node in ring.primaries(ring.partition(&hash)) {
            let peer = self.shared.neighbours.peer(node);
            let Ok(Some(arrival)) = peer.fetch(from, hash, None).await else {
                continue;
            };
            let Some(body) = arrival
                .body
                .filter(|_| arrival.record.timestamp == source.timestamp)
            else {
                continue;
            };
            let stored = match body.store(self.device, None).await {
                Ok(writer) => {
                    self.device
                        .merge_object(to, hash, target.clone(), Some(writer))
                        .await
                }
                Err(error) => {
                    tracing::info!(%error, "the body of a stray did not come over");
                    continue;
                }
            };
            match stored {
                Ok(_) => return Ok(true),
                Err(StorageError::Corrupt(reason)) => {
                    tracing::warn!(reason, "the body of a stray is not the one of its record");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Gives the moved object to the primaries of its policy. `false`: not to a majority.
    async fn give(
        &self,
        ring: &Ring,
        to: PolicyIndex,
        hash: PathHash,
        target: &ObjectRecord,
    ) -> Result<bool, StorageError> {
        let primaries = ring.primaries(ring.partition(&hash));
        let mut given = 0;
        for node in &primaries {
            let peer = self.shared.neighbours.peer(node);
            let outcome = self.give_one(&peer, to, hash, target).await;
            match outcome {
                Ok(()) => given += 1,
                Err(error) => {
                    let peer = crate::replicator::node_name(node);
                    tracing::info!(peer, %error, "a stray could not be given");
                }
            }
        }
        Ok(given > primaries.len() / 2)
    }

    async fn give_one(
        &self,
        peer: &Peer,
        to: PolicyIndex,
        hash: PathHash,
        target: &ObjectRecord,
    ) -> Result<(), PeerError> {
        if peer.push_record(to, hash, target).await? {
            return Ok(());
        }
        // It needs the body, which this device has by now.
        match self.device.open_object(to, hash).await? {
            Some(open) if !open.record.is_tombstone() => {
                peer.push_object(to, hash, &open.record, open.body, None).await
            }
            // Replaced by a deletion meanwhile, which replication spreads.
            _ => Ok(()),
        }
    }

    /// The row of the right policy, everywhere.
    async fn move_row_only(
        &self,
        container: PathHash,
        row: ObjectRow,
        to: PolicyIndex,
        at: Timestamp,
    ) -> Result<Moved, StorageError> {
        let row = ObjectRow {
            timestamp: at.max(later(row.timestamp)),
            policy: to,
            ..row
        };
        let page = RowsPage {
            objects: vec![row.clone()],
            ..RowsPage::default()
        };
        let ring = &self.rings.container;
        let primaries = ring.primaries(ring.partition(&container));
        let mut told = 0;
        for node in &primaries {
            let peer = self.shared.neighbours.peer(node);
            told += usize::from(peer.push_rows(Space::Containers, container, &page).await.is_ok());
        }
        let report = self.shared.reports.composer(Space::Containers);
        self.device
            .put_rows(Space::Containers, container, vec![Row::Object(row)], None, report)
            .await?;
        Ok(match told > primaries.len() / 2 {
            true => Moved::Done,
            false => Moved::Failed,
        })
    }
}

/// The same moment to clients, later to servers.
fn later(at: Timestamp) -> Timestamp {
    at.with_offset(at.offset() + 1)
}

/// As what a device already has, this makes it send a record without its body.
fn no_body() -> Timestamp {
    Timestamp::from_secs(u64::MAX)
}

/// The deletion that a row tells of.
fn tombstone(record: &ContainerRecord, row: &ObjectRow) -> ObjectRecord {
    ObjectRecord {
        account: record.account.clone(),
        container: record.container.clone(),
        object: row.name.clone(),
        timestamp: row.timestamp,
        data: None,
        meta: None,
    }
}
