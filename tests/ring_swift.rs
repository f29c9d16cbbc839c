//! Swift's own ring tools beside ours: each opens what the other wrote, and ours builds rings at least as good.
//!
//! Swift comes from the environment that `make deps-test` makes for the conformance suite. With
//! `MARTLET_RING_TABLE=FILE` the comparison is written there as the table of `docs/ring.md`.

use martlet_ring::Builder;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tool {
    Swift,
    Martlet,
}

/// `swift-ring-builder` of the environment with Swift in it.
fn swift_ring_builder() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache");
    let tool = cache
        .unwrap_or_else(home)
        .join("martlet/conformance/bin/swift-ring-builder");
    assert!(
        tool.is_file(),
        "{} is missing: run `make deps-test`",
        tool.display()
    );
    tool
}

impl Tool {
    /// Runs words on a builder; its output. Warnings (exit code 1) are no failures.
    fn run(self, folder: &Path, words: &str) -> String {
        let mut command = match self {
            Tool::Swift => Command::new(swift_ring_builder()),
            Tool::Martlet => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_martlet"));
                command.arg("ring");
                command
            }
        };
        let output = command
            .current_dir(folder)
            .args(words.split_whitespace())
            .output()
            .unwrap();
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 1)), "{self:?} {words}: {out}{errors}");
        out
    }

    fn other(self) -> Tool {
        match self {
            Tool::Swift => Tool::Martlet,
            Tool::Martlet => Tool::Swift,
        }
    }
}

fn load(folder: &Path) -> Builder {
    let bytes = std::fs::read(folder.join("object.builder")).unwrap();
    Builder::from_file(&bytes).unwrap()
}

#[test]
fn each_opens_what_the_other_wrote() {
    for tool in [Tool::Swift, Tool::Martlet] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let run = |words: &str| tool.run(folder, &format!("object.builder {words}"));
        let other = |words: &str| tool.other().run(folder, &format!("object.builder {words}"));
        run("create 6 2.5 1");
        let fresh = other("");
        assert!(
            fresh.contains("64 partitions, 2.500000 replicas, 0 regions"),
            "{fresh}"
        );
        for disk in 0..6 {
            run(&format!(
                "add r{}z{disk}-10.0.0.{disk}:6200R10.0.1.{disk}:6300/sdä_meta 10{disk}",
                disk % 2
            ));
        }
        assert!(other("").contains("6 devices"));
        for version in [1, 2] {
            run(&format!("rebalance --seed 1 --force --format-version {version}"));
            let report = other("");
            assert!(
                report.contains("Ring file object.ring.gz is up-to-date"),
                "{tool:?} {version}: {report}"
            );
            let ring = tool.other().run(folder, "object.ring.gz version");
            assert!(
                ring.contains(&format!("Serialization version: {version} (2-byte")),
                "{ring}"
            );
        }
        other("validate");
        run("remove d5");
        assert!(other("").contains("DEL"), "{tool:?}");
        // The other goes on where this one stopped, and back.
        other("set_weight d1 55");
        other("pretend_min_part_hours_passed");
        other("rebalance --force --seed 2");
        let report = run("");
        assert!(
            report.contains("Ring file object.ring.gz is up-to-date"),
            "{tool:?}: {report}"
        );
        assert!(report.contains("5 devices"), "{tool:?}: {report}");
        run("prepare_increase_partition_power");
        other("increase_partition_power");
        run("write_ring --format-version 2 --dev-id-bytes 4");
        let report = other("");
        assert!(report.contains("128 partitions"), "{tool:?}: {report}");
        assert!(report.contains("is up-to-date"), "{tool:?}: {report}");
        other("finish_increase_partition_power");
        run("validate");
        run("dispersion -v");
    }
}

/// One change of a cluster and how both tools took it.
struct Scenario {
    name: &'static str,
    create: &'static str,
    /// Commands before each rebalance, and what they are called in the table.
    rounds: Vec<(&'static str, Vec<String>)>,
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|one| (*one).to_owned()).collect()
}

/// `count` devices of a server.
fn server(region: u32, zone: u32, server: u32, count: u32, weight: &dyn Fn(u32) -> f64) -> Vec<String> {
    let device = |disk| {
        format!(
            "add r{region}z{zone}-10.{region}.{zone}.{server}:6200/sd{disk} {}",
            weight(disk)
        )
    };
    (0..count).map(device).collect()
}

