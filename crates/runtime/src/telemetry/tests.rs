//! The tracer and its queue, without a collector.

use std::time::Duration;

use super::*;
use crate::outbound::Hidden;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

fn settings(sampler: Sampler, queue_max: usize) -> TelemetrySettings {
    let export = Export {
        endpoint: Hidden::from("http://127.0.0.1:1/v1/traces"),
        protocol: Protocol::Http,
        headers: Default::default(),
        timeout: Duration::from_secs(1),
        is_compressed: false,
        certificate: None,
        client: None,
        batch: Batch { delay: Duration::from_secs(5), queue_max, batch_max: 512 },
        limits: Limits { attributes: 4, events: 1, value_bytes: 5 },
    };
    TelemetrySettings { export: Some(export), sampler, ..TelemetrySettings::default() }
}

fn tracer(sampler: Sampler, queue_max: usize) -> (Tracer, Arc<Queue>, Counters) {
    let counters = Counters::default();
    let (tracer, task) = Tracer::new(&settings(sampler, queue_max), counters.clone());
    (tracer, task.expect("there is an endpoint").queue, counters)
}

#[test]
fn without_an_endpoint_there_is_nothing_and_the_parent_passes() {
    let (tracer, task) = Tracer::new(&TelemetrySettings::default(), Counters::default());
    assert!(!tracer.is_on() && task.is_none());
    assert_eq!(tracer.producer("orders", Some(PARENT)).traceparent(), Some(PARENT));
    assert_eq!(tracer.producer("orders", None).traceparent(), None);
    assert!(!tracer.client("GET", None).is_recorded());
}

#[test]
fn a_span_continues_its_parent_and_is_told_on() {
    let (tracer, queue, _) = tracer(Sampler::default(), 8);
    let span = tracer.producer("orders", Some(PARENT));
    let told = span.traceparent().expect("a context").to_owned();
    drop(span);
    let [data]: [_; 1] = queue.take().try_into().expect("one span");
    assert_eq!(data.name, "send orders");
    assert_eq!(data.parent_span_id.to_string(), "00f067aa0ba902b7");
    let context = &data.span_context;
    assert_eq!(told, format!("00-{}-{}-01", context.trace_id(), context.span_id()));
    assert!(data.end_time >= data.start_time);
}

#[test]
fn the_callers_decision_counts_unless_the_sampler_has_none_of_it() {
    let (honours, queue, _) = tracer(Sampler::default(), 8);
    let span = honours.client("GET", Some(UNSAMPLED));
    assert!(span.traceparent().expect("a context").ends_with("-00"));
    drop(span);
    assert!(queue.take().is_empty());
    let (ignores, _, _) = tracer(Sampler { is_parent_based: false, ratio: 1.0 }, 8);
    assert!(ignores.client("GET", Some(UNSAMPLED)).is_recorded());
}

#[test]
fn a_ratio_decides_by_the_trace_so_that_every_hop_agrees() {
    let sampler = Sampler { is_parent_based: false, ratio: 0.5 };
    let (one, _, _) = tracer(sampler, 8);
    let (other, _, _) = tracer(sampler, 8);
    let mut n_sampled = 0;
    for _ in 0..400 {
        let start = TraceContext::start();
        let a = one.client("GET", Some(start.traceparent())).is_recorded();
        assert_eq!(a, other.client("GET", Some(start.traceparent())).is_recorded());
        n_sampled += u32::from(a);
    }
    assert!((100..300).contains(&n_sampled), "{n_sampled} of 400");
}

#[test]
fn the_life_is_recorded_whatever_the_ratio_but_not_when_it_is_off() {
    let (rarely, _, _) = tracer(Sampler { is_parent_based: true, ratio: 1e-9 }, 8);
    assert!(rarely.lifecycle("service.shutdown", None).is_recorded());
    let (never, _, _) = tracer(Sampler { is_parent_based: true, ratio: 0.0 }, 8);
    assert!(!never.lifecycle("service.shutdown", None).is_recorded());
}

#[test]
fn a_full_queue_drops_and_counts_and_never_waits() {
    let (tracer, queue, counters) = tracer(Sampler::default(), 2);
    for _ in 0..5 {
        tracer.client("GET", None).end();
    }
    assert_eq!((queue.take().len(), counters.dropped.get()), (2, 3));
}

#[test]
fn a_span_holds_no_more_than_its_limits() {
    let (tracer, queue, _) = tracer(Sampler::default(), 8);
    let mut span = tracer.client("GET", None);
    for key in ["a", "b", "c", "d", "e"] {
        span.set(key, "1234é789");
    }
    span.set("a", 7_u64);
    span.event("one", []);
    span.event("two", []);
    drop(span);
    let [data]: [_; 1] = queue.take().try_into().expect("one span");
    assert_eq!((data.attributes.len(), data.dropped_attributes_count), (4, 1));
    assert_eq!(data.attributes[0].value.to_string(), "7");
    assert_eq!(data.attributes[1].value.to_string(), "1234", "cut between characters");
    assert_eq!((data.events.events.len(), data.events.dropped_count), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn spans_wait_for_a_batch_or_for_the_delay_or_for_a_flush() {
    let (tracer, queue, _) = tracer(Sampler::default(), 1024);
    let begun = tokio::time::Instant::now();
    tracer.client("GET", None).end();
    queue.wait().await;
    assert_eq!(begun.elapsed().as_secs(), 5, "one span waits for others");
    for _ in 0..512 {
        tracer.client("GET", None).end();
    }
    queue.wait().await;
    assert_eq!(begun.elapsed().as_secs(), 5, "a batch does not wait");
    assert_eq!((queue.take().len(), queue.take().len()), (512, 1));
    let flushed = tracer.flush(Duration::from_secs(1));
    let exporting = async {
        let turn = queue.wait().await;
        queue.did(turn);
    };
    assert!(tokio::join!(flushed, exporting).0);
    assert!(!tracer.flush(Duration::from_secs(1)).await, "nobody exports");
}
