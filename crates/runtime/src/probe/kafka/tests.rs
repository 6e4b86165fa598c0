//! Claims about the Kafka probe, with librdkafka's own broker for tests.

use rdkafka::consumer::CommitMode;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::types::RDKafkaRespErr;

use super::*;

/// Longer than any of these tests needs.
const PATIENCE: Duration = Duration::from_secs(30);

fn cluster() -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(1).expect("a cluster");
    cluster.create_topic("orders", 1, 1).expect("a topic");
    cluster
}

fn probe(brokers: String, topics: &[&str], lag: Option<settings::Lag>) -> Kafka {
    let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
    let settings = settings::Kafka { brokers, topics, lag, properties: Default::default() };
    Kafka::new(settings, PATIENCE)
}

fn config(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", "billing");
    config
}

/// Writes ten messages and commits that the group has read three.
fn fill(brokers: &str) {
    let mut plain = ClientConfig::new();
    let producer: BaseProducer =
        plain.set("bootstrap.servers", brokers).create().expect("a producer");
    for number in 0..10 {
        let payload = format!("{number}");
        let record = BaseRecord::<(), _>::to("orders").partition(0).payload(&payload);
        producer.send(record).map_err(|(error, _)| error).expect("queued");
    }
    producer.flush(PATIENCE).expect("sent");
    let consumer: BaseConsumer = config(brokers).create().expect("a consumer");
    let mut read = TopicPartitionList::new();
    read.add_partition_offset("orders", 0, Offset::Offset(3)).expect("an offset");
    consumer.commit(&read, CommitMode::Sync).expect("committed");
}

#[tokio::test]
async fn the_lag_is_what_the_group_has_not_committed() {
    let cluster = cluster();
    let brokers = cluster.bootstrap_servers();
    fill(&brokers);
    let lag = settings::Lag { group: "billing".into(), warn: Some(5) };
    let found = probe(brokers.clone(), &["orders"], Some(lag)).check().await;
    assert_eq!(found.result, Ok(()));
    let depth = found.depth.expect("measured");
    assert_eq!((depth.value, depth.warning().is_some()), (7, true));
    let never = settings::Lag { group: "nobody".into(), warn: None };
    let found = probe(brokers, &["orders"], Some(never)).check().await;
    assert_eq!(found.depth.map(|depth| depth.value), Some(10));
}

#[tokio::test]
async fn a_topic_that_is_not_there_is_named() {
    let cluster = cluster();
    cluster.topic_error("gone", RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART).ok();
    let found = probe(cluster.bootstrap_servers(), &["orders", "gone"], None).check().await;
    assert_eq!(found.result, Err("topic `gone`: it does not exist".into()));
}

#[tokio::test]
async fn a_cluster_alone_passes_and_nobody_there_is_refused() {
    let cluster = cluster();
    let found = probe(cluster.bootstrap_servers(), &[], None).check().await;
    assert_eq!(found.result, Ok(()));
    let settings = settings::Kafka {
        brokers: "127.0.0.1:1".into(),
        topics: Vec::new(),
        lag: None,
        properties: Default::default(),
    };
    let found = Kafka::new(settings, Duration::from_millis(500)).check().await;
    let said = found.result.expect_err("nobody listens on port 1");
    assert!(said.contains("127.0.0.1:1"), "{said}");
}

#[test]
fn what_librdkafka_says_is_cut_to_its_cause() {
    let ears = Ears::default();
    ears.hear(
        "[thrd:a:1/bootstrap]: a:1/bootstrap: Connect failed: refused (after 0ms in CONNECT)",
    );
    assert_eq!(ears.heard().as_deref(), Some("a:1/bootstrap: Connect failed: refused"));
    ears.forget();
    assert_eq!(ears.heard(), None);
}
