//! `plimsoll down`: ends a running `up` from another shell, as Ctrl-C in its own does.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use fleet::control::ControlError;
use fleet::control::client::Client;
use runtime::settings::parse_duration;
use tokio::time::{Instant, sleep};

use crate::exit::Exit;
use crate::{platform, screen};

const EXAMPLE: &str = "\
Example:
  plimsoll down";

/// How often to look whether it has ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Stop a running platform, and wait until nothing of it runs
#[derive(Debug, Args)]
#[command(before_help = EXAMPLE)]
pub struct DownArgs {
    /// Mean the platform of this directory [default: here or above]
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Find the state in this directory, as given to `up`
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Kill what still runs after this long
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    timeout: Duration,
}

/// Asks, waits, and asks again with force.
///
/// # Errors
/// When no `up` runs there, or it does not end even then.
pub fn down(args: &DownArgs) -> anyhow::Result<Exit> {
    let platform = platform::find(args.directory.as_deref(), args.state_dir.as_deref())?;
    super::block_on(async {
        let client = platform.client();
        client.down().await?;
        if has_ended(&client, args.timeout).await? {
            writeln!(screen::words(), "stopped; nothing of it runs")?;
            return Ok(Exit::Yes);
        }
        writeln!(
            screen::words(),
            "still running after {} s; killing what is left",
            args.timeout.as_secs()
        )?;
        match client.down().await {
            Ok(()) | Err(ControlError::NotRunning { .. } | ControlError::Refused(_)) => {}
            Err(error) => return Err(error.into()),
        }
        if !has_ended(&client, args.timeout).await? {
            bail!("the platform does not end\nhelp: plimsoll status");
        }
        writeln!(screen::words(), "killed; nothing of it runs")?;
        Ok(Exit::Yes)
    })?
}

async fn has_ended(client: &Client, limit: Duration) -> anyhow::Result<bool> {
    let end = Instant::now() + limit;
    while Instant::now() < end {
        match client.status().await {
            Err(ControlError::NotRunning { .. }) => return Ok(true),
            Err(ControlError::TimedOut { .. }) | Ok(_) => sleep(LOOK_INTERVAL).await,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}
