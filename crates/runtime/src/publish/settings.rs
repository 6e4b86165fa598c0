//! What `--publish` says: where accepted messages are kept, how safely, and which topics exist.
//!
//! It deliberately opens nothing. Invariant: settings that [`check`] accepts can be served: the
//! largest message fits a segment, and several segments fit the directory.

use std::{collections::BTreeMap, fmt, path::PathBuf, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    kafka::{KafkaSettings, KafkaSettingsError},
    settings::parse_duration,
};

/// Most topics of one service: each has series of its own.
pub const TOPICS_MAX: usize = contract::metrics::TOPICS_MAX;
/// Most bytes of a topic's name, as Kafka has it.
pub const TOPIC_BYTES_MAX: usize = 249;
/// Most bytes of a key.
pub const KEY_BYTES_MAX: usize = 4 * 1024;
/// Most bytes of an id.
pub const ID_BYTES_MAX: usize = 256;
/// Most bytes of all headers of a message, names and values.
pub const HEADERS_BYTES_MAX: usize = 16 * 1024;
/// Most headers of a message.
pub const HEADERS_MAX: usize = 64;
/// Most bytes of a body, unless `max_body` says otherwise.
pub const BODY_BYTES_DEFAULT: u64 = 1024 * 1024;
/// The most that `max_body` can be: a record stays well below a segment.
pub const BODY_BYTES_LIMIT: usize = 4 * 1024 * 1024;
/// Bytes of the spool, unless `max_bytes` says otherwise.
pub const SPOOL_BYTES_DEFAULT: u64 = 1024 * 1024 * 1024;
/// The least that `max_bytes` can be, in largest messages.
const SPOOL_BODIES_MIN: u64 = 16;
/// The least that `max_bytes` can be: a record with a small body has headers and a key too.
const SPOOL_BYTES_MIN: u64 = 1024 * 1024;
/// How often a message that the broker refuses is tried, unless `max_attempts` says otherwise.
const ATTEMPTS_DEFAULT: u32 = 10;
/// How long a publish waits for the broker with `fsync: kafka` before the disk has to do.
pub const BROKER_PATIENCE: Duration = Duration::from_secs(2);

/// What `--publish` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishSettings {
    /// The spool's directory; else `spool` in the state directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    /// Most bytes that the spool takes on disk.
    #[serde(default = "spool_bytes_default")]
    pub max_bytes: Bytes,
    /// Most bytes of one body.
    #[serde(default = "body_bytes_default")]
    pub max_body: Bytes,
    /// When a message counts as safe.
    #[serde(default)]
    pub fsync: Fsync,
    /// What a full spool does to readiness.
    #[serde(default)]
    pub on_full: OnFull,
    /// Where messages go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaSettings>,
    /// The topics that can be published to, by name.
    pub topics: BTreeMap<String, TopicSettings>,
}

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicSettings {
    /// Whether a message needs a key.
    #[serde(default)]
    pub key: KeyRule,
    /// Topic for messages that the broker refuses for good; else they stay in the spool's `dlq`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dlq: Option<String>,
    /// Whether messages without a key keep their order too.
    #[serde(default)]
    pub ordered: bool,
    /// Other request headers, starting with `x-`, that travel with the message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<String>,
    /// How often a message that the broker refuses is tried.
    #[serde(default = "attempts_default")]
    pub max_attempts: u32,
}

impl Default for TopicSettings {
    fn default() -> Self {
        Self {
            key: KeyRule::default(),
            dlq: None,
            ordered: false,
            headers: Vec::new(),
            max_attempts: ATTEMPTS_DEFAULT,
        }
    }
}

/// Whether a message of a topic has a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyRule {
    /// It may.
    #[default]
    Optional,
    /// It must.
    Required,
}

/// What a full spool does to readiness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFull {
    /// `/health` warns.
    #[default]
    Warn,
    /// The service is unready.
    Unready,
}

/// When a message counts as safe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fsync {
    /// Once it is on disk; messages that come together share one write.
    #[default]
    Group,
    /// Once it is on disk; each has a write of its own.
    Each,
    /// At once; the disk follows within this time.
    Interval(Duration),
    /// Once the broker has it, or the disk when the broker is slow.
    Kafka,
}

impl FromStr for Fsync {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "group" => Ok(Self::Group),
            "each" => Ok(Self::Each),
            "kafka" => Ok(Self::Kafka),
            _ => text
                .strip_prefix("interval:")
                .and_then(|interval| parse_duration(interval).ok())
                .filter(|interval| !interval.is_zero())
                .map(Self::Interval)
                .ok_or_else(|| {
                    format!(
                        "`{text}` is no way to `fsync`, expected `group`, `each`, \
                         `interval:500ms` or `kafka`"
                    )
                }),
        }
    }
}

