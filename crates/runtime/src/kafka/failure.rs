//! What a failure to store a record means for the record, its topic and its producer.
//!
//! It deliberately decides nothing: how often and how long is the sender's. Invariant: an error
//! that nobody knew of when this was written passes, so it costs time and no message.

use std::fmt;

use rdkafka::error::RDKafkaErrorCode as Code;

/// Why a record was not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What it concerns.
    pub(crate) kind: FailureKind,
    /// The error's name and the library's words for it.
    pub(crate) text: String,
}

/// What a failure concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// The record, or another of its batch: it will never be taken as it is.
    Record,
    /// The topic: it is not there, or not for us.
    Topic,
    /// The producer: it has to be replaced.
    Producer,
    /// Nothing that lasts.
    Passing,
}

impl Failure {
    /// Of an error's code.
    pub(crate) fn of(code: Code) -> Self {
        Self { kind: kind(code), text: format!("{code:?}: {code}") }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn kind(code: Code) -> FailureKind {
    match code {
        Code::MessageSizeTooLarge
        | Code::InvalidMessage
        | Code::InvalidMessageSize
        | Code::MessageBatchTooLarge
        | Code::InvalidTimestamp
        | Code::InvalidRecord
        | Code::InvalidDifferentRecord
        | Code::UnsupportedForMessageFormat
        | Code::PolicyViolation
        | Code::UnsupportedCompressionType => FailureKind::Record,
        Code::UnknownTopic
        | Code::UnknownPartition
        | Code::UnknownTopicOrPartition
        | Code::InvalidTopic
        | Code::TopicAuthorizationFailed
        | Code::ClusterAuthorizationFailed => FailureKind::Topic,
        Code::Fatal
        | Code::GaplessGuarantee
        | Code::ProducerFenced
        | Code::InvalidProducerEpoch
        | Code::UnknownProducerId
        | Code::OutOfOrderSequenceNumber
        | Code::InvalidProducerIdMapping => FailureKind::Producer,
        _ => FailureKind::Passing,
    }
}
