//! Where things live: primaries and handoffs of a path, and which container replica each object request tells.

use super::freshness::{Freshness, Health};
use super::quorum::quorum_size;
use arc_swap::ArcSwap;
use martlet_node_client::Node;
use martlet_protocol::hash::PathHash;
use martlet_protocol::policy::PolicyIndex;
use martlet_protocol::timestamp::Timestamp;
use martlet_ring::{Ring, RingSet};
use martlet_service::Clock;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

/// A device of a ring, with what this proxy knows of it. One device in several rings shares its record.
#[derive(Debug)]
pub struct Peer {
    pub node: Node,
    pub record: Arc<PeerRecord>,
}

/// What this proxy knows of a device.
#[derive(Debug)]
pub struct PeerRecord {
    pub freshness: Freshness,
    pub health: Health,
}

/// Which ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    Account,
    Container,
    Object(PolicyIndex),
}

impl Which {
    /// The word of `X-Backend-Martlet-Server`.
    pub fn server(self) -> &'static str {
        match self {
            Which::Account => "account",
            Which::Container => "container",
            Which::Object(_) => "object",
        }
    }
}

/// Where a path was before the rings changed, for as long as that matters: until all of its new devices have proved that
/// they have what they were given. Empty nearly always.
#[derive(Clone, Debug, Default)]
pub struct RingChange {
    /// For each primary, whether it is new and may have nothing yet. Empty when none is.
    pub newcomers: Vec<bool>,
    /// Devices that were primaries, are not now, and are still in the ring.
    pub former: Vec<Arc<Peer>>,
    /// Replicas that the path had.
    pub former_replicas: usize,
}

/// The devices that hold one path.
#[derive(Clone, Debug)]
pub struct Placement {
    pub which: Which,
    pub partition: u32,
    /// In ring order.
    pub primaries: Vec<Arc<Peer>>,
    /// How many replicas the ring keeps of this partition.
    pub replicas: usize,
    /// What the last changes of the rings mean for this path.
    pub change: RingChange,
    table: Arc<Table>,
}

impl Placement {
    /// Devices that stand in for primaries, nearest first: as many as there are primaries, as Swift's
    /// `request_node_count = 2 * replicas`.
    pub fn handoffs(&self) -> Vec<Arc<Peer>> {
        let Some(ring) = self.table.ring(self.which) else {
            return Vec::new();
        };
        let handoffs = ring.ring.handoffs(self.partition).take(self.primaries.len());
        handoffs.filter_map(|device| ring.peer(device.id)).collect()
    }

    pub fn quorum(&self) -> usize {
        quorum_size(self.replicas)
    }
}

/// What is known of each device, by ip, port and device name.
type Records = Mutex<HashMap<(String, u16, String), Arc<PeerRecord>>>;

/// Places paths. Follows ring reloads: the table of peers is made anew when the ring set is another.
#[derive(Debug)]
pub struct Placer {
    rings: Arc<ArcSwap<RingSet>>,
    table: ArcSwap<Table>,
    proxy_start: Timestamp,
    clock: Clock,
    /// Grows with the devices ever seen in a ring.
    records: Records,
}

/// Rings before the ones in force that are remembered: more changes than anyone makes while one replication pass runs.
const FORMER_TABLES: usize = 3;

#[derive(Debug)]
struct Table {
    set: Arc<RingSet>,
    fingerprint: u64,
    /// The newest first; these have no former ones themselves.
    former: Vec<Arc<Table>>,
    account: Vec<Option<Arc<Peer>>>,
    container: Vec<Option<Arc<Peer>>>,
    objects: BTreeMap<PolicyIndex, Vec<Option<Arc<Peer>>>>,
}

/// A device has one record, however many rings name it and under whatever id.
fn is_same(one: &Arc<Peer>, other: &Arc<Peer>) -> bool {
    Arc::ptr_eq(&one.record, &other.record)
}

struct TableRing<'a> {
    ring: &'a Ring,
    peers: &'a [Option<Arc<Peer>>],
}

