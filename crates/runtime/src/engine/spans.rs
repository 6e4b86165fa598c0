//! The spans of a process's own life: `service.startup` and `service.shutdown`.
//!
//! The one begins with the guard and ends when the service is ready for the first time; the other
//! begins with the first stop signal, or with the end of an app that nobody stopped, and ends just
//! before the flush that carries it away. Phases are events. It deliberately goes on with nothing
//! that an engine before it began: that span is lost with it.
//!
//! Invariant: at most one of each, and a stop ends the startup.

use std::time::{Duration, SystemTime};

use contract::{env_vars, log_events};
use tokio::task::JoinHandle;

use super::Parts;
use crate::{
    board::Phase,
    guard::clock,
    logs::{Level, Sink, Value},
    secret,
    settings::Settings,
    telemetry::{ExportTask, Span, Tracer},
    wire::{App, Environment, Snapshot},
};

/// How long after a secret could not be had it is asked for again.
const SECRET_RETRY: Duration = Duration::from_secs(5);

/// The spans of this life.
#[derive(Debug, Default)]
pub(super) struct Spans {
    startup: Option<Span>,
    shutdown: Option<Span>,
    has_ended: bool,
    is_killed: bool,
    was_asked: bool,
}

/// Ends the export with the engine.
#[derive(Debug)]
pub(super) struct Exporting(Option<JoinHandle<()>>);

impl Drop for Exporting {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// Starts the tracer of these settings; without an endpoint there is none, and no task.
pub(super) fn start_tracing(settings: &Settings, parts: &mut Parts) -> Exporting {
    for warning in &settings.telemetry.warnings {
        ignored(&parts.sink, warning);
    }
    let counters = parts.metrics.trace_counters();
    let (tracer, export) = Tracer::new(&settings.telemetry, counters);
    parts.tracer = tracer;
    let (identity, sink) = (super::identity(settings), parts.sink.clone());
    let secrets = parts.secrets.clone();
    Exporting(export.map(|mut export| {
        tokio::spawn(async move {
            resolve(&mut export, &secrets, &sink).await;
            export.run(identity, sink).await;
        })
    }))
}

/// Puts secrets into header fields; spans wait meanwhile, as many as the queue holds.
async fn resolve(export: &mut ExportTask, secrets: &secret::Handle, sink: &Sink) {
    let mut is_told = false;
    for value in export.settings_mut().headers.values_mut() {
        while secret::has_reference(value.reveal()) {
            match secrets.fill(value.reveal()).await {
                Ok(filled) => {
                    *value = filled.into();
                    break;
                }
                Err(error) if !is_told => {
                    is_told = true;
                    let reason = error.to_string();
                    let fields = [
                        (log_events::KEY, Value::Str(log_events::TRACES_FAILING.name)),
                        ("reason", Value::Str(&reason)),
                    ];
                    sink.event(Level::Warn, "traces wait for a secret", &fields);
                }
                Err(_) => {}
            }
            tokio::time::sleep(SECRET_RETRY).await;
        }
    }
}

fn ignored(sink: &Sink, warning: &str) {
    let fields = [
        (log_events::KEY, Value::Str(log_events::TRACES_IGNORED.name)),
        ("reason", Value::Str(warning)),
    ];
    sink.event(Level::Warn, "a variable of OpenTelemetry is not followed", &fields);
}

impl Spans {
    /// Begins the startup, unless it is over; the app learns of it.
    pub(super) fn begin(
        tracer: &Tracer,
        settings: &Settings,
        snapshot: &Snapshot,
        app_env: &mut Environment,
    ) -> Self {
        if !tracer.is_on() || snapshot.app != App::Waiting || snapshot.stop.is_some() {
            return Self { was_asked: snapshot.stop.is_some(), ..Self::default() };
        }
        let parent = settings.telemetry.parent.as_deref();
        let mut span = tracer.lifecycle("service.startup", parent);
        span.begun(at(snapshot.born));
        if let Some(traceparent) = span.traceparent() {
            let name = env_vars::CHILD_TRACEPARENT.name.to_owned();
            app_env.0.insert(name, traceparent.to_owned());
        }
        Self { startup: Some(span), ..Self::default() }
    }

    /// A phase begins.
    pub(super) fn enter(&mut self, phase: Phase, tracer: &Tracer) {
        if phase >= Phase::Sweeping && self.shutdown.is_none() && !self.has_ended {
            self.open_shutdown(tracer);
        }
        let span = self.shutdown.as_mut().or(self.startup.as_mut());
        if let Some(span) = span {
            span.event(phase.word(), []);
        }
    }

    /// The first stop signal came.
    pub(super) fn stop(&mut self, tracer: &Tracer, signal: &str) {
        self.was_asked = true;
        self.open_shutdown(tracer);
        if let Some(span) = &mut self.shutdown {
            span.set("plimsoll.shutdown.signal", signal);
        }
    }

    /// The ids that the line of the stop shares with its span.
    pub(super) fn shutdown_ids(&self) -> Option<(&str, &str)> {
        let span = self.shutdown.as_ref()?;
        Some((span.trace_id()?, span.span_id()?))
    }

    /// Ready for the first time.
    pub(super) fn ready(&mut self) {
        if let Some(mut span) = self.startup.take() {
            span.event("ready", []);
        }
    }

    /// The app had to be killed.
    pub(super) fn killed(&mut self) {
        self.is_killed = true;
    }

    /// The app could not be started.
    pub(super) fn not_spawned(&mut self, code: u8) {
        if let Some(mut span) = self.startup.take() {
            span.set("process.exit.code", u32::from(code));
            span.fail("not_spawned");
        }
    }

    /// The app ended.
    pub(super) fn exited(&mut self, code: u8, signal: Option<i32>) {
        if let Some(mut span) = self.startup.take() {
            span.set("process.exit.code", u32::from(code));
            span.fail("exited");
        }
        if let Some(span) = &mut self.shutdown {
            span.set("process.exit.code", u32::from(code));
            if signal.is_some() && !self.is_killed {
                span.set("plimsoll.app.signal", i64::from(signal.unwrap_or_default()));
            }
        }
    }

    /// Nothing more happens: what is open ends now.
    pub(super) fn end(&mut self) {
        self.has_ended = true;
        drop(self.startup.take());
        let Some(mut span) = self.shutdown.take() else { return };
        let outcome = match (self.is_killed, self.was_asked) {
            (true, _) => "killed",
            (false, true) => "graceful",
            (false, false) => "crashed",
        };
        span.set("plimsoll.shutdown.outcome", outcome);
        if outcome != "graceful" {
            span.fail(outcome);
        }
    }

    fn open_shutdown(&mut self, tracer: &Tracer) {
        if let Some(mut span) = self.startup.take() {
            span.fail("stopped");
        }
        if tracer.is_on() && self.shutdown.is_none() {
            self.shutdown = Some(tracer.lifecycle("service.shutdown", None));
        }
    }
}

/// The wall clock's time of a moment since boot.
fn at(since_boot: Duration) -> SystemTime {
    SystemTime::now() - clock().saturating_sub(since_boot)
}
