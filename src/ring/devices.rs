//! Commands that add, change and remove devices.

use super::options::DeviceArgs;
use super::session::{Exit, Failure, Session, shown};
use super::settings::number;
use super::{Outcome, help};
use martlet_ring::builder::{Builder, BuilderError, NewDevice};
use martlet_ring::syntax::{DeviceSearch, parse_device};

const UNCHANGED: &str = "The on-disk ring builder is unchanged.";

fn usage(name: &str) -> Failure {
    Failure::said(help::of(name))
}

/// As [`usage`], with the forms of search values.
fn search_usage(name: &str) -> Failure {
    Failure::said(format!("{}\n\n{}", help::of(name), help::SEARCH_VALUES))
}

fn unchanged(failure: Failure) -> Failure {
    Failure::said(format!("{}\n{UNCHANGED}", failure.text))
}

pub fn add(session: &mut Session, args: &[String]) -> Outcome {
    if args.len() < 2 {
        return Err(usage("add"));
    }
    refuse_during_power_change(session, "adding")?;
    for new in devices_to_add(session, args).map_err(unchanged)? {
        let builder = session.builder()?;
        let id = builder.add_device(new).map_err(|error| unchanged(error.into()))?;
        let device = builder.device(id).ok_or(BuilderError::NoSuchDevice(id))?;
        let line = format!(
            "Device {} with {:?} weight got id {id}",
            shown(device),
            device.weight
        );
        session.say(line);
    }
    session.save_builder()?;
    Ok(Exit::Success)
}

fn devices_to_add(session: &mut Session, args: &[String]) -> Result<Vec<NewDevice>, Failure> {
    let given = DeviceArgs::parse(args)?;
    if given.args().is_empty() {
        return Ok(vec![given.new_device()?]);
    }
    let (pairs, rest) = given.args().as_chunks::<2>();
    if given.names_devices() || !rest.is_empty() {
        return Err(usage("add"));
    }
    let mut devices = Vec::new();
    for [text, weight] in pairs {
        let weight: f64 = number(weight, "weight")?;
        if weight < 0.0 {
            return Err(Failure::said(format!("Invalid weight value: {text}")));
        }
        let (region, device) = parse_device(text, weight)?;
        if region.is_none() {
            session.warn(format_args!(
                "WARNING: No region specified for {text}. Defaulting to region 1.\n"
            ));
        }
        devices.push(device);
    }
    Ok(devices)
}

pub fn remove(session: &mut Session, args: &[String]) -> Outcome {
    if args.is_empty() {
        return Err(search_usage("remove"));
    }
    refuse_during_power_change(session, "removing")?;
    let given = DeviceArgs::parse(args)?;
    let ids = found(session, &given, "remove")?;
    let question = format!(
        "Are you sure you want to remove these {} devices? (y/N) ",
        ids.len()
    );
    confirm(session, &ids, &given, &question, "Aborting device removals")?;
    for id in ids {
        let builder = session.builder()?;
        builder
            .remove_device(id)
            .map_err(|error| unchanged(error.into()))?;
        let device = builder.device(id).map(shown).unwrap_or_default();
        session.say(format_args!(
            "{device} marked for removal and will be removed next rebalance."
        ));
    }
    session.save_builder()?;
    Ok(Exit::Success)
}

pub fn set_weight(session: &mut Session, args: &[String]) -> Outcome {
    set(session, args, "weight", |builder, id, text| {
        let weight: f64 = number(text, "weight")?;
        builder.set_weight(id, weight)?;
        Ok(format!("{weight:?}"))
    })
}

pub fn set_region(session: &mut Session, args: &[String]) -> Outcome {
    set(session, args, "region", |builder, id, text| {
        let region: u32 = number(text, "region")?;
        builder.set_region(id, region)?;
        Ok(region.to_string())
    })
}

pub fn set_zone(session: &mut Session, args: &[String]) -> Outcome {
    set(session, args, "zone", |builder, id, text| {
        let zone: u32 = number(text, "zone")?;
        builder.set_zone(id, zone)?;
        Ok(zone.to_string())
    })
}

