//! Looks from outside at what every device holds: of one path, or of a sample of everything.

use crate::neighbours::Neighbours;
use crate::peer::PeerError;
use crate::replicator::{node_name, spaces};
use futures_util::future::join_all;
use martlet_node_client::Node;
use martlet_protocol::hash::PathHash;
use martlet_protocol::policy::PolicyIndex;
use martlet_protocol::record::{ContainerRecord, ObjectRecord};
use martlet_protocol::timestamp::Timestamp;
use martlet_ring::{Ring, RingSet};
use martlet_storage::{Space, Version};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What one device holds of a path.
#[derive(Clone, Debug, Serialize)]
pub struct CopySeen {
    /// `device@ip:port`.
    pub device: String,
    /// `primary 1`, or `handoff`.
    pub role: String,
    /// `data`, `tombstone`, `deleted`, `nothing` or `silent`.
    pub state: String,
    /// The newest change; empty when there is none.
    pub timestamp: String,
    /// Size and ETag, counts, or why the device does not answer.
    pub detail: String,
    /// Why it is as it is.
    pub why: String,
}

/// What every device of the ring holds of an object, primaries first.
pub async fn object_copies(
    neighbours: &Neighbours,
    ring: &Ring,
    policy: PolicyIndex,
    hash: PathHash,
) -> Vec<CopySeen> {
    let no_body = Timestamp::from_secs(u64::MAX);
    let asked = ordered(ring, hash).into_iter().map(|(node, role)| async move {
        let told = neighbours.peer(node).fetch(policy, hash, Some(no_body)).await;
        let told = told.map(|arrival| arrival.map(|arrival| object_seen(&arrival.record)));
        (node, role, told)
    });
    judge(join_all(asked).await)
}

/// The same of a container or an account.
pub async fn container_copies(
    neighbours: &Neighbours,
    ring: &Ring,
    space: Space,
    hash: PathHash,
) -> Vec<CopySeen> {
    let asked = ordered(ring, hash).into_iter().map(|(node, role)| async move {
        let told = neighbours.peer(node).container(space, hash).await;
        (
            node,
            role,
            told.map(|record| record.map(|record| container_seen(&record))),
        )
    });
    judge(join_all(asked).await)
}

/// The policy of a container as its replicas know it: of the one that changed its status last.
pub async fn container_policy(neighbours: &Neighbours, ring: &Ring, hash: PathHash) -> Option<PolicyIndex> {
    let primaries = ring.primaries(ring.partition(&hash)).into_iter();
    let asked = primaries.map(|node| async move {
        let told = neighbours.peer(node).container(Space::Containers, hash).await;
        told.ok().flatten()
    });
    let records = join_all(asked).await.into_iter().flatten();
    let newest = records.max_by_key(|record| record.status_changed_at)?;
    Some(newest.policy)
}

fn ordered(ring: &Ring, hash: PathHash) -> Vec<(&Node, String)> {
    let primaries = ring.primaries(ring.partition(&hash));
    let numbered = primaries.iter().enumerate();
    let mut all: Vec<(&Node, String)> = numbered
        .map(|(at, node)| (*node, format!("primary {}", at + 1)))
        .collect();
    let others = ring
        .devices()
        .filter(|node| !primaries.iter().any(|primary| primary.id == node.id));
    all.extend(others.map(|node| (node, "handoff".to_owned())));
    all
}

/// State, moment, detail.
type Seen = (&'static str, Timestamp, String);

fn object_seen(record: &ObjectRecord) -> Seen {
    match &record.data {
        None => ("tombstone", record.timestamp, String::new()),
        Some(data) => {
            let mut detail = format!("{} bytes, etag {}", data.length, data.etag);
            if let Some(at) = record.delete_at() {
                detail.push_str(&format!(", expires at {at}"));
            }
            ("data", record.newest(), detail)
        }
    }
}

fn container_seen(record: &ContainerRecord) -> Seen {
    let state = if record.is_deleted() { "deleted" } else { "data" };
    let detail = format!(
        "policy {}, {} containers, {} objects, {} bytes",
        record.policy,
        record.container_count(),
        record.object_count(),
        record.bytes_used()
    );
    (state, record.put_timestamp.max(record.delete_timestamp), detail)
}

/// A device, its role, what it said.
type Told<'r> = (&'r Node, String, Result<Option<Seen>, PeerError>);

