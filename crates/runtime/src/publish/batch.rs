//! Batches: one JSON object a line, each a message.
//!
//! `{"topic": "orders", "key": "42", "id": "1", "headers": {"ce-type": "x"}, "data": {}}`, with
//! `text` or `base64` in place of `data`. It deliberately accepts all lines or none: what cannot be
//! read is a mistake of the sender's program. Invariant: at most [`LINES_MAX`] messages come out,
//! in the order of their lines.

use std::{borrow::Cow, collections::BTreeMap};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;

use super::{Message, http::is_carried, settings::TopicSettings};

/// Most messages of a batch.
const LINES_MAX: usize = 4096;
const CONTENT_TYPE: &str = "content-type";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// Why a batch was not accepted.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum BatchError {
    /// A line that is no message.
    #[error("line {line}: {problem}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// Too many.
    #[error("the batch has more than {LINES_MAX} lines")]
    TooLong,
    /// Nothing.
    #[error("the batch is empty; send one JSON object a line")]
    Empty,
}

impl BatchError {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            BatchError::Line { .. } | BatchError::Empty => StatusCode::BAD_REQUEST,
            BatchError::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    topic: String,
    key: Option<String>,
    id: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    text: Option<String>,
    #[serde(borrow)]
    base64: Option<Cow<'a, str>>,
}

/// Reads every line.
pub(super) fn parse(
    body: &[u8],
    topics: &BTreeMap<String, TopicSettings>,
) -> Result<Vec<Message>, BatchError> {
    let mut messages = Vec::new();
    for (index, line) in body.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        if messages.len() == LINES_MAX {
            return Err(BatchError::TooLong);
        }
        let wrong = |problem: String| BatchError::Line { line: index + 1, problem };
        let line: Line<'_> =
            serde_json::from_slice(line).map_err(|error| wrong(error.to_string()))?;
        messages.push(message(line, topics).map_err(wrong)?);
    }
    if messages.is_empty() { Err(BatchError::Empty) } else { Ok(messages) }
}

fn message(line: Line<'_>, topics: &BTreeMap<String, TopicSettings>) -> Result<Message, String> {
    let (body, content_type) = match (line.data, line.text, line.base64) {
        (Some(data), None, None) => (Bytes::copy_from_slice(data.get().as_bytes()), Some(JSON)),
        (None, Some(text), None) => (Bytes::from(text), Some(TEXT)),
        (None, None, Some(text)) => {
            let bytes = STANDARD.decode(text.as_bytes());
            (bytes.map_err(|error| format!("`base64`: {error}"))?.into(), None)
        }
        _ => return Err("give exactly one of `data`, `text` and `base64`".into()),
    };
    let mut headers = Vec::with_capacity(line.headers.len() + 1);
    for (name, value) in line.headers {
        let name = name.to_ascii_lowercase();
        let is_known = topics.get(&line.topic).is_none_or(|topic| is_carried(&name, topic));
        if !is_known {
            return Err(format!("header `{name}` is not declared for topic `{}`", line.topic));
        }
        headers.push((name, Bytes::from(value)));
    }
    let is_typed = headers.iter().any(|(name, _)| name == CONTENT_TYPE);
    if let (Some(content_type), false) = (content_type, is_typed) {
        headers.push((CONTENT_TYPE.into(), Bytes::from_static(content_type.as_bytes())));
    }
    Ok(Message { topic: line.topic, key: line.key.map(Bytes::from), id: line.id, headers, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Message>, String> {
        let topics = [("orders".to_owned(), TopicSettings::default())].into();
        parse(text.as_bytes(), &topics).map_err(|error| error.to_string())
    }

    #[test]
    fn data_keeps_its_bytes_and_every_form_its_type() {
        let messages = read(concat!(
            "{\"topic\":\"orders\",\"data\":{\"b\": 1,\"a\":2.0}}\n\n",
            "{\"topic\":\"orders\",\"key\":\"k\",\"text\":\"h\\u00e9\",\"id\":\"i\"}\r\n",
            "{\"topic\":\"orders\",\"base64\":\"AP8=\",\"headers\":{\"CE-Type\":\"x\"}}",
        ))
        .unwrap();
        assert_eq!(messages[0].body, "{\"b\": 1,\"a\":2.0}");
        assert_eq!(messages[1].body, "hé");
        assert_eq!(
            (messages[1].key.as_deref(), messages[1].id.as_deref()),
            (Some(&b"k"[..]), Some("i"))
        );
        assert_eq!(&messages[2].body[..], b"\0\xff");
        assert_eq!(messages[2].headers, [("ce-type".to_owned(), Bytes::from_static(b"x"))]);
    }

    #[test]
    fn a_line_that_is_no_message_is_named() {
        for (text, words) in [
            ("", "the batch is empty"),
            ("{\"topic\":\"orders\",\"data\":1}\n{", "line 2: EOF while parsing"),
            ("{\"topic\":\"orders\"}", "line 1: give exactly one of"),
            ("{\"topic\":\"orders\",\"data\":1,\"text\":\"\"}", "give exactly one of"),
            ("{\"topic\":\"orders\",\"data\":1,\"colour\":1}", "unknown field `colour`"),
            ("{\"topic\":\"orders\",\"base64\":\"?\"}", "`base64`:"),
            (
                "{\"topic\":\"orders\",\"data\":1,\"headers\":{\"cookie\":\"\"}}",
                "`cookie` is not declared",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
