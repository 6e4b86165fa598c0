//! `plimsoll status`: what the platform of a directory is doing.

use std::io::Write;
use std::path::PathBuf;

use anstyle::{AnsiColor, Style};
use clap::Args;
use fleet::machine::State;
use fleet::up::{ItemStatus, Phase, Status};

use crate::exit::Exit;
use crate::{age, platform, screen, table};

const EXAMPLE: &str = "\
Example:
  plimsoll status
  plimsoll status --json | jq '.items[] | {name, state}'";

const AFTER: &str = "\
Exit codes:
  0  everything that should run is ready
  1  something is not ready, or failed
  2  no `plimsoll up` runs there";

/// Show what the platform of a directory is doing
#[derive(Debug, Args)]
#[command(before_help = EXAMPLE, after_help = AFTER)]
pub struct StatusArgs {
    /// Mean the platform of this directory [default: here or above]
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Find the state in this directory, as given to `up`
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Asks and prints.
///
/// # Errors
/// When no `up` runs there.
pub fn status(args: &StatusArgs) -> anyhow::Result<Exit> {
    let platform = platform::find(args.directory.as_deref(), args.state_dir.as_deref())?;
    let status = super::block_on(async { platform.client().status().await })??;
    match args.json {
        true => screen::write_json(&status)?,
        false => write(&mut screen::data(), &status, age::now_ms())?,
    }
    Ok(if is_well(&status) { Exit::Yes } else { Exit::No })
}

/// Whether everything that should run serves.
fn is_well(status: &Status) -> bool {
    let is_fine = |item: &ItemStatus| {
        matches!(item.state, State::Ready | State::Done | State::Skipped | State::Stopped)
    };
    status.phase == Phase::Running && status.items.iter().all(is_fine)
}

fn write(out: &mut impl Write, status: &Status, now_ms: u64) -> anyhow::Result<()> {
    let phase = word(&status.phase);
    let since = age::since(status.started_ms, now_ms);
    write!(out, "{} ({}) {phase}, started {since} ago", status.app, status.environment)?;
    match &status.edge {
        Some(edge) => writeln!(out, ", {edge}")?,
        None => writeln!(out)?,
    }
    let mut rows = table::Table::new(["NAME", "TYPE", "STATE", "FOR", "PID", "RESTARTS", "WHERE"]);
    for item in &status.items {
        rows.push([
            item.name.clone(),
            item.flavour.clone(),
            table::styled(style(item.state), &word(&item.state)),
            age::since(item.since_ms, now_ms),
            item.pid.map(|pid| pid.to_string()).unwrap_or_default(),
            item.restarts.to_string(),
            item.urls.join(" "),
        ]);
    }
    rows.write(out)?;
    for item in &status.items {
        write_details(out, item)?;
    }
    Ok(())
}

/// What is wrong with an item, if anything is.
fn write_details(out: &mut impl Write, item: &ItemStatus) -> anyhow::Result<()> {
    let failing = item.checks.iter().filter(|(_, check)| !check.is_passing);
    let failing: Vec<String> =
        failing.map(|(name, check)| format!("{name}: {}", check.output)).collect();
    let is_silent = matches!(item.state, State::Ready | State::Done | State::Skipped);
    if failing.is_empty() && item.error.is_none() && (is_silent || item.note.is_empty()) {
        return Ok(());
    }
    writeln!(out, "\n{}:", item.name)?;
    if !item.note.is_empty() {
        writeln!(out, "  {}", item.note)?;
    }
    for check in failing {
        writeln!(out, "  {check}")?;
    }
    if let Some(error) = &item.error {
        for line in error.lines() {
            writeln!(out, "  {line}")?;
        }
        for line in &item.last_lines {
            writeln!(out, "  | {line}")?;
        }
    }
    Ok(())
}

/// How a state looks; its word says the same.
pub(super) fn style(state: State) -> Style {
    match state {
        State::Ready | State::Done => AnsiColor::Green.on_default(),
        State::Failed | State::CrashLooping => AnsiColor::Red.on_default().bold(),
        State::Unready | State::Backoff => AnsiColor::Yellow.on_default(),
        State::Skipped | State::Stopped => Style::new().dimmed(),
        _ => Style::new(),
    }
}

/// The word of a state or phase, as in JSON but with spaces.
pub(super) fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word.replace('_', " "),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use expect_test::expect;
    use fleet::up::{Check, ItemKind};

    use super::*;

    fn item(name: &str, state: State) -> ItemStatus {
        ItemStatus {
            name: name.into(),
            kind: ItemKind::Service,
            flavour: "web".into(),
            state,
            since_ms: 1_000,
            note: String::new(),
            pid: Some(17),
            restarts: 2,
            port: Some(8080),
            urls: vec!["http://localhost:8000".into()],
            uses: Vec::new(),
            checks: BTreeMap::new(),
            error: None,
            last_lines: Vec::new(),
        }
    }

    fn status_of(items: Vec<ItemStatus>) -> Status {
        Status {
            app: "shop".into(),
            environment: "dev".into(),
            pid: 1,
            phase: Phase::Running,
            edge: Some("http://localhost:8000".into()),
            started_ms: 0,
            items,
        }
    }

    #[test]
    fn a_failure_is_shown_below_the_table() {
        let mut worker = item("worker", State::CrashLooping);
        worker.note = "starts again in 4 s".into();
        worker.error = Some("exit code 3\nhelp: read its lines".into());
        worker.last_lines = vec!["boom".into()];
        let mut api = item("api", State::Unready);
        let check = Check { is_passing: false, output: "connection refused".into() };
        api.checks.insert("db".into(), check);
        let mut out = Vec::new();
        let status = status_of(vec![item("db", State::Ready), api, worker]);
        write(&mut anstream::StripStream::new(&mut out), &status, 61_000).unwrap();
        expect![[r"
            shop (dev) running, started 1 m 1 s ago, http://localhost:8000
            NAME    TYPE  STATE          FOR  PID  RESTARTS  WHERE
            db      web   ready          1 m  17   2         http://localhost:8000
            api     web   unready        1 m  17   2         http://localhost:8000
            worker  web   crash looping  1 m  17   2         http://localhost:8000

            api:
              db: connection refused

            worker:
              starts again in 4 s
              exit code 3
              help: read its lines
              | boom
        "]]
        .assert_eq(&String::from_utf8(out).unwrap());
    }

    #[test]
    fn a_platform_is_well_when_all_that_should_run_is_ready() {
        assert!(is_well(&status_of(vec![item("a", State::Ready), item("b", State::Skipped)])));
        assert!(!is_well(&status_of(vec![item("a", State::Ready), item("b", State::Unready)])));
        let mut starting = status_of(vec![item("a", State::Ready)]);
        starting.phase = Phase::Starting;
        assert!(!is_well(&starting));
    }
}
