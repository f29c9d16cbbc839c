//! What is done to the device while it crashes: every kind of commit, each told to `Expected` before and after.

use crate::facts::{self, Expected};
use bytes::Bytes;
use martlet_protocol::hash::PathHash;
use martlet_protocol::policy::PolicyIndex;
use martlet_protocol::record::{ObjectData, ObjectMeta, ObjectRecord};
use martlet_protocol::row::ObjectRow;
use martlet_protocol::timestamp::Timestamp;
use martlet_protocol::update::{Update, UpdateOp, UpdateTarget};
use martlet_protocol::version::{VersionId, parse_version_name, pointer_to};
use martlet_storage::*;
use std::collections::BTreeMap;
use std::future::Future;
use std::ops::Range;
use std::path::Path;

pub(crate) const POLICY: PolicyIndex = PolicyIndex(0);
/// First bytes of the hashes that are used.
pub(crate) const HASHES: Range<u8> = 0..24;
pub(crate) const INLINE_BYTES: u64 = 64 * 1024;
/// The object that has versions, and the seconds they are of.
pub(crate) const VERSIONED: u8 = 18;
pub(crate) const VERSIONS: Range<u64> = 100..105;

/// Lengths of bodies: in the index, in a file of one piece, in a file written in two pieces.
const SMALL: usize = 3000;
const FILE: usize = 70_000;
const PIECES: usize = 400_000;

/// A device is opened, a kind of thing is done, and it is closed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Chapter {
    Objects,
    Together,
    Replicas,
    Owed,
    Rows,
    Here,
    Forgetting,
    Versions,
    /// Opened and closed on what the others left.
    Quiet,
}

impl Chapter {
    pub(crate) const ALL: &[Chapter] = &[
        Chapter::Objects,
        Chapter::Together,
        Chapter::Replicas,
        Chapter::Owed,
        Chapter::Rows,
        Chapter::Here,
        Chapter::Forgetting,
        Chapter::Versions,
        Chapter::Quiet,
    ];

    /// `look` is called between operations, to look at the images made so far.
    pub(crate) fn play(self, path: &Path, expected: &Expected, look: &mut dyn FnMut()) {
        let device = Device::open(config(path)).unwrap();
        let mut teller = Teller {
            device: device.clone(),
            expected: expected.clone(),
            look,
        };
        run(async {
            match self {
                Chapter::Objects => teller.objects().await,
                Chapter::Together => teller.together().await,
                Chapter::Replicas => teller.replicas().await,
                Chapter::Owed => teller.owed().await,
                Chapter::Rows => teller.rows().await,
                Chapter::Here => teller.here().await,
                Chapter::Forgetting => teller.forgetting().await,
                Chapter::Versions => teller.versions().await,
                Chapter::Quiet => {}
            }
            device.close().await;
        });
        look();
    }
}

struct Teller<'a> {
    device: Device,
    expected: Expected,
    look: &'a mut dyn FnMut(),
}

