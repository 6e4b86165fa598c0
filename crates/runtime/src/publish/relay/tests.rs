//! A relay between a real spool and librdkafka's mock cluster, for what no real broker can be made
//! to say.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    os::fd::OwnedFd,
    path::Path,
};

use bytes::Bytes;
use rdkafka::{
    mocking::MockCluster,
    producer::DefaultProducerContext,
    types::{RDKafkaApiKey, RDKafkaRespErr},
};
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::{
    board::Identity,
    logs,
    metrics::Metrics,
    publish::{self, Message, State},
};

const PATIENCE: Duration = Duration::from_secs(30);

struct Stand {
    cluster: MockCluster<'static, DefaultProducerContext>,
    publisher: Publisher,
    relay: Option<Relay>,
    sink: Sink,
    _directory: TempDir,
    _ends: Vec<OwnedFd>,
    lines: BufReader<File>,
}

fn pipe() -> (OwnedFd, OwnedFd) {
    nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap()
}

impl Stand {
    /// A spool that is open, and a cluster with the topics `orders` and `orders.dlq`.
    async fn new(topics: serde_json::Value) -> Self {
        let cluster = MockCluster::new(1).unwrap();
        for topic in ["orders", "orders.dlq"] {
            cluster.create_topic(topic, 1, 1).unwrap();
        }
        let identity = Identity { service: "gateway".into(), ..Identity::default() };
        let metrics = Metrics::new(&identity, &[]);
        let ((stdout, out), (stderr, err), (reader, writer)) = (pipe(), pipe(), pipe());
        let other = writer.try_clone().unwrap();
        let (sink, _pipeline) = logs::start(
            &logs::Settings::new(logs::Format::Json, identity),
            logs::Inputs { stdout, stderr, journal: None },
            logs::Outputs { stdout: writer, stderr: other },
            metrics.log_counters(),
        )
        .unwrap();
        let directory = TempDir::new().unwrap();
        let settings = json!({"topics": topics, "kafka": {"brokers": cluster.bootstrap_servers()}});
        let settings = publish::settings::parse(&settings.to_string()).unwrap();
        let publisher = open(&settings, directory.path(), &metrics, &sink).await;
        let (_ends, lines) = (vec![out, err], BufReader::new(reader.into()));
        let relay = None;
        Self { cluster, publisher, relay, sink, _directory: directory, _ends, lines }
    }

    fn start(&mut self) {
        self.relay = Some(start(Parts {
            publisher: self.publisher.clone(),
            kafka: self.publisher.settings().kafka.clone().unwrap(),
            source: "gateway".into(),
            sink: self.sink.clone(),
            tracer: Tracer::off(),
            secrets: Handle::new(
                crate::settings::Settings::new(crate::settings::Workload::Command {
                    program: "true".into(),
                    args: Vec::new(),
                })
                .secrets,
                None,
            ),
        }));
    }

    async fn publish(&self, topic: &str, count: usize) {
        for _ in 0..count {
            let body = Bytes::from_static(b"{}");
            let message = Message { topic: topic.into(), body, ..Message::default() };
            self.publisher.publish(message).await.unwrap();
        }
    }

    /// Waits until so many wait in the spool, and so many are dead letters there.
    async fn wait_for(&self, pending: u64, dead: u64) {
        let is_so = |state: &State| match state {
            State::Open(stats) => (stats.pending, stats.dead) == (pending, dead),
            State::Opening | State::Closed(_) => false,
        };
        let mut state = self.publisher.state();
        let is_right = time::timeout(PATIENCE, state.wait_for(is_so)).await.is_ok();
        let state = state.borrow();
        assert!(is_right, "waited in vain for {pending} pending, {dead} dead: {state:?}");
    }

    async fn wait_for_delivery(&self, is_so: impl FnMut(&Delivery) -> bool) {
        let mut delivery = self.relay.as_ref().unwrap().delivery();
        time::timeout(PATIENCE, delivery.wait_for(is_so)).await.unwrap().unwrap();
    }

    /// The next line of a kind.
    fn line(&mut self, event: &str) -> serde_json::Value {
        loop {
            let mut line = String::new();
            self.lines.read_line(&mut line).unwrap();
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            if value["event"] == event {
                return value;
            }
        }
    }
}

async fn open(
    settings: &publish::settings::PublishSettings,
    directory: &Path,
    metrics: &Metrics,
    sink: &Sink,
) -> Publisher {
    metrics.publish().declare(settings.topics.keys());
    let publisher =
        publish::start(settings.clone(), directory, metrics.publish(), sink.clone()).unwrap();
    let is_open = |state: &State| matches!(state, State::Open(_));
    let mut state = publisher.state();
    time::timeout(PATIENCE, state.wait_for(is_open)).await.unwrap().unwrap();
    publisher
}

#[tokio::test]
async fn everything_that_waits_is_delivered() {
    let mut stand = Stand::new(json!({"orders": {}})).await;
    stand.publish("orders", 50).await;
    stand.start();
    stand.publish("orders", 50).await;
    stand.wait_for(0, 0).await;
}

#[tokio::test]
async fn a_refused_message_becomes_a_dead_letter_on_disk_and_the_next_ones_go_on() {
    let mut stand = Stand::new(json!({"orders": {}})).await;
    stand.publish("orders", 3).await;
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD;
    stand.cluster.request_errors(RDKafkaApiKey::Produce, &[refused]);
    stand.start();
    stand.wait_for(0, 1).await;
    let letters = stand.publisher.dead_letters(0, 10).await.unwrap();
    assert!(format!("{letters:?}").contains("InvalidRecord"), "{letters:?}");
    let line = stand.line("publish.dead_letter");
    assert_eq!((&line["topic"], &line["to"]), (&json!("orders"), &json!("spool")));
}

#[tokio::test]
async fn a_topic_for_dead_letters_takes_them() {
    let mut stand = Stand::new(json!({"orders": {"dlq": "orders.dlq"}})).await;
    stand.publish("orders", 3).await;
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    stand.cluster.request_errors(RDKafkaApiKey::Produce, &[refused]);
    stand.start();
    stand.wait_for(0, 0).await;
    assert_eq!(stand.line("publish.dead_letter")["to"], "orders.dlq");
}

#[tokio::test]
async fn a_topic_that_is_not_for_us_buries_its_messages_after_their_attempts() {
    let mut stand = Stand::new(json!({"orders": {}, "secret": {"max_attempts": 2}})).await;
    let denied = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    stand.cluster.create_topic("secret", 1, 1).unwrap();
    stand.cluster.topic_error("secret", denied).unwrap();
    stand.publish("secret", 2).await;
    stand.publish("orders", 2).await;
    stand.start();
    stand.wait_for(0, 2).await;
    assert_eq!(stand.line("publish.dead_letter")["topic"], "secret");
}

#[tokio::test]
async fn a_cluster_that_goes_and_comes_stops_and_resumes_deliveries() {
    let mut stand = Stand::new(json!({"orders": {}})).await;
    stand.start();
    stand.publish("orders", 5).await;
    stand.wait_for(0, 0).await;
    stand.cluster.broker_down(-1).unwrap();
    stand.publish("orders", 20).await;
    stand.wait_for_delivery(|delivery| matches!(delivery, Delivery::Stopped(_))).await;
    stand.cluster.broker_up(-1).unwrap();
    stand.wait_for(0, 0).await;
    stand.wait_for_delivery(|delivery| *delivery == Delivery::Flowing).await;
    assert!(!stand.line("publish.stopped")["output"].as_str().unwrap().is_empty());
    assert!(stand.line("publish.resumed")["took_ms"].is_u64());
}
