//! What an operator asks of a running cluster: `martlet status`, `where`, `recon`, `dispersion`.

mod table;

use crate::cli::{ClusterOptions, DispersionOptions, ReconOptions, WhereOptions};
use crate::config::NodeConfig;
use crate::control::nodes_below;
use crate::rings::RingWatch;
use crate::security::Security;
use http::Method;
use martlet_node_client::{BackendRequest, Node, NodeClient, NodeClientConfig};
use martlet_protocol::policy::PolicyIndex;
use martlet_replicator::inspect::{self, CopySeen};
use martlet_replicator::{Neighbours, Remaining, Rings, status::ClockStatus, status::DeviceStatus};
use martlet_ring::RingSet;
use martlet_service::{Skews, collect};
use martlet_storage::Space;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use table::Table;

/// An answer about a node is a few lines for each device.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// For one answer, milliseconds.
const TIMEOUT_MS: u64 = 10_000;

/// A cluster seen from outside.
struct Cluster {
    config: NodeConfig,
    rings: Rings,
    client: NodeClient,
}

impl Cluster {
    fn open(options: &ClusterOptions) -> Result<Cluster, Box<dyn Error>> {
        let path = match (&options.config, &options.data) {
            (Some(config), _) => config.clone(),
            (None, Some(data)) => nodes_below(data)?.swap_remove(0),
            (None, None) => unreachable!("clap asks for one of the two"),
        };
        let config = NodeConfig::load(&path)?;
        let rings = RingWatch::open(&config.cluster)?.rings();
        let client = Security::open(&config.cluster)?.client(NodeClientConfig {
            response_timeout_ms: TIMEOUT_MS,
            ..Default::default()
        });
        Ok(Cluster {
            config,
            rings,
            client,
        })
    }

    fn neighbours(&self) -> Neighbours {
        Neighbours::new(Vec::new(), self.client.clone(), TIMEOUT_MS)
    }

    /// Every address that the rings name, with the devices behind it.
    fn nodes(&self) -> BTreeMap<(String, u16), BTreeSet<String>> {
        let rings: &RingSet = &self.rings.load();
        let mut nodes: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
        for ring in [&rings.account, &rings.container]
            .into_iter()
            .chain(rings.objects.values())
        {
            for device in ring.devices() {
                let address = (device.ip.clone(), device.port);
                nodes.entry(address).or_default().insert(device.device.clone());
            }
        }
        nodes
    }

    /// `GET /first/rest` of a storage node.
    async fn get(&self, ip: &str, port: u16, first: &str, rest: &str) -> Result<Value, String> {
        // The path has no device: the first half of it stands there.
        let node = Node::at(ip, port, first);
        let request = BackendRequest::new(Method::GET, rest);
        let response = self
            .client
            .call(&node, request)
            .await
            .map_err(|error| error.to_string())?;
        let status = response.status();
        let body = collect(response.into_body(), MAX_ANSWER_BYTES)
            .await
            .map_err(|error| format!("{error:?}"))?;
        if !status.is_success() {
            return Err(format!("{status} {}", String::from_utf8_lossy(&body)));
        }
        serde_json::from_slice(&body).map_err(|error| error.to_string())
    }
}

/// Every device. Fails when one is not as it should be, so that scripts can ask.
pub async fn status(options: &ClusterOptions) -> Result<(), Box<dyn Error>> {
    let cluster = Cluster::open(options)?;
    let mut all: Vec<(String, DeviceStatus)> = Vec::new();
    let mut clocks = Clocks::default();
    for ((ip, port), names) in cluster.nodes() {
        let node = format!("{ip}:{port}");
        let told = cluster.get(&ip, port, "martlet", "/status").await;
        let told = told.and_then(|told| {
            clocks.node(&node, &told["clock"]);
            serde_json::from_value::<Vec<DeviceStatus>>(told["devices"].clone())
                .map_err(|error| error.to_string())
        });
        match told {
            Ok(devices) => {
                let known: BTreeSet<String> = devices.iter().map(|device| device.device.clone()).collect();
                all.extend(devices.into_iter().map(|device| (node.clone(), device)));
                let strange = names.difference(&known);
                all.extend(strange.map(|name| (node.clone(), absent(name, "the node has no such device"))));
            }
            Err(reason) => all.extend(names.iter().map(|name| (node.clone(), absent(name, &reason)))),
        }
    }
    clocks.own(cluster.client.skews());
    let bad = all.iter().filter(|(_, device)| device.state != "ok").count();
    if options.json {
        let listed: Vec<Value> = all
            .iter()
            .map(|(node, device)| json!({ "node": node, "status": device, "clock_ahead_seconds": clocks.seen_here.get(node) }))
            .collect();
        println!("{}", serde_json::to_string_pretty(&listed)?);
    } else {
        let mut table = Table::new(&[
            "DEVICE",
            "NODE",
            "STATE",
            "FILL",
            "OBJECTS",
            "TOMBSTONES",
            "BYTES",
            "LAG",
            "TO DO",
            "OUTBOX",
            "QUARANTINE",
            "STRAYS",
            "UNSENT",
            "CLOCK",
        ]);
        for (node, device) in &all {
            table.row(row_of(node, device, clocks.seen_here.get(node)));
        }
        print!("{table}");
        clocks.wrong.iter().for_each(|line| println!("{line}"));
        for (node, device) in all.iter().filter(|(_, device)| !device.reason.is_empty()) {
            println!("{}@{node}: {}", device.device, device.reason);
        }
    }
    match (bad, clocks.wrong.len()) {
        (0, 0) => Ok(()),
        (0, _) => Err("clocks are not in step".into()),
        (bad, _) => Err(format!("{bad} of {} devices are not ok", all.len()).into()),
    }
}

