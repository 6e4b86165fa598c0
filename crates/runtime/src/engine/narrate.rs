//! What the engine says of the process's life: one log line for each thing worth knowing.
//!
//! It deliberately decides nothing and holds no state; the words are meant to be searched for, so
//! `event` is stable where `msg` may change.

use contract::log_events::{self, Event};
use contract::log_fields;
use nix::sys::signal::Signal;

use crate::{
    board::{Phase, Reason},
    guard::clock,
    lifecycle::Cause,
    logs::{Level, Sink, Value},
    secret,
    settings::Settings,
    wire::Snapshot,
};

/// Enters a phase.
pub(super) fn phase(sink: &Sink, phase: Phase, snapshot: &Snapshot, settings: &Settings) {
    match phase {
        Phase::Gating => {
            sink.event(Level::Info, "waiting for dependencies", &[named(log_events::START_GATED)]);
        }
        Phase::Stopping => sink.event(
            Level::Info,
            "the application was asked to stop",
            &[
                named(log_events::SHUTDOWN_TERMINATE),
                ("signal", Value::Str(&settings.stop.signal.to_string())),
            ],
        ),
        Phase::Flushing if snapshot.stop.is_some() => {
            let since = snapshot.stop.map(|stop| stop.since).unwrap_or_default();
            sink.event(
                Level::Info,
                "stopped",
                &[
                    named(log_events::SHUTDOWN_END),
                    ("duration_ms", Value::U64(millis(clock().saturating_sub(since)))),
                ],
            );
        }
        _ => {}
    }
}

/// The first stop signal came.
pub(super) fn stop(sink: &Sink, signal: i32, settings: &Settings, ids: Option<(&str, &str)>) {
    let signal = signal_name(signal);
    let mut fields = vec![
        named(log_events::SHUTDOWN_BEGIN),
        ("signal", Value::Str(&signal)),
        ("drain_ms", Value::U64(millis(settings.stop.drain))),
        ("grace_ms", Value::U64(millis(settings.stop.grace))),
    ];
    if let Some((trace_id, span_id)) = ids {
        fields.push((log_fields::TRACE_ID.name, Value::Str(trace_id)));
        fields.push((log_fields::SPAN_ID.name, Value::Str(span_id)));
    }
    sink.event(Level::Info, "stopping: no longer ready", &fields);
}

/// The app runs.
pub(super) fn spawned(sink: &Sink, pid: i32) {
    sink.event(
        Level::Info,
        "the application was started",
        &[named(log_events::APP_SPAWNED), ("pid", Value::from(pid))],
    );
}

/// An engine died, and this one goes on; the app noticed nothing.
pub(super) fn taken_over(sink: &Sink, restarts: u32) {
    sink.event(
        Level::Warn,
        "the engine was started again",
        &[named(log_events::ENGINE_RESTARTED), ("restarts", Value::from(restarts))],
    );
}

/// A secret has no value.
pub(super) fn unresolved(sink: &Sink, problem: &secret::Problem) {
    let output = problem.fault.to_string();
    sink.event(
        Level::Error,
        "the application is not started: a secret has no value",
        &[
            named(log_events::SECRET_UNRESOLVED),
            ("reference", Value::Str(&problem.reference)),
            ("place", Value::Str(&problem.place)),
            ("output", Value::Str(&output)),
        ],
    );
}

/// The app could not be started.
pub(super) fn not_spawned(sink: &Sink, settings: &Settings, code: u8) {
    sink.event(
        Level::Error,
        "the application cannot be started",
        &[
            named(log_events::APP_NOT_SPAWNED),
            ("program", Value::Str(&settings.workload.program())),
            ("code", Value::U64(code.into())),
        ],
    );
}

/// The app ended; that is no surprise when it was asked to.
pub(super) fn exited(sink: &Sink, code: u8, signal: Option<i32>, was_asked: bool) {
    let level = if code == 0 || was_asked { Level::Info } else { Level::Warn };
    let name = signal.map(signal_name).unwrap_or_default();
    let fields = [
        named(log_events::APP_EXITED),
        ("code", Value::U64(code.into())),
        ("signal", Value::Str(&name)),
    ];
    let n_fields = if signal.is_some() { 3 } else { 2 };
    sink.event(
        level,
        &format!("the application ended: {}", how(code, signal)),
        &fields[..n_fields],
    );
}

/// The app had its time.
pub(super) fn kill(sink: &Sink, settings: &Settings) {
    sink.event(
        Level::Error,
        "the application did not stop in time and is killed",
        &[named(log_events::SHUTDOWN_KILL), ("grace_ms", Value::U64(millis(settings.stop.grace)))],
    );
}

/// Readiness turned over.
pub(super) fn readiness(sink: &Sink, reasons: &[Reason]) {
    if reasons.is_empty() {
        return sink.event(Level::Info, "ready", &[named(log_events::READY)]);
    }
    let words: Vec<_> = reasons.iter().map(ToString::to_string).collect();
    sink.event(
        Level::Warn,
        "not ready",
        &[named(log_events::UNREADY), ("reasons", Value::Str(&words.join(",")))],
    );
}

/// How the app ended, in words.
pub(super) fn how(code: u8, signal: Option<i32>) -> String {
    match signal {
        Some(signal) => format!("signal {}", signal_name(signal)),
        None => format!("exit {code}"),
    }
}

/// Why it ended, in one word of `exit.json`.
pub(super) fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::App => "exit",
        Cause::Killed => "killed",
        Cause::Stopped => "stopped",
        Cause::Secret => contract::exit_codes::SECRET.name,
        Cause::StartGate => contract::exit_codes::START_GATE.name,
        Cause::SpawnFailed => "not_spawned",
    }
}

/// The field by which a line is searched for.
fn named(event: Event) -> (&'static str, Value<'static>) {
    (log_events::KEY, Value::Str(event.name))
}

/// The name of a signal, or its number.
pub(super) fn signal_name(number: i32) -> String {
    match Signal::try_from(number) {
        Ok(signal) => signal.as_str().to_owned(),
        Err(_) => number.to_string(),
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
