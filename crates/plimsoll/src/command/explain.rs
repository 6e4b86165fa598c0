//! `plimsoll explain`: a value of the plan, where it came from, and which lines it brings.

mod fan_out;

use std::io::Write;
use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;
use manifest::Explanation;
use serde_json::Value;

use crate::exit::Exit;
use crate::source::Source;
use crate::{platform, report, screen};

const EXAMPLE: &str = "\
Example:
  plimsoll explain services.backend.limits
  plimsoll explain services.backend.scale --env production
  plimsoll explain services.backend.uses.db        every file and line that this edge brings";

/// Show a value of the plan, where it came from and what it brings
#[derive(Debug, Args)]
#[command(before_help = EXAMPLE)]
pub struct ExplainArgs {
    /// Words of the path, joined by dots
    path: String,
    /// Resolve for this environment [default: the local one]
    #[arg(long, value_name = "NAME")]
    env: Option<String>,
    /// Read the manifest of this directory [default: here or above]
    #[arg(long = "dir", value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Reads, resolves and explains.
///
/// # Errors
/// When there is no manifest, or it cannot be read.
pub fn explain(args: &ExplainArgs) -> anyhow::Result<Exit> {
    let platform = platform::find(args.directory.as_deref(), None)?;
    let source = Source::read(&platform)?;
    let resolution = match source.resolve(args.env.as_deref()) {
        Ok(resolution) => resolution,
        Err(problems) => {
            source.show(&problems)?;
            return Ok(Exit::Unknown);
        }
    };
    match manifest::explain(&resolution, &args.path) {
        Ok(mut explanation) => {
            super::plan::hide_passwords(&mut explanation.value);
            let lines = fan_out::lines(&resolution.plan, &args.path, args.directory.as_deref())?;
            if args.json {
                screen::write_json(&fan_out::document(&explanation, &lines)?)?;
            } else {
                write(&mut screen::data(), &explanation)?;
                fan_out::write(&mut screen::data(), &lines)?;
            }
        }
        Err(unknown) => {
            report::show(&anyhow!("{unknown}\nhelp: {}", unknown.help));
            return Ok(Exit::Unknown);
        }
    }
    Ok(Exit::Yes)
}

/// One line for each value, with its origin in a second column.
fn write(out: &mut impl Write, explanation: &Explanation) -> anyhow::Result<()> {
    let mut rows: Vec<(String, String)> = Vec::new();
    gather(&explanation.path, &explanation.value, &mut rows);
    let width = rows.iter().map(|(path, value)| path.len() + value.len() + 2).max().unwrap_or(0);
    let mut known = vec![(explanation.path.as_str(), explanation.origin.to_string())];
    known
        .extend(explanation.parts.iter().map(|(path, origin)| (path.as_str(), origin.to_string())));
    for (path, value) in &rows {
        // The longest path that holds this one says where it came from.
        let holds = |holder: &str| {
            holder.is_empty()
                || path
                    .strip_prefix(holder)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let nearest = known.iter().filter(|(holder, _)| holds(holder));
        let origin = nearest.max_by_key(|(holder, _)| holder.len()).map_or("", |(_, o)| o.as_str());
        let line = format!("{path}: {value}");
        writeln!(out, "{line:width$}  # {origin}")?;
    }
    Ok(())
}

/// The leaves below a value; lists are leaves.
fn gather(path: &str, value: &Value, rows: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, child) in map {
                let dot = if path.is_empty() { "" } else { "." };
                gather(&format!("{path}{dot}{key}"), child, rows);
            }
        }
        leaf => rows.push((path.to_owned(), leaf.to_string())),
    }
}
