//! What a user says about a cluster, and the client's configuration that is made of it.
//!
//! It deliberately knows few of librdkafka's properties by name: the library checks names and
//! values itself, before anything starts.
//!
//! Invariant: what delivery rests on (acknowledgements, idempotence, no give-up by time) is set
//! here and cannot be overridden.

use std::collections::BTreeMap;

use rdkafka::{ClientConfig, config::RDKafkaLogLevel, error::KafkaError};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::secret::{Handle, has_reference};

/// Most brokers that are named; the cluster tells the rest.
const BROKERS_MAX: usize = 64;
/// Most properties of the client.
const PROPERTIES_MAX: usize = 64;

/// The cluster that messages go to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaSettings {
    /// Where the cluster is met first: `host:port`, several with commas or as a list.
    pub brokers: Brokers,
    /// Properties of librdkafka, for TLS and SASL; values may be `${secret:NAME}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, Property>,
}

/// A list, or one text with commas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected brokers, such as \"kafka:9092\" or a list of them")]
pub enum Brokers {
    /// `"a:9092,b:9092"`
    Text(String),
    /// `["a:9092", "b:9092"]`
    List(Vec<String>),
}

/// The value of a property: librdkafka has only text, people also write numbers and booleans.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a text, a number or a boolean")]
pub enum Property {
    /// `true`
    Boolean(bool),
    /// `500`
    Number(i64),
    /// `"SCRAM-SHA-512"`
    Text(String),
}

/// What is wrong with a [`KafkaSettings`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KafkaSettingsError {
    /// There is nobody to ask.
    #[error("`kafka.brokers` names no broker")]
    NoBroker,
    /// More than anybody needs.
    #[error("`kafka.{what}` has {count} entries, at most {limit} are allowed")]
    TooMany {
        /// The field.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// An address that cannot be one.
    #[error("`kafka.brokers`: `{text}` is not `host:port`")]
    Broker {
        /// What was given.
        text: String,
    },
    /// A property that delivery rests on.
    #[error("`kafka.properties`: `{name}` is not yours to set: no message may be lost or overtake")]
    Ours {
        /// The property.
        name: String,
    },
    /// The library does not know it, or not this value.
    #[error("`kafka.properties`: `{name}`: {problem}")]
    Property {
        /// The property.
        name: String,
        /// What the library says, without the value: it may be a secret.
        problem: String,
    },
    /// The library refuses the whole.
    #[error("`kafka`: {problem}")]
    Together {
        /// What the library says.
        problem: String,
    },
}

impl KafkaSettingsError {
    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::NoBroker | Self::Broker { .. } => {
                "give at least one, for example `\"brokers\": \"kafka:9092\"`"
            }
            Self::TooMany { .. } => "leave some out: the brokers tell about each other",
            Self::Ours { .. } => "leave it out",
            Self::Property { .. } | Self::Together { .. } => {
                "names and values are those of librdkafka, for example \
                 `\"security.protocol\": \"SASL_SSL\"`"
            }
        }
    }
}

/// A configuration that the library has accepted. It may hold secrets, so it is never shown.
#[derive(Clone)]
pub(crate) struct Config(ClientConfig);

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Config")
    }
}

/// Most bytes of a batch of several records, a quarter of what brokers take unless told otherwise.
const BATCH_BYTES: &str = "262144";
/// A record of this size or more is a batch of its own; see [`BATCH_BYTES`].
pub(crate) const LARGE_BYTES: usize = 256 * 1024;

/// Set for every producer, whatever the user says.
const OURS: &[(&str, &str)] = &[
    ("enable.idempotence", "true"),
    ("acks", "all"),
    ("max.in.flight.requests.per.connection", "5"),
    // Without it what waits behind a batch that is refused for good would be stored before it.
    ("enable.gapless.guarantee", "true"),
    // A batch is never refused for its size unless one record alone is: those travel alone.
    ("batch.size", BATCH_BYTES),
    // A message is given up by the rules of whoever sends it, never by the clock.
    ("message.timeout.ms", "0"),
];

