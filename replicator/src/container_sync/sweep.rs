//! One pass over the mirrored containers of one device.

use super::destination::OtherEnd;
use super::row::{NotSent, RowSync, Sent};
use super::{ContainerSyncReport, Shared};
use crate::sweep::Tally;
use futures_util::stream::{self, StreamExt};
use martlet_node_client::Node;
use martlet_protocol::hash::PathHash;
use martlet_protocol::header;
use martlet_protocol::record::ContainerRecord;
use martlet_protocol::sync::Realms;
use martlet_ring::RingSet;
use martlet_storage::{Device, Row, Space, StorageError, SyncEntry};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Entries taken from a log at a time.
const PAGE: usize = 100;
/// Rows brought into a log at a time.
const LISTED: usize = 1_000;
/// After so many rows in a row that nobody answered, the rest of a container waits for another pass.
const SILENT_ROWS: usize = 3;

/// One pass over all devices.
pub(super) struct Round<'a> {
    pub shared: &'a Shared,
    pub realms: Arc<Realms>,
    /// Containers in pause take part too.
    pub is_urgent: bool,
}

impl crate::sweep::Sweep for Round<'_> {
    type Report = ContainerSyncReport;
    const UNREADABLE: &'static str = "logs of mirrored containers";

    async fn sweep(
        &self,
        name: &str,
        device: &Device,
        report: &mut ContainerSyncReport,
    ) -> Result<(), StorageError> {
        let mut sweep = Sweep {
            shared: self.shared,
            name,
            device,
            is_urgent: self.is_urgent,
            rings: self.shared.rings.load_full(),
            realms: &self.realms,
            report,
        };
        sweep.all().await
    }
}

/// The part of one device.
struct Sweep<'a> {
    shared: &'a Shared,
    name: &'a str,
    device: &'a Device,
    is_urgent: bool,
    rings: Arc<RingSet>,
    realms: &'a Realms,
    report: &'a mut ContainerSyncReport,
}

/// One container under way.
struct Visit<'v> {
    rows: RowSync<'v>,
    hash: PathHash,
    replicas: usize,
    until: Instant,
    /// Rows in a row that nobody answered.
    silent: usize,
    report: ContainerSyncReport,
}

impl Visit<'_> {
    fn goes_on(&self) -> bool {
        self.silent < SILENT_ROWS && Instant::now() < self.until
    }

    fn is_mine(&self, shared: &Shared, entry: &SyncEntry) -> bool {
        let container = self.rows.container;
        let hash = shared
            .salt
            .hash(&container.account, Some(&container.container), Some(&entry.name));
        let [a, b, c, d, ..] = hash.0;
        u32::from_be_bytes([a, b, c, d]) as usize % self.replicas.max(1) == self.rows.place
    }
}

