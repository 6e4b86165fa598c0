//! `plimsoll restart`: an item, built first if it has a build.

use clap::Args;
use fleet::control::client::Verb;

use super::accepted;
use crate::exit::Exit;
use crate::platform::PlatformArgs;

const EXAMPLE: &str = "\
Example:
  plimsoll restart backend";

/// Build a service of a running platform and start it anew
#[derive(Debug, Args)]
#[command(before_help = EXAMPLE)]
pub struct RestartArgs {
    /// Name of the service or resource
    name: String,
    #[command(flatten)]
    platform: PlatformArgs,
}

/// Asks the running `up`; does not wait until it is done.
///
/// # Errors
/// When no `up` runs there.
pub fn restart(args: &RestartArgs) -> anyhow::Result<Exit> {
    let client = args.platform.client()?;
    let answer = super::block_on(client.item(Verb::Restart, &args.name))?;
    accepted(answer, &format!("restart of `{}` begins; next: plimsoll status", args.name))
}
