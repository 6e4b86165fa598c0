//! `plimsoll audit verify`: whether a log of who did what is whole.
//!
//! Several files are one chain, in the order given: those that were put aside first, the last one
//! last. Lines that are missing at the very end leave no trace in the chain: compare the hash that
//! is printed with one that was kept elsewhere.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};
use runtime::audit::{self, Broken};

use crate::exit::Exit;
use crate::screen;

const EXAMPLE: &str = "\
Example:
  plimsoll audit verify /var/log/plimsoll/audit.log.000001 /var/log/plimsoll/audit.log";

const AFTER: &str = "\
Exit codes:
  0  every line holds
  1  one was changed, removed, inserted or moved
  2  a file cannot be read";

/// Look at logs of who did what
#[derive(Debug, Args)]
#[command(before_help = EXAMPLE)]
pub struct AuditArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Verify(VerifyArgs),
}

/// Find the first line of an audit log that does not hold
#[derive(Debug, Args)]
#[command(before_help = EXAMPLE, after_help = AFTER)]
struct VerifyArgs {
    /// Read these files as one chain
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Does what was asked.
///
/// # Errors
/// When a file cannot be read.
pub fn audit(args: &AuditArgs) -> anyhow::Result<Exit> {
    let What::Verify(args) = &args.what;
    let mut last: Option<String> = None;
    for file in &args.files {
        let name = file.display();
        let verified = match audit::verify(file) {
            Ok(verified) => verified,
            Err(Broken::Io(error)) => {
                return Err(error).with_context(|| format!("cannot read `{name}`"));
            }
            Err(broken) => {
                writeln!(screen::words(), "`{name}`: {broken}")?;
                return Ok(Exit::No);
            }
        };
        if last.as_ref().is_some_and(|last| *last != verified.first_prev) {
            writeln!(screen::words(), "`{name}` does not follow the file before it")?;
            return Ok(Exit::No);
        }
        let hash = verified.last.as_deref().unwrap_or("none");
        let n_records = verified.n_records;
        writeln!(screen::data(), "{name}: {n_records} records hold; last hash {hash}")?;
        last = verified.last.or(last);
    }
    Ok(Exit::Yes)
}
