//! `plimsoll logs`: what the services of a platform wrote, and write.
//!
//! From a running `up` if there is one; otherwise what the last one kept in files.

use std::collections::BTreeSet;
use std::io::Write;

use clap::Args;
use fleet::control::ControlError;
use fleet::control::client::{Client, Event, LogQuery};
use fleet::hub::{files, render::Renderer};
use fleet::up::{Refused, Status};
use jiff::tz::TimeZone;

use crate::exit::Exit;
use crate::platform::{self, Platform, PlatformArgs};
use crate::screen::{self, HELP};
use crate::suggest;

const EXAMPLE: &str = "\
Example:
  plimsoll logs                        the last lines of all services
  plimsoll logs backend --follow
  plimsoll logs --json | jq 'select(.level == \"error\")'";

/// Lines that are shown when nobody says how many.
const TAIL_DEFAULT: usize = 100;

/// Show what services wrote
#[derive(Debug, Args)]
#[command(before_help = EXAMPLE)]
pub struct LogsArgs {
    /// Show only this service or resource
    #[arg(value_name = "SERVICE")]
    name: Option<String>,
    /// Go on with what comes, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Begin with so many lines
    #[arg(long, value_name = "N", default_value_t = TAIL_DEFAULT)]
    tail: usize,
    /// Print one JSON object a line, as it was written
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    platform: PlatformArgs,
}

/// Prints lines.
///
/// # Errors
/// When there is no such service, or nothing runs there and nothing was kept.
pub fn logs(args: &LogsArgs) -> anyhow::Result<Exit> {
    let PlatformArgs { directory, state_dir } = &args.platform;
    let platform = platform::find(directory.as_deref(), state_dir.as_deref())?;
    let client = platform.client();
    super::block_on(async {
        match client.status().await {
            Ok(status) => from_up(args, &client, &status).await,
            Err(error @ ControlError::NotRunning { .. }) if args.follow => Err(error.into()),
            Err(error @ ControlError::NotRunning { .. }) => from_files(args, &platform, error),
            Err(error) => Err(error.into()),
        }
    })?
}

async fn from_up(args: &LogsArgs, client: &Client, status: &Status) -> anyhow::Result<Exit> {
    let query = LogQuery { name: args.name.clone(), tail: args.tail, is_followed: args.follow };
    let mut lines = Lines::new(args, status.items.iter().map(|item| item.name.as_str()));
    let mut events = client.logs(&query).await.map_err(suggest::refusal)?;
    while let Some(event) = events.next().await? {
        lines.write(&event)?;
    }
    Ok(Exit::Yes)
}

/// What the last `up` wrote, since none runs now.
fn from_files(
    args: &LogsArgs,
    platform: &Platform,
    not_running: ControlError,
) -> anyhow::Result<Exit> {
    let directory = platform.state().join("logs");
    let kept: BTreeSet<String> = std::fs::read_dir(&directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".jsonl").map(str::to_owned))
        .collect();
    let wanted: Vec<&String> = match &args.name {
        Some(name) => kept.iter().filter(|kept| *kept == name).collect(),
        None => kept.iter().collect(),
    };
    if let (Some(name), true) = (&args.name, wanted.is_empty() && !kept.is_empty()) {
        let known = kept.into_iter().collect();
        return Err(suggest::meant(Refused::Unknown { name: name.clone(), known }));
    }
    if wanted.is_empty() {
        return Err(not_running.into());
    }
    let mut events = Vec::new();
    for item in wanted {
        for line in files::read_tail(&directory, item, args.tail)? {
            // A line that a full disk cut in two is no line.
            let Ok(line) = serde_json::value::RawValue::from_string(line) else { continue };
            events.push(Event { item: item.clone(), line: Some(line), missed: 0 });
        }
    }
    events.sort_by_cached_key(time_of);
    writeln!(
        screen::words(),
        "{HELP}note:{HELP:#} no `plimsoll up` runs here; this is what the last one wrote"
    )?;
    let mut lines = Lines::new(args, kept.iter().map(String::as_str));
    let newest = events.len().saturating_sub(args.tail);
    events.drain(..newest);
    events.iter().try_for_each(|event| lines.write(event))?;
    Ok(Exit::Yes)
}

/// Lines of `run` begin their life with the same form of time, which sorts as text.
fn time_of(event: &Event) -> String {
    #[derive(serde::Deserialize)]
    struct Timed {
        #[serde(default)]
        ts: String,
    }
    let line = event.line.as_deref().map_or("", serde_json::value::RawValue::get);
    serde_json::from_str(line).map_or_else(|_| String::new(), |Timed { ts }| ts)
}

/// Writes lines as they were asked for.
struct Lines {
    renderer: Option<Renderer>,
}

impl Lines {
    fn new<'a>(args: &LogsArgs, items: impl Iterator<Item = &'a str>) -> Self {
        let is_coloured = screen::data_is_coloured();
        let renderer = || Renderer::new(items, TimeZone::system(), is_coloured);
        Self { renderer: (!args.json).then(renderer) }
    }

    fn write(&mut self, event: &Event) -> anyhow::Result<()> {
        let line = event.line.as_deref().map(serde_json::value::RawValue::get);
        let mut out = screen::data();
        match (&mut self.renderer, line) {
            (Some(renderer), Some(line)) => {
                write!(out, "{}", renderer.render(&event.item, line.as_bytes()))?;
            }
            (Some(renderer), None) => {
                write!(screen::words(), "{}", renderer.render_missed(&event.item, event.missed))?;
            }
            (None, Some(line)) => writeln!(out, "{line}")?,
            (None, None) => writeln!(
                screen::words(),
                "{} lines of `{}` not shown: written faster than read",
                event.missed,
                event.item
            )?,
        }
        Ok(out.flush()?)
    }
}
