//! `martlet ring` as an operator and a script use it: arguments, files, questions, exit codes.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A folder with one builder.
struct Desk {
    folder: tempfile::TempDir,
}

struct Ran {
    code: i32,
    out: String,
    errors: String,
}

impl Desk {
    fn new() -> Desk {
        Desk {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// A builder of 2^6 partitions and three replicas on four devices in two zones.
    fn with_devices() -> Desk {
        let desk = Desk::new();
        desk.ok("create 6 3 1");
        desk.ok(
            "add r1z1-10.0.0.1:6200/sda_fast 100 r1z1-10.0.0.2:6200R10.1.0.2:6300/sdb 100 \
             r1z2-10.0.0.3:6200/sdc 100 r1z2-[2001:DB8::4]:6200/sdd 100",
        );
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `martlet ring object.builder` with these words.
    fn run(&self, words: &str) -> Ran {
        self.answer(words, "")
    }

    fn answer(&self, words: &str, input: &str) -> Ran {
        let words = words.split_whitespace().map(str::to_owned);
        run(
            self.folder.path(),
            std::iter::once("object.builder".to_owned()).chain(words),
            input,
        )
    }

    /// As [`Desk::run`]; panics unless it succeeds.
    fn ok(&self, words: &str) -> String {
        let ran = self.run(words);
        assert_eq!(ran.code, 0, "{words}: {}{}", ran.out, ran.errors);
        ran.out
    }

    /// Panics unless it fails, and leaves the builder as it was.
    fn refused(&self, words: &str) -> String {
        let before = std::fs::read(self.path("object.builder")).ok();
        let ran = self.run(words);
        assert_eq!(ran.code, 2, "{words}: {}{}", ran.out, ran.errors);
        assert_eq!(std::fs::read(self.path("object.builder")).ok(), before, "{words}");
        ran.out + &ran.errors
    }

    fn backups(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path("backups")).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .map(|name| {
                name.trim_start_matches(|letter: char| letter.is_ascii_digit())
                    .to_owned()
            })
            .collect();
        names.sort();
        names.dedup();
        names
    }
}

fn run(folder: &Path, args: impl Iterator<Item = String>, input: &str) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_martlet"))
        .arg("ring")
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Most commands end without reading.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        errors: String::from_utf8(output.stderr).unwrap(),
    }
}

fn assert_has(text: &str, part: &str) {
    assert!(text.contains(part), "{part:?} is not in:\n{text}");
}

#[test]
fn a_ring_is_built_and_shown() {
    let desk = Desk::with_devices();
    let report = desk.ok("");
    assert_has(&report, "object.builder, build version 4, id ");
    assert_has(
        &report,
        "64 partitions, 3.000000 replicas, 1 regions, 2 zones, 4 devices, 2-byte IDs, 100.00 balance, 0.00 dispersion",
    );
    assert_has(
        &report,
        "Ring file object.ring.gz not found, probably it hasn't been written yet",
    );
    assert_has(&report, "[2001:db8::4]:6200");
    let rebalanced = desk.ok("rebalance --seed 7 --format-version 2");
    assert_has(
        &rebalanced,
        "Reassigned 192 (300.00%) partitions. Balance is now 0.00.  Dispersion is now 0.00",
    );
    assert_has(&desk.ok(""), "Ring file object.ring.gz is up-to-date");
    assert_eq!(desk.backups(), [".object.builder", ".object.ring.gz"]);
    desk.ok("validate");
    desk.ok("set_info d0 _slow");
    assert_has(&desk.ok(""), "Ring file object.ring.gz is obsolete");
    desk.ok("write_ring");
    assert_has(&desk.ok(""), "Ring file object.ring.gz is up-to-date");
    let version = run(
        desk.folder.path(),
        ["object.ring.gz", "version"].map(str::to_owned).into_iter(),
        "",
    );
    assert_has(
        &version.out,
        "object.ring.gz: Serialization version: 1 (2-byte IDs), build version: 5",
    );
}

#[test]
fn the_same_seed_gives_the_same_ring() {
    let ring = |seed: &str| {
        let desk = Desk::with_devices();
        desk.ok(&format!("rebalance --format-version=2 {seed}"));
        std::fs::read(desk.path("object.ring.gz")).unwrap()
    };
    assert_eq!(ring("--seed autumn"), ring("-sautumn"));
    assert_eq!(ring("autumn"), ring("--seed=autumn"));
    assert_ne!(ring("--seed autumn"), ring("--seed winter"));
}

