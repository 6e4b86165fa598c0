//! The one task that takes spans from the queue to the collector.
//!
//! A batch that the collector does not take within the timeout, with the SDK's retries, is lost and
//! counted: spans are the first thing to give up when memory is scarce. It says once that the
//! collector is away and once that it is back. It deliberately keeps nothing on disk.
//!
//! Invariant: one export at a time, each bounded by the timeout.

use std::collections::BTreeMap;
use std::sync::Arc;

use contract::log_events;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};

use super::exporter::{self, ExporterError};
use super::queue::Queue;
use super::settings;
use super::span::each_text;
use crate::board::Identity;
use crate::logs::{Level, Redactor, Sink, Value};

/// What exports; not yet running.
#[derive(Debug)]
pub struct Export {
    pub(super) export: settings::Export,
    pub(super) resource: BTreeMap<String, String>,
    pub(super) queue: Arc<Queue>,
}

impl Export {
    /// The settings, to resolve what is secret in them before the task starts.
    pub fn settings_mut(&mut self) -> &mut settings::Export {
        &mut self.export
    }

    /// Exports until it is dropped. Ends at once, with a line, when the exporter cannot be made.
    pub async fn run(self, identity: Identity, sink: Sink) {
        let redactor = sink.redactor().clone();
        let resource = resource(&identity, &self.resource);
        let exporter = match exporter::build(&self.export, &resource) {
            Ok(exporter) => exporter,
            Err(error) => return self.give_up(&error, &sink).await,
        };
        let mut is_failing = false;
        loop {
            let turn = self.queue.wait().await;
            loop {
                let mut spans = self.queue.take();
                if spans.is_empty() {
                    break;
                }
                hide(&mut spans, &redactor);
                let n_spans = spans.len() as u64;
                let exported = tokio::time::timeout(self.export.timeout, exporter.export(spans));
                let problem = match exported.await {
                    Ok(Ok(())) => None,
                    Ok(Err(error)) => Some(error.to_string()),
                    Err(_) => Some("the collector did not answer in time".to_owned()),
                };
                let counters = self.queue.counters();
                let counter = if problem.is_some() { &counters.failed } else { &counters.exported };
                counter.inc_by(n_spans);
                say(&sink, &mut is_failing, problem.as_deref());
            }
            self.queue.did(turn);
        }
    }

    /// Nothing can be exported, ever: says so, and lets spans go.
    async fn give_up(self, error: &ExporterError, sink: &Sink) {
        let fields = [
            (log_events::KEY, Value::Str(log_events::TRACES_FAILING.name)),
            ("reason", Value::Str(&error.to_string())),
        ];
        sink.event(Level::Error, "traces cannot be exported", &fields);
        loop {
            let turn = self.queue.wait().await;
            loop {
                let spans = self.queue.take();
                if spans.is_empty() {
                    break;
                }
                self.queue.counters().failed.inc_by(spans.len() as u64);
            }
            self.queue.did(turn);
        }
    }
}

/// Makes secrets unreadable; the batch is its own, so nobody waits for it.
fn hide(spans: &mut [SpanData], redactor: &Redactor) {
    for span in spans {
        each_text(span, &|text| match redactor.redact_str(text) {
            std::borrow::Cow::Borrowed(_) => None,
            std::borrow::Cow::Owned(changed) => Some(changed),
        });
    }
}

/// One line when the collector goes away, one when it is back.
fn say(sink: &Sink, is_failing: &mut bool, problem: Option<&str>) {
    match (problem, *is_failing) {
        (Some(problem), false) => {
            let fields = [
                (log_events::KEY, Value::Str(log_events::TRACES_FAILING.name)),
                ("reason", Value::Str(problem)),
            ];
            sink.event(Level::Warn, "traces are not exported: spans are lost", &fields);
        }
        (None, true) => {
            let fields = [(log_events::KEY, Value::Str(log_events::TRACES_EXPORTED.name))];
            sink.event(Level::Info, "traces are exported again", &fields);
        }
        _ => {}
    }
    *is_failing = problem.is_some();
}

/// What the collector is told about the service: what was given wins over what we know.
fn resource(identity: &Identity, given: &BTreeMap<String, String>) -> Resource {
    let known = [
        ("service.name", &identity.service),
        ("service.instance.id", &identity.instance),
        ("service.version", &identity.version),
        ("deployment.environment.name", &identity.env),
    ];
    let mut attributes: BTreeMap<String, String> = known
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| (key.to_owned(), value.clone()))
        .collect();
    attributes.extend(given.clone());
    let attributes =
        attributes.into_iter().map(|(key, value)| opentelemetry::KeyValue::new(key, value));
    Resource::builder_empty().with_attributes(attributes).build()
}