impl fmt::Display for Fsync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group => f.write_str("group"),
            Self::Each => f.write_str("each"),
            Self::Interval(interval) => write!(f, "interval:{}ms", interval.as_millis()),
            Self::Kafka => f.write_str("kafka"),
        }
    }
}

impl Serialize for Fsync {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fsync {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A number of bytes; in text a number, or one with `KiB`, `MiB` or `GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected bytes, such as 1048576 or \"64MiB\"")]
        enum Form {
            Number(u64),
            Text(String),
        }
        let text = match Form::deserialize(deserializer)? {
            Form::Number(number) => return Ok(Self(number)),
            Form::Text(text) => text,
        };
        let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
        let found = units.iter().find_map(|(unit, shift)| {
            let number: u64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
            number.checked_mul(1 << shift)
        });
        found.map(Self).ok_or_else(|| {
            serde::de::Error::custom(format!("`{text}` is no size, expected `64MiB` or `1GiB`"))
        })
    }
}

fn spool_bytes_default() -> Bytes {
    Bytes(SPOOL_BYTES_DEFAULT)
}

fn body_bytes_default() -> Bytes {
    Bytes(BODY_BYTES_DEFAULT)
}

fn attempts_default() -> u32 {
    ATTEMPTS_DEFAULT
}

/// Why `--publish` cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PublishError {
    /// Not the JSON that is expected.
    #[error(
        "`--publish` is not understood: {0}\n\
         help: write `{{\"dir\": \"/var/lib/plimsoll/spool\", \"topics\": {{\"orders\": {{}}}}}}`"
    )]
    Form(String),
    /// No place for the spool.
    #[error(
        "`--publish` names no `dir`, and no state directory is given\n\
         help: add `\"dir\": \"/var/lib/plimsoll/spool\"`, on a volume that outlives the container"
    )]
    NoDirectory,
    /// No topic.
    #[error("`--publish` declares no topic\nhelp: add `\"topics\": {{\"orders\": {{}}}}`")]
    NoTopics,
    /// More than can be told apart in metrics.
    #[error("`--publish` declares {0} topics, {TOPICS_MAX} are possible\nhelp: remove some")]
    TooManyTopics(usize),
    /// A name that Kafka would refuse.
    #[error(
        "topic `{0}` cannot be a topic of Kafka\n\
         help: use letters, digits, `.`, `_` and `-`, at most {TOPIC_BYTES_MAX} in all"
    )]
    TopicName(String),
    /// A header that is ours or too general.
    #[error(
        "topic `{topic}`: `{header}` cannot be declared as a header\n\
         help: name headers that start with `x-`, other than `x-key`"
    )]
    Header {
        /// The topic.
        topic: String,
        /// What was given.
        header: String,
    },
    /// A number out of its range.
    #[error("`--publish`: `{key}` is {value}, not from {min} to {max}\nhelp: {help}")]
    Range {
        /// The key.
        key: &'static str,
        /// What was given.
        value: u64,
        /// The least that is possible.
        min: u64,
        /// The most that is possible.
        max: u64,
        /// What to do.
        help: &'static str,
    },
    /// Only a broker can say that it has a message.
    #[error(
        "`--publish`: `fsync` is `kafka`, but no `kafka` is given\n\
         help: add `\"kafka\": {{\"brokers\": \"kafka:9092\"}}`, or use `group`"
    )]
    NoBroker,
    /// The cluster is not described well.
    #[error("`--publish`: {0}\nhelp: {help}", help = .0.help())]
    Kafka(KafkaSettingsError),
}

/// Reads the text of `PLIMSOLL_PUBLISH`.
///
/// # Errors
/// When it is not JSON of the expected form.
pub fn parse(text: &str) -> Result<PublishSettings, PublishError> {
    serde_json::from_str(text).map_err(|error| PublishError::Form(error.to_string()))
}

