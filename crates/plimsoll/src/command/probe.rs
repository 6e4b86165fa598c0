//! `plimsoll probe`: asks a running service how it is; the health check of an image without shell.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::exit::Exit;
use runtime::settings::parse_duration;

const EXAMPLE: &str = "\
Example:
  plimsoll probe ready                 exit code 0 if ready, 1 if not, 2 if nothing answers";

/// Ask a service under `plimsoll run` whether it is live or ready
#[derive(Debug, Args)]
#[command(before_help = EXAMPLE)]
pub struct ProbeArgs {
    /// Ask this question
    #[arg(value_enum)]
    pub question: Question,
    /// Ask over this Unix socket
    #[arg(long, value_name = "PATH", env = "PLIMSOLL_SOCK")]
    pub sock: Option<PathBuf>,
    /// Ask this admin listener
    #[arg(
        long,
        value_name = "ADDR:PORT",
        env = "PLIMSOLL_LISTEN",
        default_value = "127.0.0.1:9460"
    )]
    pub listen: String,
    /// Give up after this long
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = parse_duration)]
    pub timeout: Duration,
    /// Print nothing when the answer is yes
    #[arg(short, long)]
    pub quiet: bool,
}

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Question {
    /// Does the process do its work
    Live,
    /// May it get requests
    Ready,
    /// Did it start once
    Started,
    /// How is it, with every check
    Health,
}

/// Asks.
///
/// # Errors
/// When nothing answers.
pub fn probe(_args: &ProbeArgs) -> anyhow::Result<Exit> {
    anyhow::bail!("`probe` is not part of this build yet")
}