impl TableRing<'_> {
    fn peer(&self, id: u32) -> Option<Arc<Peer>> {
        self.peers.get(id as usize)?.clone()
    }
}

impl Table {
    fn without_former(&self) -> Table {
        Table {
            set: Arc::clone(&self.set),
            fingerprint: self.fingerprint,
            former: Vec::new(),
            account: self.account.clone(),
            container: self.container.clone(),
            objects: self.objects.clone(),
        }
    }

    fn all_peers(&self) -> impl Iterator<Item = &Arc<Peer>> {
        let objects = self.objects.values();
        [&self.account, &self.container]
            .into_iter()
            .chain(objects)
            .flatten()
            .flatten()
    }

    /// The devices that these rings give a path.
    fn primaries(&self, which: Which, hash: &PathHash) -> Vec<Arc<Peer>> {
        let Some(ring) = self.ring(which) else {
            return Vec::new();
        };
        let devices = ring.ring.primaries(ring.ring.partition(hash));
        devices.iter().filter_map(|device| ring.peer(device.id)).collect()
    }

    fn change(&self, which: Which, hash: &PathHash, primaries: &[Arc<Peer>]) -> RingChange {
        let mut change = RingChange::default();
        for table in &self.former {
            let before = table.primaries(which, hash);
            let is_new = |peer: &Arc<Peer>| {
                !before.iter().any(|other| is_same(other, peer)) && !peer.record.freshness.is_hoped()
            };
            let newcomers: Vec<bool> = primaries.iter().map(is_new).collect();
            if before.is_empty() || !newcomers.contains(&true) {
                continue;
            }
            change.former_replicas = change.former_replicas.max(before.len());
            change.newcomers.resize(primaries.len(), false);
            for (all, one) in change.newcomers.iter_mut().zip(newcomers) {
                *all |= one;
            }
            for peer in before {
                let known = |others: &[Arc<Peer>]| others.iter().any(|other| is_same(other, &peer));
                if !known(primaries)
                    && !known(&change.former)
                    && self.all_peers().any(|other| is_same(other, &peer))
                {
                    change.former.push(peer);
                }
            }
        }
        change
    }

    fn ring(&self, which: Which) -> Option<TableRing<'_>> {
        Some(match which {
            Which::Account => TableRing {
                ring: &self.set.account,
                peers: &self.account,
            },
            Which::Container => TableRing {
                ring: &self.set.container,
                peers: &self.container,
            },
            Which::Object(policy) => TableRing {
                ring: self.set.object(policy)?,
                peers: self.objects.get(&policy)?,
            },
        })
    }
}

impl Placer {
    pub fn new(rings: Arc<ArcSwap<RingSet>>, clock: Clock) -> Self {
        let proxy_start = clock.now();
        let records = Mutex::new(HashMap::new());
        let table = ArcSwap::from(Self::make_table(
            &records,
            proxy_start,
            rings.load_full(),
            Vec::new(),
        ));
        Placer {
            rings,
            table,
            proxy_start,
            clock,
            records,
        }
    }

    /// Where a path of this hash lives; `None` when there is no ring for the policy.
    pub fn place(&self, which: Which, hash: &PathHash) -> Option<Placement> {
        let table = self.current();
        let ring = table.ring(which)?;
        let partition = ring.ring.partition(hash);
        let devices = ring.ring.primaries(partition);
        let primaries: Vec<Arc<Peer>> = devices.iter().filter_map(|device| ring.peer(device.id)).collect();
        let replicas = primaries.len();
        let change = table.change(which, hash, &primaries);
        Some(Placement {
            which,
            partition,
            primaries,
            replicas,
            change,
            table: Arc::clone(&table),
        })
    }

    fn current(&self) -> Arc<Table> {
        let rings = self.rings.load();
        let table = self.table.load_full();
        if Arc::ptr_eq(&rings, &table.set) {
            return table;
        }
        self.follow(&table, &rings)
    }

