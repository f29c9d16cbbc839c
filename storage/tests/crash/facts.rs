//! What must be found on a device after a crash, and what is found.
//!
//! A key is one thing that changes as a whole: an object with what is owed for it, or a container with its rows and what
//! is owed for it. Its state is told as a text, so that "old or new" is a set of texts. While an operation is under way
//! both are in the set; once it is acknowledged only the new one is.

use crate::story::{self, POLICY};
use martlet_protocol::hash::PathHash;
use martlet_protocol::record::ObjectRecord;
use martlet_storage::{Device, Row, Space, Version};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// The states that each key may have. A key that is not here is not there.
pub(crate) type Facts = BTreeMap<String, BTreeSet<String>>;

pub(crate) const NOTHING: &str = "nothing, nothing owed";

/// What the ETag of no bytes looks like as a seed.
pub(crate) const SEED_OF_NOTHING: u8 = 0x7e;

/// What must be found if the power went now. Clones share it.
#[derive(Clone)]
pub(crate) struct Expected {
    facts: Arc<Mutex<Facts>>,
    aloud: bool,
}

impl Expected {
    pub(crate) fn new() -> Self {
        Expected {
            facts: Arc::default(),
            aloud: false,
        }
    }

    /// For a process that is to be killed: its parent hears every change.
    pub(crate) fn told_on_stdout() -> Self {
        Expected {
            aloud: true,
            ..Expected::new()
        }
    }

    /// What a killed process had told.
    pub(crate) fn from_told(text: &str) -> Facts {
        let told = Expected::new();
        // A line that was cut off was told too late: nobody had read it.
        for line in text
            .split_inclusive('\n')
            .filter_map(|line| line.strip_suffix('\n'))
        {
            match line.split('\t').collect::<Vec<_>>()[..] {
                ["@begin", key, fact] => told.begin(key, fact),
                ["@done", key, fact] => told.done(key, fact),
                _ => {}
            }
        }
        told.now()
    }

    /// From now on the key may have this state too.
    pub(crate) fn begin(&self, key: &str, fact: &str) {
        let mut facts = self.facts.lock().unwrap();
        let states = facts
            .entry(key.to_owned())
            .or_insert_with(|| BTreeSet::from([NOTHING.to_owned()]));
        states.insert(fact.to_owned());
        if self.aloud {
            println!("\n@begin\t{key}\t{fact}");
        }
    }

    /// Acknowledged: from now on the key has this state and no other.
    pub(crate) fn done(&self, key: &str, fact: &str) {
        let mut facts = self.facts.lock().unwrap();
        facts.insert(key.to_owned(), BTreeSet::from([fact.to_owned()]));
        if self.aloud {
            println!("\n@done\t{key}\t{fact}");
        }
    }

    pub(crate) fn now(&self) -> Facts {
        self.facts.lock().unwrap().clone()
    }
}

/// An object with what is owed for it, both by their seconds.
pub(crate) fn object(put: u64, newest: u64, length: usize, seed: u8, owed: Option<u64>) -> String {
    with_owed(
        format!("put at {put}, newest {newest}, {length} bytes of {seed}"),
        owed,
    )
}

pub(crate) fn tombstone(at: u64, owed: Option<u64>) -> String {
    with_owed(format!("deleted at {at}"), owed)
}

pub(crate) fn container(rows: &BTreeMap<String, (u64, bool)>, owed: Option<u64>) -> String {
    let rows: Vec<String> = rows
        .iter()
        .map(|(name, (at, deleted))| format!("{name} {} at {at}", if *deleted { "deleted" } else { "put" }))
        .collect();
    with_owed(format!("container of {}", rows.join("; ")), owed)
}

fn with_owed(fact: String, owed: Option<u64>) -> String {
    match owed {
        Some(at) => format!("{fact}, owed at {at}"),
        None => format!("{fact}, nothing owed"),
    }
}

/// Starts the device and tells all that is wrong with it.
pub(crate) fn problems(path: &Path, expected: &Facts) -> Vec<String> {
    let device = match Device::open(story::config(path)) {
        Ok(device) => device,
        Err(error) => return vec![format!("it does not open: {error}")],
    };
    let looking = async {
        let mut found = Vec::new();
        match look(&device, path, expected, &mut found).await {
            Ok(()) => {}
            Err(error) => found.push(format!("it cannot be looked at: {error}")),
        }
        device.close().await;
        found
    };
    // The caller may itself be amid asynchronous work.
    std::thread::scope(|scope| scope.spawn(|| story::run(looking)).join().unwrap())
}