impl Teller<'_> {
    async fn objects(&mut self) {
        self.put(1, 10, SMALL).await;
        self.put(2, 10, PIECES).await;
        self.put(3, 10, FILE).await;
        self.post(3, 12).await;
        // Each kind of body takes the place of each.
        for (at, length) in [(20, PIECES), (21, FILE), (22, SMALL), (23, SMALL), (24, FILE)] {
            self.put(1, at, length).await;
        }
        self.put(4, 30, 0).await;
        self.delete(1, 31, Some(31)).await;
        self.delete(2, 32, Some(32)).await;
        self.delete(4, 33, Some(33)).await;
        self.put(2, 34, FILE).await;
    }

    /// Many at once share batches; a body is dropped half way.
    async fn together(&mut self) {
        let dropped = self.device.begin_body(None).await.unwrap();
        let mut dropped = dropped;
        dropped.write(body(PIECES, 9)).await.unwrap();
        drop(dropped);
        let mut waiting = Vec::new();
        for n in 5..12u8 {
            let length = [SMALL, FILE, PIECES][n as usize % 3];
            for at in [40, 41] {
                let fact = facts::object(at, at, length, n, Some(at));
                self.expected.begin(&object_name(n), &fact);
                let device = self.device.clone();
                waiting.push(tokio::spawn(async move {
                    store(&device, n, at, length, n).await;
                }));
            }
        }
        for each in waiting {
            each.await.unwrap();
        }
        for n in 5..12u8 {
            let length = [SMALL, FILE, PIECES][n as usize % 3];
            let fact = facts::object(41, 41, length, n, Some(41));
            self.expected.done(&object_name(n), &fact);
        }
        (self.look)();
    }

    /// What a replicator does: takes a newer copy, takes newer metadata, lets a handoff copy go.
    async fn replicas(&mut self) {
        for (n, at, length) in [(12, 50, PIECES), (13, 50, SMALL), (12, 51, FILE)] {
            let bytes = body(length, n);
            let record = ObjectRecord {
                account: "a".into(),
                container: "c".into(),
                object: object_name(n),
                timestamp: stamp(at),
                data: Some(ObjectData {
                    length: length as u64,
                    etag: etag(n),
                    content_type: "text/plain".into(),
                    metadata: vec![],
                    delete_at: None,
                    blake3: blake3::hash(&bytes).into(),
                }),
                meta: None,
            };
            let fact = facts::object(at, at, length, n, None);
            self.expected.begin(&object_name(n), &fact);
            let writer = filled(&self.device, bytes).await;
            let merged = self
                .device
                .merge_object(POLICY, hash(n), record, Some(writer))
                .await;
            assert_eq!(merged, Ok(true));
            self.expected.done(&object_name(n), &fact);
            (self.look)();
        }
        for (n, newest) in [(12, 51), (13, 50)] {
            self.expected.begin(&object_name(n), facts::NOTHING);
            let gone = self.device.remove_object(POLICY, hash(n), stamp(newest)).await;
            assert_eq!(gone, Ok(true));
            self.expected.done(&object_name(n), facts::NOTHING);
            (self.look)();
        }
    }

    /// The updater's part: half of it acknowledged, then all. An acknowledgement may be lost, the entry is sent again.
    async fn owed(&mut self) {
        self.put(14, 60, FILE).await;
        let (id, update) = self.owed_for(14).await;
        self.device.outbox_replace(id, update).await.unwrap();
        self.expected
            .begin(&object_name(14), &facts::object(60, 60, FILE, 14, None));
        self.device.outbox_ack(id);
        // The acknowledgement rides with this.
        self.put(15, 61, SMALL).await;
        self.put(14, 62, SMALL).await;
        // An acknowledgement of the older entry leaves the newer one alone.
        self.device.outbox_ack(id);
        self.put(15, 63, FILE).await;
    }

    async fn owed_for(&self, n: u8) -> (OutboxId, Update) {
        let owed = self.device.outbox(None, 10_000).await.unwrap();
        let is_it = |(_, update): &(OutboxId, Update)| update.object.as_deref() == Some(&object_name(n));
        owed.into_iter().find(is_it).unwrap()
    }

    async fn rows(&mut self) {
        let mut known = BTreeMap::new();
        let changes: [&[(&str, u64, bool)]; 4] = [
            &[("a", 70, false)],
            &[("b", 70, false), ("c", 70, false), ("d", 70, false)],
            &[("a", 71, true), ("c", 71, false), ("e", 71, false)],
            &[("d", 72, true)],
        ];
        for (turn, change) in changes.iter().enumerate() {
            let owed = 70 + turn as u64;
            known.extend(
                change
                    .iter()
                    .map(|(name, at, deleted)| ((*name).to_owned(), (*at, *deleted))),
            );
            let fact = facts::container(&known, Some(owed));
            self.expected.begin(&container_name(1), &fact);
            let rows = change
                .iter()
                .map(|(name, at, deleted)| row(name, *at, *deleted))
                .collect();
            let stored = self
                .device
                .put_rows(Space::Containers, hash(1), rows, Some(create()), move |_| {
                    Some(update(None, owed))
                })
                .await;
            assert_eq!(stored, Ok(RowsOutcome::Stored));
            self.expected.done(&container_name(1), &fact);
            (self.look)();
        }
    }

    /// An object whose container is on the same device: object and row are one commit.
    async fn here(&mut self) {
        let made = self
            .device
            .put_container(Space::Containers, hash(2), create(), |_| None);
        self.expected
            .begin(&container_name(2), &facts::container(&BTreeMap::new(), None));
        made.await.unwrap();
        for (at, length) in [(90, SMALL), (91, PIECES)] {
            let name = object_name(17);
            let rows = BTreeMap::from([(name.clone(), (at, false))]);
            let row = row(&name, at, false);
            let (object, container) = (
                facts::object(at, at, length, 17, None),
                facts::container(&rows, None),
            );
            self.expected.begin(&name, &object);
            self.expected.begin(&container_name(2), &container);
            let here = |record: &ObjectRecord| {
                let target = UpdateTarget {
                    ip: "127.0.0.1".into(),
                    port: 6200,
                    device: "d1".into(),
                    partition: 1,
                };
                let mut update = update(Some(record.object.clone()), record.timestamp.secs());
                update.targets = vec![target.clone()];
                let here = Some(RowHere {
                    target,
                    container: hash(2),
                    row,
                    create: None,
                    account_row: Box::new(|_| None),
                });
                Some(OwedRow { update, here })
            };
            store_owing(&self.device, 17, at, length, 17, here).await;
            self.expected.done(&name, &object);
            self.expected.done(&container_name(2), &container);
            (self.look)();
        }
    }

    /// An object with its versions: each change of them is one commit, and what had no version gets one.
    async fn versions(&mut self) {
        let n = VERSIONED;
        let data = |at: u64, length: usize| facts::object(at, at, length, n, Some(at));
        let empty = |at: u64| facts::object(at, at, 0, facts::SEED_OF_NOTHING, Some(at));
        let own = |at: u64| (object_name(n), empty(at));
        let version = |at: u64, fact: String| (version_key(at), fact);
        let gone = |at: u64| facts::tombstone(at, Some(at));
        self.put(n, 100, FILE).await;
        let changes = [
            own(101),
            version(100, data(100, FILE)),
            version(101, data(101, PIECES)),
        ];
        self.begin(&changes);
        let writer = filled(&self.device, body(PIECES, n)).await;
        let put = put_of(n, 101, n, None);
        let written = self.device.put_version(POLICY, hash(n), put, writer, owed_row);
        assert_eq!(written.await.unwrap().owed.len(), 3);
        self.done(&changes);

        self.put(n, 102, SMALL).await;
        let changes = [
            (object_name(n), gone(103)),
            version(102, data(102, SMALL)),
            version(103, empty(103)),
        ];
        self.begin(&changes);
        let marked = self
            .device
            .mark_deleted(POLICY, hash(n), delete_of(n, 103), owed_row);
        assert_eq!(marked.await.unwrap().owed.len(), 3);
        self.done(&changes);

        self.put(n, 104, FILE).await;
        let changes = [own(106), version(104, data(104, FILE))];
        self.begin(&changes);
        let current = self
            .device
            .read_object(POLICY, version_hash(101))
            .await
            .unwrap()
            .unwrap();
        let pointer = pointer_to(&current.data.unwrap(), VersionId::of(stamp(101)), None);
        let put = PutObject {
            metadata: pointer.metadata,
            etag: pointer.etag,
            delete_at: None,
            ..put_of(n, 106, n, None)
        };
        let id = VersionId::of(stamp(101));
        let pointed = self.device.put_pointer(POLICY, hash(n), id, put, owed_row);
        assert_eq!(pointed.await.unwrap().owed.len(), 2);
        self.done(&changes);

        let changes = [(object_name(n), gone(107)), version(101, gone(107))];
        self.begin(&changes);
        let deleted = self
            .device
            .delete_version(POLICY, hash(n), id, true, delete_of(n, 107), owed_row);
        assert_eq!(deleted.await.unwrap().owed.len(), 2);
        self.done(&changes);
    }

    fn begin(&self, changes: &[(String, String)]) {
        for (key, fact) in changes {
            self.expected.begin(key, fact);
        }
    }

    fn done(&mut self, changes: &[(String, String)]) {
        for (key, fact) in changes {
            self.expected.done(key, fact);
        }
        (self.look)();
    }

    /// The reclaimer's part: tombstones of objects and rows, then a whole container.
    async fn forgetting(&mut self) {
        self.delete(16, 80, None).await;
        for space in [Space::Objects(POLICY), Space::Containers] {
            let graves = self.device.graves(space, 1000, None, 1000).await.unwrap().graves;
            assert!(graves.len() > 1, "{space:?}");
            for grave in graves {
                let (key, facts) = match space {
                    Space::Containers => self.without_row(grave.name.as_deref().unwrap_or("")),
                    _ => self.without_object(grave.hash),
                };
                self.expected.begin(&key, &facts);
                assert_eq!(self.device.reclaim(vec![grave]).await, Ok(1));
                self.expected.done(&key, &facts);
                (self.look)();
            }
        }
        let key = container_name(1);
        let nothing = self
            .known(&key)
            .replace("container of b put at 70; c put at 71; e put at 71", "nothing");
        self.expected.begin(&key, &nothing);
        let gone = self.device.remove_container(Space::Containers, hash(1)).await;
        assert_eq!(gone, Ok(true));
        self.expected.done(&key, &nothing);
        (self.look)();
    }

    /// The one state a key is known to have.
    fn known(&self, key: &str) -> String {
        let facts = self.expected.now();
        let states = &facts[key];
        assert_eq!(states.len(), 1, "{states:?}");
        states.first().cloned().unwrap_or_default()
    }

    fn without_row(&self, name: &str) -> (String, String) {
        let key = container_name(1);
        let fact = self.known(&key);
        let (head, rest) = fact.split_once("container of ").unwrap();
        let (rows, owed) = rest.rsplit_once(", ").unwrap();
        let left: Vec<&str> = rows
            .split("; ")
            .filter(|row| !row.starts_with(&format!("{name} ")))
            .collect();
        let fact = format!("{head}container of {}, {owed}", left.join("; "));
        (key, fact)
    }

    fn without_object(&self, of: PathHash) -> (String, String) {
        let key = object_name(of.0[0]);
        let fact = self.known(&key);
        let (_, owed) = fact.rsplit_once(", ").unwrap();
        let fact = format!("nothing, {owed}");
        (key, fact)
    }

    async fn put(&mut self, n: u8, at: u64, length: usize) {
        let fact = facts::object(at, at, length, n, Some(at));
        self.expected.begin(&object_name(n), &fact);
        store(&self.device, n, at, length, n).await;
        self.expected.done(&object_name(n), &fact);
        (self.look)();
    }

    async fn post(&mut self, n: u8, at: u64) {
        let fact = facts::object(10, at, FILE, n, Some(at));
        self.expected.begin(&object_name(n), &fact);
        let meta = ObjectMeta {
            timestamp: stamp(at),
            metadata: vec![("x-object-meta-post".into(), at.to_string())],
            delete_at: Some(900),
            content_type: None,
        };
        let owed = update(Some(object_name(n)), at);
        let stored = self
            .device
            .post_object(POLICY, hash(n), meta, |_| Some(owed.into()))
            .await;
        assert!(matches!(stored, Ok(PostOutcome::Stored { .. })), "{stored:?}");
        self.expected.done(&object_name(n), &fact);
        (self.look)();
    }

    async fn delete(&mut self, n: u8, at: u64, owed: Option<u64>) {
        let fact = facts::tombstone(at, owed);
        self.expected.begin(&object_name(n), &fact);
        let delete = delete_of(n, at);
        let update = owed.map(|at| update(Some(object_name(n)), at));
        self.device
            .delete_object(POLICY, hash(n), delete, |_| update.map(OwedRow::from))
            .await
            .unwrap();
        self.expected.done(&object_name(n), &fact);
        (self.look)();
    }
}