    /// Makes the table of other rings. What devices said of themselves by the former ones no longer counts, and where
    /// things were is remembered.
    fn follow(&self, before: &Table, rings: &Arc<RingSet>) -> Arc<Table> {
        let moves = rings.fingerprint() != before.fingerprint;
        let former = if moves {
            let kept = before.former.iter().take(FORMER_TABLES - 1).cloned();
            std::iter::once(Arc::new(before.without_former()))
                .chain(kept)
                .collect()
        } else {
            before.former.clone()
        };
        let table = Self::make_table(&self.records, self.proxy_start, Arc::clone(rings), former);
        if moves {
            // Rings may come back: a round by the same ones that began before says nothing of what was written meanwhile.
            let now = self.clock.now();
            for peer in table.all_peers() {
                peer.record.freshness.miss(now);
            }
        }
        self.table.store(Arc::clone(&table));
        table
    }

    /// Of the rings in force.
    pub fn fingerprint(&self) -> u64 {
        self.current().fingerprint
    }

    fn make_table(
        records: &Records,
        proxy_start: Timestamp,
        set: Arc<RingSet>,
        former: Vec<Arc<Table>>,
    ) -> Arc<Table> {
        let mut records = records.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut peers = |ring: &Ring| -> Vec<Option<Arc<Peer>>> {
            let slots = ring.device_slots().iter().map(Option::as_ref);
            slots
                .map(|slot| {
                    let node = slot?.clone();
                    let key = (node.ip.clone(), node.port, node.device.clone());
                    let record = records.entry(key).or_insert_with(|| {
                        Arc::new(PeerRecord {
                            freshness: Freshness::new(proxy_start),
                            health: Health::default(),
                        })
                    });
                    Some(Arc::new(Peer {
                        node,
                        record: Arc::clone(record),
                    }))
                })
                .collect()
        };
        let account = peers(&set.account);
        let container = peers(&set.container);
        let objects = set
            .objects
            .iter()
            .map(|(policy, ring)| (*policy, peers(ring)))
            .collect();
        Arc::new(Table {
            account,
            container,
            objects,
            fingerprint: set.fingerprint(),
            former,
            set,
        })
    }
}

/// The replicas above that one request of several is to tell of its change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpdateAssignment {
    /// `ip:port`, comma separated.
    pub hosts: String,
    /// Device names, comma separated, in the order of `hosts`.
    pub devices: String,
}

/// Deals the replicas above (a container's, an account's) to the requests below, one for each of the nodes `below`. Each
/// replica is dealt once, and when a quorum of requests could otherwise leave less than a quorum of replicas told, some
/// twice: with `n` requests of which any `n - q` may fail, `n - q + quorum(replicas)` are dealt at least.
///
/// A replica goes to the request of its own device, or else of its own machine, where there is one: such news needs no
/// connection, and in a small cluster most are such.
pub fn assign_updates(
    above: &[Arc<Peer>],
    below: &[Arc<Peer>],
    request_quorum: usize,
) -> Vec<UpdateAssignment> {
    let requests = below.len();
    let mut assignments = vec![UpdateAssignment::default(); requests];
    if above.is_empty() || requests == 0 {
        return assignments;
    }
    let needed = requests.saturating_sub(request_quorum) + quorum_size(above.len());
    let order = nearest_first(above, below);
    for dealt in 0..needed.max(above.len()) {
        let peer = &order[dealt % order.len()].node;
        let assignment = &mut assignments[dealt % requests];
        if !assignment.hosts.is_empty() {
            assignment.hosts.push(',');
            assignment.devices.push(',');
        }
        assignment
            .hosts
            .push_str(&format!("{}:{}", host(&peer.ip), peer.port));
        assignment.devices.push_str(&peer.device);
    }
    assignments
}