#[test]
fn devices_are_found_by_every_part() {
    let desk = Desk::with_devices();
    desk.ok("rebalance");
    for (search, found) in [
        ("d0", 1),
        ("z2", 2),
        ("r1", 4),
        ("10.0.0.2", 1),
        ("[2001:db8:0::4]", 1),
        (":6200", 4),
        ("R:6300", 1),
        ("R10.1.0.2", 1),
        ("/sdc", 1),
        ("_fast", 1),
        ("r1z1-10.0.0.2:6200R10.1.0.2:6300/sdb", 1),
        ("--zone 2 --device sdd", 1),
        ("--id 0", 1),
        ("--weight 100", 4),
        ("--replication-ip 10.1.0.2", 1),
    ] {
        let out = desk.ok(&format!("search {search}"));
        assert_eq!(out.lines().count(), found + 1, "{search}:\n{out}");
    }
    assert_has(&desk.refused("search d9"), "No matching devices found");
    assert_has(&desk.refused("search bogus"), "Invalid <search-value>: \"bogus\"");
    let parts = desk.ok("list_parts z1");
    assert_eq!(parts.lines().count(), 65);
    let counts: Vec<u32> = parts
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().nth(1).unwrap().parse().unwrap())
        .collect();
    assert_eq!(counts.iter().sum::<u32>(), 96);
    assert!(
        counts.is_sorted_by(|one, next| one >= next),
        "those with most come first"
    );
}

#[test]
fn several_devices_change_only_after_a_yes() {
    let desk = Desk::with_devices();
    for input in ["", "n\n", "yes\n"] {
        let ran = desk.answer("set_weight z1 50", input);
        assert_eq!(ran.code, 2);
        assert_has(&ran.out, "Matched more than one device:");
        assert_has(&ran.out, "Aborting device modifications");
    }
    assert_eq!(
        desk.ok("search --weight 100").lines().count(),
        5,
        "nothing was changed"
    );
    assert_eq!(desk.answer("set_weight z1 50", "y\n").code, 0);
    assert_eq!(desk.ok("search --weight 50").lines().count(), 3);
    desk.ok("set_weight --yes z1 60 d2 70");
    assert_eq!(desk.ok("search --weight 60").lines().count(), 3);
    desk.ok("set_zone --id 3 9");
    desk.ok("set_region d3 5");
    assert_has(&desk.ok("search r5z9"), "sdd");
    assert_has(
        &desk.refused("set_weight d77 1"),
        "Search value matched 0 devices.",
    );
}

#[test]
fn removed_devices_leave_with_the_next_rebalance() {
    let desk = Desk::with_devices();
    desk.ok(
        "add --region 1 --zone 2 --ip Host-5.example.com --port 6200 --device sde --weight 100 --meta new",
    );
    desk.ok("rebalance");
    assert_has(
        &desk.ok("remove d1"),
        "marked for removal and will be removed next rebalance.",
    );
    assert_has(&desk.ok(""), "  DEL ");
    assert_has(&desk.refused("set_weight d1 5"), "it is marked for removal");
    desk.run("rebalance");
    assert_has(&desk.refused("search d1"), "No matching devices found");
    assert_has(&desk.ok("add r1z1-10.0.0.9:6200/sda 1"), "got id 1");
}

#[test]
fn a_rebalance_that_changes_little_is_not_saved() {
    let desk = Desk::with_devices();
    desk.ok("rebalance");
    let ran = desk.run("rebalance");
    assert_eq!(ran.code, 1);
    assert_has(&ran.out, "No partitions could be reassigned.");
    assert_has(
        &ran.out,
        "The time between rebalances must be at least min_part_hours: 1 hours (",
    );
    desk.ok("pretend_min_part_hours_passed");
    assert_has(
        &desk.run("rebalance").out,
        "There is no need to do so at this time",
    );
    assert_eq!(desk.run("rebalance --force").code, 0);
    desk.ok("set_min_part_hours 0");
    desk.ok("set_replicas 3.5");
    assert_has(&desk.ok("rebalance"), "Reassigned ");
    assert_has(&desk.ok(""), "64 partitions, 3.500000 replicas");
}

