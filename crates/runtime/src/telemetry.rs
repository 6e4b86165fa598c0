//! Traces: what happens to a process and through it, as OpenTelemetry spans for a collector.
//!
//! ```text
//! engine, ingress, egress, publish -- Span --> queue (bounded) -- one task --> collector (OTLP)
//! ```
//!
//! A span's ids are those of a `proxy::TraceContext`: what an application reads in `traceparent`,
//! what a log line says and what the collector gets cannot differ. Sampling, resources, encoding,
//! transport and retries are the OpenTelemetry SDK's; its tracer and its batch processor are not
//! used, because the one makes ids of its own and the other a thread of its own. It deliberately
//! holds no global state.
//!
//! Invariant: without an endpoint there is no task, no queue and no span; with one, nobody ever
//! waits for the collector: a span that finds the queue full is dropped and counted.

mod export;
mod exporter;
mod queue;
mod server;
mod settings;
mod span;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::trace::{SpanKind, TraceId};
use opentelemetry_sdk::trace::{Sampler as SdkSampler, SamplingDecision, ShouldSample};
use proxy::TraceContext;

pub use export::Export as ExportTask;
pub use queue::Counters;
pub use server::Request;
pub use settings::{Batch, Export, Limits, Protocol, Sampler, TelemetrySettings};
pub use span::Span;

use queue::Queue;

/// Makes spans, or nothing when no collector is named. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Tracer(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    sampler: Sampler,
    limits: Limits,
    queue: Arc<Queue>,
}

/// Where a span stands in its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place<'a> {
    /// Begins a trace.
    Root,
    /// Continues that of a valid `traceparent`, else begins one.
    After(Option<&'a str>),
}

impl Tracer {
    /// A tracer that records nothing.
    #[must_use]
    pub fn off() -> Self {
        Self(None)
    }

    /// A tracer, and the task that exports what it records; without an endpoint, neither.
    #[must_use]
    pub fn new(settings: &TelemetrySettings, counters: Counters) -> (Self, Option<ExportTask>) {
        let Some(export) = settings.export.clone() else { return (Self::off(), None) };
        let queue = Arc::new(Queue::new(export.batch, counters));
        let shared =
            Shared { sampler: settings.sampler, limits: export.limits, queue: queue.clone() };
        let task = ExportTask { export, resource: settings.resource.clone(), queue };
        (Self(Some(Arc::new(shared))), Some(task))
    }

    /// Whether anything is recorded.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// A span of the process's own life: recorded unless the sampler records no trace at all, for
    /// there are two in a life and they matter.
    #[must_use]
    pub fn lifecycle(&self, name: &'static str, parent: Option<&str>) -> Span {
        let place = if parent.is_some() { Place::After(parent) } else { Place::Root };
        self.span(name.into(), SpanKind::Internal, place, |shared, context| {
            let is_sampled = shared.sampler.ratio > 0.0
                && (context.parent_id().is_none() || context.is_sampled());
            context.set_sampled(is_sampled);
        })
    }

    /// The span of a message on its way to `topic`. Its `traceparent` goes into the message's
    /// headers; when nothing is recorded that is the `parent` as it was given.
    #[must_use]
    pub fn producer(&self, topic: &str, parent: Option<&str>) -> Span {
        let name = if self.is_on() { format!("send {topic}") } else { String::new() };
        let mut span =
            self.span(name.into(), SpanKind::Producer, Place::After(parent), Shared::sample);
        span.set("messaging.system", "kafka");
        span.set("messaging.operation.type", "send");
        span.set("messaging.destination.name", topic);
        span
    }

    /// The span of a call to a dependency of the application's. Its `traceparent` goes into the
    /// request; when nothing is recorded that is the `parent` as it was given.
    #[must_use]
    pub fn client(&self, method: &str, parent: Option<&str>) -> Span {
        let name = if self.is_on() { method.to_owned() } else { String::new() };
        self.span(name.into(), SpanKind::Client, Place::After(parent), Shared::sample)
    }

    /// Decides whether the trace of a request that came in is recorded. To be called before the
    /// context is passed on, so that the application knows.
    pub fn sample(&self, context: &mut TraceContext) {
        if let Some(shared) = &self.0 {
            shared.sample(context);
        }
    }

    /// Has everything exported that was recorded so far; returns at the latest after `limit`.
    /// False when spans are left.
    pub async fn flush(&self, limit: Duration) -> bool {
        let Some(shared) = &self.0 else { return true };
        tokio::time::timeout(limit, shared.queue.flush()).await.is_ok()
    }

    fn span(
        &self,
        name: Cow<'static, str>,
        kind: SpanKind,
        place: Place<'_>,
        sample: impl FnOnce(&Shared, &mut TraceContext),
    ) -> Span {
        let parent = match place {
            Place::Root => None,
            Place::After(parent) => parent,
        };
        let Some(shared) = &self.0 else { return Span::passing(parent) };
        let continued = parent.and_then(|it| TraceContext::continue_from(it.as_bytes()));
        let mut context = continued.unwrap_or_else(TraceContext::start);
        sample(shared, &mut context);
        if context.is_sampled() {
            Span::recording(name, kind, context, shared.limits, shared.queue.clone())
        } else {
            Span::unsampled(context)
        }
    }
}

impl Shared {
    /// Settles the flag of a context that was just continued or started.
    fn sample(&self, context: &mut TraceContext) {
        if self.sampler.is_parent_based && context.parent_id().is_some() {
            return;
        }
        let is_sampled = match self.sampler.ratio {
            ratio if ratio >= 1.0 => true,
            ratio if ratio <= 0.0 => false,
            ratio => {
                let id = TraceId::from_hex(context.trace_id()).unwrap_or(TraceId::INVALID);
                let sampler = SdkSampler::TraceIdRatioBased(ratio);
                let kind = SpanKind::Internal;
                let result = sampler.should_sample(None, id, "", &kind, &[], &[]);
                result.decision == SamplingDecision::RecordAndSample
            }
        };
        context.set_sampled(is_sampled);
    }
}

#[cfg(test)]
mod tests;
