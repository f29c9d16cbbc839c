//! Empties accounts that were deleted: their objects, then their containers, when the delay is over.
//!
//! See Swift's "The Account Reaper". Deleted accounts are found in the list of what was deleted. The first primary of an
//! account that answers does the work, through the object and container servers, with requests that any number of
//! reapers may repeat. An account whose rows are gone is forgotten like any other deletion.

use crate::neighbours::Neighbours;
use crate::peer::TheirRows;
use crate::replicator::Rings;
use crate::sweep::{self, Tally};
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use http::{HeaderMap, Method, StatusCode};
use martlet_node_client::{BackendRequest, Node};
use martlet_protocol::hash::{HashSalt, PathHash};
use martlet_protocol::record::ContainerRecord;
use martlet_protocol::row::ObjectRow;
use martlet_protocol::{header, percent};
use martlet_ring::{Ring, RingSet};
use martlet_service::{Clock, headers};
use martlet_storage::{Device, DeviceSet, Row, Space, StorageError};
use serde::Serialize;
use std::sync::Arc;

/// Bounds of the reaper.
#[derive(Clone, Debug)]
pub struct ReaperConfig {
    /// An account is left alone for so long after its deletion, seconds. Swift's `delay_reaping`.
    pub delay_reaping_secs: u64,
    /// Deletions of objects under way at once.
    pub concurrency: usize,
    /// Objects deleted in one pass; the rest waits for the next.
    pub objects_per_pass: u64,
    /// An account that is not empty so long after its deletion is warned of, seconds. Swift's `reap_warn_after`.
    pub reap_warn_after_secs: u64,
}

impl Default for ReaperConfig {
    fn default() -> Self {
        ReaperConfig {
            delay_reaping_secs: 0,
            concurrency: 25,
            objects_per_pass: 1_000_000,
            reap_warn_after_secs: 2_592_000,
        }
    }
}

/// What one pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReapReport {
    /// Accounts that are empty now.
    pub accounts: u64,
    pub containers: u64,
    pub objects: u64,
    /// Containers and objects that a later pass must delete.
    pub remaining: u64,
    pub failures: u64,
}

/// Empties deleted accounts. Clones share everything.
#[derive(Clone)]
pub struct Reaper(Arc<Shared>);

struct Shared {
    config: ReaperConfig,
    neighbours: Neighbours,
    devices: DeviceSet,
    rings: Rings,
    clock: Clock,
    salt: HashSalt,
}

/// One pass over one device.
struct Sweep<'a> {
    shared: &'a Shared,
    rings: Arc<RingSet>,
    device: &'a Device,
    report: &'a mut ReapReport,
}

impl Reaper {
    pub fn new(
        config: ReaperConfig,
        neighbours: Neighbours,
        devices: DeviceSet,
        rings: Rings,
        clock: Clock,
        salt: HashSalt,
    ) -> Self {
        Reaper(Arc::new(Shared {
            config,
            neighbours,
            devices,
            rings,
            clock,
            salt,
        }))
    }

    /// Empties every account that is due.
    pub async fn pass(&self) -> ReapReport {
        let sum = sweep::over_devices(&self.0.devices, &*self.0).await;
        metrics::counter!("martlet_reaper_accounts_total").increment(sum.accounts);
        metrics::counter!("martlet_reaper_containers_total").increment(sum.containers);
        metrics::counter!("martlet_reaper_objects_total").increment(sum.objects);
        metrics::gauge!("martlet_reaper_remaining").set(sum.remaining as f64);
        sum
    }
}

impl sweep::Sweep for Shared {
    type Report = ReapReport;
    const UNREADABLE: &'static str = "deleted accounts";

    async fn sweep(&self, name: &str, device: &Device, report: &mut ReapReport) -> Result<(), StorageError> {
        let mut sweep = Sweep {
            shared: self,
            rings: self.rings.load_full(),
            device,
            report,
        };
        sweep.all(name).await
    }
}

