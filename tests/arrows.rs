//! The arrows between rooms are those of docs/ARCHITECTURE.md and no others.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Room and the rooms it may know. What is not here is forbidden.
const ALLOWED: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("ring", &["protocol"]),
    ("storage", &["protocol"]),
    ("service", &["protocol"]),
    ("node-client", &["protocol", "ring", "service"]),
    (
        "object-server",
        &["protocol", "storage", "service", "node-client"],
    ),
    (
        "container-server",
        &["protocol", "storage", "service", "node-client"],
    ),
    (
        "replicator",
        &["protocol", "ring", "storage", "service", "node-client"],
    ),
    ("proxy", &["protocol", "ring", "service", "node-client"]),
    ("s3-shim", &["protocol", "service"]),
];

/// Packages that a room must not know, whoever brings them: what makes it the room it is.
const NEVER: &[(&str, &[&str])] = &[
    ("protocol", &["tokio", "hyper", "http", "rocksdb"]),
    ("ring", &["tokio", "hyper", "http", "rocksdb"]),
    ("storage", &["hyper", "http"]),
    ("proxy", &["rocksdb"]),
    ("s3-shim", &["rocksdb"]),
];

type Graph = BTreeMap<String, BTreeSet<String>>;

/// Every package of the workspace with the packages it names as ordinary dependencies.
fn graph() -> Graph {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let text = |value: &serde_json::Value| value.as_str().expect("a string").to_owned();
    let packages = metadata["packages"]
        .as_array()
        .expect("a list of packages")
        .iter();
    packages
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("a list").iter();
            let ordinary = dependencies.filter(|dependency| dependency["kind"].is_null());
            (
                text(&package["name"]),
                ordinary.map(|dependency| text(&dependency["name"])).collect(),
            )
        })
        .collect()
}

/// Each arrow that the tables above do not allow.
fn forbidden(graph: &Graph) -> Vec<String> {
    let mut found = Vec::new();
    for (package, dependencies) in graph {
        let Some(room) = package.strip_prefix("martlet-") else {
            continue;
        };
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == room) else {
            found.push(format!("{room} is a room without a line in the table"));
            continue;
        };
        let never = NEVER
            .iter()
            .find(|(name, _)| *name == room)
            .map_or(&[][..], |(_, never)| never);
        for dependency in dependencies {
            let bad = match dependency.strip_prefix("martlet-") {
                Some(other) => !allowed.contains(&other),
                None => never.contains(&dependency.as_str()),
            };
            if bad {
                found.push(format!("{room} -> {dependency}"));
            }
        }
    }
    found
}

#[test]
fn rooms_know_only_what_they_may() {
    let graph = graph();
    assert_eq!(forbidden(&graph), Vec::<String>::new());
    let rooms = graph.keys().filter(|name| name.starts_with("martlet-")).count();
    assert_eq!(
        rooms,
        ALLOWED.len(),
        "a line of the table names a room that is not there"
    );
}

#[test]
fn a_planted_arrow_is_found() {
    let mut graph = graph();
    graph
        .get_mut("martlet-proxy")
        .unwrap()
        .insert("martlet-storage".into());
    graph.get_mut("martlet-ring").unwrap().insert("tokio".into());
    graph.insert("martlet-attic".into(), BTreeSet::new());
    let found = forbidden(&graph);
    assert_eq!(
        found,
        [
            "attic is a room without a line in the table",
            "proxy -> martlet-storage",
            "ring -> tokio"
        ]
    );
}
