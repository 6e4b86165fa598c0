//! The table of commands. Each is one file below, named after it; this file only sends there.

pub mod completions;
pub mod engine;
pub mod probe;
pub mod run;
pub mod run_only;
pub mod version;

use clap::{Parser, Subcommand};

use crate::exit::{EXIT_CODES_HELP, Exit};

/// Shown before everything else in `plimsoll --help`.
const EXAMPLE: &str = "\
Example:
  plimsoll up                          start the platform of this directory
  plimsoll run -- python app.py        run one process as in production";

/// Take software over the line into production, and keep it there
#[derive(Debug, Parser)]
#[command(
    name = "plimsoll",
    version,
    before_help = EXAMPLE,
    after_help = EXIT_CODES_HELP,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::RunCommand),
    #[command(hide = true)]
    Engine(engine::EngineArgs),
    Probe(probe::ProbeArgs),
    Completions(completions::CompletionsArgs),
    Version(version::VersionArgs),
}

/// Does what was asked.
///
/// # Errors
/// When the command could not find out; the exit code is then 2.
pub fn dispatch(cli: Cli) -> anyhow::Result<Exit> {
    match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Engine(_) => engine::engine(),
        Command::Probe(args) => probe::probe(&args),
        Command::Completions(args) => completions::completions(&args),
        Command::Version(args) => version::version(&args),
    }
}
