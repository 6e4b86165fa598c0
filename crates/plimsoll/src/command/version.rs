//! `plimsoll version`: which build this is.

use std::io::Write;

use clap::Args;
use serde::Serialize;

use crate::exit::Exit;
use crate::screen;

const EXAMPLE: &str = "\
Example:
  plimsoll version --json";

/// Print the version
#[derive(Debug, Args)]
#[command(before_help = EXAMPLE)]
pub struct VersionArgs {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Build {
    name: &'static str,
    version: &'static str,
    target_os: &'static str,
    target_arch: &'static str,
}

/// Prints the version.
///
/// # Errors
/// When stdout cannot be written.
pub fn version(args: &VersionArgs) -> anyhow::Result<Exit> {
    let build = Build {
        name: "plimsoll",
        version: env!("CARGO_PKG_VERSION"),
        target_os: std::env::consts::OS,
        target_arch: std::env::consts::ARCH,
    };
    if args.json {
        screen::write_json(&build)?;
    } else {
        writeln!(screen::data(), "{} {}", build.name, build.version)?;
    }
    Ok(Exit::Yes)
}
