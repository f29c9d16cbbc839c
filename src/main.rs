//! The one binary: reads the command line and starts what it asks for.

mod allocator;
mod cli;
mod config;
mod control;
mod dev;
mod looks;
mod node;
mod operator;
mod proxy_role;
mod recon;
mod ring;
mod rings;
mod router;
mod security;

use clap::Parser;
use std::num::NonZeroUsize;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: allocator::Allocator = allocator::Allocator;

fn main() -> ExitCode {
    let command = cli::Cli::parse().command;
    if let cli::Command::Ring(options) = command {
        return ring::run(options.args);
    }
    let threads = match &command {
        cli::Command::Dev(options) => options.threads(),
        cli::Command::Node(options) => options.threads,
        _ => None,
    };
    let mut runtime = match threads.map(NonZeroUsize::get) {
        // One thread hands nothing to another: no queues between threads, and what wakes a task is cheap.
        Some(1) => tokio::runtime::Builder::new_current_thread(),
        Some(threads) => {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            runtime.worker_threads(threads);
            runtime
        }
        None => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = match runtime.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("martlet: cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(async {
        match command {
            cli::Command::Dev(options) => dev::run(options).await,
            cli::Command::Node(options) => node::run(&options).await,
            cli::Command::Pass(options) => control::pass(&options).await,
            cli::Command::Ring(_) => unreachable!("answered above, without a runtime"),
            cli::Command::Format(options) => control::format(&options),
            cli::Command::Status(options) => operator::status(&options).await,
            cli::Command::Where(options) => operator::locate(&options).await,
            cli::Command::Recon(options) => operator::recon(&options).await,
            cli::Command::Dispersion(options) => operator::dispersion(&options).await,
        }
    });
    // Whatever still blocks a thread now (a stuck disk) must not keep a stopped server from ending.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    martlet_service::logging::flush();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("martlet: {error}");
            ExitCode::FAILURE
        }
    }
}
