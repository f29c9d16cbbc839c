//! `martlet ring analyze`: plays a scenario of changes and shows how the builder settles after each.
//!
//! Scenarios are those of `swift-ring-builder-analyzer`:
//! <https://docs.openstack.org/swift/latest/ring_background.html> and its help text.

use super::Outcome;
use super::options::{Given, flag};
use super::session::{Exit, Failure, Session, read_file, write_file};
use martlet_ring::builder::{Builder, MAX_BALANCE_PERCENT, NewDevice, seed_of};
use martlet_ring::syntax::parse_device;
use serde_json::Value;
use std::path::Path;

const USAGE: &str = "\
martlet ring analyze [--check] <scenario_file>
    Plays a scenario of changes on a new builder and shows how many partitions
    each rebalance moves and how balanced the ring is then. The file is JSON:
    part_power, replicas, overload, random_seed, and rounds, a list of lists of
    [\"add\", <device>, <weight>], [\"remove\", <id>],
    [\"set_weight\", <id>, <weight>] and [\"save\", <file>].
    --check only looks whether the scenario makes sense.";

/// A year in hours is more than any rest.
const SECS_BETWEEN_ROUNDS: u64 = 366 * 86_400;

#[derive(Debug)]
struct Scenario {
    part_power: u32,
    replicas: f64,
    overload: f64,
    seed: u64,
    rounds: Vec<Vec<Change>>,
}

#[derive(Debug)]
enum Change {
    Add(NewDevice),
    Remove(u32),
    SetWeight(u32, f64),
    Save(String),
}

pub fn run(session: &mut Session, args: &[String]) -> Outcome {
    let given = Given::parse(&[flag('c', "check"), flag('h', "help")], args)?;
    if given.has("help") {
        session.say(USAGE);
        return Ok(Exit::Success);
    }
    let [path] = given.args.as_slice() else {
        return Err(Failure::said(USAGE));
    };
    let text = match read_file(Path::new(path)) {
        Ok(text) => text,
        Err(error) => {
            session.warn(format_args!("Error opening scenario {path}: {error}"));
            return Ok(Exit::Warning);
        }
    };
    let scenario = match parse(&text) {
        Ok(scenario) => scenario,
        Err(error) => {
            session.warn(format_args!("Invalid scenario {path}: {error}"));
            return Ok(Exit::Warning);
        }
    };
    if !given.has("check") {
        play(session, scenario)?;
    }
    Ok(Exit::Success)
}

fn play(session: &mut Session, scenario: Scenario) -> Result<(), Failure> {
    let mut builder = Builder::create(scenario.part_power, scenario.replicas, 1)?;
    builder.set_overload(scenario.overload)?;
    let mut now_secs = session.now_secs;
    for (index, changes) in scenario.rounds.into_iter().enumerate() {
        session.say(format_args!("Round {}", index + 1));
        for change in changes {
            match change {
                Change::Add(device) => drop(builder.add_device(device)?),
                Change::Remove(id) => builder.remove_device(id)?,
                Change::SetWeight(id, weight) => builder.set_weight(id, weight)?,
                Change::Save(path) => write_file(Path::new(&path), &builder.to_file())?,
            }
        }
        let mut previous: Option<f64> = None;
        for number in 1.. {
            now_secs += SECS_BETWEEN_ROUNDS;
            let report = builder.rebalance(scenario.seed, now_secs)?;
            let balance = builder.balance()?;
            session.say(format_args!(
                "\tRebalance {number}: moved {} parts, balance is {balance:.6}, {} removed devs",
                report.moved_replicas, report.removed_devices
            ));
            let draining = previous == Some(MAX_BALANCE_PERCENT) && balance == MAX_BALANCE_PERCENT;
            let settled = previous.is_some_and(|previous| (balance - previous).abs() < 1.0) && !draining;
            let idle = report.moved_replicas == 0 && report.removed_devices == 0;
            if number > 1 && (idle || settled) {
                break;
            }
            previous = Some(balance);
        }
    }
    Ok(())
}

fn parse(text: &[u8]) -> Result<Scenario, String> {
    let json: Value =
        serde_json::from_slice(text).map_err(|error| format!("Invalid JSON in scenario file: {error}"))?;
    let Value::Object(top) = &json else {
        return Err("Scenario must be a JSON object, not array or string".into());
    };
    let get = |name: &str| top.get(name).ok_or_else(|| format!("{name} missing"));
    let float = |name: &str| number(get(name)?).ok_or_else(|| format!("{name} not a float"));
    let whole = |name: &str| {
        let value = number(get(name)?).filter(|value| value.fract() == 0.0);
        value.ok_or_else(|| format!("{name} not an integer"))
    };
    let part_power = whole("part_power")?;
    if !(1.0..=32.0).contains(&part_power) {
        return Err(format!(
            "part_power must be between 1 and 32, but was {part_power}"
        ));
    }
    let replicas = float("replicas")?;
    if replicas < 1.0 {
        return Err(format!("replicas must be at least 1, but is {replicas:.6}"));
    }
    let overload = float("overload")?;
    if overload < 0.0 {
        return Err(format!("overload must be non-negative, but is {overload:.6}"));
    }
    let seed = seed_of(&whole("random_seed")?.to_string());
    let Value::Array(list) = get("rounds")? else {
        return Err("rounds must be an array".into());
    };
    let mut rounds = Vec::new();
    for (round, changes) in list.iter().enumerate() {
        let Value::Array(changes) = changes else {
            return Err(format!("round {round} not an array"));
        };
        let at = |(index, change)| {
            parse_change(change)
                .map_err(|why| format!("Invalid command (round {round}, command {index}): {why}"))
        };
        rounds.push(
            changes
                .iter()
                .enumerate()
                .map(at)
                .collect::<Result<_, String>>()?,
        );
    }
    Ok(Scenario {
        part_power: part_power as u32,
        replicas,
        overload,
        seed,
        rounds,
    })
}

/// A number, or a text that is one.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn parse_change(change: &Value) -> Result<Change, String> {
    let Value::Array(words) = change else {
        return Err("not an array".into());
    };
    let id = |value: &Value| {
        let id = number(value).filter(|id| id.fract() == 0.0 && (0.0..4e9).contains(id));
        id.map(|id| id as u32)
            .ok_or_else(|| "device ID is not a number".to_owned())
    };
    let weight = |value: &Value| {
        let weight = number(value).ok_or("weight is not a number")?;
        match weight >= 0.0 {
            true => Ok(weight),
            false => Err("weight cannot be negative".to_owned()),
        }
    };
    let name = words.first().and_then(Value::as_str).unwrap_or_default();
    match (name, &words[words.len().min(1)..]) {
        ("add", [Value::String(device), device_weight]) => {
            let (_, device) = parse_device(device, weight(device_weight)?).map_err(|error| error.0)?;
            Ok(Change::Add(device))
        }
        ("remove", [device]) => Ok(Change::Remove(id(device)?)),
        ("set_weight", [device, to]) => Ok(Change::SetWeight(id(device)?, weight(to)?)),
        ("save", [Value::String(path)]) => Ok(Change::Save(path.clone())),
        ("add" | "remove" | "set_weight" | "save", _) => {
            Err(format!("{name} does not have its arguments: {change}"))
        }
        _ => Err(format!("'{name}' should be one of add, remove, set_weight, save")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_are_checked() {
        let with = |rounds: &str| {
            parse(
                format!(r#"{{"part_power": 8, "replicas": 3, "overload": "0.1", "random_seed": 7, "rounds": {rounds}}}"#)
                    .as_bytes(),
            )
        };
        let good = with(
            r#"[[["add", "z1-10.0.0.1:6200/sda", 8000], ["save", "x"]], [["remove", 3], ["set_weight", 1, "5"]]]"#,
        );
        assert_eq!(good.unwrap().rounds.len(), 2);
        for bad in [
            r#"{}"#,
            r#"[7]"#,
            r#"[["add"]]"#,
            r#"[[["add", "nonsense", 1]]]"#,
            r#"[[["add", "z1-10.0.0.1:6200/sda", -1]]]"#,
            r#"[[["remove"]]]"#,
            r#"[[["remove", "x"]]]"#,
            r#"[[["explode", 1]]]"#,
            r#"[[[]]]"#,
        ] {
            assert!(with(bad).is_err(), "{bad}");
        }
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"part_power": 40}"#,
            r#"{"part_power": 8, "replicas": 0}"#,
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
