//! Commands that check and write files.

use super::Outcome;
use super::options::{Given, long_value};
use super::rebalance::format_version;
use super::session::{Exit, Failure, Session, read_file};
use super::settings::number;
use martlet_ring::builder::Builder;

pub fn validate(session: &mut Session, _: &[String]) -> Outcome {
    session.builder()?.validate()?;
    Ok(Exit::Success)
}

pub fn write_ring(session: &mut Session, args: &[String]) -> Outcome {
    let known = [long_value("format-version"), long_value("dev-id-bytes")];
    let given = Given::parse(&known, args)?;
    let format = format_version(session, &given)?;
    let builder = session.builder()?;
    if builder.devices().next().is_none() {
        return Err(Failure::said("Unable to write empty ring."));
    }
    if let Some(bytes) = given.parsed("dev-id-bytes")? {
        builder.set_id_bytes(bytes)?;
    }
    let parts = builder.to_parts();
    if parts.rows.is_empty() {
        session.warn(
            "WARNING: Writing a ring with no partition assignments but with devices; did you forget to run \
             \"rebalance\"?",
        );
    }
    session.save_ring(&parts, format)?;
    Ok(Exit::Success)
}

/// Hours that partitions rest when nobody says how many.
const DEFAULT_MIN_PART_HOURS: u32 = 24;

pub fn write_builder(session: &mut Session, args: &[String]) -> Outcome {
    let path = session.paths.builder.clone();
    if path.exists() {
        return Err(Failure::said(format!(
            "Cowardly refusing to overwrite existing Ring Builder file: {}",
            path.display()
        )));
    }
    let hours = match args.first() {
        Some(hours) => number(hours, "min_part_hours")?,
        None => {
            session.warn("WARNING: default min_part_hours may not match the value in the lost builder.\n");
            DEFAULT_MIN_PART_HOURS
        }
    };
    let ring = session.paths.ring.clone();
    let bytes = read_file(&ring).map_err(|error| Failure::said(format!("{}: {error}", ring.display())))?;
    let (_, parts) = martlet_ring::file::read_parts(&bytes)?;
    session.set_builder(Builder::from_ring_parts(parts, hours)?);
    session.save_builder()?;
    Ok(Exit::Success)
}