async fn look(
    device: &Device,
    path: &Path,
    expected: &Facts,
    wrong: &mut Vec<String>,
) -> martlet_storage::Result<()> {
    let mut owed = BTreeMap::new();
    for (_, update) in device.outbox(None, 10_000).await? {
        let name = update.object.clone().unwrap_or(update.container.clone());
        let at = update
            .headers
            .iter()
            .find(|(name, _)| name == "x-timestamp")
            .map(|(_, at)| at.clone());
        let at: f64 = at.unwrap_or_default().parse().unwrap_or(-1.0);
        if owed.insert(name.clone(), at as u64).is_some() {
            wrong.push(format!("{name} is owed twice"));
        }
    }
    let mut states = BTreeMap::new();
    let mut sums = Sums::default();
    let mut put_at = BTreeMap::new();
    let objects = story::HASHES.map(|n| (story::object_name(n), story::hash(n)));
    let versions = story::VERSIONS.map(|at| (story::version_key(at), story::version_hash(at)));
    for (key, hash) in objects.chain(versions) {
        let record = device.read_object(POLICY, hash).await?;
        let owed = owed.remove(&key);
        if let Some(id) = record.as_ref().and_then(ObjectRecord::current_version) {
            let version = device.read_object(POLICY, hash.version(id)).await?;
            if version.is_none_or(|version| version.is_tombstone()) {
                wrong.push(format!("{key} points to what is not there: they were one commit"));
            }
        }
        let fact = match &record {
            None => with_owed("nothing".into(), owed),
            Some(record) => {
                sums.add(record);
                put_at.insert(key.clone(), record.timestamp.secs());
                let whole = read(device, hash).await;
                told(record, whole, owed)
            }
        };
        states.insert(key, fact);
    }
    let mut containers = BTreeMap::new();
    for n in story::HASHES {
        let key = story::container_name(n);
        let record = device.container(Space::Containers, story::hash(n)).await?;
        let owed = owed.remove(&key);
        let Some(record) = record else {
            states.insert(key, with_owed("nothing".into(), owed));
            continue;
        };
        let rows = device
            .rows_after(Space::Containers, story::hash(n), None, 10_000)
            .await?;
        let living = rows.iter().filter(|row| !row.deleted());
        let sizes = living.clone().map(|row| match row {
            Row::Object(row) => row.size,
            Row::Container(_) => 0,
        });
        let (count, bytes) = (living.count() as u64, sizes.sum::<u64>());
        if (record.object_count(), record.bytes_used()) != (count, bytes) {
            wrong.push(format!(
                "{key} counts {} objects and {} bytes, its rows {count} and {bytes}",
                record.object_count(),
                record.bytes_used()
            ));
        }
        let rows: BTreeMap<String, (u64, bool)> = rows
            .iter()
            .map(|row| (row.name().to_owned(), (row.newest().secs(), row.deleted())))
            .collect();
        for (name, (at, _)) in rows.iter().filter(|(name, _)| name.starts_with("object ")) {
            if put_at.get(name) != Some(at) {
                wrong.push(format!(
                    "{name} is not the one of its row, of {at}: they were one commit"
                ));
            }
        }
        states.insert(key.clone(), container(&rows, owed));
        containers.insert(key, rows);
    }
    for (key, at) in owed {
        wrong.push(format!("{key} is owed at {at}, and nothing is known of it"));
    }
    let none = BTreeSet::from([NOTHING.to_owned()]);
    for (key, state) in &states {
        let may_be = expected.get(key).unwrap_or(&none);
        if !may_be.contains(state) {
            wrong.push(format!("{key} is {state:?}, and must be one of {may_be:?}"));
        }
    }
    sums.compare(device, wrong).await?;
    digests(device, Space::Objects(POLICY), wrong).await?;
    digests(device, Space::Containers, wrong).await?;
    let deleted_rows = containers
        .values()
        .flat_map(BTreeMap::values)
        .filter(|(_, deleted)| *deleted)
        .count();
    let graves = device
        .graves(Space::Containers, u64::MAX - 1, None, 10_000)
        .await?
        .graves;
    let row_graves = graves.iter().filter(|grave| grave.is_row()).count();
    if row_graves != deleted_rows {
        wrong.push(format!(
            "{row_graves} deleted rows are listed, {deleted_rows} are there"
        ));
    }
    files(path, sums.files, wrong);
    Ok(())
}

