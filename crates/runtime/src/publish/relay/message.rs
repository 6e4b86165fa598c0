//! A record of the spool as a message of Kafka: its headers, its partition, its time.
//!
//! CloudEvents travel in binary mode: `ce-type` of HTTP becomes `ce_type`. Invariant: every copy of
//! a record has the same `plimsoll-id`, and `ce_id` is equal to it.

use std::borrow::Cow;

use crate::{kafka::Outgoing, publish::Record};

/// The record's id: copies have the same.
pub(crate) const ID: &str = "plimsoll-id";
/// Its place in the spool's order.
pub(crate) const SEQ: &str = "plimsoll-seq";
/// Who published it.
pub(crate) const SOURCE: &str = "plimsoll-source";
/// Why a dead letter is one.
pub(crate) const ERROR: &str = "plimsoll-error";
/// Where a dead letter was meant to go.
pub(crate) const TOPIC: &str = "plimsoll-topic";
/// The trace that it belongs to.
pub(crate) const TRACEPARENT: &str = "traceparent";
const CE_ID: &str = "ce_id";
/// Bytes that a record takes beside its texts, about.
const OVERHEAD_BYTES: usize = 256;
/// Where records without a key go when they have to keep their order.
const ORDERED_PARTITION: i32 = 0;

/// A record with what is added to it, as texts.
#[derive(Debug)]
pub(crate) struct Outbound<'a> {
    record: &'a Record,
    source: &'a str,
    seq: String,
    traceparent: Option<&'a str>,
    is_ordered: bool,
}

impl<'a> Outbound<'a> {
    /// `traceparent` takes the place of the record's.
    pub(crate) fn new(
        record: &'a Record,
        source: &'a str,
        traceparent: Option<&'a str>,
        is_ordered: bool,
    ) -> Self {
        Self { record, source, seq: record.seq.to_string(), traceparent, is_ordered }
    }

    /// What the producer takes.
    pub(crate) fn outgoing(&self) -> Outgoing<'_> {
        let record = self.record;
        let partition = (self.is_ordered && record.key.is_none()).then_some(ORDERED_PARTITION);
        Outgoing {
            topic: &record.topic,
            partition,
            key: record.key.as_deref(),
            payload: Some(&record.body),
            headers: self.headers(),
            at_ms: i64::try_from(record.at_us / 1000).ok(),
            tag: record.seq,
        }
    }

    fn headers(&self) -> Vec<(Cow<'_, str>, &[u8])> {
        let mut headers: Vec<(Cow<'_, str>, &[u8])> = vec![
            (ID.into(), self.record.id.as_bytes()),
            (SEQ.into(), self.seq.as_bytes()),
            (SOURCE.into(), self.source.as_bytes()),
        ];
        headers.extend(self.traceparent.map(|parent| (TRACEPARENT.into(), parent.as_bytes())));
        let mut is_event = false;
        for (name, value) in &self.record.headers {
            let name = name_of(name);
            is_event |= name.starts_with("ce_");
            if name != CE_ID && name != TRACEPARENT {
                headers.push((name, value));
            }
        }
        if is_event {
            headers.push((CE_ID.into(), self.record.id.as_bytes()));
        }
        headers
    }
}

/// The name of a header in Kafka.
fn name_of(name: &str) -> Cow<'_, str> {
    match name.strip_prefix("ce-") {
        Some(attribute) => format!("ce_{attribute}").into(),
        None => name.into(),
    }
}

/// Bytes that a record takes, about.
pub(crate) fn bytes(record: &Record) -> usize {
    let headers = record.headers.iter().map(|(name, value)| name.len() + value.len());
    let key = record.key.as_ref().map_or(0, bytes::Bytes::len);
    OVERHEAD_BYTES + record.body.len() + key + headers.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::publish::Message;

    fn record(headers: &[(&str, &str)]) -> Record {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Bytes::copy_from_slice(value.as_bytes())));
        let message = Message {
            topic: "orders".into(),
            id: Some("id-1".into()),
            headers: headers.collect(),
            body: Bytes::from_static(b"{}"),
            key: None,
        };
        Record::new(message, 7, 1_700_000_000_000_000)
    }

    fn sent(record: &Record) -> Vec<String> {
        let outbound = Outbound::new(record, "gateway/a", Some("00-y"), false);
        let outgoing = outbound.outgoing();
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        outgoing.headers.iter().map(|(name, value)| format!("{name}={}", text(value))).collect()
    }

    #[test]
    fn a_message_says_who_sent_it_and_which_it_is() {
        let record = record(&[("content-type", "application/json"), ("traceparent", "00-x")]);
        let headers = [
            "plimsoll-id=id-1",
            "plimsoll-seq=7",
            "plimsoll-source=gateway/a",
            "traceparent=00-y",
            "content-type=application/json",
        ];
        assert_eq!(sent(&record), headers);
        let outbound = Outbound::new(&record, "gateway/a", None, true);
        let outgoing = outbound.outgoing();
        assert_eq!((outgoing.tag, outgoing.at_ms), (7, Some(1_700_000_000_000)));
        assert_eq!(outgoing.partition, Some(0), "ordered without a key means one partition");
    }

    #[test]
    fn a_cloud_event_has_its_attributes_and_the_id_of_the_record() {
        let record = record(&[("ce-specversion", "1.0"), ("ce-id", "theirs")]);
        assert!(sent(&record).contains(&"ce_specversion=1.0".to_owned()));
        assert!(sent(&record).contains(&"ce_id=id-1".to_owned()));
        assert!(!sent(&record).iter().any(|header| header.ends_with("theirs")));
    }
}
