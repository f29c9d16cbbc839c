//! The command that assigns partitions, and saves only what is worth a push to all nodes.

use super::Outcome;
use super::options::{Given, flag, long_value, value};
use super::session::{Exit, Failure, Session, random, span};
use martlet_ring::builder::{Builder, BuilderError, MAX_BALANCE_PERCENT, seed_of};
use martlet_ring::file::FormatVersion;

const RULE: &str = "-------------------------------------------------------------------------------";

pub fn rebalance(session: &mut Session, args: &[String]) -> Outcome {
    let known = [
        flag('f', "force"),
        value('s', "seed"),
        flag('d', "debug"),
        long_value("format-version"),
    ];
    let given = Given::parse(&known, args)?;
    let format = format_version(session, &given)?;
    let seed = given.text("seed").or(given.args.first().map(String::as_str));
    let seed = seed.map_or_else(random, seed_of);
    let now_secs = session.now_secs;

    let builder = session.builder()?;
    if builder.next_part_power().is_some() {
        return Err(Failure::said(
            "Partition power increase in progress.\nYou need to finish the increase first before rebalancing.",
        ));
    }
    let was_changed = builder.is_changed();
    let seconds_left = builder.min_part_seconds_left(now_secs);
    let before = Quality::of(builder).map_err(|error| in_box(&error))?;
    let report = builder
        .rebalance(seed, now_secs)
        .map_err(|error| in_box(&error))?;
    let after = Quality::of(builder).map_err(|error| in_box(&error))?;
    let hours = builder.min_part_hours();
    let left = span(builder.min_part_seconds_left(now_secs));
    if given.has("debug") {
        session.say(format_args!("DEBUG: seed {seed}, {report:?}"));
    }

    let force = given.has("force");
    if report.moved_replicas == 0 && report.removed_devices == 0 && !force {
        session.say("No partitions could be reassigned.");
        session.say(match seconds_left {
            0 => "There is no need to do so at this time".to_owned(),
            _ => format!(
                "The time between rebalances must be at least min_part_hours: {hours} hours ({left} remaining)"
            ),
        });
        return Ok(Exit::Warning);
    }
    if !force && !was_changed && !after.differs_from(&before) {
        session.say("Cowardly refusing to save rebalance as it did not change at least 1%.");
        return Ok(Exit::Warning);
    }
    let builder = session.builder()?;
    builder.validate().map_err(|error| in_box(&error))?;
    let (partitions, overload) = (f64::from(1u32 << builder.part_power()), builder.overload());
    let parts = builder.to_parts();
    let dispersion = after.dispersion.unwrap_or(0.0);
    session.say(format_args!(
        "Reassigned {} ({:.2}%) partitions. Balance is now {:.2}.  Dispersion is now {dispersion:.2}",
        report.moved_replicas,
        100.0 * report.moved_replicas as f64 / partitions,
        after.balance,
    ));
    let exit = advise(session, &after, dispersion, overload, hours);
    session.save_ring(&parts, format)?;
    session.save_builder_with_backup()?;
    Ok(exit)
}

/// What the option says, else version 1.
pub fn format_version(session: &mut Session, given: &Given) -> Result<FormatVersion, Failure> {
    match given.text("format-version") {
        Some("1") => Ok(FormatVersion::V1),
        Some("2") => Ok(FormatVersion::V2),
        Some(other) => Err(Failure::usage(format!(
            "option --format-version: invalid choice: '{other}' (choose from '1', '2')"
        ))),
        None => {
            session.say(
                "Defaulting to --format-version=1, which every release of Swift reads.\nDevice ids past 65534 need \
                 --format-version=2.\n",
            );
            Ok(FormatVersion::V1)
        }
    }
}

/// How good a table is, to decide whether a change is worth saving.
struct Quality {
    balance: f64,
    dispersion: Option<f64>,
}

impl Quality {
    fn of(builder: &Builder) -> Result<Quality, BuilderError> {
        Ok(Quality {
            balance: builder.balance()?,
            dispersion: builder.dispersion(),
        })
    }

    fn differs_from(&self, before: &Quality) -> bool {
        // As long as a device without weight still has partitions, the balance stays at its maximum whatever moves.
        let draining = before.balance == MAX_BALANCE_PERCENT && self.balance == MAX_BALANCE_PERCENT;
        let dispersion = match (before.dispersion, self.dispersion) {
            (Some(before), Some(after)) => (before - after).abs() >= 1.0,
            _ => true,
        };
        (before.balance - self.balance).abs() >= 1.0 || draining || dispersion
    }
}

/// A warning where the table is not yet as good as it could be.
fn advise(session: &mut Session, after: &Quality, dispersion: f64, overload: f64, hours: u32) -> Exit {
    let note = if dispersion > 0.0 {
        format!(
            "NOTE: Dispersion of {dispersion:.6} indicates some parts are not\n      optimally dispersed.\n\n      You \
             may want to adjust some device weights, increase\n      the overload or review the dispersion report."
        )
    } else if after.balance > 5.0 && after.balance / 100.0 > overload {
        format!(
            "NOTE: Balance of {:.2} indicates you should push this \n      ring, wait at least {hours} hours, and \
             rebalance/repush.",
            after.balance
        )
    } else {
        return Exit::Success;
    };
    session.say(RULE);
    session.say(note);
    session.say(RULE);
    Exit::Warning
}

fn in_box(error: &BuilderError) -> Failure {
    Failure::said(format!(
        "{RULE}\nAn error has occurred during ring validation. Common\ncauses of failure are rings that are empty or do \
         not\nhave enough devices to accommodate the replica count.\nOriginal exception message:\n {error}\n{RULE}"
    ))
}