impl Sweep<'_> {
    async fn all(&mut self) -> Result<(), StorageError> {
        let rings = self.rings.clone();
        let Some(own) = self.shared.neighbours.own(&rings.container, self.name) else {
            return Ok(());
        };
        let mut after = None;
        loop {
            let page = self.device.synced_containers(after, PAGE).await?;
            for hash in &page {
                self.container(own, *hash).await?;
            }
            after = page.last().copied();
            if page.len() < PAGE {
                return Ok(());
            }
        }
    }

    async fn container(&mut self, own: &Node, hash: PathHash) -> Result<(), StorageError> {
        let rings = self.rings.clone();
        let ring = &rings.container;
        let primaries = ring.primaries(ring.partition(&hash));
        // A copy that is not at home leaves the work to those that are.
        let Some(place) = primaries.iter().position(|node| node.id == own.id) else {
            return Ok(());
        };
        let Some(record) = self.device.container(Space::Containers, hash).await? else {
            return Ok(());
        };
        let Some((value, user_key)) = record.sync_to() else {
            return Ok(());
        };
        let (account, container) = (&record.account, &record.container);
        let has_versions = |record: &ContainerRecord| {
            let mut live = record.live_metadata();
            live.any(|(name, _)| name == header::VERSIONS_ENABLED)
        };
        if has_versions(&record) {
            tracing::warn!(account, container, "a container with versions is not mirrored");
            self.report.skipped += 1;
            return Ok(());
        }
        let key = (self.name.to_owned(), hash);
        if !self.is_urgent && !self.shared.backoff().may_try(&key, Instant::now()) {
            self.report.paused += 1;
            return Ok(());
        }
        let allowed = &self.shared.config.allowed_sync_hosts;
        let to = match self.realms.destination(value, allowed) {
            Ok(to) => to,
            Err(error) => {
                tracing::info!(
                    account,
                    container,
                    error,
                    "a container names no cluster known here"
                );
                self.report.failures += 1;
                return Ok(());
            }
        };
        let end = OtherEnd {
            to,
            user_key: user_key.to_owned(),
        };
        let mut visit = Visit {
            rows: RowSync {
                shared: self.shared,
                rings: &rings,
                container: &record,
                place,
                end: &end,
            },
            hash,
            replicas: primaries.len(),
            until: Instant::now() + Duration::from_secs(self.shared.config.container_time_secs),
            silent: 0,
            report: ContainerSyncReport::default(),
        };
        let outcome = self.visit(&mut visit).await;
        let mut report = visit.report;
        let nothing_went = report.failures > 0 && report.puts + report.deletes + report.present == 0;
        if nothing_went {
            self.shared.backoff().failed(key, Instant::now());
        } else {
            self.shared.backoff().succeeded(&key);
            report.containers = 1;
        }
        self.report.add(&report);
        outcome
    }

    async fn visit(&self, visit: &mut Visit<'_>) -> Result<(), StorageError> {
        let hash = visit.hash;
        let Some(state) = self.device.sync_state(hash).await? else {
            return Ok(());
        };
        // What was met before and is still here: another replica's share, or what failed. Everybody makes sure of it.
        let mut behind = 0;
        while visit.goes_on() && behind < state.met {
            let mut page = self.device.sync_entries(hash, behind, PAGE).await?;
            page.retain(|entry| entry.sequence <= state.met);
            let Some(last) = page.last() else { break };
            behind = last.sequence;
            self.send(visit, page).await?;
        }
        // What is new: each replica sends its share, and leaves the rest for the next pass.
        // Rows that were there before the log come into it first: a row that was sent and struck out would be listed again.
        while visit.goes_on() && self.device.list_syncs(hash, LISTED).await? {}
        let mut behind = state.met;
        while visit.goes_on() {
            let page = self.device.sync_entries(hash, behind, PAGE).await?;
            let Some(last) = page.last().map(|entry| entry.sequence) else {
                break;
            };
            let is_mine = |entry: &SyncEntry| visit.is_mine(self.shared, entry);
            let mine = page.into_iter().filter(is_mine).collect();
            self.send(visit, mine).await?;
            self.device.meet_syncs(hash, last).await?;
            behind = last;
        }
        Ok(())
    }

    /// Sends rows, several at once, and strikes out those that arrived.
    async fn send(&self, visit: &mut Visit<'_>, entries: Vec<SyncEntry>) -> Result<(), StorageError> {
        let concurrency = self.shared.config.concurrency.max(1);
        let mut entries = entries.into_iter();
        while visit.goes_on() {
            let some: Vec<SyncEntry> = entries.by_ref().take(concurrency).collect();
            if some.is_empty() {
                break;
            }
            let rows = &visit.rows;
            let work: Vec<_> = some.into_iter().map(|entry| self.one(rows, entry)).collect();
            let mut work = stream::iter(work).buffer_unordered(concurrency);
            let mut settled = Vec::new();
            let (mut report, mut silent) = (visit.report, visit.silent);
            while let Some(done) = work.next().await {
                let (entry, sent) = done?;
                match sent {
                    Ok(sent) => {
                        count(&mut report, sent);
                        settled.push(entry);
                        silent = 0;
                    }
                    Err(error) => {
                        report.failures += 1;
                        silent = if error.is_silent() { silent + 1 } else { 0 };
                        self.tell(visit, &entry, &error);
                    }
                }
            }
            drop(work);
            (visit.report, visit.silent) = (report, silent);
            if !settled.is_empty() {
                self.device.settle_syncs(settled).await?;
            }
        }
        Ok(())
    }

    async fn one(
        &self,
        rows: &RowSync<'_>,
        entry: SyncEntry,
    ) -> Result<(SyncEntry, Result<Option<Sent>, NotSent>), StorageError> {
        let row = self
            .device
            .row(Space::Containers, entry.hash, entry.name.clone())
            .await?;
        let sent = match row {
            Some(Row::Object(row)) => rows.send(&row).await.map(Some),
            // Forgotten since: every replica had the deletion.
            Some(Row::Container(_)) | None => Ok(None),
        };
        Ok((entry, sent))
    }

    fn tell(&self, visit: &Visit<'_>, entry: &SyncEntry, error: &NotSent) {
        let container = visit.rows.container;
        tracing::info!(
            account = container.account,
            container = container.container,
            object = entry.name,
            to = format!("{:?}", visit.rows.end.to),
            %error,
            "a row did not reach the other cluster; it is tried again"
        );
    }
}

fn count(report: &mut ContainerSyncReport, sent: Option<Sent>) {
    match sent {
        Some(Sent::Put(bytes)) => {
            report.puts += 1;
            report.bytes += bytes;
        }
        Some(Sent::Deleted) => report.deletes += 1,
        Some(Sent::Present) => report.present += 1,
        Some(Sent::Skipped) => report.skipped += 1,
        None => {}
    }
}
