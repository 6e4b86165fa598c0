//! `plimsoll stop`: until it is started again.

use clap::Args;
use fleet::control::client::Verb;

use super::accepted;
use crate::exit::Exit;
use crate::platform::PlatformArgs;

const EXAMPLE: &str = "\
Example:
  plimsoll stop backend";

/// Stop a service or resource of a running platform
#[derive(Debug, Args)]
#[command(before_help = EXAMPLE)]
pub struct StopArgs {
    /// Name of the service or resource
    name: String,
    #[command(flatten)]
    platform: PlatformArgs,
}

/// Asks the running `up`; does not wait until it is done.
///
/// # Errors
/// When no `up` runs there.
pub fn stop(args: &StopArgs) -> anyhow::Result<Exit> {
    let client = args.platform.client()?;
    let answer = super::block_on(client.item(Verb::Stop, &args.name))?;
    accepted(answer, &format!("stop of `{}` begins; next: plimsoll status", args.name))
}
