//! Data by the million, put straight into the devices of a cluster that is stopped, each copy where it belongs.

use crate::clients::login;
use crate::support::{Cluster, NODES};
use bytes::Bytes;
use martlet_protocol::hash::{HashSalt, PathHash};
use martlet_protocol::policy::PolicyIndex;
use martlet_protocol::row::ObjectRow;
use martlet_protocol::timestamp::Timestamp;
use martlet_ring::Ring;
use martlet_storage::{Device, DeviceConfig, DeviceIdentity, PutObject, PutOutcome, Row, RowsOutcome, Space};
use std::time::Instant;
use tokio::task::JoinSet;

pub const ACCOUNT: &str = "AUTH_test";
const POLICY: PolicyIndex = PolicyIndex(0);
/// Writes under way on a device; half of them in one batch, so that a slow disk is not waited for a million times.
const TOGETHER: usize = 16_384;
/// Rows in one commit.
const ROWS: usize = 25_000;
pub const BODY: &[u8] =
    b"a small object, as most objects are; it lives in the index of its device beside its record. ";

/// The objects of a container, numbered.
#[derive(Clone)]
pub struct Objects {
    pub container: &'static str,
    pub count: usize,
    /// Seconds since 1970.
    pub delete_at: Option<u64>,
}

/// The name of an object: they sort as they are numbered.
pub fn name(number: usize) -> String {
    format!("object-{number:08}")
}

/// An object's path below the account.
pub fn path(container: &str, number: usize) -> String {
    format!("/{container}/{}", name(number))
}

/// How many objects make this many on each device.
pub fn objects_for(on_a_device: usize) -> usize {
    // Three copies on four devices; the ring is a little uneven.
    on_a_device * NODES / 3 + on_a_device / 50
}

struct Rings {
    objects: Ring,
    containers: Ring,
    salt: HashSalt,
    cluster: String,
}

impl Rings {
    fn of(cluster: &Cluster) -> Rings {
        let text =
            std::fs::read_to_string(cluster.node_folder(1).join("node.toml")).expect("node.toml is there");
        let config: toml::Table = text.parse().expect("node.toml is TOML");
        let text = |key: &str| config["cluster"][key].as_str().expect("a string").to_owned();
        let ring = |name: &str| {
            let bytes = std::fs::read(cluster.data().join(format!("rings/{name}.ring.gz")))
                .expect("the ring is there");
            martlet_ring::file::read(&bytes).expect("the ring is one")
        };
        Rings {
            objects: ring("object"),
            containers: ring("container"),
            salt: HashSalt {
                prefix: text("hash_path_prefix"),
                suffix: text("hash_path_suffix"),
            },
            cluster: text("name"),
        }
    }

    fn holds(ring: &Ring, hash: &PathHash, device: &str) -> bool {
        let partition = ring.partition(hash);
        ring.primaries(partition)
            .iter()
            .any(|primary| primary.device == device)
    }

    fn open(&self, cluster: &Cluster, number: usize) -> Device {
        let identity = DeviceIdentity {
            cluster: self.cluster.clone(),
            device: format!("d{number}"),
        };
        let path = cluster.node_folder(number).join("disk");
        let mut config = DeviceConfig::new(path, identity);
        config.batch_operations = TOGETHER / 2;
        config.queue_depth = TOGETHER;
        config.max_open_bodies = TOGETHER;
        Device::open(config).expect("the device opens")
    }
}

/// Makes the container of the objects and stops the cluster, whose devices have them all then.
pub async fn filled(cluster: &mut Cluster, objects: &Objects) {
    let user = login(cluster.address()).await;
    let made = user
        .call("PUT", &format!("/{}", objects.container), &[], "")
        .await;
    assert_eq!(made.status, 201, "{}", made.text());
    cluster.stop();
    self::objects(cluster, objects).await;
}

/// Puts objects on all devices that are to have them. The cluster is stopped.
pub async fn objects(cluster: &Cluster, objects: &Objects) {
    let begun = Instant::now();
    let rings = Rings::of(cluster);
    let mut copies = 0;
    for number in 1..=NODES {
        let device = rings.open(cluster, number);
        let mut waiting = JoinSet::new();
        for at in 0..objects.count {
            let object = name(at);
            let hash = rings.salt.hash(ACCOUNT, Some(objects.container), Some(&object));
            if !Rings::holds(&rings.objects, &hash, device.name()) {
                continue;
            }
            copies += 1;
            if waiting.len() >= TOGETHER {
                waiting
                    .join_next()
                    .await
                    .expect("one waits")
                    .expect("it is stored");
            }
            let put = PutObject {
                account: ACCOUNT.into(),
                container: objects.container.into(),
                object,
                timestamp: loaded_at(),
                etag: etag(),
                content_type: "text/plain".into(),
                metadata: vec![],
                delete_at: objects.delete_at,
                if_none_match_star: false,
            };
            let device = device.clone();
            waiting.spawn(async move {
                let mut body = device
                    .begin_body(Some(BODY.len() as u64))
                    .await
                    .expect("there is room");
                body.write(Bytes::from_static(BODY)).await.expect("it is written");
                let stored = device.put_object(POLICY, hash, put, body, |_| None).await;
                assert!(matches!(stored, Ok(PutOutcome::Stored { .. })), "{stored:?}");
            });
        }
        while let Some(stored) = waiting.join_next().await {
            stored.expect("it is stored");
        }
        device.close().await;
    }
    println!("{copies} copies loaded in {:.0} s", begun.elapsed().as_secs_f64());
}

/// Puts rows of objects into a container that is there, on each of its devices. The cluster is stopped.
pub async fn rows(cluster: &Cluster, container: &str, count: usize) {
    let begun = Instant::now();
    let rings = Rings::of(cluster);
    let hash = rings.salt.hash(ACCOUNT, Some(container), None);
    for number in 1..=NODES {
        if !Rings::holds(&rings.containers, &hash, &format!("d{number}")) {
            continue;
        }
        let device = rings.open(cluster, number);
        for first in (0..count).step_by(ROWS) {
            let rows = (first..count.min(first + ROWS)).map(row).collect();
            let stored = device
                .put_rows(Space::Containers, hash, rows, None, |_| None)
                .await;
            assert_eq!(stored, Ok(RowsOutcome::Stored));
        }
        device.close().await;
    }
    println!(
        "{count} rows on each replica of {container} in {:.0} s",
        begun.elapsed().as_secs_f64()
    );
}

fn row(number: usize) -> Row {
    Row::Object(ObjectRow {
        name: name(number),
        timestamp: loaded_at(),
        deleted: false,
        size: BODY.len() as u64,
        content_type: "text/plain".into(),
        etag: etag(),
        content_type_timestamp: loaded_at(),
        meta_timestamp: loaded_at(),
        policy: POLICY,
        version: None,
    })
}

/// Everything was written at one moment of 2023.
fn loaded_at() -> Timestamp {
    Timestamp::from_secs(1_700_000_000)
}

fn etag() -> String {
    use md5::{Digest, Md5};
    let digest = Md5::digest(BODY);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