/// Stores a version of an object with what is owed for it; an older one than is there is a conflict and no harm.
async fn store(device: &Device, n: u8, at: u64, length: usize, seed: u8) {
    let owed = update(Some(object_name(n)), at);
    store_owing(device, n, at, length, seed, |_| Some(owed.into())).await;
}

async fn store_owing(
    device: &Device,
    n: u8,
    at: u64,
    length: usize,
    seed: u8,
    owed: impl FnOnce(&ObjectRecord) -> Option<OwedRow> + Send + 'static,
) {
    let writer = filled(device, body(length, seed)).await;
    let put = put_of(n, at, seed, at.is_multiple_of(2).then_some(500 + at));
    device
        .put_object(POLICY, hash(n), put, writer, owed)
        .await
        .unwrap();
}

fn put_of(n: u8, at: u64, seed: u8, delete_at: Option<u64>) -> PutObject {
    PutObject {
        account: "a".into(),
        container: "c".into(),
        object: object_name(n),
        timestamp: stamp(at),
        etag: etag(seed),
        content_type: "text/plain".into(),
        metadata: vec![],
        delete_at,
        if_none_match_star: false,
    }
}

fn delete_of(n: u8, at: u64) -> DeleteObject {
    DeleteObject {
        account: "a".into(),
        container: "c".into(),
        object: object_name(n),
        timestamp: stamp(at),
        if_delete_at: None,
    }
}