#[test]
fn dispersion_and_overload_are_reported() {
    let desk = Desk::new();
    desk.ok("create 8 3 1");
    desk.ok(
        "add z1-10.0.0.1:6200/sda 100 z1-10.0.0.1:6200/sdb 100 z1-10.0.0.1:6200/sdc 100 z2-10.0.0.2:6200/sda 100 \
         z3-10.0.0.3:6200/sda 100",
    );
    let ran = desk.run("rebalance --seed 1");
    assert_eq!(ran.code, 1, "{}", ran.out);
    assert_has(&ran.out, "indicates some parts are not");
    let ran = desk.run("dispersion -v");
    assert_eq!(ran.code, 1);
    assert_has(&ran.out, "Worst tier is ");
    assert_has(&ran.out, "r1z1-10.0.0.1/sdb");
    let ran = desk.run(r"dispersion r\d+z\d+$ --verbose");
    assert_eq!(
        ran.out.lines().filter(|line| line.starts_with("r1z")).count(),
        3,
        "{}",
        ran.out
    );
    assert_eq!(
        desk.run("set_overload 2").code,
        1,
        "more than all of it is warned of"
    );
    assert_has(
        &desk.ok("set_overload 70%"),
        "The overload factor is now 70.00% (0.700000)",
    );
    desk.ok("pretend_min_part_hours_passed");
    let out = desk.run("rebalance --seed 1").out;
    assert_has(&out, "Dispersion is now 0.00");
    assert_has(&desk.refused("dispersion ("), "is not a filter");
}

#[test]
fn the_partition_power_doubles_in_steps() {
    let desk = Desk::with_devices();
    desk.ok("rebalance");
    desk.refused("increase_partition_power");
    desk.refused("cancel_increase_partition_power");
    assert_has(
        &desk.ok("prepare_increase_partition_power"),
        "The next partition power is now 7.",
    );
    desk.refused("prepare_increase_partition_power");
    assert_has(
        &desk.refused("rebalance"),
        "Partition power increase in progress.",
    );
    assert_has(
        &desk.refused("add z1-10.0.0.9:6200/sda 1"),
        "Partition power increase in progress.",
    );
    assert_has(
        &desk.refused("remove d1"),
        "Partition power increase in progress.",
    );
    assert_has(&desk.ok(""), "Preparing increase of partition power (6 -> 7)");
    assert_has(
        &desk.ok("increase_partition_power"),
        "The partition power is now 7.",
    );
    desk.refused("increase_partition_power");
    desk.ok("write_ring");
    assert_has(&desk.ok(""), "128 partitions, 3.000000 replicas");
    desk.ok("finish_increase_partition_power");
    desk.refused("finish_increase_partition_power");
    desk.ok("validate");
    let other = ["container.builder", "create", "4", "1", "1"].map(str::to_owned);
    assert_eq!(run(desk.folder.path(), other.into_iter(), "").code, 0);
    let other = ["container.builder", "prepare_increase_partition_power"].map(str::to_owned);
    assert_eq!(
        run(desk.folder.path(), other.into_iter(), "").code,
        2,
        "only object rings"
    );
}

#[test]
fn a_lost_builder_comes_back_from_its_ring() {
    let desk = Desk::with_devices();
    desk.ok("rebalance");
    assert_has(&desk.refused("write_builder"), "Cowardly refusing to overwrite");
    std::fs::remove_file(desk.path("object.builder")).unwrap();
    desk.ok("write_builder 5");
    let report = desk.ok("");
    assert_has(&report, "can be reassigned is 5 (");
    assert_has(&report, "Ring file object.ring.gz is up-to-date");
    desk.ok("validate");
}