impl Tally for ReapReport {
    fn add(&mut self, other: &Self) {
        self.accounts += other.accounts;
        self.containers += other.containers;
        self.objects += other.objects;
        self.remaining += other.remaining;
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
        let ring = &rings.account;
        let Some(own) = self.shared.neighbours.own(ring, name) else {
            return Ok(());
        };
        let now = self.shared.clock.now().secs();
        let Some(until) = now.checked_sub(self.shared.config.delay_reaping_secs) else {
            return Ok(());
        };
        let mut after = None;
        loop {
            let page = self.device.graves(Space::Accounts, until, after, PAGE).await?;
            for grave in page.graves.iter().filter(|grave| !grave.is_row()) {
                let partition = ring.partition(&grave.hash);
                if !self.shared.neighbours.acts(ring, own, partition).await {
                    continue;
                }
                if let Some(record) = self.device.container(Space::Accounts, grave.hash).await?
                    && record.is_deleted()
                    && record.container_count() > 0
                {
                    self.account(grave.hash, &record, now).await?;
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn account(
        &mut self,
        hash: PathHash,
        record: &ContainerRecord,
        now: u64,
    ) -> Result<(), StorageError> {
        const PAGE: usize = 1_000;
        let before = self.report.remaining;
        let mut after = None;
        loop {
            let rows = self.device.rows_after(Space::Accounts, hash, after, PAGE).await?;
            for row in &rows {
                if let Row::Container(row) = row
                    && !row.deleted()
                {
                    self.container(&record.account, &row.name).await;
                }
            }
            after = rows.last().map(|row| row.name().to_owned());
            if rows.len() < PAGE {
                break;
            }
        }
        if self.report.remaining == before {
            self.report.accounts += 1;
            tracing::info!(account = record.account, "a deleted account is empty");
        } else if now > record.delete_timestamp.secs() + self.shared.config.reap_warn_after_secs {
            tracing::warn!(
                account = record.account,
                deleted = record.delete_timestamp.normal(),
                "an account is not empty long after its deletion"
            );
        }
        Ok(())
    }

    /// Deletes the objects that are listed, then the container.
    async fn container(&mut self, account: &str, container: &str) {
        let rings = self.rings.clone();
        let ring = &rings.container;
        let hash = self.shared.salt.hash(account, Some(container), None);
        let partition = ring.partition(&hash);
        let primaries = ring.primaries(partition);
        let mut after: Option<String> = None;
        let mut left = 0;
        loop {
            let Some(page) = self.page(&primaries, hash, after.as_deref()).await else {
                self.report.failures += 1;
                self.report.remaining += 1;
                return;
            };
            if self.report.objects >= self.shared.config.objects_per_pass {
                self.report.remaining += 1;
                return;
            }
            let (rows, more) = page;
            let shared = self.shared;
            after = rows.last().map(|row| row.name.clone());
            let living: Vec<ObjectRow> = rows.into_iter().filter(|row| !row.deleted).collect();
            let mut work = Vec::with_capacity(living.len());
            for row in living {
                work.push(delete_object(shared, &rings, account, container, row));
            }
            let mut work = stream::iter(work).buffer_unordered(shared.config.concurrency.max(1));
            while let Some(deleted) = work.next().await {
                match deleted {
                    true => self.report.objects += 1,
                    false => left += 1,
                }
            }
            if !more || after.is_none() {
                break;
            }
        }
        if left > 0 {
            self.report.remaining += left;
            return;
        }
        // Its rows are on their way: it may still refuse as not empty, and is deleted by the next pass.
        let answers = join_all(primaries.iter().enumerate().map(|(place, node)| {
            let mut map = HeaderMap::new();
            let account_hash = self.shared.salt.hash(account, None, None);
            let account_partition = rings.account.partition(&account_hash);
            let accounts = rings.account.primaries(account_partition);
            name_targets(
                &mut map,
                [
                    header::X_ACCOUNT_HOST,
                    header::X_ACCOUNT_DEVICE,
                    header::X_ACCOUNT_PARTITION,
                ],
                &share(&accounts, place, primaries.len()),
                account_partition,
            );
            headers::set(&mut map, header::X_ACCOUNT_OVERRIDE_DELETED, "yes");
            let path = format!(
                "/{partition}/{}/{}",
                percent::quote_segment(account),
                percent::quote_segment(container)
            );
            self.shared.delete(node, "container", path, map)
        }))
        .await;
        if has_majority(&answers) {
            self.report.containers += 1;
        } else {
            self.report.remaining += 1;
        }
    }

    /// A page of the container's rows, from whoever has it. A container nobody has is empty.
    async fn page(
        &self,
        primaries: &[&Node],
        hash: PathHash,
        after: Option<&str>,
    ) -> Option<(Vec<ObjectRow>, bool)> {
        let mut answered = false;
        for node in primaries {
            let peer = self.shared.neighbours.peer(node);
            match peer.rows(Space::Containers, hash, after, None, "-").await {
                Ok(TheirRows::Page(page)) => return Some((page.objects, page.more)),
                Ok(TheirRows::Equal | TheirRows::NoContainer) => answered = true,
                Err(_) => {}
            }
        }
        answered.then(|| (Vec::new(), false))
    }
}

/// `true`: a majority has a tombstone.
async fn delete_object(
    shared: &Shared,
    rings: &RingSet,
    account: &str,
    container: &str,
    row: ObjectRow,
) -> bool {
    let Some(ring) = rings.object(row.policy) else {
        return false;
    };
    let partition = ring.partition(&shared.salt.hash(account, Some(container), Some(&row.name)));
    let primaries = ring.primaries(partition);
    let (containers, container_partition) = container_primaries(shared, &rings.container, account, container);
    let answers = join_all(primaries.iter().enumerate().map(|(place, node)| {
        let mut map = HeaderMap::new();
        headers::set(
            &mut map,
            header::X_BACKEND_STORAGE_POLICY_INDEX,
            &row.policy.to_string(),
        );
        name_targets(
            &mut map,
            [
                header::X_CONTAINER_HOST,
                header::X_CONTAINER_DEVICE,
                header::X_CONTAINER_PARTITION,
            ],
            &share(&containers, place, primaries.len()),
            container_partition,
        );
        let path = format!(
            "/{partition}/{}/{}/{}",
            percent::quote_segment(account),
            percent::quote_segment(container),
            percent::quote(&row.name)
        );
        shared.delete(node, "object", path, map)
    }))
    .await;
    has_majority(&answers)
}

fn container_primaries<'r>(
    shared: &Shared,
    ring: &'r Ring,
    account: &str,
    container: &str,
) -> (Vec<&'r Node>, u32) {
    let partition = ring.partition(&shared.salt.hash(account, Some(container), None));
    (ring.primaries(partition), partition)
}

impl Shared {
    async fn delete(
        &self,
        node: &Node,
        server: &str,
        path: String,
        mut map: HeaderMap,
    ) -> Option<StatusCode> {
        headers::set(&mut map, header::X_TIMESTAMP, &self.clock.now().internal());
        headers::set(&mut map, header::X_BACKEND_MARTLET_SERVER, server);
        headers::set(&mut map, header::X_BACKEND_ALLOW_RESERVED_NAMES, "true");
        headers::set(&mut map, "user-agent", "account-reaper");
        let request = BackendRequest {
            headers: map,
            ..BackendRequest::new(Method::DELETE, path)
        };
        self.neighbours
            .call(node, request)
            .await
            .map(|response| response.status())
    }
}

/// The rows that replica `place` of `copies` owes: together they tell everybody.
fn share<'n>(all: &[&'n Node], place: usize, copies: usize) -> Vec<&'n Node> {
    let mine = all.iter().enumerate().filter(|(at, _)| at % copies == place);
    mine.map(|(_, node)| *node).collect()
}

