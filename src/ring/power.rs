//! The commands of a partition-power change. `write_ring` brings each step to the nodes.

use super::Outcome;
use super::session::{Exit, Failure, Session};

const AFTER_WRITE: &str = "The change will take effect after the next write_ring.";

/// A cluster that has Swift's nodes must run `swift-object-relinker` there; Martlet's have nothing to do.
const RELINK: &str = "Martlet's nodes move and link nothing. Where Swift's object servers share this ring, run \
                      swift-object-relinker on them before the next step.";

pub fn prepare(session: &mut Session, _: &[String]) -> Outcome {
    let name = session.paths.builder.file_name().unwrap_or_default();
    if !name.to_string_lossy().contains("object") {
        return Err(Failure::said(
            "Partition power increase is only supported for object rings.",
        ));
    }
    let builder = session.builder()?;
    if !builder.prepare_increase_partition_power()? {
        return Err(Failure::said(
            "Ring is already prepared for partition power increase.",
        ));
    }
    say_next_power(session)?;
    session.say(AFTER_WRITE);
    session.say(RELINK);
    session.save_builder()?;
    Ok(Exit::Success)
}

pub fn increase(session: &mut Session, _: &[String]) -> Outcome {
    let now_secs = session.now_secs;
    let builder = session.builder()?;
    if !builder.increase_partition_power(now_secs) {
        return Err(Failure::said(
            "Ring partition power cannot be increased. Either the ring\nwas not prepared yet, or this operation has \
             already run.",
        ));
    }
    let power = builder.part_power();
    session.say(format_args!("The partition power is now {power}."));
    session.say(AFTER_WRITE);
    session.say(RELINK);
    session.save_builder()?;
    Ok(Exit::Success)
}

pub fn cancel(session: &mut Session, _: &[String]) -> Outcome {
    if !session.builder()?.cancel_increase_partition_power() {
        return Err(Failure::said("Ring partition power increase cannot be canceled."));
    }
    say_next_power(session)?;
    session.say(AFTER_WRITE);
    session.say(RELINK);
    session.save_builder()?;
    Ok(Exit::Success)
}

pub fn finish(session: &mut Session, _: &[String]) -> Outcome {
    if !session.builder()?.finish_increase_partition_power() {
        return Err(Failure::said("Ring partition power increase cannot be finished."));
    }
    session.say(AFTER_WRITE);
    session.save_builder()?;
    Ok(Exit::Success)
}

fn say_next_power(session: &mut Session) -> Result<(), Failure> {
    let next = session.builder()?.next_part_power().unwrap_or(0);
    session.say(format_args!("The next partition power is now {next}."));
    Ok(())
}
