//! What `up` shows: words about each state on stderr, then where everything is, then the lines.
//!
//! One task reads the hub and the status in turn, so that lines keep their order. Until everything
//! is ready the services' own lines are kept back (`--verbose` shows them), since a build says a
//! lot; when something fails, its last lines are in the error. No line is ever rewritten.

use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use fleet::hub::render::Renderer;
use fleet::hub::{Batch, Follower, Line, Stream, render};
use fleet::machine::State;
use fleet::up::{Command, ItemStatus, PLATFORM, Phase, Request, Status};
use jiff::tz::TimeZone;
use manifest::Plan;
use manifest::plan::Item;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::super::status::word;
use crate::{age, screen};

/// How often to say what is being waited for.
const REMINDER: Duration = Duration::from_secs(10);

/// How lines are shown.
pub(super) struct View {
    renderer: Renderer,
    is_verbose: bool,
    is_json: bool,
    has_been_up: bool,
}

impl View {
    pub(super) fn new(plan: &Plan, is_verbose: bool, is_json: bool) -> Self {
        let names = plan.start_order.iter().map(Item::name).chain([PLATFORM]);
        // Where they go, colours are taken out unless it is a terminal that wants them.
        let renderer = Renderer::new(names, TimeZone::system(), true);
        Self { renderer, is_verbose, is_json, has_been_up: false }
    }
}

/// Shows until the hub is closed. When nobody reads any more, the platform is told to stop.
pub(super) async fn show(
    follower: Follower,
    status: watch::Receiver<Status>,
    view: View,
    commands: mpsc::Sender<Command>,
) {
    if follow(follower, status, view).await.is_err() {
        // The engine may have ended meanwhile, which is as well.
        let _ = commands.send(Command::silent(Request::Shutdown)).await;
    }
}

async fn follow(
    mut follower: Follower,
    mut status: watch::Receiver<Status>,
    mut view: View,
) -> anyhow::Result<()> {
    let mut reminder = interval_at(Instant::now() + REMINDER, REMINDER);
    reminder.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_published = true;
    loop {
        tokio::select! {
            batch = follower.next() => match batch {
                Some(batch) => view.write(&batch)?,
                None => return Ok(()),
            },
            changed = status.changed(), if is_published => {
                is_published = changed.is_ok();
                let is_up = status.borrow_and_update().phase == Phase::Running;
                if is_up && !view.has_been_up {
                    view.write(&follower.read_now())?;
                    view.has_been_up = true;
                    write_banner(&mut screen::words(), &status.borrow(), age::now_ms())?;
                }
            }
            _ = reminder.tick() => write_reminder(&status.borrow())?,
        }
    }
}

impl View {
    fn write(&mut self, batch: &Batch) -> anyhow::Result<()> {
        for missed in &batch.missed {
            let words = self.renderer.render_missed(&missed.item, missed.n_lines);
            write!(screen::words(), "{words}")?;
        }
        let mut data = screen::data();
        for line in &batch.lines {
            let Line { item, stream, bytes, .. } = line;
            if *stream == Stream::Platform {
                data.flush()?;
                let words = self.renderer.render_words(item, &render::message(bytes));
                write!(screen::words(), "{words}")?;
            } else if self.is_json {
                data.write_all(bytes)?;
                data.write_all(b"\n")?;
            } else if self.has_been_up || self.is_verbose {
                write!(data, "{}", self.renderer.render(item, bytes))?;
            }
        }
        data.flush().context("writing lines")
    }
}

/// Where everything is, for a person who has just waited for it.
fn write_banner(out: &mut impl Write, status: &Status, now_ms: u64) -> anyhow::Result<()> {
    let after = age::since(status.started_ms, now_ms);
    writeln!(out, "\n{} ({}) is up after {after}\n", status.app, status.environment)?;
    let width = status.items.iter().map(|item| item.name.chars().count()).max().unwrap_or(0);
    for item in &status.items {
        let (name, padding) = (&item.name, width - item.name.chars().count());
        write!(out, "  {name}{:padding$}  ", "")?;
        match item.urls.as_slice() {
            [] if item.note.is_empty() => writeln!(out, "{}", word(&item.state))?,
            [] => writeln!(out, "{}: {}", word(&item.state), item.note)?,
            urls => writeln!(out, "{}", with_ready(item, urls).join("  "))?,
        }
    }
    writeln!(out, "\nCtrl-C stops everything; in another shell: plimsoll status\n")?;
    Ok(())
}

/// The places of an item; a service's own port also tells how it is.
fn with_ready(item: &ItemStatus, urls: &[String]) -> Vec<String> {
    let mut places = urls.to_vec();
    let own = item.port.map(|port| format!(":{port}"));
    let is_own = |url: &&String| own.as_ref().is_some_and(|own| url.ends_with(own.as_str()));
    if let Some(url) = urls.iter().find(is_own).filter(|url| url.starts_with("http")) {
        places.push(format!("{url}/ready"));
    }
    places
}

/// What the start is waiting for, and for how long already.
fn write_reminder(status: &Status) -> anyhow::Result<()> {
    if status.phase != Phase::Starting && status.phase != Phase::Stopping {
        return Ok(());
    }
    let now_ms = age::now_ms();
    let is_busy = |item: &&ItemStatus| {
        use State::{Building, Migrating, Starting, Stopping};
        matches!(item.state, Building | Migrating | Starting | Stopping)
    };
    let busy = status.items.iter().filter(is_busy).map(|item| {
        format!("{} ({}, {})", item.name, word(&item.state), age::since(item.since_ms, now_ms))
    });
    let busy: Vec<String> = busy.collect();
    if !busy.is_empty() {
        writeln!(screen::words(), "still waiting for {}", busy.join(", "))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use expect_test::expect;
    use fleet::up::ItemKind;

    use super::*;

    #[test]
    fn the_banner_says_where_everything_is() {
        let item = |name: &str, state, port: Option<u16>, urls: &[&str]| ItemStatus {
            name: name.into(),
            kind: ItemKind::Service,
            flavour: "web".into(),
            state,
            since_ms: 0,
            note: String::new(),
            pid: None,
            restarts: 0,
            port,
            urls: urls.iter().map(|url| (*url).to_owned()).collect(),
            uses: Vec::new(),
            checks: BTreeMap::new(),
            error: None,
            last_lines: Vec::new(),
        };
        let api = ["http://api.localhost:8000", "http://127.0.0.1:8080"];
        let status = Status {
            app: "shop".into(),
            environment: "dev".into(),
            pid: 1,
            phase: Phase::Running,
            edge: Some("http://localhost:8000".into()),
            started_ms: 0,
            items: vec![
                item("api", State::Ready, Some(8080), &api),
                item("worker", State::Ready, None, &[]),
            ],
        };
        let mut out = Vec::new();
        write_banner(&mut out, &status, 12_300).unwrap();
        expect![[r"

            shop (dev) is up after 12 s

              api     http://api.localhost:8000  http://127.0.0.1:8080  http://127.0.0.1:8080/ready
              worker  ready

            Ctrl-C stops everything; in another shell: plimsoll status

        "]]
        .assert_eq(&String::from_utf8(out).unwrap());
    }
}