#[test]
fn wrong_words_are_refused() {
    let desk = Desk::new();
    for words in [
        "",
        "add z1-1.2.3.4:1/a 1",
        "rebalance",
        "validate",
        "search d0",
        "set_overload 1",
    ] {
        assert_has(
            &desk.refused(words),
            "Ring Builder file does not exist: object.builder",
        );
    }
    for words in [
        "create",
        "create 6 3",
        "create x 3 1",
        "create 6 0.5 1",
        "create 33 3 1",
        "create 6 3 -1",
    ] {
        desk.refused(words);
    }
    desk.ok("create 6 3 1");
    assert_has(&desk.refused("validate"), "did you forget to rebalance?");
    assert_has(&desk.refused("write_ring"), "Unable to write empty ring.");
    assert_has(
        &desk.refused("rebalance"),
        "An error has occurred during ring validation.",
    );
    for words in [
        "explode",
        "add",
        "add z1-1.2.3.4:6200/sda",
        "add z1-1.2.3.4:6200/sda -5",
        "add z1-1.2.3.4:6200/sda x",
        "add z1-1.2.3.4:70000/sda 1",
        "add z1-nowhere:6200/sda 1",
        "add --zone 1 --ip 1.2.3.4 --port 6200 --device sda --weight 1",
        "add z1-1.2.3.4:6200/sda 1 z1-1.2.3.4:6200/sda 1",
        "set_replicas 0.5",
        "set_replicas many",
        "set_overload -1",
        "set_overload x",
        "set_min_part_hours -1",
        "set_info d0 nonsense",
        "rebalance --format-version 3",
        "rebalance --nonsense",
        "list_parts d0",
        "dispersion",
        "set_weight d0",
        "set_weight d0 1 d1",
    ] {
        desk.refused(words);
    }
    std::fs::write(
        desk.path("object.builder"),
        b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R.",
    )
    .unwrap();
    assert_has(&desk.refused(""), "posix.system is not allowed");
}

#[test]
fn builders_join_into_a_composite_ring() {
    let folder = tempfile::tempdir().unwrap();
    let ring = |words: &str| run(folder.path(), words.split_whitespace().map(str::to_owned), "");
    let ok = |words: &str| {
        let ran = ring(words);
        assert_eq!(ran.code, 0, "{words}: {}{}", ran.out, ran.errors);
        ran.out
    };
    for region in 1..=2 {
        ok(&format!("r{region}.builder create 4 2 1"));
        for disk in 0..4 {
            ok(&format!(
                "r{region}.builder add r{region}z1-10.0.{region}.{disk}:6200/sda 1"
            ));
        }
    }
    ok("r1.builder rebalance");
    let compose = "composer both.composite compose r1.builder r2.builder --output object.ring.gz";
    assert_has(
        &ring(compose).out,
        "Builder needs rebalance to apply changes at index 1",
    );
    ok("r2.builder rebalance");
    ok(compose);
    assert_has(&ok("composer both.composite show"), "\"component_builder_files\"");
    assert_has(
        &ring(compose).out,
        "None of the component builders has been modified",
    );
    ok(&format!("{compose} --force"));
    ok("r1.builder set_weight d0 3");
    ring("r1.builder rebalance --force");
    ok("composer both.composite compose --output object.ring.gz");
    assert_has(
        &ring("composer both.composite compose r2.builder r1.builder --output x").out,
        "Invalid builder change at index 0",
    );
    ok("object.ring.gz write_builder 1");
    assert_has(
        &ok("object.builder"),
        "16 partitions, 4.000000 replicas, 2 regions, 2 zones, 8 devices",
    );
    assert_has(
        &ring("both.composite").out,
        "it appears to be a composite ring builder file?",
    );
}

#[test]
fn scenarios_are_played() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = r#"{"part_power": 8, "replicas": 3, "overload": 0.1, "random_seed": 203488, "rounds": [
        [["add", "r1z1-10.0.0.1:6200/sda", 100], ["add", "r1z2-10.0.0.2:6200/sda", 100],
         ["add", "r1z3-10.0.0.3:6200/sda", 100]],
        [["add", "r1z4-10.0.0.4:6200/sda", 100]],
        [["remove", 0], ["set_weight", 1, 50]]]}"#;
    std::fs::write(folder.path().join("scenario.json"), scenario).unwrap();
    let analyze = |words: &str| run(folder.path(), words.split_whitespace().map(str::to_owned), "");
    let ran = analyze("analyze scenario.json");
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.errors);
    assert_has(&ran.out, "Round 3\n\tRebalance 1: moved ");
    assert_has(
        &ran.out,
        "Round 1\n\tRebalance 1: moved 768 parts, balance is 0.000000, 0 removed devs",
    );
    assert_eq!(analyze("analyze --check scenario.json").out, "");
    assert_eq!(analyze("analyze missing.json").code, 1);
    std::fs::write(folder.path().join("scenario.json"), "{}").unwrap();
    assert_has(&analyze("analyze scenario.json").errors, "part_power missing");
}
