//! Resolves secrets before anything that needs them, and keeps them and the probes fresh after.
//!
//! It deliberately knows no provider. Invariant: the redactor knows a value before the app, a
//! probe or anything else of ours can say it.

use std::{future::Future, pin::Pin, sync::Arc};

use secrecy::SecretString;
use serde_json::Value;

use super::{Parts, audit};
use crate::{
    audit::Audit,
    board::Board,
    logs::Sink,
    metrics::Metrics,
    probe::{self, LogBeats},
    secret::{self, Fault, Handle, Problem, Rotation, SecretError},
    settings::Settings,
    wire::{Environment, Snapshot},
};

/// Parts of the settings whose text is not ours to read: arguments, and the references themselves.
const NOT_TEXTS: [&str; 2] = ["workload", "secrets"];

/// Ends with the app's variables, or with what has no value.
pub(super) type Resolving = Pin<Box<dyn Future<Output = Result<Environment, SecretError>>>>;

/// Everything of an engine that has to do with secrets.
pub(super) struct Secrets {
    rotation: Rotation,
    settings: Arc<Settings>,
    log_beats: LogBeats,
    audit: Audit,
}

impl Secrets {
    /// `None` when nothing refers to a secret. Else values of an earlier engine are known to the
    /// redactor when this returns, and this process cannot be read by others.
    pub(super) fn new(
        settings: &Arc<Settings>,
        parts: &Parts,
        snapshot: &Snapshot,
        log_beats: &LogBeats,
    ) -> Option<Self> {
        let rotation = Rotation::new(
            parts.secrets.clone(),
            texts(settings),
            parts.board.clone(),
            parts.sink.clone(),
            parts.metrics.clone(),
        );
        if !rotation.is_needed() {
            return None;
        }
        // It cannot fail for a value that exists; without it a core dump would hold secrets.
        let _ = nix::sys::prctl::set_dumpable(false);
        let known = inherited(settings, snapshot);
        secret::teach(&parts.sink, &known);
        let (settings, log_beats) = (settings.clone(), log_beats.clone());
        Some(Self { rotation, settings, log_beats, audit: parts.audit.clone() })
    }

    /// Ends the files that were delivered; those of an earlier engine too.
    pub(super) fn remove_files(&self) {
        self.rotation.remove_files();
    }

    /// Resolves, then starts the probes and keeps all of it fresh. `is_first` when the app has not
    /// been spawned.
    pub(super) fn resolve(&self, is_first: bool) -> Resolving {
        let rotation = self.rotation.clone();
        let (settings, log_beats) = (self.settings.clone(), self.log_beats.clone());
        let log = self.audit.clone();
        Box::pin(async move {
            let started = rotation.start(settings.start_timeout, is_first).await;
            let env = started.inspect_err(|error| audit::unread(&log, error))?;
            let Rotation { handle, board, sink, metrics, .. } = rotation.clone();
            let mut reads = audit::Reads::default();
            reads.note(&log, &handle);
            let probes = start_probes(&settings, &handle, &board, &metrics, &sink, &log_beats)?;
            let mut changes = handle.changes();
            tokio::spawn(async move {
                let mut _probes = probes;
                while changes.changed().await.is_ok() {
                    reads.note(&log, &handle);
                    let fresh =
                        start_probes(&settings, &handle, &board, &metrics, &sink, &log_beats);
                    // With a value that makes no sense the old connections serve on.
                    if let Ok(fresh) = fresh {
                        _probes = fresh;
                    }
                }
            });
            tokio::spawn(secret::rotate(rotation));
            Ok(env)
        })
    }
}

/// Starts the probes that have references, with values in their place.
fn start_probes(
    settings: &Settings,
    handle: &Handle,
    board: &Arc<Board>,
    metrics: &Arc<Metrics>,
    sink: &Sink,
    log_beats: &LogBeats,
) -> Result<probe::Probes, SecretError> {
    let filled = probe::fill(&settings.probes, |text| handle.fill_now(text))?;
    let probes = probe::parse_values(&filled).map_err(|errors| SecretError {
        // What is wrong with them may show the text with the value.
        problems: vec![Problem {
            place: "--probes".into(),
            reference: String::new(),
            fault: Fault::new_config(&format!(
                "{} of them make no sense with their secrets filled in\nhelp: check what the \
                 provider holds, for example with `plimsoll secret check`",
                errors.len()
            )),
        }],
    })?;
    Ok(probe::spawn(probes, board, metrics, sink, log_beats))
}

/// Whether a text in a value refers to a secret.
pub(super) fn refers(value: &Value) -> bool {
    let mut found = Vec::new();
    collect("", value, &mut found);
    !found.is_empty()
}

/// Texts with references, each with the name of its flag.
fn texts(settings: &Settings) -> Vec<(String, String)> {
    let mut found = Vec::new();
    if let Ok(Value::Object(fields)) = serde_json::to_value(settings) {
        for (name, value) in fields {
            if !NOT_TEXTS.contains(&name.as_str()) {
                let flag = format!("--{}", name.replace('_', "-"));
                collect(&flag, &value, &mut found);
            }
        }
    }
    found
}

fn collect(flag: &str, value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::String(text) if secret::has_reference(text) => {
            found.push((flag.to_owned(), text.clone()));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(flag, item, found)),
        Value::Object(fields) => fields.values().for_each(|item| collect(flag, item, found)),
        _ => {}
    }
}

/// The values that the app was spawned with by an engine before this one.
fn inherited(settings: &Settings, snapshot: &Snapshot) -> Vec<(String, SecretString)> {
    let value = |(name, _): (String, String)| {
        let env = &snapshot.app_env.0;
        let of_file = || {
            let path = env.get(&format!("{name}_FILE"))?;
            std::fs::read_to_string(path).ok()
        };
        let value = env.get(&name).cloned().or_else(of_file)?;
        Some((name, SecretString::from(value)))
    };
    let references = secret::inherited_references(&settings.secrets);
    references.into_iter().filter_map(value).collect()
}
