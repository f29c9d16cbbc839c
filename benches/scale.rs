//! What a large device costs: passes, refills, part-power changes, expiry and listings. Each step is one goal of the
//! project; the data goes straight into the devices, everything that is measured goes through the real binary. Needs up to
//! 8 GB in the temporary folder (`TMPDIR`), which should be a disk like those of the cluster.
//!
//! `cargo bench --bench scale -- --help` names the steps and options.

#[path = "scale/clients.rs"]
mod clients;
#[path = "scale/expiry.rs"]
mod expiry;
#[path = "scale/finding.rs"]
mod finding;
#[path = "scale/listing.rs"]
mod listing;
#[path = "scale/loading.rs"]
mod loading;
#[path = "scale/million.rs"]
mod million;
#[path = "scale/refill.rs"]
mod refill;
#[path = "../tests/support/mod.rs"]
mod support;

use finding::Finding;
use std::process::ExitCode;

const HELP: &str = "\
cargo bench --bench scale -- [STEP ...] [--part PERCENT]

Steps (all of them when none is named):
  idle     a round of replication on a device of 1,000,000 objects when nothing has changed, and what it reads
  power    the partition power changes under requests, on the same devices
  refill   a device of 100,000 objects is wiped and filled again under requests
  expiry   100,000 objects are due at once
  listing  a page of 10,000 names and writes, in a container of 10,000,000 rows and one of 20,000

--part 10 makes all of it ten times smaller: to see that it runs, not to judge by.
Ends with 1 when a goal is missed.
";

const STEPS: [&str; 5] = ["idle", "power", "refill", "expiry", "listing"];

fn main() -> ExitCode {
    let mut steps = Vec::new();
    let mut part = 100;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // Cargo adds it.
            "--bench" => {}
            "--part" => match arguments.next().and_then(|percent| percent.parse().ok()) {
                Some(percent @ 1..=100) => part = percent,
                _ => return usage(),
            },
            step if STEPS.contains(&step) => steps.push(step.to_owned()),
            "--help" => {
                print!("{HELP}");
                return ExitCode::SUCCESS;
            }
            _ => return usage(),
        }
    }
    let wanted = |step: &str| steps.is_empty() || steps.iter().any(|wanted| wanted == step);
    let of = |whole: usize| whole * part / 100;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime starts");
    let findings = runtime.block_on(async {
        let mut findings = Vec::new();
        if wanted("idle") || wanted("power") {
            let million = million::Million::load(of(1_000_000)).await;
            if wanted("idle") {
                findings.extend(million.idle().await);
            }
            if wanted("power") {
                findings.extend(million.power().await);
            }
        }
        if wanted("refill") {
            findings.extend(refill::run(of(100_000)).await);
        }
        if wanted("expiry") {
            findings.extend(expiry::run(of(100_000)).await);
        }
        if wanted("listing") {
            findings.extend(listing::run(of(10_000_000)).await);
        }
        findings
    });
    println!("\n{}", Finding::table(&findings));
    if findings.iter().all(Finding::is_met) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn usage() -> ExitCode {
    eprint!("{HELP}");
    ExitCode::from(2)
}