fn name_targets(map: &mut HeaderMap, names: [&'static str; 3], targets: &[&Node], partition: u32) {
    if targets.is_empty() {
        return;
    }
    let list = |each: &dyn Fn(&Node) -> String| -> String {
        let all: Vec<String> = targets.iter().map(|node| each(node)).collect();
        all.join(",")
    };
    let [host, device, partition_name] = names;
    headers::set(map, host, &list(&|node| format!("{}:{}", node.ip, node.port)));
    headers::set(map, device, &list(&|node| node.device.clone()));
    headers::set(map, partition_name, &partition.to_string());
}

/// Gone already is as good as deleted.
fn has_majority(answers: &[Option<StatusCode>]) -> bool {
    let done = answers
        .iter()
        .flatten()
        .filter(|status| status.is_success() || **status == StatusCode::NOT_FOUND)
        .count();
    done > answers.len() / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_must_have_deleted() {
        let (gone, missing) = (Some(StatusCode::NO_CONTENT), Some(StatusCode::NOT_FOUND));
        let (busy, silent) = (Some(StatusCode::CONFLICT), None);
        for (answers, expected) in [
            (vec![gone, gone, silent], true),
            (vec![gone, missing, busy], true),
            (vec![gone, busy, silent], false),
            (vec![gone, silent], false),
            (vec![missing], true),
            (vec![], false),
        ] {
            assert_eq!(has_majority(&answers), expected, "{answers:?}");
        }
    }

    #[test]
    fn replicas_share_the_rows() {
        let nodes: Vec<Node> = (1..=3).map(|port| Node::at("10.0.0.1", port, "d")).collect();
        let all: Vec<&Node> = nodes.iter().collect();
        assert_eq!(share(&all, 0, 2).len(), 2);
        assert_eq!(share(&all, 1, 2).len(), 1);
        let mut map = HeaderMap::new();
        let names = [
            header::X_CONTAINER_HOST,
            header::X_CONTAINER_DEVICE,
            header::X_CONTAINER_PARTITION,
        ];
        name_targets(&mut map, names, &share(&all, 0, 2), 7);
        assert_eq!(
            headers::text(&map, header::X_CONTAINER_HOST),
            Some("10.0.0.1:1,10.0.0.1:3")
        );
        assert_eq!(headers::text(&map, header::X_CONTAINER_DEVICE), Some("d,d"));
        assert_eq!(headers::text(&map, header::X_CONTAINER_PARTITION), Some("7"));
    }
}