/// Finds what cannot be served.
///
/// # Errors
/// Every problem.
pub fn check(settings: &PublishSettings, has_state: bool) -> Result<(), Vec<PublishError>> {
    let mut errors = Vec::new();
    if settings.dir.is_none() && !has_state {
        errors.push(PublishError::NoDirectory);
    }
    match settings.topics.len() {
        0 => errors.push(PublishError::NoTopics),
        count if count > TOPICS_MAX => errors.push(PublishError::TooManyTopics(count)),
        _ => {}
    }
    for (name, topic) in &settings.topics {
        let named = std::iter::once(name).chain(&topic.dlq);
        let refused = named.filter(|name| !is_topic(name));
        errors.extend(refused.map(|name| PublishError::TopicName(name.clone())));
        let headers = topic.headers.iter().filter(|header| !is_declarable(header));
        errors.extend(
            headers
                .map(|header| PublishError::Header { topic: name.clone(), header: header.clone() }),
        );
        let help = "this many refusals of the broker make a message a dead letter";
        errors.extend(range("max_attempts", topic.max_attempts.into(), 1, 1_000_000, help));
    }
    let body = settings.max_body.0;
    let help = "larger things belong into a bucket, and their address into the message";
    errors.extend(range("max_body", body, 1, BODY_BYTES_LIMIT as u64, help));
    let least = body
        .clamp(1, BODY_BYTES_LIMIT as u64)
        .saturating_mul(SPOOL_BODIES_MIN)
        .max(SPOOL_BYTES_MIN);
    let help = "the spool must hold the messages of a broker's outage";
    errors.extend(range("max_bytes", settings.max_bytes.0, least, 1 << 44, help));
    let problems = settings.kafka.iter().flat_map(|kafka| kafka.check().err()).flatten();
    errors.extend(problems.map(PublishError::Kafka));
    if settings.fsync == Fsync::Kafka && settings.kafka.is_none() {
        errors.push(PublishError::NoBroker);
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn range(
    key: &'static str,
    value: u64,
    min: u64,
    max: u64,
    help: &'static str,
) -> Option<PublishError> {
    let is_inside = (min..=max).contains(&value);
    (!is_inside).then_some(PublishError::Range { key, value, min, max, help })
}

/// Whether Kafka takes the name.
fn is_topic(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let is_path = matches!(name, "" | "." | "..");
    !is_path && name.len() <= TOPIC_BYTES_MAX && name.chars().all(is_plain)
}

fn is_declarable(header: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let lower = header.to_ascii_lowercase();
    lower.starts_with("x-") && lower != "x-key" && lower.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let settings = parse(text).expect("the form is right");
        let errors = check(&settings, false).expect_err("a problem");
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_directory_and_a_topic_are_enough() {
        let settings = parse(r#"{"dir": "/spool", "topics": {"orders": {}}}"#).unwrap();
        assert!(check(&settings, false).is_ok());
        assert_eq!(settings.fsync, Fsync::Group);
        assert_eq!(settings.max_bytes.0, SPOOL_BYTES_DEFAULT);
        assert_eq!(settings.topics["orders"], TopicSettings::default());
    }

    #[test]
    fn everything_can_be_said_and_survives_the_way_to_the_engine() {
        let text = r#"{"dir": "/s", "max_bytes": "64MiB", "max_body": 1000, "fsync": "interval:500ms",
            "on_full": "unready", "kafka": {"brokers": "k:9092"},
            "topics": {"orders": {"key": "required", "dlq": "orders.dlq", "ordered": true,
                                   "headers": ["X-Tenant"], "max_attempts": 3}}}"#;
        let settings = parse(text).unwrap();
        assert_eq!(check(&settings, false), Ok(()));
        assert_eq!(settings.fsync, Fsync::Interval(Duration::from_millis(500)));
        assert_eq!(settings.max_bytes, Bytes(64 << 20));
        let again = serde_json::to_string(&settings).unwrap();
        assert_eq!(parse(&again).unwrap(), settings);
    }

    #[test]
    fn mistakes_of_form_say_where_and_what_is_possible() {
        for (text, words) in [
            (r#"{"topics": {}, "colour": 1}"#, "unknown field `colour`, expected"),
            (r#"{"topics": {}, "fsync": "never"}"#, "`never` is no way to `fsync`"),
            (r#"{"topics": {}, "fsync": "interval:0"}"#, "expected `group`"),
            (r#"{"topics": {}, "max_bytes": "1 lot"}"#, "`1 lot` is no size"),
            (r#"{"topics": {}, "max_bytes": -1}"#, "expected bytes"),
            (r#"{"topics": {"a": {"key": "always"}}}"#, "unknown variant `always`"),
            ("5", "invalid type: integer"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(words), "{error}");
            assert!(error.contains("help:"), "{error}");
        }
    }

    #[test]
    fn all_problems_come_at_once() {
        let text = r#"{"max_bytes": 5, "max_body": 0, "fsync": "kafka",
            "topics": {"a b": {"headers": ["cookie", "x-key"], "dlq": "", "max_attempts": 0}}}"#;
        let problems = problems(text);
        assert_eq!(problems.len(), 9, "{problems:#?}");
        assert!(problems.iter().all(|problem| problem.contains("help:")));
    }
}
