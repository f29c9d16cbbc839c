//! Commands that make a builder and set what belongs to the whole of it.

use super::session::{Exit, Failure, Session};
use super::{Outcome, help};
use martlet_ring::builder::Builder;
use std::str::FromStr;

/// A number, or what is wrong with it.
pub fn number<T: FromStr>(text: &str, what: &str) -> Result<T, Failure> {
    text.parse()
        .map_err(|_| Failure::said(format!("{what} {text:?} is not a valid number")))
}

pub fn create(session: &mut Session, args: &[String]) -> Outcome {
    let [power, replicas, hours, ..] = args else {
        return Err(Failure::said(help::of("create")));
    };
    let power = number(power, "part_power")?;
    let replicas = number(replicas, "replicas")?;
    let hours = number(hours, "min_part_hours (which must be non-negative)")?;
    session.set_builder(Builder::create(power, replicas, hours)?);
    session.save_builder_with_backup()?;
    Ok(Exit::Success)
}

pub fn set_replicas(session: &mut Session, args: &[String]) -> Outcome {
    let [replicas, ..] = args else {
        return Err(Failure::said(help::of("set_replicas")));
    };
    let Ok(count) = replicas.parse::<f64>() else {
        session.say(help::of("set_replicas"));
        return Err(Failure::said(format!("\"{replicas}\" is not a valid number.")));
    };
    if count < 1.0 {
        return Err(Failure::said("Replica count must be at least 1."));
    }
    session.builder()?.set_replicas(count)?;
    session.say(format_args!("The replica count is now {count:.6}."));
    session.say("The change will take effect after the next rebalance.");
    session.save_builder()?;
    Ok(Exit::Success)
}

pub fn set_overload(session: &mut Session, args: &[String]) -> Outcome {
    let [given, ..] = args else {
        return Err(Failure::said(help::of("set_overload")));
    };
    let is_percent = given.ends_with('%');
    let text = given.trim_end_matches('%');
    let Ok(mut overload) = text.parse::<f64>() else {
        session.say(help::of("set_overload"));
        return Err(Failure::said(format!("'{text}' is not a valid number.")));
    };
    if is_percent {
        overload *= 0.01;
    }
    if overload < 0.0 {
        return Err(Failure::said("Overload must be non-negative."));
    }
    session.builder()?.set_overload(overload)?;
    let mut exit = Exit::Success;
    if overload > 1.0 && !is_percent {
        session.say("!?! Warning overload is greater than 100% !?!");
        exit = Exit::Warning;
    }
    session.say(format_args!(
        "The overload factor is now {:.2}% ({overload:.6})",
        overload * 100.0
    ));
    session.say("The change will take effect after the next rebalance.");
    session.save_builder()?;
    Ok(exit)
}

pub fn set_min_part_hours(session: &mut Session, args: &[String]) -> Outcome {
    let [hours, ..] = args else {
        return Err(Failure::said(help::of("set_min_part_hours")));
    };
    let hours: u32 = number(hours, "min_part_hours")?;
    session.builder()?.set_min_part_hours(hours);
    session.say(format_args!(
        "The minimum number of hours before a partition can be reassigned is now set to {hours}"
    ));
    session.save_builder()?;
    Ok(Exit::Success)
}

pub fn pretend_min_part_hours_passed(session: &mut Session, _: &[String]) -> Outcome {
    session.builder()?.pretend_min_part_hours_passed();
    session.save_builder()?;
    Ok(Exit::Success)
}
