//! The command line of `plimsoll-run`: `run` without its name, `engine`, `probe`,
//! `publish` and `notify`.

use clap::{Parser, Subcommand};

use super::{engine, notify, probe, publish, run};
use crate::exit::Exit;

const EXAMPLE: &str = "\
Example:
  plimsoll-run -- python app.py
  plimsoll-run --ingress 0.0.0.0:8080 -- node server.js";

/// Run one process as in production: health, metrics, logs, bounded stop
#[derive(Debug, Parser)]
#[command(
    name = "plimsoll-run",
    version,
    before_help = EXAMPLE,
    after_help = run::exit_codes_help(),
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    max_term_width = 100
)]
pub struct RunOnly {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: run::RunArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(hide = true)]
    Engine(engine::EngineArgs),
    Probe(probe::ProbeArgs),
    Publish(publish::PublishArgs),
    Notify(notify::NotifyArgs),
}

/// Does what was asked.
///
/// # Errors
/// When the command could not find out; the exit code is then 2.
pub fn dispatch(line: &RunOnly) -> anyhow::Result<Exit> {
    match &line.command {
        Some(Command::Engine(_)) => engine::engine(),
        Some(Command::Probe(args)) => probe::probe(args),
        Some(Command::Publish(args)) => publish::publish(args),
        Some(Command::Notify(args)) => notify::notify(args),
        None => run::run_process(&line.run),
    }
}