/// Sets one value of devices: pairs of a search value and the new value, or options and one new value. `apply` gives
/// the value as it is shown.
fn set(
    session: &mut Session,
    args: &[String],
    what: &str,
    apply: impl Fn(&mut Builder, u32, &str) -> Result<String, Failure>,
) -> Outcome {
    let name = format!("set_{what}");
    if args.len() < 2 {
        return Err(search_usage(&name));
    }
    let given = DeviceArgs::parse(args)?;
    let mut changes: Vec<(DeviceSearch, &str)> = Vec::new();
    if given.names_devices() {
        let [value] = given.args() else {
            return Err(usage(&name));
        };
        changes.push((given.search()?, value));
    } else {
        let (pairs, rest) = given.args().as_chunks::<2>();
        if !rest.is_empty() || pairs.is_empty() {
            return Err(usage(&name));
        }
        for [search, value] in pairs {
            changes.push((DeviceSearch::parse(search)?, value));
        }
    }
    for (search, value) in changes {
        let ids = matching(session.builder()?, &search);
        let question = format!(
            "Are you sure you want to update the {what} for these {} devices? (y/N) ",
            ids.len()
        );
        confirm(session, &ids, &given, &question, "Aborting device modifications")?;
        for id in ids {
            let builder = session.builder()?;
            let value = apply(builder, id, value)?;
            let device = builder.device(id).map(shown).unwrap_or_default();
            session.say(format_args!("{device} {what} set to {value}"));
        }
    }
    session.save_builder()?;
    Ok(Exit::Success)
}

pub fn set_info(session: &mut Session, args: &[String]) -> Outcome {
    if args.len() < 2 {
        return Err(search_usage("set_info"));
    }
    let given = DeviceArgs::parse(args)?;
    let mut changes = Vec::new();
    if given.names_devices() {
        if !given.args().is_empty() {
            return Err(usage("set_info"));
        }
        changes.push((given.search()?, given.change()?));
    } else {
        let (pairs, rest) = given.args().as_chunks::<2>();
        if !rest.is_empty() || pairs.is_empty() {
            return Err(usage("set_info"));
        }
        for [search, change] in pairs {
            let change = martlet_ring::syntax::DeviceChange::parse(change)?;
            changes.push((DeviceSearch::parse(search)?, change));
        }
    }
    for (search, change) in changes {
        let ids = matching(session.builder()?, &search);
        let question = format!(
            "Are you sure you want to update the info for these {} devices? (y/N) ",
            ids.len()
        );
        confirm(session, &ids, &given, &question, "Aborting device modifications")?;
        for id in ids {
            let builder = session.builder()?;
            let before = builder.device(id).map(shown).unwrap_or_default();
            builder.set_info(id, &change)?;
            let after = builder.device(id).map(shown).unwrap_or_default();
            session.say(format_args!("Device {before} is now {after}"));
        }
    }
    session.save_builder()?;
    Ok(Exit::Success)
}

/// The ids of devices that arguments or options name, each once.
pub fn found(session: &mut Session, given: &DeviceArgs, name: &str) -> Result<Vec<u32>, Failure> {
    let builder = session.builder()?;
    if given.args().is_empty() {
        return Ok(matching(builder, &given.search()?));
    }
    if given.names_devices() {
        return Err(usage(name));
    }
    let mut ids = Vec::new();
    for text in given.args() {
        for id in matching(builder, &DeviceSearch::parse(text)?) {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
    }
    Ok(ids)
}

pub fn matching(builder: &Builder, search: &DeviceSearch) -> Vec<u32> {
    let matching = builder.devices().filter(|device| search.matches(device));
    matching.map(|device| device.id).collect()
}

/// More than one device is changed only after a yes.
fn confirm(
    session: &mut Session,
    ids: &[u32],
    given: &DeviceArgs,
    question: &str,
    abort: &str,
) -> Result<(), Failure> {
    if ids.is_empty() {
        return Err(Failure::said(format!(
            "Search value matched 0 devices.\n{UNCHANGED}"
        )));
    }
    if ids.len() == 1 {
        return Ok(());
    }
    session.say("Matched more than one device:");
    for id in ids {
        let device = session.builder()?.device(*id).map(shown).unwrap_or_default();
        session.say(format_args!("    {device}"));
    }
    if given.yes() || session.ask(question) {
        Ok(())
    } else {
        Err(Failure::said(abort))
    }
}

fn refuse_during_power_change(session: &mut Session, doing: &str) -> Result<(), Failure> {
    if session.builder()?.next_part_power().is_some() {
        return Err(Failure::said(format!(
            "Partition power increase in progress. You need \nto finish the increase first before {doing} devices."
        )));
    }
    Ok(())
}