/// Other names of the same, and what would change who commits what.
const ALSO_OURS: &[&str] = &[
    "bootstrap.servers",
    "delivery.timeout.ms",
    "max.in.flight",
    "metadata.broker.list",
    "request.required.acks",
    "transactional.id",
];

/// Set for every producer, unless the user says otherwise.
const DEFAULTS: &[(&str, &str)] = &[
    ("client.id", "plimsoll"),
    // Java's way to choose a partition by key, so that other producers of a topic agree.
    ("partitioner", "murmur2_random"),
    ("linger.ms", "5"),
    ("reconnect.backoff.ms", "50"),
    // Deliveries go on this long after a cluster is back, at most.
    ("reconnect.backoff.max.ms", "1000"),
    ("retry.backoff.max.ms", "1000"),
    ("socket.timeout.ms", "10000"),
    ("socket.connection.setup.timeout.ms", "5000"),
    // How long a topic that was just made may be unknown.
    ("topic.metadata.propagation.max.ms", "5000"),
    ("topic.metadata.refresh.fast.interval.ms", "100"),
    // Twice what is ever given to it.
    ("queue.buffering.max.messages", "20000"),
    ("queue.buffering.max.kbytes", "65536"),
    // The largest body with its key and headers.
    ("message.max.bytes", "5000000"),
];

