//! The canonical workload: throughput, latency and server CPU of a whole cluster, through both doors, in one process
//! and over sockets. `cargo bench --bench cluster -- --help` names the options.

#[path = "cluster/doors.rs"]
mod doors;
#[path = "cluster/load.rs"]
mod load;
#[path = "cluster/options.rs"]
mod options;
#[path = "cluster/report.rs"]
mod report;
#[path = "cluster/server.rs"]
mod server;

use doors::Door;
use load::Step;
use options::Options;
use report::Report;
use server::Cluster;
use std::process::ExitCode;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Err(reason) => {
            eprintln!("{reason}\n{}", options::HELP);
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime starts");
    let report = runtime.block_on(run(&options));
    print!("{}{}", report.table(), report.segmented());
    if let Some(path) = &options.tsv
        && let Err(error) = std::fs::write(path, report.tsv())
    {
        eprintln!("{} was not written: {error}", path.display());
        return ExitCode::FAILURE;
    }
    if report.errors() == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Rounds are interleaved: each step runs on both clusters, one right after the other, so that a noisy machine
/// disturbs both sides of a ratio alike.
async fn run(options: &Options) -> Report {
    let clusters = [Cluster::start(false), Cluster::start(true)];
    let bodies = load::Bodies::random();
    let mut sides = Vec::new();
    for cluster in &clusters {
        let doors = [Door::swift(cluster.address()).await, Door::s3(cluster.address())];
        for door in &doors {
            door.prepare(cluster.address()).await;
        }
        sides.push((cluster, doors));
    }
    let mut report = Report::default();
    for round in 0..options.rounds {
        for step in Step::all(options) {
            for door in 0..2 {
                let name = format!("{} {}", sides[0].1[door].name(), step.name());
                if !options.wants(&name) || !step.is_for(&sides[0].1[door]) {
                    continue;
                }
                for (cluster, doors) in &sides {
                    let measured = load::run(cluster, &doors[door], step, round, options, &bodies).await;
                    report.add(&name, cluster.over_sockets(), measured);
                }
            }
        }
    }
    report
}
