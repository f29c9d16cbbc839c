//! `martlet ring`: what `swift-ring-builder`, `-composer` and `-analyzer` do, with their arguments, habits and exit codes.
//!
//! The rings themselves are `martlet-ring`'s work; here are the words, the files and the questions.

mod analyze;
mod composer;
mod devices;
mod dispersion;
mod files;
mod help;
mod options;
mod power;
mod rebalance;
mod session;
mod settings;
mod show;

use session::{Exit, Failure, Lock, Paths, Session};
use std::ffi::OsString;
use std::process::ExitCode;

type Outcome = Result<Exit, Failure>;

/// One command on a builder that was read.
type Command = fn(&mut Session, &[String]) -> Outcome;

/// Runs one command line (without `martlet ring`) on this process's own files, clock and terminal.
pub fn run(args: Vec<OsString>) -> ExitCode {
    let mut session = Session::of_this_process();
    let exit = match args.into_iter().map(OsString::into_string).collect() {
        Ok(args) => with_args(&mut session, args),
        Err(arg) => {
            session.say(format_args!("{} is not UTF-8", arg.display()));
            Exit::Error
        }
    };
    session.flush();
    exit.into()
}

fn with_args(session: &mut Session, args: Vec<String>) -> Exit {
    let outcome = match args.split_first() {
        None => {
            session.say(help::overview());
            Ok(Exit::Success)
        }
        Some((first, _)) if first == "-h" || first == "--help" => {
            session.say(help::overview());
            Ok(Exit::Success)
        }
        Some((first, rest)) if first == "analyze" => analyze::run(session, rest),
        Some((first, rest)) if first == "composer" => composer::run(session, rest),
        Some((first, rest)) => on_builder(session, first, rest),
    };
    outcome.unwrap_or_else(|failure| {
        match failure.is_usage {
            true => session.warn(failure.text),
            false => session.say(failure.text),
        }
        Exit::Error
    })
}

fn on_builder(session: &mut Session, file: &str, args: &[String]) -> Outcome {
    let name = args.first().map_or("default", String::as_str);
    session.paths = Paths::of(file);
    let used = session.paths.builder.display().to_string();
    if used != file && !matches!(name, "write_builder" | "version") {
        session.say(format_args!(
            "Note: using {used} instead of {file} as builder file"
        ));
    }
    // Whoever may write holds the folder from before it reads, so that no other's change is lost.
    let _lock = match name {
        "default" | "version" | "search" | "list_parts" | "validate" => None,
        _ => Some(Lock::of_folder_of(&session.paths.builder)?),
    };
    let may_be_new = matches!(name, "create" | "write_builder" | "version");
    session.load(may_be_new)?;
    let Some(command) = command(name) else {
        return Err(Failure::said(format!("Unknown command: {name}")));
    };
    let args = args.get(1..).unwrap_or_default();
    if args.iter().any(|arg| arg == "-h" || arg == "--help") {
        session.say(help::of(name));
        return Ok(Exit::Success);
    }
    command(session, args)
}

fn command(name: &str) -> Option<Command> {
    Some(match name {
        "default" => show::default,
        "version" => show::version,
        "search" => show::search,
        "list_parts" => show::list_parts,
        "create" => settings::create,
        "set_replicas" => settings::set_replicas,
        "set_overload" => settings::set_overload,
        "set_min_part_hours" => settings::set_min_part_hours,
        "pretend_min_part_hours_passed" => settings::pretend_min_part_hours_passed,
        "add" => devices::add,
        "remove" => devices::remove,
        "set_weight" => devices::set_weight,
        "set_region" => devices::set_region,
        "set_zone" => devices::set_zone,
        "set_info" => devices::set_info,
        "rebalance" => rebalance::rebalance,
        "dispersion" => dispersion::dispersion,
        "validate" => files::validate,
        "write_ring" => files::write_ring,
        "write_builder" => files::write_builder,
        "prepare_increase_partition_power" => power::prepare,
        "increase_partition_power" => power::increase,
        "cancel_increase_partition_power" => power::cancel,
        "finish_increase_partition_power" => power::finish,
        _ => return None,
    })
}
