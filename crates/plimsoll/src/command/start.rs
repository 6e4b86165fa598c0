//! `plimsoll start`: what was stopped or has failed; nothing happens if it runs.

use clap::Args;
use fleet::control::client::Verb;

use super::accepted;
use crate::exit::Exit;
use crate::platform::PlatformArgs;

const EXAMPLE: &str = "\
Example:
  plimsoll start backend";

/// Start a service or resource of a running platform
#[derive(Debug, Args)]
#[command(before_help = EXAMPLE)]
pub struct StartArgs {
    /// Name of the service or resource
    name: String,
    #[command(flatten)]
    platform: PlatformArgs,
}

/// Asks the running `up`; does not wait until it is done.
///
/// # Errors
/// When no `up` runs there.
pub fn start(args: &StartArgs) -> anyhow::Result<Exit> {
    let client = args.platform.client()?;
    let answer = super::block_on(client.item(Verb::Start, &args.name))?;
    accepted(answer, &format!("start of `{}` begins; next: plimsoll status", args.name))
}
