//! What is known about every item besides what the machine knows, and the status made of both.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use manifest::Plan;
use manifest::plan::Item;

use super::assemble::Assembled;
use super::status::{Check, ItemKind, ItemStatus, Phase, Status};
use crate::edge;
use crate::machine::{ItemId, Machine, Millis, State, View};

/// What does not change, and what the driver said last.
#[derive(Debug)]
pub(super) struct Board {
    app: String,
    environment: String,
    edge: Option<String>,
    started_ms: u64,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    name: String,
    kind: ItemKind,
    flavour: String,
    /// What a skipped item is waiting for, in words.
    skipped: String,
    port: Option<u16>,
    urls: Vec<String>,
    uses: Vec<String>,
    process: Option<(u32, u32)>,
    checks: BTreeMap<String, Check>,
    last_lines: Vec<String>,
}

impl Board {
    /// A row for every item, in the order of the machine.
    pub(super) fn new(plan: &Plan, assembled: &Assembled, edge_url: Option<String>) -> Self {
        let edge_port = edge_url.as_ref().and_then(|url| url.rsplit(':').next()?.parse().ok());
        let rows = plan.start_order.iter().map(|item| Row::new(plan, assembled, item, edge_port));
        Self {
            app: plan.app.to_string(),
            environment: plan.environment.name.to_string(),
            edge: edge_url,
            started_ms: unix_ms(),
            rows: rows.collect(),
        }
    }

    /// Services without anything around them.
    #[cfg(test)]
    pub(super) fn of_names(names: &[&str]) -> Self {
        let rows = names.iter().map(|name| Row::empty((*name).to_owned(), ItemKind::Service));
        let (app, environment) = ("shop".to_owned(), "dev".to_owned());
        Self { app, environment, edge: None, started_ms: 0, rows: rows.collect() }
    }

    pub(super) fn name(&self, id: ItemId) -> &str {
        &self.rows[id].name
    }

    pub(super) fn kind(&self, id: ItemId) -> ItemKind {
        self.rows[id].kind
    }

    /// The item of that name.
    pub(super) fn find(&self, name: &str) -> Option<ItemId> {
        self.rows.iter().position(|row| row.name == name)
    }

    /// All names, sorted.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.rows.iter().map(|row| row.name.clone()).collect();
        names.sort();
        names
    }

    pub(super) fn has_process(&mut self, id: ItemId, run: u32, pid: u32) {
        self.rows[id].process = Some((run, pid));
        self.rows[id].checks.clear();
    }

    pub(super) fn has_checks(&mut self, id: ItemId, checks: BTreeMap<String, Check>) {
        self.rows[id].checks = checks;
    }

    pub(super) fn has_failed(&mut self, id: ItemId, last_lines: Vec<String>) {
        self.rows[id].last_lines = last_lines;
    }

    /// The whole platform now.
    pub(super) fn status(&self, machine: &Machine) -> Status {
        let phase = match (machine.is_over(), machine.is_stopping(), machine.has_completed()) {
            (true, _, _) => Phase::Stopped,
            (_, true, _) => Phase::Stopping,
            (_, _, true) => Phase::Running,
            _ => Phase::Starting,
        };
        let items = self.rows.iter().enumerate().map(|(id, row)| {
            let view = machine.view(id);
            let note = note(&view, row, |id| self.name(id).to_owned());
            row.status(&view, note, self.started_ms)
        });
        let mut items: Vec<_> = items.collect();
        items.sort_by_key(|item| item.kind == ItemKind::Service);
        Status {
            app: self.app.clone(),
            environment: self.environment.clone(),
            pid: std::process::id(),
            phase,
            edge: self.edge.clone(),
            started_ms: self.started_ms,
            items,
        }
    }
}

impl Row {
    fn empty(name: String, kind: ItemKind) -> Self {
        Self {
            name,
            kind,
            flavour: String::new(),
            skipped: String::new(),
            port: None,
            urls: Vec::new(),
            uses: Vec::new(),
            process: None,
            checks: BTreeMap::new(),
            last_lines: Vec::new(),
        }
    }

    fn new(plan: &Plan, assembled: &Assembled, item: &Item, edge_port: Option<u16>) -> Self {
        let mut row = Self::empty(item.name().to_owned(), ItemKind::Resource);
        row.port = assembled.ports.get(&row.name).copied();
        match item {
            Item::Resource(name) => {
                let kind = plan.resources.get(name).map(|resource| resource.spec.kind());
                row.flavour = kind.map_or("", |kind| kind.as_str()).to_owned();
            }
            Item::Service(name) => {
                let Some(service) = plan.services.get(name) else { return row };
                row.kind = ItemKind::Service;
                row.flavour = service.kind.to_string();
                row.uses = service.uses.keys().cloned().collect();
                if let Some(schedule) = &service.schedule {
                    row.skipped = format!(
                        "runs at `{}` where it is deployed; here only when started by hand",
                        schedule.cron
                    );
                }
                let routes = service.route.iter();
                let public =
                    |port| routes.map(|route| edge::public_url(plan, route, port)).collect();
                row.urls = edge_port.map(public).unwrap_or_default();
                row.urls.extend(row.port.map(|port| format!("http://127.0.0.1:{port}")));
            }
        }
        row
    }

    fn status(&self, view: &View<'_>, note: String, started_ms: u64) -> ItemStatus {
        use State::{Ready, Starting, Stopping, Unready};
        let is_live = matches!(view.state, Starting | Ready | Unready | Stopping);
        let process = self.process.filter(|(run, _)| is_live && *run == view.run);
        let has_error = view.error.is_some();
        ItemStatus {
            name: self.name.clone(),
            kind: self.kind,
            flavour: self.flavour.clone(),
            state: view.state,
            since_ms: started_ms + view.since,
            note,
            pid: process.map(|(_, pid)| pid),
            restarts: view.restarts,
            port: self.port,
            urls: self.urls.clone(),
            uses: self.uses.clone(),
            checks: if is_live { self.checks.clone() } else { BTreeMap::new() },
            error: view.error.map(str::to_owned),
            last_lines: if has_error { self.last_lines.clone() } else { Vec::new() },
        }
    }
}

/// One line about the state.
fn note(view: &View<'_>, row: &Row, name_of: impl Fn(ItemId) -> String) -> String {
    match view.state {
        State::Waiting if !view.waits_for.is_empty() => {
            let names = view.waits_for.iter().map(|id| format!("`{}`", name_of(*id)));
            format!("waits for {}", names.collect::<Vec<_>>().join(", "))
        }
        State::Starting | State::Unready => view.lacks.to_owned(),
        State::Backoff | State::CrashLooping => {
            let pause_ms = view.deadline.unwrap_or(view.since).saturating_sub(view.since);
            format!("starts again {} after its end", seconds(pause_ms))
        }
        State::Skipped => row.skipped.clone(),
        _ => String::new(),
    }
}

fn seconds(ms: Millis) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