impl KafkaSettings {
    /// Finds what the library would refuse, without the values that are secrets.
    ///
    /// # Errors
    /// Every problem that can be found on its own, else what is wrong with the whole.
    pub fn check(&self) -> Result<(), Vec<KafkaSettingsError>> {
        let mut errors = Vec::new();
        let brokers = self.brokers();
        if brokers.is_empty() {
            errors.push(KafkaSettingsError::NoBroker);
        }
        let counts = [
            ("brokers", brokers.len(), BROKERS_MAX),
            ("properties", self.properties.len(), PROPERTIES_MAX),
        ];
        for (what, count, limit) in counts.into_iter().filter(|(_, count, limit)| count > limit) {
            errors.push(KafkaSettingsError::TooMany { what, count, limit });
        }
        let not_addresses = brokers.iter().filter(|broker| !is_address(broker));
        errors.extend(
            not_addresses.map(|text| KafkaSettingsError::Broker { text: (*text).to_owned() }),
        );
        let is_ours = |name: &str| {
            OURS.iter().map(|(name, _)| name).chain(ALSO_OURS).any(|ours| *ours == name)
        };
        for (name, value) in &self.properties {
            if is_ours(name) {
                errors.push(KafkaSettingsError::Ours { name: name.clone() });
            } else if !has_reference(&value.text()) {
                errors.extend(check_property(name, &value.text()).err());
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// The texts in which secrets may be named.
    pub(crate) fn values(&mut self) -> impl Iterator<Item = &mut String> {
        self.properties.values_mut().filter_map(|property| match property {
            Property::Text(text) => Some(text),
            Property::Boolean(_) | Property::Number(_) => None,
        })
    }

    /// Whether a value waits for a secret.
    pub(crate) fn has_references(&self) -> bool {
        self.properties.values().any(|property| has_reference(&property.text()))
    }

    /// The configuration of a producer, with the secrets as they are now.
    ///
    /// # Errors
    /// Which secret is missing, or what the library refuses.
    pub(crate) async fn filled(&self, secrets: &Handle) -> Result<Config, String> {
        let mut settings = self.clone();
        for value in settings.values() {
            *value = secrets.fill(value).await.map_err(|error| error.to_string())?;
        }
        settings.config().map_err(|error| error.to_string())
    }

    /// The configuration of a producer; the secrets are filled in.
    ///
    /// # Errors
    /// When the library refuses it.
    pub(crate) fn config(&self) -> Result<Config, KafkaSettingsError> {
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Emerg);
        for (name, value) in DEFAULTS {
            config.set(*name, *value);
        }
        for (name, value) in &self.properties {
            config.set(name, value.text());
        }
        config.set("bootstrap.servers", self.brokers().join(","));
        for (name, value) in OURS {
            config.set(*name, *value);
        }
        config.create_native_config().map_err(refused)?;
        Ok(Config(config))
    }

    /// Where the cluster is, for messages.
    pub fn brokers(&self) -> Vec<&str> {
        let texts: Vec<&str> = match &self.brokers {
            Brokers::Text(text) => text.split(',').collect(),
            Brokers::List(list) => list.iter().map(String::as_str).collect(),
        };
        texts.into_iter().map(str::trim).filter(|text| !text.is_empty()).collect()
    }
}

impl Config {
    /// For [`super::Producer`] only.
    pub(super) fn client(&self) -> &ClientConfig {
        &self.0
    }

    /// The same for records whose order does not matter, and that may be given up.
    #[must_use]
    pub(crate) fn for_dead_letters(&self, timeout_ms: u64) -> Self {
        let mut config = self.0.clone();
        config.set("enable.gapless.guarantee", "false").set("enable.idempotence", "false");
        config.set("message.timeout.ms", timeout_ms.to_string());
        Self(config)
    }
}

impl Property {
    fn text(&self) -> String {
        match self {
            Self::Boolean(value) => value.to_string(),
            Self::Number(value) => value.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

fn check_property(name: &str, value: &str) -> Result<(), KafkaSettingsError> {
    let mut alone = ClientConfig::new();
    alone.set_log_level(RDKafkaLogLevel::Emerg);
    alone.set(name, value);
    alone.create_native_config().map(drop).map_err(refused)
}

/// The library's words; it repeats the value, which may be a secret, so that is cut out.
fn refused(error: KafkaError) -> KafkaSettingsError {
    match error {
        KafkaError::ClientConfig(_, problem, name, value) => {
            let problem = match value.is_empty() {
                true => problem,
                false => problem.replace(&value, "***"),
            };
            KafkaSettingsError::Property { name, problem }
        }
        other => KafkaSettingsError::Together { problem: other.to_string() },
    }
}

/// `host:port`, with the scheme that librdkafka allows in front.
fn is_address(text: &str) -> bool {
    let address = text.split_once("://").map_or(text, |(_, address)| address);
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let is_host = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == '/');
    is_host && port.parse::<u16>().is_ok_and(|port| port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> KafkaSettings {
        serde_json::from_str(text).unwrap()
    }

    fn problems(text: &str) -> Vec<String> {
        let errors = parse(text).check().unwrap_err();
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn one_text_and_a_list_name_the_same_brokers() {
        let text = parse(r#"{"brokers": "a:9092, b:9092"}"#);
        let list = parse(r#"{"brokers": ["a:9092", "b:9092"]}"#);
        assert_eq!(text.brokers(), list.brokers());
        assert!(text.check().is_ok() && text.config().is_ok());
    }

    #[test]
    fn every_wrong_address_is_named() {
        let problems = problems(r#"{"brokers": "kafka,b:0,http://c/d:1,:9092"}"#);
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert_eq!(problems[0], "`kafka.brokers`: `kafka` is not `host:port`");
        assert_eq!(self::problems(r#"{"brokers": " , "}"#).len(), 1);
    }

    #[test]
    fn what_delivery_rests_on_cannot_be_set() {
        let settings = r#"{"brokers": "a:1", "properties": {"acks": "1", "enable.idempotence": false,
            "transactional.id": "x"}}"#;
        assert_eq!(problems(settings).len(), 3);
    }

    #[test]
    fn the_library_checks_names_and_values_and_no_value_is_shown() {
        let settings = r#"{"brokers": "a:1", "properties": {"no.such": "hunter2",
            "socket.timeout.ms": "hunter2", "security.protocol": "hunter2"}}"#;
        let problems = problems(settings);
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems.iter().all(|problem| !problem.contains("hunter2")), "{problems:?}");
    }

    #[test]
    fn a_value_that_is_a_secret_is_checked_once_it_is_known() {
        let mut settings = parse(
            r#"{"brokers": "a:1", "properties": {"sasl.password": "${secret:kafka}",
                "security.protocol": "${secret:protocol}"}}"#,
        );
        assert!(settings.check().is_ok());
        assert!(settings.config().is_err());
        for value in settings.values() {
            *value = "SASL_SSL".into();
        }
        assert!(settings.config().is_ok());
    }
}
