//! `plimsoll completions`: a script that teaches a shell our commands.

use std::io::Write;

use clap::Args;
use clap_complete::Shell;

use crate::exit::Exit;
use crate::screen;

const EXAMPLE: &str = "\
Example:
  plimsoll completions bash > ~/.local/share/bash-completion/completions/plimsoll";

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(before_help = EXAMPLE)]
pub struct CompletionsArgs {
    /// Write for this shell
    shell: Shell,
}

/// Prints the script.
///
/// # Errors
/// When stdout cannot be written.
pub fn completions(args: &CompletionsArgs) -> anyhow::Result<Exit> {
    // The generator panics when a write fails, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::command(), "plimsoll", &mut script);
    screen::data().write_all(&script)?;
    Ok(Exit::Yes)
}