fn judge(told: Vec<Told<'_>>) -> Vec<CopySeen> {
    let moments = told
        .iter()
        .filter_map(|(_, _, told)| Some(told.as_ref().ok()?.as_ref()?.1));
    let newest = moments.max();
    told.into_iter()
        // A device that should have nothing and has nothing is not worth a line.
        .filter(|(_, role, told)| role != "handoff" || !matches!(told, Ok(None)))
        .map(|(node, role, told)| {
            let is_primary = role != "handoff";
            let (state, at, detail, why) = match told {
                Err(error) => ("silent", None, error.to_string(), "it could not be asked"),
                Ok(None) => (
                    "nothing",
                    None,
                    String::new(),
                    match newest {
                        None => "it was never here, or was deleted so long ago that all have forgotten",
                        Some(_) => "it missed the write; replication brings it",
                    },
                ),
                Ok(Some((state, at, detail))) => (
                    state,
                    Some(at),
                    detail,
                    match (is_primary, Some(at) == newest) {
                        (true, true) => "it belongs here",
                        (true, false) => "it missed the newest change; replication brings it",
                        (false, true) => "a primary was away when it was written; it goes home",
                        (false, false) => "left from an earlier write; it goes home and is outdone there",
                    },
                ),
            };
            CopySeen {
                device: node_name(node),
                role,
                state: state.to_owned(),
                timestamp: at.map(Timestamp::internal).unwrap_or_default(),
                detail,
                why: why.to_owned(),
            }
        })
        .collect()
}

/// How well copies are spread, of one space.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Dispersion {
    pub space: String,
    /// Objects, containers or accounts that were looked at.
    pub sampled: u64,
    pub copies_expected: u64,
    /// Primaries that have the newest version.
    pub copies_found: u64,
    /// How many lack so many of their copies.
    pub missing: BTreeMap<u64, u64>,
    /// Copies on devices that are no primary for them.
    pub misplaced: u64,
    /// Devices that could not be asked: their copies count as missing.
    pub silent: BTreeSet<String>,
}

/// Compares a sample of all records, `percent` of the ranges of hashes, on all devices.
pub async fn dispersion(neighbours: &Neighbours, rings: &RingSet, percent: f64) -> Vec<Dispersion> {
    let step = (100.0 / percent.clamp(0.01, 100.0)).round().max(1.0) as usize;
    let mut reports = Vec::new();
    for (space, ring) in spaces(rings) {
        let mut report = Dispersion {
            space: crate::wire::space_name(space),
            ..Dispersion::default()
        };
        let nodes: Vec<&Node> = ring.devices().collect();
        let told = join_all(nodes.iter().map(|node| {
            let peer = neighbours.peer(node);
            async move { peer.digests(space, None).await }
        }))
        .await;
        let mut prefixes = BTreeSet::new();
        for (node, told) in nodes.iter().zip(told) {
            match told {
                Ok(told) => prefixes.extend(told.digests.into_iter().map(|(prefix, _)| prefix)),
                Err(_) => {
                    report.silent.insert(node_name(node));
                }
            }
        }
        for prefix in prefixes.into_iter().step_by(step) {
            let told = join_all(nodes.iter().map(|node| {
                let (peer, is_silent) = (neighbours.peer(node), report.silent.contains(&node_name(node)));
                async move {
                    match is_silent {
                        true => Vec::new(),
                        false => peer.versions(space, prefix).await.unwrap_or_default(),
                    }
                }
            }))
            .await;
            let held: Vec<(u32, Vec<Version>)> = nodes.iter().map(|node| node.id).zip(told).collect();
            count(ring, &held, &mut report);
        }
        reports.push(report);
    }
    reports
}