fn scenarios() -> Vec<Scenario> {
    let equal = |_| 100.0;
    let grid = |regions: u32, zones: u32, servers: u32, disks: u32| {
        let mut commands = Vec::new();
        for region in 1..=regions {
            for zone in 1..=zones {
                for number in 1..=servers {
                    commands.extend(server(region, zone, number, disks, &equal));
                }
            }
        }
        commands
    };
    let mixed = |zone| server(1, zone, 1, 6, &|disk| f64::from(100 + 60 * (disk + zone)));
    vec![
        Scenario {
            name: "one region, 4 zones, 24 equal devices",
            create: "create 10 3 1",
            rounds: vec![
                ("first", grid(1, 4, 2, 3)),
                (
                    "one device more",
                    server(1, 2, 1, 1, &|_| 100.0)
                        .iter()
                        .map(|one| one.replace("sd0", "sd9"))
                        .collect(),
                ),
                ("one device fails", words(&["remove d5"])),
                ("one device drained", words(&["set_weight d8 0"])),
                ("a server more", server(1, 3, 9, 3, &equal)),
                ("a zone more", server(1, 5, 1, 6, &equal)),
            ],
        },
        Scenario {
            name: "3 zones, 18 devices of weights 1 to 5",
            create: "create 10 3 1",
            rounds: vec![
                ("first", [mixed(1), mixed(2), mixed(3)].concat()),
                (
                    "two weights halved",
                    words(&["set_weight d3 140", "set_weight d10 200"]),
                ),
                ("a zone more", mixed(4)),
            ],
        },
        Scenario {
            name: "2 regions, the second grows",
            create: "create 10 3 1",
            rounds: vec![
                ("first", grid(1, 3, 2, 2)),
                ("a small region", server(2, 1, 1, 2, &equal)),
                ("it doubles", server(2, 2, 1, 4, &equal)),
                ("it is as large", server(2, 3, 1, 6, &equal)),
            ],
        },
        Scenario {
            name: "a server too large for its share",
            create: "create 10 3 1",
            rounds: vec![
                (
                    "first",
                    [
                        server(1, 1, 1, 4, &|_| 300.0),
                        server(1, 2, 1, 4, &equal),
                        server(1, 3, 1, 4, &equal),
                        server(1, 4, 1, 4, &equal),
                    ]
                    .concat(),
                ),
                ("overload 10%", words(&["set_overload 10%"])),
                ("overload 100%", words(&["set_overload 100%"])),
            ],
        },
        Scenario {
            name: "replica counts",
            create: "create 10 3 1",
            rounds: vec![
                ("first", grid(2, 2, 2, 2)),
                ("3.5 replicas", words(&["set_replicas 3.5"])),
                ("4 replicas", words(&["set_replicas 4"])),
                ("2 replicas", words(&["set_replicas 2"])),
            ],
        },
    ]
}

/// The state after one rebalance.
#[derive(Debug)]
struct Quality {
    balance: f64,
    dispersion: f64,
    moved: usize,
}

/// Replicas that are on devices which did not have the partition before.
fn moved(before: &[Vec<u32>], after: &[Vec<u32>]) -> usize {
    let holders = |rows: &[Vec<u32>], partition: usize| -> BTreeSet<u32> {
        rows.iter()
            .filter_map(|row| row.get(partition))
            .copied()
            .collect()
    };
    let partitions = after.first().map_or(0, Vec::len);
    (0..partitions)
        .map(|partition| {
            holders(after, partition)
                .difference(&holders(before, partition))
                .count()
        })
        .sum()
}

/// Plays a scenario with one tool. Each change is followed by as many rebalances as it takes until no more comes of
/// them, at most four, as an operator would do over some days.
fn play(tool: Tool, scenario: &Scenario) -> Vec<Quality> {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let run = |words: &str| tool.run(folder, &format!("object.builder {words}"));
    run(scenario.create);
    let mut qualities = Vec::new();
    for (_, commands) in &scenario.rounds {
        // Devices go in with one command, which is much faster with Python.
        let adds: Vec<&str> = commands
            .iter()
            .filter_map(|one| one.strip_prefix("add "))
            .collect();
        if !adds.is_empty() {
            run(&format!("add {}", adds.join(" ")));
        }
        commands
            .iter()
            .filter(|one| !one.starts_with("add "))
            .for_each(|one| drop(run(one)));
        let mut moves = 0;
        for _ in 0..4 {
            run("pretend_min_part_hours_passed");
            let before = load(folder).rows().to_vec();
            run("rebalance --seed 1");
            let step = moved(&before, load(folder).rows());
            moves += step;
            if step == 0 {
                break;
            }
        }
        let imbalance = load(folder).imbalance();
        qualities.push(Quality {
            balance: imbalance.balance_percent,
            dispersion: imbalance.dispersion_percent,
            moved: moves,
        });
    }
    qualities
}

#[test]
fn rings_are_at_least_as_good_as_swifts() {
    let mut table = String::from(
        "| cluster and change | balance: Martlet | Swift | dispersion: Martlet | Swift | moved: Martlet | Swift |\n\
         |---|---:|---:|---:|---:|---:|---:|\n",
    );
    let mut worse = Vec::new();
    for scenario in scenarios() {
        let (ours, swift) = std::thread::scope(|scope| {
            let swift = scope.spawn(|| play(Tool::Swift, &scenario));
            (play(Tool::Martlet, &scenario), swift.join().unwrap())
        });
        for ((round, _), (ours, swift)) in scenario.rounds.iter().zip(ours.iter().zip(&swift)) {
            writeln!(
                table,
                "| {}: {round} | {:.2} | {:.2} | {:.2} | {:.2} | {} | {} |",
                scenario.name,
                ours.balance,
                swift.balance,
                ours.dispersion,
                swift.dispersion,
                ours.moved,
                swift.moved
            )
            .unwrap();
            // Balance and dispersion are bought with each other, so together they must not be worse; a hundredth of a
            // percent is rounding. Who places better may have to move a little more.
            let score = |quality: &Quality| quality.balance + quality.dispersion;
            let allowed = swift.moved + swift.moved / 20 + 8;
            if score(ours) > score(swift) + 0.5 || ours.moved > allowed {
                worse.push(format!("{}: {round}: {ours:?}, Swift {swift:?}", scenario.name));
            }
        }
    }
    if let Some(path) = std::env::var_os("MARTLET_RING_TABLE") {
        std::fs::write(path, &table).unwrap();
    }
    assert!(worse.is_empty(), "{worse:#?}\n{table}");
}
