//! The rings of a node, and the watch over their files: a changed set is read and checked, and takes effect as a whole.
//!
//! A request under way keeps the rings it began with. A file that is broken or half copied changes nothing: the log says
//! so once, and the rings in force stay until the files change again.

use crate::config::ClusterConfig;
use crate::looks::Looks;
use martlet_protocol::policy::PolicyIndex;
use martlet_replicator::Rings;
use martlet_ring::{Ring, RingSet};
use martlet_service::{FileStamp, Shutdown};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The ring files of a cluster.
#[derive(Clone, Debug)]
struct RingFiles {
    folder: PathBuf,
    policies: Vec<PolicyIndex>,
}

/// What tells one state of the files from another without reading them: modification time, size and inode of each.
type Stamps = Vec<Option<FileStamp>>;

impl RingFiles {
    fn of(cluster: &ClusterConfig) -> RingFiles {
        RingFiles {
            folder: cluster.rings.clone(),
            policies: cluster.policies.iter().map(|policy| policy.index).collect(),
        }
    }

    fn object_path(&self, policy: PolicyIndex) -> PathBuf {
        self.folder.join(match policy.0 {
            0 => "object.ring.gz".to_owned(),
            index => format!("object-{index}.ring.gz"),
        })
    }

    fn stamps(&self) -> Stamps {
        let fixed = ["account.ring.gz", "container.ring.gz"].map(|name| self.folder.join(name));
        let objects = self.policies.iter().map(|policy| self.object_path(*policy));
        fixed
            .into_iter()
            .chain(objects)
            .map(|path| FileStamp::of(&path).ok())
            .collect()
    }

    /// Reads and checks all of them.
    fn load(&self) -> Result<RingSet, String> {
        let mut objects = BTreeMap::new();
        for policy in &self.policies {
            objects.insert(*policy, load(&self.object_path(*policy))?);
        }
        Ok(RingSet {
            account: load(&self.folder.join("account.ring.gz"))?,
            container: load(&self.folder.join("container.ring.gz"))?,
            objects,
        })
    }
}

fn load(path: &Path) -> Result<Ring, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    martlet_ring::file::read(&bytes).map_err(|error| format!("{}: {error}", path.display()))
}

/// The rings in force, and what is known of their files.
pub struct RingWatch {
    files: RingFiles,
    rings: Rings,
    /// The state of the files that was looked at last, whether it was taken or refused.
    seen: Stamps,
    interval: Duration,
}

impl RingWatch {
    /// Reads the rings of a cluster's folder: account, container, and one for each policy.
    pub fn open(cluster: &ClusterConfig) -> Result<RingWatch, String> {
        let files = RingFiles::of(cluster);
        // Looked at before reading, so that a change while they are read is seen by the watch.
        let seen = files.stamps();
        let set = files.load()?;
        Ok(RingWatch {
            files,
            rings: Rings::new(arc_swap::ArcSwap::from_pointee(set)),
            seen,
            interval: Duration::from_secs(cluster.ring_check_interval.max(1)),
        })
    }

    pub fn rings(&self) -> Rings {
        self.rings.clone()
    }

    /// Looks at the files every `ring_check_interval` until the end. With `on_hangup`, SIGHUP makes it look at once, and
    /// read them whatever their stamps say.
    pub async fn run(mut self, on_hangup: bool, shutdown: Shutdown) -> std::io::Result<()> {
        let mut looks = Looks::new(self.interval, on_hangup, shutdown)?;
        while let Some(is_asked) = looks.next().await {
            self = match tokio::task::spawn_blocking(move || self.looked(is_asked)).await {
                Ok(watch) => watch,
                Err(error) => {
                    tracing::error!(%error, "the watch over the rings has failed");
                    return Ok(());
                }
            };
        }
        Ok(())
    }

    fn looked(mut self, is_asked: bool) -> Self {
        let stamps = self.files.stamps();
        if stamps == self.seen && !is_asked {
            return self;
        }
        self.seen = stamps;
        match self.files.load() {
            Ok(set) => self.take(set),
            Err(error) => {
                metrics::counter!("martlet_rings_refused_total").increment(1);
                tracing::error!(error, "changed rings cannot be used; those in force stay");
            }
        }
        self
    }

    /// The same rings in newer files are none: nobody should have to prove anew what it has.
    fn take(&self, set: RingSet) {
        if is_same(&set, &self.rings.load()) {
            return;
        }
        let versions: Vec<Option<u64>> = [&set.account, &set.container]
            .into_iter()
            .chain(set.objects.values())
            .map(Ring::version)
            .collect();
        self.rings.store(Arc::new(set));
        metrics::counter!("martlet_rings_loaded_total").increment(1);
        tracing::info!(?versions, "changed rings are in force");
    }
}

/// Equal in everything that anybody uses or shows.
fn is_same(one: &RingSet, other: &RingSet) -> bool {
    let same = |(one, other): (&Ring, &Ring)| {
        one.device_slots() == other.device_slots()
            && one.version() == other.version()
            && one.next_part_power() == other.next_part_power()
    };
    // With equal fingerprints there are as many rings in each.
    one.fingerprint() == other.fingerprint()
        && same((&one.account, &other.account))
        && same((&one.container, &other.container))
        && one.objects.values().zip(other.objects.values()).all(same)
}
