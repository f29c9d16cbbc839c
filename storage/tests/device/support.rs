//! A device to try things on, and how objects and rows are made.

use bytes::Bytes;
use martlet_protocol::hash::PathHash;
use martlet_protocol::policy::PolicyIndex;
use martlet_protocol::record::ObjectMeta;
use martlet_protocol::row::ObjectRow;
use martlet_protocol::timestamp::Timestamp;
use martlet_storage::*;
use std::fs;
use std::future::Future;
use std::path::Path;

pub const POLICY: PolicyIndex = PolicyIndex(0);

pub fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

pub fn config(path: &Path) -> DeviceConfig {
    let identity = DeviceIdentity {
        cluster: "test".into(),
        device: "d1".into(),
    };
    let mut config = DeviceConfig::new(path, identity);
    config.reserve = Reserve::Bytes(0);
    config
}

pub fn open(path: &Path) -> Device {
    let config = config(path);
    Device::format(path, &config.identity).unwrap();
    Device::open(config).unwrap()
}

pub fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(secs)
}

pub fn hash(n: u8) -> PathHash {
    PathHash([n; 16])
}

pub fn body(length: usize, seed: u8) -> Bytes {
    (0..length)
        .map(|at| (at as u8).wrapping_mul(31).wrapping_add(seed))
        .collect::<Vec<_>>()
        .into()
}

pub fn put_of(secs: u64) -> PutObject {
    PutObject {
        account: "a".into(),
        container: "c".into(),
        object: "o".into(),
        timestamp: at(secs),
        etag: format!("{secs:032x}"),
        content_type: "text/plain".into(),
        metadata: vec![("x-object-meta-put".into(), secs.to_string())],
        delete_at: None,
        if_none_match_star: false,
    }
}

pub async fn put(device: &Device, n: u8, secs: u64, bytes: Bytes) -> PutOutcome {
    let mut writer = device.begin_body(Some(bytes.len() as u64)).await.unwrap();
    for chunk in bytes.chunks(100_000) {
        writer.write(bytes.slice_ref(chunk)).await.unwrap();
    }
    device
        .put_object(POLICY, hash(n), put_of(secs), writer, |_| None)
        .await
        .unwrap()
}

pub async fn post(device: &Device, n: u8, secs: u64) -> PostOutcome {
    let meta = ObjectMeta {
        timestamp: at(secs),
        metadata: vec![("x-object-meta-post".into(), secs.to_string())],
        delete_at: None,
        content_type: None,
    };
    device.post_object(POLICY, hash(n), meta, |_| None).await.unwrap()
}

pub async fn delete(device: &Device, n: u8, secs: u64) -> DeleteOutcome {
    let delete = DeleteObject {
        account: "a".into(),
        container: "c".into(),
        object: "o".into(),
        timestamp: at(secs),
        if_delete_at: None,
    };
    device
        .delete_object(POLICY, hash(n), delete, |_| None)
        .await
        .unwrap()
}

pub async fn read(
    device: &Device,
    n: u8,
    range: Option<(u64, u64)>,
) -> Result<Option<Vec<u8>>, StorageError> {
    let Some(mut open) = device.open_object(POLICY, hash(n)).await? else {
        return Ok(None);
    };
    if let Some((start, end)) = range {
        open.body.set_range(start, end);
    }
    open.body.prefetch().await?;
    let mut all = Vec::new();
    while let Some(part) = open.body.next().await? {
        all.extend_from_slice(&part);
    }
    Ok(Some(all))
}

pub fn body_files(device: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for part in fs::read_dir(device.join("bodies")).unwrap() {
        found.extend(
            fs::read_dir(part.unwrap().path())
                .unwrap()
                .map(|entry| entry.unwrap().path()),
        );
    }
    found.extend(
        fs::read_dir(device.join("incoming"))
            .unwrap()
            .map(|entry| entry.unwrap().path()),
    );
    found
}

/// A small generator with a fixed seed: the same operations on every run.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

pub fn row(random: &mut Random, name: String) -> ObjectRow {
    let secs = random.below(50) + 1;
    let deleted = random.below(3) == 0;
    ObjectRow {
        name,
        timestamp: at(secs),
        deleted,
        size: if deleted { 0 } else { secs * 10 },
        content_type: if deleted { String::new() } else { "t".into() },
        etag: if deleted {
            String::new()
        } else {
            format!("{secs:032x}")
        },
        content_type_timestamp: at(secs),
        meta_timestamp: at(secs),
        policy: PolicyIndex(0),
        version: None,
    }
}

pub fn create() -> PutContainer {
    PutContainer {
        account: "a".into(),
        container: "c".into(),
        timestamp: at(1),
        policy: None,
        default_policy: POLICY,
        metadata: vec![],
    }
}