/// What nodes, and this machine, found out about clocks.
#[derive(Default)]
struct Clocks {
    /// Node, and by how many seconds its clock is ahead of this machine's.
    seen_here: BTreeMap<String, f64>,
    wrong: Vec<String>,
}

impl Clocks {
    /// What a node told of the clocks of others.
    fn node(&mut self, node: &str, told: &Value) {
        let Ok(told) = serde_json::from_value::<ClockStatus>(told.clone()) else {
            return;
        };
        self.judge(node, &told.skews, told.limit_seconds);
    }

    fn own(&mut self, skews: &Skews) {
        self.seen_here = skews.all();
        let seen = self.seen_here.clone();
        self.judge("this machine", &seen, skews.limit_seconds());
    }

    fn judge(&mut self, by: &str, skews: &BTreeMap<String, f64>, limit: f64) {
        let off = skews.iter().filter(|(_, seconds)| seconds.abs() > limit);
        self.wrong.extend(off.map(|(peer, seconds)| {
            let way = if *seconds > 0.0 { "ahead of" } else { "behind" };
            format!("the clock of {peer} is {:.1} s {way} that of {by}", seconds.abs())
        }));
    }
}

fn absent(name: &str, reason: &str) -> DeviceStatus {
    DeviceStatus {
        device: name.to_owned(),
        state: "unreachable".into(),
        reason: reason.to_owned(),
        lag_seconds: -1.0,
        ..DeviceStatus::default()
    }
}

fn row_of(node: &str, device: &DeviceStatus, clock_ahead: Option<&f64>) -> Vec<String> {
    let used = device.total_bytes.saturating_sub(device.free_bytes);
    let fill = match device.total_bytes {
        0 => "-".to_owned(),
        total => format!("{:.1}%", used as f64 * 100.0 / total as f64),
    };
    let lag = match device.lag_seconds {
        lag if lag < 0.0 => "never".to_owned(),
        lag => format!("{lag:.0}s"),
    };
    vec![
        device.device.clone(),
        node.to_owned(),
        device.state.clone(),
        fill,
        device.objects.to_string(),
        device.tombstones.to_string(),
        device.bytes.to_string(),
        lag,
        to_do(&device.remaining),
        device.outbox.to_string(),
        device.quarantined.to_string(),
        device.strays.to_string(),
        device.unsent.to_string(),
        clock_ahead.map_or("-".to_owned(), |seconds| format!("{seconds:+.1}s")),
    ]
}

/// Records and bytes that are still to be pulled (`<`) and to go home (`>`).
fn to_do(remaining: &Remaining) -> String {
    let part = |sign: char, records: u64, bytes: u64| match (records, bytes) {
        (0, 0) => None,
        (records, bytes) => Some(format!("{sign}{records} ({bytes} B)")),
    };
    let pulled = part('<', remaining.missing, remaining.missing_bytes);
    let pushed = part('>', remaining.misplaced, remaining.misplaced_bytes);
    let parts: Vec<String> = pulled.into_iter().chain(pushed).collect();
    match parts.is_empty() {
        true => "-".to_owned(),
        false => parts.join(" "),
    }
}