/// The row of any record, owed at the second of the record.
fn owed_row(record: &ObjectRecord) -> Option<OwedRow> {
    let name = match parse_version_name(&record.object) {
        None => record.object.clone(),
        Some((_, id)) => version_key(id.moment().secs()),
    };
    Some(update(Some(name), record.timestamp.secs()).into())
}

async fn filled(device: &Device, bytes: Bytes) -> BodyWriter {
    let mut writer = device.begin_body(Some(bytes.len() as u64)).await.unwrap();
    for chunk in bytes.chunks(100_000) {
        writer.write(bytes.slice_ref(chunk)).await.unwrap();
    }
    writer
}

fn update(object: Option<String>, at: u64) -> Update {
    Update {
        account: "a".into(),
        container: match object {
            Some(_) => "c".into(),
            None => container_name(1),
        },
        object,
        op: UpdateOp::Put,
        targets: vec![],
        headers: vec![("x-timestamp".into(), stamp(at).normal())],
        coalesce: true,
    }
}

fn row(name: &str, at: u64, deleted: bool) -> Row {
    Row::Object(ObjectRow {
        name: name.into(),
        timestamp: stamp(at),
        deleted,
        size: if deleted { 0 } else { at },
        content_type: if deleted { String::new() } else { "t".into() },
        etag: if deleted { String::new() } else { etag(1) },
        content_type_timestamp: stamp(at),
        meta_timestamp: stamp(at),
        policy: POLICY,
        version: None,
    })
}

