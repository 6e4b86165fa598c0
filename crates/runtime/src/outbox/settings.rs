//! What `--outbox` says: which table, how it is read, and where its events go.
//!
//! It deliberately opens nothing. Invariant: the names that [`OutboxSettings::check`] accepts can
//! be put between quotes into SQL as they are.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    kafka::{KafkaSettings, KafkaSettingsError},
    settings::duration_text,
};

/// What a template's place for the type of the aggregate looks like.
const PLACE: &str = "{aggregatetype}";
/// Most events of one round.
const BATCH_MAX: u32 = 10_000;
/// Longest name of PostgreSQL, in bytes.
const NAME_BYTES_MAX: usize = 63;

/// What `--outbox` says.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutboxSettings {
    /// The address of the database; may be `${secret:NAME}`.
    pub postgres: String,
    /// The table, with its schema if it is not the first of the search path.
    #[serde(default = "table_default")]
    pub table: String,
    /// The cluster; else that of `--publish`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaSettings>,
    /// The topic of an event, `{aggregatetype}` in it replaced.
    #[serde(default = "topic_default")]
    pub topic: String,
    /// Topics of types of aggregates that do not follow `topic`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub topics: BTreeMap<String, String>,
    /// How often the table is looked at when nobody notifies.
    #[serde(default = "poll_default", with = "duration_text")]
    pub poll: Duration,
    /// What happens to a row whose event is delivered.
    #[serde(default)]
    pub done: Done,
    /// Most events of one round.
    #[serde(default = "batch_default")]
    pub batch: u32,
    /// How often an event is tried that its topic refuses.
    #[serde(default = "attempts_default")]
    pub max_attempts: u32,
}

/// What happens to a row whose event is delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Done {
    /// It is deleted.
    #[default]
    Delete,
    /// Its `published_at` is set; removing it is up to the user.
    Mark,
}

/// Why `--outbox` cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OutboxError {
    /// Not the expected JSON.
    #[error(
        "`--outbox` is not understood: {0}\n\
         help: for example `{{\"postgres\": \"${{secret:db_url}}\", \
         \"kafka\": {{\"brokers\": \"kafka:9092\"}}}}`"
    )]
    Form(String),
    /// Nowhere to read.
    #[error("`--outbox` names no database\nhelp: give its address in `postgres`")]
    NoDatabase,
    /// Nowhere to send.
    #[error("`--outbox` names no cluster\nhelp: add `\"kafka\": {{\"brokers\": \"kafka:9092\"}}`")]
    NoBroker,
    /// Not a name that goes into SQL.
    #[error("`--outbox`: `{0}` is not a table\nhelp: `name` or `schema.name`, without quotes")]
    Table(String),
    /// Not a topic.
    #[error("`--outbox`: `{0}` is not a topic\nhelp: letters, digits, `.`, `_` and `-`")]
    Topic(String),
    /// A number out of its range.
    #[error("`--outbox`: `{key}` is out of range\nhelp: give {range}")]
    Range {
        /// The key.
        key: &'static str,
        /// What is possible.
        range: String,
    },
    /// The cluster is not described well.
    #[error("`--outbox`: {0}\nhelp: {help}", help = .0.help())]
    Kafka(KafkaSettingsError),
}

/// Reads the text of `PLIMSOLL_OUTBOX`.
///
/// # Errors
/// When it is not JSON of the expected form.
pub fn parse(text: &str) -> Result<OutboxSettings, OutboxError> {
    serde_json::from_str(text).map_err(|error| OutboxError::Form(error.to_string()))
}

impl OutboxSettings {
    /// Finds what cannot work; `has_cluster` says whether another part names one.
    ///
    /// # Errors
    /// Every problem.
    pub fn check(&self, has_cluster: bool) -> Result<(), Vec<OutboxError>> {
        let mut errors = Vec::new();
        if self.postgres.is_empty() {
            errors.push(OutboxError::NoDatabase);
        }
        if self.kafka.is_none() && !has_cluster {
            errors.push(OutboxError::NoBroker);
        }
        if !is_table(&self.table) {
            errors.push(OutboxError::Table(self.table.clone()));
        }
        let template = self.topic.replace(PLACE, "x");
        let topics = std::iter::once(&template).chain(self.topics.values());
        let refused = topics.filter(|topic| !is_topic(topic));
        errors.extend(refused.map(|topic| OutboxError::Topic(topic.clone())));
        let ranges = [
            ("batch", (1..=BATCH_MAX).contains(&self.batch), format!("1 to {BATCH_MAX}")),
            ("max_attempts", self.max_attempts > 0, "1 or more".to_owned()),
            ("poll", self.poll >= Duration::from_millis(10), "10ms or more".to_owned()),
        ];
        let outside = ranges.into_iter().filter(|(_, is_inside, _)| !is_inside);
        errors.extend(outside.map(|(key, _, range)| OutboxError::Range { key, range }));
        let problems = self.kafka.iter().flat_map(|kafka| kafka.check().err()).flatten();
        errors.extend(problems.map(OutboxError::Kafka));
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// The topic of events of a type of aggregates.
    pub fn topic_of(&self, aggregate_type: &str) -> String {
        let named = self.topics.get(aggregate_type).cloned();
        named.unwrap_or_else(|| self.topic.replace(PLACE, aggregate_type))
    }
}

/// The address may hold a password.
impl fmt::Debug for OutboxSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboxSettings").field("table", &self.table).finish_non_exhaustive()
    }
}

/// Whether a text is `name` or `schema.name`, to be put between quotes as it is.
pub fn is_table(text: &str) -> bool {
    let names: Vec<_> = text.split('.').collect();
    names.len() <= 2 && names.iter().all(|name| is_name(name))
}

fn is_name(name: &str) -> bool {
    let first = name.chars().next();
    let is_first = first.is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    is_first
        && name.len() <= NAME_BYTES_MAX
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn is_topic(name: &str) -> bool {
    let is_right = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !name.is_empty()
        && name.len() <= 249
        && name.chars().all(is_right)
        && name != "."
        && name != ".."
}

fn table_default() -> String {
    "outbox".into()
}

fn topic_default() -> String {
    format!("outbox.event.{PLACE}")
}

fn poll_default() -> Duration {
    Duration::from_secs(1)
}

fn batch_default() -> u32 {
    500
}

fn attempts_default() -> u32 {
    10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_and_a_cluster_are_enough() {
        let text = r#"{"postgres": "postgres://db/app", "kafka": {"brokers": "k:9092"}}"#;
        let settings = parse(text).unwrap();
        assert_eq!(settings.check(false), Ok(()));
        assert_eq!(settings.topic_of("order"), "outbox.event.order");
        let again = serde_json::to_string(&settings).unwrap();
        assert_eq!(parse(&again).unwrap(), settings);
    }

    #[test]
    fn every_problem_is_found() {
        let text = r#"{"postgres": "", "table": "a.b; drop table c", "topic": "a b", "batch": 0,
            "poll": "1ms", "max_attempts": 0}"#;
        assert_eq!(parse(text).unwrap().check(false).unwrap_err().len(), 7);
        assert!(parse(r#"{"postgres": "x", "tabel": "y"}"#).is_err());
    }

    #[test]
    fn a_password_is_not_shown() {
        let text = r#"{"postgres": "postgres://u:hunter2@db/app"}"#;
        assert!(!format!("{:?}", parse(text).unwrap()).contains("hunter2"));
    }
}