/// Each copy of a path.
pub async fn locate(options: &WhereOptions) -> Result<(), Box<dyn Error>> {
    let cluster = Cluster::open(&options.cluster)?;
    let (account, container, object) = split(&options.path)?;
    let (neighbours, salt) = (cluster.neighbours(), cluster.config.cluster.salt());
    let rings = cluster.rings.load_full();
    let hash = salt.hash(account, container, object);
    let (ring, copies, policy) = match (container, object) {
        (Some(container), Some(_)) => {
            let container_hash = salt.hash(account, Some(container), None);
            let asked = match options.policy {
                Some(policy) => Some(PolicyIndex(policy)),
                None => inspect::container_policy(&neighbours, &rings.container, container_hash).await,
            };
            let policy = asked.ok_or("no server knows the container: say --policy to look all the same")?;
            let ring = rings
                .object(policy)
                .ok_or_else(|| format!("policy {policy} has no ring"))?;
            let copies = inspect::object_copies(&neighbours, ring, policy, hash).await;
            (ring, copies, Some(policy.0))
        }
        (Some(_), None) => {
            let copies =
                inspect::container_copies(&neighbours, &rings.container, Space::Containers, hash).await;
            (&rings.container, copies, None)
        }
        (None, _) => {
            let copies = inspect::container_copies(&neighbours, &rings.account, Space::Accounts, hash).await;
            (&rings.account, copies, None)
        }
    };
    let partition = ring.partition(&hash);
    if options.cluster.json {
        let answer = json!({
            "hash": hash.to_string(), "partition": partition, "policy": policy, "copies": copies,
        });
        println!("{}", serde_json::to_string_pretty(&answer)?);
        return Ok(());
    }
    let policy = policy
        .map(|policy| format!(", policy {policy}"))
        .unwrap_or_default();
    println!("hash {hash}, partition {partition}{policy}");
    let mut table = Table::new(&["DEVICE", "ROLE", "STATE", "TIMESTAMP", "WHAT", "WHY"]);
    for copy in copies {
        let CopySeen {
            device,
            role,
            state,
            timestamp,
            detail,
            why,
        } = copy;
        table.row(vec![device, role, state, timestamp, detail, why]);
    }
    print!("{table}");
    Ok(())
}

/// Account, container, object.
type Path<'a> = (&'a str, Option<&'a str>, Option<&'a str>);

fn split(path: &str) -> Result<Path<'_>, String> {
    let bare = path.trim_start_matches('/');
    let bare = bare.strip_prefix("v1/").unwrap_or(bare);
    let mut parts = bare.splitn(3, '/');
    let mut next = || parts.next().filter(|part| !part.is_empty());
    match next() {
        Some(account) => Ok((account, next(), next())),
        None => Err(format!("{path} names no account")),
    }
}

/// One question of `swift-recon`, to every node.
pub async fn recon(options: &ReconOptions) -> Result<(), Box<dyn Error>> {
    let cluster = Cluster::open(&options.cluster)?;
    let mut answers = serde_json::Map::new();
    let mut failed = 0;
    for (ip, port) in cluster.nodes().into_keys() {
        let path = format!("/{}", options.check.trim_matches('/'));
        let answer = cluster.get(&ip, port, "recon", &path).await;
        let answer = answer.unwrap_or_else(|reason| {
            failed += 1;
            json!({ "error": reason })
        });
        if !options.cluster.json {
            println!("{ip}:{port}: {answer}");
        }
        answers.insert(format!("{ip}:{port}"), answer);
    }
    if options.cluster.json {
        println!("{}", serde_json::to_string_pretty(&answers)?);
    }
    match failed {
        0 => Ok(()),
        failed => Err(format!("{failed} nodes did not answer").into()),
    }
}

/// How many copies are where they belong. Fails when some are not.
pub async fn dispersion(options: &DispersionOptions) -> Result<(), Box<dyn Error>> {
    let cluster = Cluster::open(&options.cluster)?;
    let rings = cluster.rings.load_full();
    let reports = inspect::dispersion(&cluster.neighbours(), &rings, options.percent).await;
    let mut missing = 0;
    if options.cluster.json {
        println!("{}", serde_json::to_string_pretty(&reports)?);
    }
    for report in &reports {
        missing += report.copies_expected - report.copies_found;
        if options.cluster.json {
            continue;
        }
        let share = match report.copies_expected {
            0 => 100.0,
            expected => report.copies_found as f64 * 100.0 / expected as f64,
        };
        println!(
            "{}: {share:.2}% of copies found ({} of {} of {} sampled), {} misplaced",
            report.space, report.copies_found, report.copies_expected, report.sampled, report.misplaced
        );
        for (lacking, count) in &report.missing {
            println!("  {count} lack {lacking} of their copies");
        }
        for device in &report.silent {
            println!("  {device} could not be asked");
        }
    }
    match missing {
        0 => Ok(()),
        missing => Err(format!("{missing} copies are missing").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_do_is_told_in_records_and_bytes() {
        let mut remaining = Remaining::default();
        assert_eq!(to_do(&remaining), "-");
        (remaining.missing, remaining.missing_bytes) = (12, 3456);
        assert_eq!(to_do(&remaining), "<12 (3456 B)");
        (remaining.misplaced, remaining.misplaced_bytes) = (1, 0);
        assert_eq!(to_do(&remaining), "<12 (3456 B) >1 (0 B)");
    }

    #[test]
    fn paths_may_be_given_as_clients_see_them() {
        assert_eq!(split("/v1/a/c/o/p"), Ok(("a", Some("c"), Some("o/p"))));
        assert_eq!(split("a/c"), Ok(("a", Some("c"), None)));
        assert_eq!(split("/a/"), Ok(("a", None, None)));
        assert!(split("/").is_err() && split("/v1/").is_err());
    }
}