/// Adds what the devices hold of one range to a report.
fn count(ring: &Ring, held: &[(u32, Vec<Version>)], report: &mut Dispersion) {
    let mut newest: BTreeMap<PathHash, Version> = BTreeMap::new();
    for version in held.iter().flat_map(|(_, versions)| versions) {
        let known = newest.entry(version.hash).or_insert(*version);
        if version.newest > known.newest {
            *known = *version;
        }
    }
    for (hash, version) in newest {
        let primaries = ring.primaries(ring.partition(&hash));
        let is_primary = |id: &u32| primaries.iter().any(|node| node.id == *id);
        let (mut found, mut misplaced) = (0, 0);
        for (id, versions) in held {
            let Some(copy) = versions.iter().find(|copy| copy.hash == hash) else {
                continue;
            };
            match is_primary(id) {
                true => found += u64::from(copy.fingerprint == version.fingerprint),
                false => misplaced += 1,
            }
        }
        let expected = primaries.len() as u64;
        report.sampled += 1;
        report.copies_expected += expected;
        report.copies_found += found;
        report.misplaced += misplaced;
        if found < expected {
            *report.missing.entry(expected - found).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(state: &'static str, at: u64) -> Result<Option<Seen>, PeerError> {
        Ok(Some((state, Timestamp::from_secs(at), String::new())))
    }

    #[test]
    fn each_copy_is_explained() {
        let nodes: Vec<Node> = (1..=5).map(|port| Node::at("10.0.0.1", port, "d")).collect();
        let primary = |number: usize| format!("primary {number}");
        let told = vec![
            (&nodes[0], primary(1), seen("data", 5)),
            (&nodes[1], primary(2), seen("data", 3)),
            (&nodes[2], primary(3), Ok(None)),
            (&nodes[3], "handoff".to_owned(), seen("tombstone", 5)),
            (&nodes[4], "handoff".to_owned(), Ok(None)),
        ];
        let copies = judge(told);
        let why: Vec<&str> = copies.iter().map(|copy| copy.why.as_str()).collect();
        assert_eq!(
            why,
            [
                "it belongs here",
                "it missed the newest change; replication brings it",
                "it missed the write; replication brings it",
                "a primary was away when it was written; it goes home",
            ],
            "a handoff without anything is not shown"
        );
        let silent = PeerError::Silent("refused".into());
        let copies = judge(vec![
            (&nodes[0], primary(1), Err(silent)),
            (&nodes[1], primary(2), Ok(None)),
        ]);
        assert_eq!(
            (copies[0].state.as_str(), copies[1].state.as_str()),
            ("silent", "nothing")
        );
        assert!(copies[1].why.starts_with("it was never here"));
    }

    #[test]
    fn copies_are_counted_by_their_newest_version() {
        let device = |id: u32| {
            Some(Node {
                id,
                ..Node::at("10.0.0.1", id as u16, "d")
            })
        };
        let ring = Ring::new(martlet_ring::RingParts {
            part_power: 0,
            devices: (0..4).map(device).collect(),
            rows: (0..3).map(|id| martlet_ring::Row::Narrow(vec![id])).collect(),
            version: None,
            next_part_power: None,
        })
        .unwrap();
        let version = |last: u8, at: u64| {
            let mut hash = [0; 16];
            hash[15] = last;
            Version {
                hash: PathHash(hash),
                newest: Timestamp::from_secs(at),
                fingerprint: [at as u8; 16],
                bytes: 0,
            }
        };
        // The first is everywhere, the second is old on one device, the third is only on a handoff.
        let held = vec![
            (0, vec![version(1, 1), version(2, 2)]),
            (1, vec![version(1, 1), version(2, 1)]),
            (2, vec![version(1, 1), version(2, 2)]),
            (3, vec![version(3, 1)]),
        ];
        let mut report = Dispersion::default();
        count(&ring, &held, &mut report);
        assert_eq!(
            (report.sampled, report.copies_expected, report.copies_found),
            (3, 9, 5)
        );
        assert_eq!(report.missing, BTreeMap::from([(1, 1), (3, 1)]));
        assert_eq!(report.misplaced, 1);
    }
}