fn create() -> PutContainer {
    PutContainer {
        account: "a".into(),
        container: container_name(1),
        timestamp: stamp(1),
        policy: None,
        default_policy: POLICY,
        metadata: vec![],
    }
}

pub(crate) fn format(path: &Path) {
    Device::format(path, &config(path).identity).unwrap();
}

pub(crate) fn config(path: &Path) -> DeviceConfig {
    let identity = DeviceIdentity {
        cluster: "test".into(),
        device: "d1".into(),
    };
    let mut config = DeviceConfig::new(path, identity);
    config.reserve = Reserve::Bytes(0);
    config.removals_per_sync = 4;
    config
}

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(future)
}

pub(crate) fn object_name(n: u8) -> String {
    format!("object {n}")
}

pub(crate) fn container_name(n: u8) -> String {
    format!("container {n}")
}

/// What a version of the object that has versions is called here.
pub(crate) fn version_key(at: u64) -> String {
    format!("version {at}")
}

pub(crate) fn version_hash(at: u64) -> PathHash {
    hash(VERSIONED).version(VersionId::of(stamp(at)))
}

pub(crate) fn hash(n: u8) -> PathHash {
    PathHash([n; 16])
}

/// The seed of the body, so that a reader knows what it must read.
fn etag(seed: u8) -> String {
    format!("{seed:032x}")
}

fn stamp(at: u64) -> Timestamp {
    Timestamp::from_secs(at)
}

pub(crate) fn body(length: usize, seed: u8) -> Bytes {
    let bytes = (0..length).map(|at| (at as u8).wrapping_mul(31).wrapping_add(seed) ^ (at >> 8) as u8);
    bytes.collect::<Vec<_>>().into()
}
