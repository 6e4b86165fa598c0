//! What a test does with a broker: makes topics, writes a record, reads everything.
//!
//! With librdkafka, as most of the users' consumers. It deliberately joins no consumer group: a
//! test reads what is there, from the first record on.

use std::{collections::BTreeMap, time::Duration};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer},
    message::Headers,
    metadata::MetadataPartition,
    producer::{BaseProducer, BaseRecord, Producer},
};

use super::Kafka;
use crate::wait::wait_for;

/// How long one answer of the broker may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// How long the broker may take to answer that it is there.
const PING_LIMIT: Duration = Duration::from_millis(500);
/// How long everything of a topic may take to be read.
const READ_LIMIT: Duration = Duration::from_secs(60);

/// One record of a topic, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaRecord {
    /// The partition it is in.
    pub partition: i32,
    /// Its place there.
    pub offset: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub payload: Vec<u8>,
    /// Its headers; of several with one name, the last.
    pub headers: BTreeMap<String, String>,
}

impl KafkaRecord {
    /// Its key as text, empty when there is none.
    #[must_use]
    pub fn key_text(&self) -> String {
        String::from_utf8_lossy(self.key.as_deref().unwrap_or_default()).into_owned()
    }

    /// Its value as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }

    /// The value of a header, empty when there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

impl Kafka {
    /// Makes a topic, with settings of its own such as `("max.message.bytes", "2000")`.
    ///
    /// # Panics
    /// When the broker does not.
    pub fn create_topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let admin: AdminClient<DefaultClientContext> =
            self.client_config().create().expect("the settings are right");
        let replication = TopicReplication::Fixed(1);
        let topic = settings
            .iter()
            .fold(NewTopic::new(name, partitions, replication), |topic, (key, value)| {
                topic.set(key, value)
            });
        let options = AdminOptions::new().operation_timeout(Some(ANSWER_LIMIT));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a test may have a runtime");
        let made = runtime.block_on(admin.create_topics([&topic], &options));
        let made = made.expect("the broker answers");
        assert!(made.iter().all(Result::is_ok), "topic `{name}`: {made:?}");
    }

    /// Everything that is in a topic now, partition after partition; nothing if there is none.
    ///
    /// # Panics
    /// When the broker does not answer in time.
    #[must_use]
    pub fn consume(&self, topic: &str) -> Vec<KafkaRecord> {
        let consumer: BaseConsumer = self.client_config().create().expect("the settings are right");
        let ends = ends(&consumer, topic);
        let mut missing: i64 = ends.values().map(|(low, high)| high - low).sum();
        let mut from = TopicPartitionList::new();
        for partition in ends.keys() {
            from.add_partition_offset(topic, *partition, Offset::Beginning)
                .expect("the beginning is an offset");
        }
        consumer.assign(&from).expect("they are there");
        let mut records = Vec::new();
        wait_for(&format!("{missing} records of `{topic}`"), READ_LIMIT, || {
            while missing > 0
                && let Some(Ok(message)) = consumer.poll(Duration::from_millis(100))
            {
                let record = record(&message);
                if record.offset < ends[&record.partition].1 {
                    records.push(record);
                    missing -= 1;
                }
            }
            missing <= 0
        });
        records.sort_by_key(|record| (record.partition, record.offset));
        records
    }

    /// How many records are in a topic now.
    #[must_use]
    pub fn count(&self, topic: &str) -> usize {
        let consumer: BaseConsumer = self.client_config().create().expect("the settings are right");
        let count = ends(&consumer, topic).values().map(|(low, high)| high - low).sum::<i64>();
        usize::try_from(count).unwrap_or_default()
    }

    /// Writes one record and waits for the acknowledgement.
    ///
    /// # Panics
    /// When the broker does not give one.
    pub fn produce(&self, topic: &str, key: &str, payload: &str) {
        let producer: BaseProducer = self.client_config().create().expect("the settings are right");
        let sent = producer.send(BaseRecord::to(topic).key(key).payload(payload));
        assert!(sent.is_ok(), "an empty queue has room");
        producer.flush(ANSWER_LIMIT).expect("the broker answers");
    }

    /// Says for a consumer group that it has read a partition up to an offset.
    ///
    /// # Panics
    /// When the broker does not take it.
    pub fn commit(&self, group: &str, topic: &str, partition: i32, offset: i64) {
        let mut config = self.client_config();
        let consumer: BaseConsumer =
            config.set("group.id", group).create().expect("the settings are right");
        let mut read = TopicPartitionList::new();
        let added = read.add_partition_offset(topic, partition, Offset::Offset(offset));
        added.expect("it is an offset");
        consumer.commit(&read, CommitMode::Sync).expect("the broker answers");
    }

    fn client_config(&self) -> ClientConfig {
        config(self.port)
    }
}

/// Whether the broker says who it is.
pub(super) fn answers(port: u16) -> bool {
    // Without this look, each try would start the threads of a client.
    if std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        return false;
    }
    let consumer: BaseConsumer = config(port).create().expect("the settings are right");
    consumer.fetch_metadata(None, PING_LIMIT).is_ok_and(|all| !all.brokers().is_empty())
}

/// The first offset and the one after the last, of each partition.
fn ends(consumer: &BaseConsumer, topic: &str) -> BTreeMap<i32, (i64, i64)> {
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER_LIMIT).expect("the broker answers");
    let partitions = metadata.topics()[0].partitions().iter().map(MetadataPartition::id);
    let with_ends = partitions.map(|partition| {
        let ends = consumer.fetch_watermarks(topic, partition, ANSWER_LIMIT);
        (partition, ends.expect("the broker answers"))
    });
    with_ends.collect()
}

fn config(port: u16) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", format!("127.0.0.1:{port}"));
    config.set("group.id", "plimsoll-testkit").set("enable.auto.commit", "false");
    config.set("allow.auto.create.topics", "false").set("reconnect.backoff.max.ms", "500");
    config.set("check.crcs", "true").set_log_level(rdkafka::config::RDKafkaLogLevel::Emerg);
    config
}

fn record(message: &impl Message) -> KafkaRecord {
    let headers = message.headers().into_iter().flat_map(Headers::iter);
    KafkaRecord {
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(<[u8]>::to_vec),
        payload: message.payload().unwrap_or_default().to_vec(),
        headers: headers
            .map(|header| {
                let value = String::from_utf8_lossy(header.value.unwrap_or_default());
                (header.key.to_owned(), value.into_owned())
            })
            .collect(),
    }
}