/// The replicas above, so that as many as can be stand at the place of a node below that is near.
fn nearest_first<'a>(above: &'a [Arc<Peer>], below: &[Arc<Peer>]) -> Vec<&'a Arc<Peer>> {
    let mut left: Vec<&Arc<Peer>> = above.iter().collect();
    let mut places: Vec<Option<&Arc<Peer>>> = vec![None; below.len().min(above.len())];
    let same_machine = |one: &Node, other: &Node| one.ip == other.ip;
    let same_device = |one: &Node, other: &Node| one.ip == other.ip && one.device == other.device;
    let anywhere = |_: &Node, _: &Node| true;
    let nearness: [fn(&Node, &Node) -> bool; 3] = [same_device, same_machine, anywhere];
    for is_near in nearness {
        for (place, own) in places.iter_mut().zip(below) {
            let found = left.iter().position(|peer| is_near(&peer.node, &own.node));
            if place.is_none()
                && let Some(found) = found
            {
                *place = Some(left.remove(found));
            }
        }
    }
    places.into_iter().flatten().chain(left).collect()
}

/// An IPv6 address in brackets, so that its port can be told from it.
fn host(ip: &str) -> String {
    if ip.contains(':') {
        format!("[{ip}]")
    } else {
        ip.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A peer of its own machine.
    fn peer(id: u32) -> Arc<Peer> {
        at(&format!("10.0.0.{id}"), &format!("d{id}"))
    }

    fn at(ip: &str, device: &str) -> Arc<Peer> {
        let record = PeerRecord {
            freshness: Freshness::new(Timestamp::ZERO),
            health: Health::default(),
        };
        let node = Node {
            id: 0,
            region: 1,
            zone: 1,
            ip: ip.into(),
            port: 6200,
            replication_ip: ip.into(),
            replication_port: 6200,
            device: device.into(),
            weight: 1.0,
            meta: String::new(),
        };
        Arc::new(Peer {
            node,
            record: Arc::new(record),
        })
    }

    fn dealt_devices(above: &[Arc<Peer>], below: &[Arc<Peer>], quorum: usize) -> Vec<String> {
        let dealt = assign_updates(above, below, quorum);
        dealt.into_iter().map(|assignment| assignment.devices).collect()
    }

    #[test]
    fn container_replicas_are_dealt_evenly_and_enough() {
        for (replicas, requests, quorum, expected) in [
            (3, 3, 2, vec!["d0", "d1", "d2"]),
            (3, 2, 2, vec!["d0,d2", "d1"]),
            (2, 3, 2, vec!["d0", "d1", "d0"]),
            (1, 3, 2, vec!["d0", "d0", ""]),
            (5, 3, 2, vec!["d0,d3", "d1,d4", "d2"]),
            (3, 1, 1, vec!["d0,d1,d2"]),
            (0, 3, 2, vec!["", "", ""]),
        ] {
            let above: Vec<_> = (0..replicas).map(peer).collect();
            let below: Vec<_> = (0..requests).map(|id| peer(100 + id)).collect();
            let devices = dealt_devices(&above, &below, quorum);
            assert_eq!(devices, expected, "{replicas} replicas, {requests} requests");
        }
        let dealt = assign_updates(&[peer(0), peer(1)], &[peer(2)], 1);
        assert_eq!(dealt[0].hosts, "10.0.0.0:6200,10.0.0.1:6200");
    }

    #[test]
    fn container_replicas_are_dealt_to_their_own_device_or_machine() {
        let on = |places: &[(&str, &str)]| -> Vec<Arc<Peer>> {
            places.iter().map(|(ip, device)| at(ip, device)).collect()
        };
        for (above, below, expected) in [
            // Three of four single-device machines each: two meet themselves.
            (
                on(&[("1", "a"), ("2", "b"), ("3", "c")]),
                on(&[("4", "d"), ("3", "c"), ("1", "a")]),
                ["b", "c", "a"],
            ),
            // A device of its own machine is nearer than another machine.
            (
                on(&[("1", "a"), ("1", "b"), ("2", "c")]),
                on(&[("2", "x"), ("1", "b"), ("1", "y")]),
                ["c", "b", "a"],
            ),
        ] {
            assert_eq!(dealt_devices(&above, &below, 2), expected);
        }
    }
}
