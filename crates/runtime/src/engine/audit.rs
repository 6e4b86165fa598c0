//! What the engine itself writes into the audit log: its start, a stop, what it reads of secrets.
//!
//! A record of the engine is only noted: it must not keep a service from starting, stopping or
//! getting a fresh password that the disk of the log is full. It deliberately holds no value of a
//! secret, only what tells two of them apart. Invariant: that the log fails, and that it works
//! again, is said once each time.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use contract::log_events;
use ring::digest::{SHA256, digest};
use secrecy::ExposeSecret;
use serde_json::{Map, Value as Json, json};

use super::{Parts, narrate};
use crate::{
    audit::{Audit, Entry, Outcome, Told},
    logs::{Level, Sink, Value},
    metrics::{GuardCounters, Metrics},
    secret::{Handle, SecretError},
    settings::{Identity, Settings},
    wire::Snapshot,
};

/// Opens the audit log, if there is one. The guard has seen that it can be kept; where that has
/// changed since, the service goes on, and what must not happen unrecorded is refused.
pub(super) fn open(settings: &Settings, metrics: &Metrics, sink: &Sink) -> Audit {
    let Some(path) = &settings.audit_log else { return Audit::off() };
    let Identity { service, instance, .. } = &settings.identity;
    let ear = Arc::new(Ear {
        counters: metrics.guards(),
        sink: sink.clone(),
        is_failing: AtomicBool::new(false),
        n_lost: AtomicU64::new(0),
    });
    let tell = |ear: &Arc<Ear>| {
        let ear = Arc::clone(ear);
        move |told: Told<'_>| ear.hear(told)
    };
    Audit::open(path, service, instance, tell(&ear))
        .unwrap_or_else(|error| Audit::closed(&error, tell(&ear)))
}

/// Counts what becomes of records, and says when that changes.
struct Ear {
    counters: GuardCounters,
    sink: Sink,
    is_failing: AtomicBool,
    n_lost: AtomicU64,
}

impl Ear {
    fn hear(&self, told: Told<'_>) {
        match told {
            Told::Kept(n_records) => {
                self.counters.recorded(n_records);
                if self.is_failing.swap(false, Ordering::Relaxed) {
                    let n_lost = self.n_lost.swap(0, Ordering::Relaxed);
                    self.say(log_events::AUDIT_KEPT, Level::Warn, ("lost", Value::U64(n_lost)));
                }
            }
            Told::Lost(n_records, why) => {
                self.counters.unrecorded(n_records);
                self.n_lost.fetch_add(n_records, Ordering::Relaxed);
                if !self.is_failing.swap(true, Ordering::Relaxed) {
                    let why = why.to_string();
                    self.say(log_events::AUDIT_FAILING, Level::Error, ("output", Value::Str(&why)));
                }
            }
        }
    }

    fn say(&self, event: log_events::Event, level: Level, field: (&str, Value<'_>)) {
        let named = (log_events::KEY, Value::Str(event.name));
        self.sink.event(level, event.meaning, &[named, field]);
    }
}

/// An engine began its work.
pub(super) fn started(parts: &Parts, snapshot: &Snapshot) {
    let details = [
        ("pid".to_owned(), std::process::id().into()),
        ("restarts".to_owned(), snapshot.engine_restarts.into()),
        ("version".to_owned(), env!("CARGO_PKG_VERSION").into()),
    ];
    note(&parts.audit, "engine.started", "guard", "engine", Outcome::Allowed, details);
}

/// The guard got a signal to stop.
pub(super) fn stopped(audit: &Audit, signal: i32, service: &str) {
    let actor = narrate::signal_name(signal);
    note(audit, "stop", &actor, service, Outcome::Allowed, []);
}

fn note<const N: usize>(
    audit: &Audit,
    action: &'static str,
    actor: &str,
    target: &str,
    outcome: Outcome,
    details: [(String, Json); N],
) {
    let (actor, target) = (actor.to_owned(), target.to_owned());
    audit.record(Entry { action, actor, target, outcome, details: Map::from_iter(details) });
}

/// Which secrets were read, and what tells their values apart.
#[derive(Debug, Default)]
pub(super) struct Reads(BTreeMap<String, [u8; 32]>);

impl Reads {
    /// Notes what was read for the first time, and what has another value than before.
    pub(super) fn note(&mut self, audit: &Audit, handle: &Handle) {
        if !audit.is_on() {
            return;
        }
        for (name, value) in handle.values() {
            let mut print = [0; 32];
            print.copy_from_slice(digest(&SHA256, value.expose_secret().as_bytes()).as_ref());
            let action = match self.0.insert(name.clone(), print) {
                None => "secret.read",
                Some(before) if before != print => "secret.rotated",
                Some(_) => continue,
            };
            note(audit, action, "engine", &name, Outcome::Allowed, []);
        }
    }
}

/// Secrets were asked for, and have no value.
pub(super) fn unread(audit: &Audit, error: &SecretError) {
    for problem in &error.problems {
        let why = problem.fault.to_string();
        let details =
            [("place".to_owned(), json!(problem.place)), ("error".to_owned(), json!(why))];
        note(audit, "secret.read", "engine", &problem.reference, Outcome::Failed, details);
    }
}
