//! The one way to Kafka: settings, a producer that keeps order, and what its failures mean.
//!
//! The relay of `publish` and the `outbox` both send through it. It deliberately decides nothing
//! about retries: a [`Failure`] says what kind it is, and whoever sends has a rule for each kind.
//!
//! Invariant: of the records that one [`Producer`] was given for a partition, those that are stored
//! are a prefix of what was given, however it ends; so a new producer may go on from the first one
//! that is not acknowledged. The one exception: a partition takes any first number of a producer
//! that it has not seen, so if its very first batch is refused for good, up to four that were on
//! the way behind it may be stored. Whoever sends keeps what is likely to be refused alone: large
//! records, and the first ones of a topic.

mod failure;
mod producer;
mod settings;

pub use self::settings::{KafkaSettings, KafkaSettingsError};
pub(crate) use self::{
    failure::{Failure, FailureKind},
    producer::{Outgoing, Producer, Report, Reports, reports},
    settings::{Config, LARGE_BYTES},
};