fn told(record: &ObjectRecord, whole: Result<Vec<u8>, String>, owed: Option<u64>) -> String {
    let Some(data) = &record.data else {
        return tombstone(record.timestamp.secs(), owed);
    };
    let seed = u8::from_str_radix(&data.etag[30..], 16).unwrap_or(255);
    match whole {
        Ok(bytes) if bytes == story::body(data.length as usize, seed) => object(
            record.timestamp.secs(),
            record.newest().secs(),
            bytes.len(),
            seed,
            owed,
        ),
        Ok(_) => "a body that is not its record's".into(),
        Err(error) => format!("unreadable: {error}"),
    }
}

async fn read(device: &Device, hash: PathHash) -> Result<Vec<u8>, String> {
    let open = device.open_object(POLICY, hash).await;
    let mut open = open
        .map_err(|error| error.to_string())?
        .ok_or("gone while it was looked at")?;
    let mut all = Vec::new();
    while let Some(part) = open.body.next().await.map_err(|error| error.to_string())? {
        all.extend_from_slice(&part);
    }
    Ok(all)
}

/// What the records add up to.
#[derive(Default)]
struct Sums {
    objects: u64,
    tombstones: u64,
    bytes: u64,
    expiring: usize,
    files: usize,
}

impl Sums {
    fn add(&mut self, record: &ObjectRecord) {
        match &record.data {
            None => self.tombstones += 1,
            Some(data) => {
                self.objects += 1;
                self.bytes += data.length;
                self.files += usize::from(data.length > story::INLINE_BYTES);
            }
        }
        self.expiring += usize::from(record.delete_at().is_some());
    }

    async fn compare(&self, device: &Device, wrong: &mut Vec<String>) -> martlet_storage::Result<()> {
        let stats = device.stats().await?;
        let told = (stats.objects, stats.tombstones, stats.bytes, stats.quarantined);
        let counted = (self.objects, self.tombstones, self.bytes, 0);
        if told != counted {
            wrong.push(format!(
                "objects, tombstones, bytes, quarantined: told {told:?}, counted {counted:?}"
            ));
        }
        let due = device.due(u64::MAX, 10_000).await?.len();
        if due != self.expiring {
            wrong.push(format!(
                "{due} expiries are listed, {} records expire",
                self.expiring
            ));
        }
        let graves = device
            .graves(Space::Objects(POLICY), u64::MAX - 1, None, 10_000)
            .await?
            .graves
            .len();
        if graves as u64 != self.tombstones {
            wrong.push(format!(
                "{graves} deletions are listed, {} are there",
                self.tombstones
            ));
        }
        Ok(())
    }
}

/// Each digest is the sum over its range.
async fn digests(device: &Device, space: Space, wrong: &mut Vec<String>) -> martlet_storage::Result<()> {
    let mut kept: BTreeMap<u16, [u8; 16]> = device.digests(space).await?.into_iter().collect();
    for n in story::HASHES {
        let prefix = u16::from_be_bytes([n, n]);
        let mut sum = [0; 16];
        for Version { fingerprint, .. } in device.versions(space, prefix, None, 1000).await? {
            sum.iter_mut()
                .zip(fingerprint)
                .for_each(|(sum, byte)| *sum ^= byte);
        }
        if kept.remove(&prefix).unwrap_or_default() != sum {
            wrong.push(format!(
                "the digest of {space:?} {prefix:04x} is not the sum over its records"
            ));
        }
    }
    if !kept.is_empty() {
        wrong.push(format!("digests of nothing: {kept:?}"));
    }
    Ok(())
}

/// As many body files as records that have one (each was read above), and none on its way.
fn files(path: &Path, wanted: usize, wrong: &mut Vec<String>) {
    let names = |folder: &Path| -> Vec<String> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path().display().to_string()).collect()
    };
    let folders = fs::read_dir(path.join("bodies")).into_iter().flatten().flatten();
    let placed: Vec<String> = folders.flat_map(|folder| names(&folder.path())).collect();
    let coming = names(&path.join("incoming"));
    if placed.len() != wanted || !coming.is_empty() {
        wrong.push(format!(
            "{wanted} body files are named, these are there: {placed:?} {coming:?}"
        ));
    }
}
