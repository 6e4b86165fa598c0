//! Probe: Kafka knows the topics, each partition has a leader, and a consumer group keeps up.
//!
//! librdkafka asks, on threads of its own and one of ours that waits for it; they exist only where
//! such a probe does. The client is a consumer that never joins: the group notices nothing.
//! Invariant: at most one question runs, each bounded by the timeout, and nothing is written.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::Offset;

use super::detached::Detached;
use super::{Found, settings};
use crate::board::Depth;

/// How long librdkafka waits between attempts to connect; its own default of 10 s would call a
/// broker down long after it is back.
const RECONNECT_MAX_MS: &str = "1000";
/// The part of the probe's time after which we stop waiting for librdkafka.
const OWN_SHARE: f64 = 0.9;
/// What librdkafka said longer ago is no cause of what fails now.
const HEARD_AGE_MAX: Duration = Duration::from_secs(10);
/// A topic that every cluster has; asked for when no other is named.
const OWN_TOPIC: &str = "__consumer_offsets";
/// The longest name of a topic.
const TOPIC_CHARS_MAX: usize = 249;
/// What a probe may be told of librdkafka.
const PROPERTIES: [&str; 6] =
    ["security.", "ssl.", "sasl.", "socket.", "broker.address.", "client."];

type Client = BaseConsumer<Ears>;
/// The client while it lives; whoever asks holds it.
type Slot = Arc<Mutex<Option<Client>>>;

/// Whether a name can be a topic's.
pub(super) fn is_topic(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let has_length = (1..=TOPIC_CHARS_MAX).contains(&name.len());
    has_length && name.chars().all(is_plain) && name != "." && name != ".."
}

/// Whether a setting of librdkafka may be given.
pub(super) fn is_property(key: &str) -> bool {
    PROPERTIES.iter().any(|prefix| key.starts_with(prefix))
}

/// Probes a cluster.
#[derive(Debug)]
pub(super) struct Kafka {
    question: Arc<Question>,
    client: ClientSlot,
    asking: Detached<Result<Found, String>>,
}

/// Ends the client on a thread of its own: librdkafka may take a while to let go.
struct ClientSlot(Slot);

impl std::fmt::Debug for ClientSlot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Drop for ClientSlot {
    fn drop(&mut self) {
        let slot = self.0.clone();
        std::thread::spawn(move || {
            drop(slot.lock().unwrap_or_else(PoisonError::into_inner).take());
        });
    }
}

/// What is asked.
#[derive(Debug)]
struct Question {
    settings: settings::Kafka,
    timeout: Duration,
}

impl Kafka {
    pub(super) fn new(settings: settings::Kafka, timeout: Duration) -> Self {
        Self {
            question: Arc::new(Question { settings, timeout }),
            client: ClientSlot(Slot::default()),
            asking: Detached::new(),
        }
    }

    /// Asks once, or waits for the question that is still being answered.
    pub(super) async fn check(&mut self) -> Found {
        let (question, slot) = (self.question.clone(), self.client.0.clone());
        let asked = self.asking.run(move || {
            let mut client = slot.lock().unwrap_or_else(PoisonError::into_inner);
            question.ask(&mut client)
        });
        match asked.await {
            Some(Ok(found)) => found,
            Some(Err(said)) => Err(said).into(),
            None => Err("the client broke".to_owned()).into(),
        }
    }

    pub(super) fn waited_for(&self) -> String {
        format!("ask `{}`", self.question.settings.brokers)
    }
}

impl Question {
    fn ask(&self, slot: &mut Option<Client>) -> Result<Found, String> {
        let client = match slot {
            Some(client) => client,
            None => slot.insert(self.connect()?),
        };
        // Ours ends first, so that what was heard is told in place of the limit.
        let deadline = Instant::now() + self.timeout.mul_f64(OWN_SHARE);
        let asked = self.ask_client(client, deadline);
        if asked.is_ok() {
            client.context().forget();
        }
        // Serves what librdkafka wants to tell; there are no messages.
        let _ = client.poll(Duration::ZERO);
        asked.map_err(|error| match (error, client.context().heard()) {
            // The last thing that went wrong says more than that no answer came.
            (Refusal::Unreachable, Some(heard)) => heard,
            (Refusal::Unreachable, None) => {
                let (brokers, ms) = (&self.settings.brokers, self.timeout.as_millis());
                format!("`{brokers}`: no answer within {ms} ms")
            }
            (Refusal::Said(said), _) => said,
        })
    }

    fn connect(&self) -> Result<Client, String> {
        let settings = &self.settings;
        let mut config = ClientConfig::new();
        for (key, value) in &settings.properties {
            config.set(key, &value.0);
        }
        config
            .set("bootstrap.servers", &settings.brokers)
            .set("client.id", "plimsoll-probe")
            .set("enable.auto.commit", "false")
            .set("allow.auto.create.topics", "false")
            .set("reconnect.backoff.ms", "100")
            .set("reconnect.backoff.max.ms", RECONNECT_MAX_MS)
            .set("log.connection.close", "false")
            .set_log_level(RDKafkaLogLevel::Error);
        if let Some(lag) = &settings.lag {
            config.set("group.id", &lag.group);
        }
        BaseConsumer::from_config_and_context(&config, Ears::default()).map_err(|error| match error
        {
            KafkaError::ClientConfig(_, problem, key, _) => format!("property `{key}`: {problem}"),
            error => error.to_string(),
        })
    }

