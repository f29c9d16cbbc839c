//! The report on how far apart the replicas of partitions lie.

use super::Outcome;
use super::options::{Given, flag, long_flag};
use super::session::{Exit, Failure, Session};
use super::show::not_rebalanced;
use martlet_ring::builder::TierReport;
use regex::Regex;

pub fn dispersion(session: &mut Session, args: &[String]) -> Outcome {
    let given = Given::parse(&[long_flag("recalculate"), flag('v', "verbose")], args)?;
    let path = session.paths.builder.display().to_string();
    let filter = given.args.first().map(|text| filter(text)).transpose()?;
    let builder = session.builder()?;
    if !builder.is_rebalanced() {
        return Err(not_rebalanced(&path));
    }
    let recalculated = given.has("recalculate") || !builder.has_dispersion_graph();
    if recalculated {
        builder.recalculate_dispersion();
    }
    let mut report = builder.dispersion_report();
    report.retain(|tier| filter.as_ref().is_none_or(|filter| filter.is_match(&tier.name)));
    let lines = [
        format!(
            "Dispersion is {:.6}, Balance is {:.6}, Overload is {:.2}%",
            builder.dispersion().unwrap_or(0.0),
            builder.balance()?,
            builder.overload() * 100.0
        ),
        format!(
            "Required overload is {:.6}%",
            builder.required_overload()? * 100.0
        ),
    ];
    let partitions = 1u64 << builder.part_power();
    let replicas = builder.replicas().ceil() as usize;
    if recalculated {
        session.save_builder()?;
    }
    lines.iter().for_each(|line| session.say(line));
    let exit = say_worst(session, &report);
    if given.has("verbose") && !report.is_empty() {
        say_table(session, &report, partitions, replicas);
    }
    Ok(exit)
}

/// The filter has to match from the begin of a name on.
fn filter(text: &str) -> Result<Regex, Failure> {
    Regex::new(&format!("^(?:{text})"))
        .map_err(|error| Failure::said(format!("{text:?} is not a filter: {error}")))
}

/// The first of the tiers with the largest dispersion, when there is any.
fn say_worst(session: &mut Session, report: &[TierReport]) -> Exit {
    let mut worst: Option<&TierReport> = None;
    for tier in report {
        if tier.dispersion_percent > worst.map_or(0.0, |worst| worst.dispersion_percent) {
            worst = Some(tier);
        }
    }
    match worst {
        None => Exit::Success,
        Some(tier) => {
            session.say(format_args!(
                "Worst tier is {:.6} ({})",
                tier.dispersion_percent, tier.name
            ));
            Exit::Warning
        }
    }
}

fn say_table(session: &mut Session, report: &[TierReport], partitions: u64, replicas: usize) {
    let width = partitions.to_string().len().max(5);
    let name_width = report
        .iter()
        .map(|tier| tier.name.len())
        .max()
        .unwrap_or(0)
        .max(30);
    let columns = |counts: Vec<String>| {
        let padded: Vec<String> = counts.iter().map(|count| format!("{count:>width$}")).collect();
        padded.join(" ")
    };
    let header = format!(
        "{:<name_width$} {:>width$} {:>6} {:>6} {}",
        "Tier",
        "Parts",
        "%",
        "Max",
        columns((0..=replicas).map(|count| count.to_string()).collect())
    );
    let rule = "-".repeat(header.len());
    session.say(&rule);
    session.say(&header);
    session.say(&rule);
    for tier in report {
        session.say(format_args!(
            "{:<name_width$} {:>width$} {:>6.2} {:>6} {}",
            tier.name,
            tier.placed,
            tier.dispersion_percent,
            tier.max,
            columns(tier.counts.iter().map(u32::to_string).collect())
        ));
    }
}