    fn ask_client(&self, client: &Client, deadline: Instant) -> Result<Found, Refusal> {
        let topics = &self.settings.topics;
        if topics.is_empty() {
            client.fetch_metadata(Some(OWN_TOPIC), left(deadline)).map_err(refusal)?;
            return Ok(Ok(()).into());
        }
        let mut partitions = TopicPartitionList::new();
        for topic in topics {
            let metadata = client.fetch_metadata(Some(topic), left(deadline)).map_err(refusal)?;
            let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
                return Err(Refusal::Said(format!("topic `{topic}` is not known")));
            };
            if let Some(error) = found.error() {
                let code = RDKafkaErrorCode::from(error);
                return Err(Refusal::Said(format!("topic `{topic}`: {}", in_words(code))));
            }
            if found.partitions().is_empty() {
                return Err(Refusal::Said(format!("topic `{topic}` has no partitions")));
            }
            for partition in found.partitions() {
                if partition.leader() < 0 {
                    let id = partition.id();
                    return Err(Refusal::Said(format!(
                        "topic `{topic}`: partition {id} has no leader"
                    )));
                }
                partitions.add_partition(topic, partition.id());
            }
        }
        let mut found = Found::from(Ok(()));
        if let Some(lag) = &self.settings.lag {
            let value = behind(client, &partitions, deadline)?;
            found.depth = Some(Depth { what: "lag", value, warn: lag.warn });
        }
        Ok(found)
    }
}

/// How many messages the group of the client has not committed. What it never committed counts
/// from the oldest message that is still there.
fn behind(
    client: &Client,
    partitions: &TopicPartitionList,
    deadline: Instant,
) -> Result<u64, Refusal> {
    let at = |offset: Offset, partitions: &TopicPartitionList| {
        let mut list = partitions.clone();
        list.set_all_offsets(offset).map_err(refusal)?;
        client.offsets_for_times(list, left(deadline)).map_err(refusal)
    };
    let ends = at(Offset::End, partitions)?;
    let committed =
        client.committed_offsets(partitions.clone(), left(deadline)).map_err(refusal)?;
    let offset = |list: &TopicPartitionList, topic: &str, partition| match list
        .find_partition(topic, partition)
        .map(|found| found.offset())
    {
        Some(Offset::Offset(offset)) => Some(offset),
        _ => None,
    };
    let mut starts = None;
    let mut lag: u64 = 0;
    for end in ends.elements() {
        end.error().map_err(refusal)?;
        let Offset::Offset(last) = end.offset() else { continue };
        let first = match offset(&committed, end.topic(), end.partition()) {
            Some(offset) => offset,
            None => {
                if starts.is_none() {
                    starts = Some(at(Offset::Beginning, partitions)?);
                }
                let start = starts.as_ref();
                start.and_then(|list| offset(list, end.topic(), end.partition())).unwrap_or(last)
            }
        };
        lag = lag.saturating_add(u64::try_from(last - first).unwrap_or(0));
    }
    Ok(lag)
}

/// What is left of the time; librdkafka takes no less than a millisecond for a wait.
fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}

/// Why a question was not answered with yes.
enum Refusal {
    /// No broker was reached, or none answered in time.
    Unreachable,
    /// A broker said no.
    Said(String),
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to `map_err`")]
fn refusal(error: KafkaError) -> Refusal {
    let Some(code) = error.rdkafka_error_code() else { return Refusal::Said(error.to_string()) };
    match code {
        RDKafkaErrorCode::BrokerTransportFailure
        | RDKafkaErrorCode::AllBrokersDown
        | RDKafkaErrorCode::Authentication
        | RDKafkaErrorCode::OperationTimedOut
        | RDKafkaErrorCode::WaitingForCoordinator
        | RDKafkaErrorCode::WaitCache
        | RDKafkaErrorCode::MessageTimedOut => Refusal::Unreachable,
        code => Refusal::Said(in_words(code)),
    }
}

fn in_words(code: RDKafkaErrorCode) -> String {
    match code {
        RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition => {
            "it does not exist".into()
        }
        code => {
            let text = code.to_string();
            text.rsplit_once(": ").map_or(text.clone(), |(_, said)| said.to_owned())
        }
    }
}

/// Hears what librdkafka says, in place of its stderr.
#[derive(Debug, Default)]
struct Ears {
    last: Mutex<Option<(Instant, String)>>,
}

impl Ears {
    fn forget(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn heard(&self) -> Option<String> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        last.filter(|(at, _)| at.elapsed() < HEARD_AGE_MAX).map(|(_, text)| text)
    }

    /// Keeps the cause: `thread: broker/id: cause (after 0ms in state CONNECT, ...)`.
    fn hear(&self, text: &str) {
        let text = text.strip_prefix("[thrd:").and_then(|text| text.split_once("]: "));
        let Some((_, text)) = text else { return };
        let end = text.find(" (after ").unwrap_or(text.len());
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((Instant::now(), text[..end].to_owned()));
    }
}

impl ClientContext for Ears {
    fn log(&self, _: RDKafkaLogLevel, _: &str, text: &str) {
        self.hear(text);
    }

    fn error(&self, _: KafkaError, _: &str) {}
}

impl ConsumerContext for Ears {}

#[cfg(test)]
mod tests;
