//! What a provider gives: text or fields, with a lease where it has one.
//!
//! Values live in `secrecy` strings, which are zeroed when they are dropped and print as nothing.
//! It deliberately asks no provider. Invariant: a value is UTF-8 of at most [`VALUE_BYTES_MAX`].

use std::{collections::BTreeMap, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::fault::Fault;

/// The longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;

/// What stands at one path of a provider.
#[derive(Clone, Debug)]
pub(super) struct Fetched {
    pub(super) document: Document,
    /// How long it holds, when the provider says so.
    pub(super) lease: Option<Lease>,
}

/// The right to use something for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) id: String,
    pub(super) duration: Duration,
    pub(super) is_renewable: bool,
}

/// A text or named fields.
#[derive(Clone, Debug)]
pub(super) enum Document {
    Text(SecretString),
    Fields(BTreeMap<String, SecretString>),
}

impl Fetched {
    /// A text without a lease.
    pub(super) fn text(bytes: &[u8]) -> Result<Self, Fault> {
        Ok(Self { document: Document::Text(text(bytes)?), lease: None })
    }
}

impl Document {
    /// The value that a reference means.
    pub(super) fn pick(&self, field: Option<&str>) -> Result<SecretString, Fault> {
        match (self, field) {
            (Self::Text(text), None) => Ok(text.clone()),
            (Self::Text(text), Some(field)) => {
                let object = serde_json::from_str::<serde_json::Value>(text.expose_secret());
                let Ok(serde_json::Value::Object(object)) = object else {
                    let help = "help: leave `#FIELD` out to get the whole text";
                    return Err(Fault::missing(format!(
                        "it has no fields; it is plain text\n{help}"
                    )));
                };
                fields(object)?.pick(Some(field))
            }
            (Self::Fields(fields), Some(field)) => {
                let found = fields.get(field).cloned();
                found.ok_or_else(|| {
                    Fault::missing(format!("it has no field `{field}`; {}", known(fields)))
                })
            }
            (Self::Fields(fields), None) => {
                let only = fields.values().next().filter(|_| fields.len() == 1);
                let found = fields.get("value").or(only).cloned();
                found.ok_or_else(|| {
                    Fault::config(format!(
                        "it has several fields; {}\nhelp: name one with `#FIELD`",
                        known(fields)
                    ))
                })
            }
        }
    }
}

/// Names of fields are no secret, and the one mistake that everybody makes.
fn known(fields: &BTreeMap<String, SecretString>) -> String {
    let names: Vec<_> = fields.keys().take(16).map(|name| format!("`{name}`")).collect();
    format!("there are {}", if names.is_empty() { "none".into() } else { names.join(", ") })
}

/// The members of an object as values: text as it is, anything else as JSON.
pub(super) fn fields(
    object: serde_json::Map<String, serde_json::Value>,
) -> Result<Document, Fault> {
    let values = object.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| {
        let text = match value {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        check_length(text.len())?;
        Ok((name, SecretString::from(text)))
    });
    values.collect::<Result<_, _>>().map(Document::Fields)
}

/// Bytes as a text.
pub(super) fn text(bytes: &[u8]) -> Result<SecretString, Fault> {
    check_length(bytes.len())?;
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Fault::invalid(format!(
            "the value is not valid UTF-8 (byte {})\nhelp: store it as base64",
            error.valid_up_to()
        ))
    })?;
    Ok(SecretString::from(text))
}

fn check_length(bytes: usize) -> Result<(), Fault> {
    if bytes <= VALUE_BYTES_MAX {
        return Ok(());
    }
    Err(Fault::invalid(format!(
        "the value is longer than {VALUE_BYTES_MAX} bytes\nhelp: mount large data as a volume"
    )))
}

/// Editors and `echo` end a file with a line break that is not part of the value.
pub(super) fn without_line_break(mut bytes: Zeroizing<Vec<u8>>) -> Zeroizing<Vec<u8>> {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Document {
        Document::Text(SecretString::from(text))
    }

    #[test]
    fn a_field_of_json_text_is_found() {
        let document = of(r#"{"user": "app", "port": 5432}"#);
        let pick = |field| document.pick(Some(field)).map(|value| value.expose_secret().to_owned());
        assert_eq!(pick("user").expect("it is there"), "app");
        assert_eq!(pick("port").expect("it is there"), "5432");
        let error = pick("password").expect_err("it is not there").text;
        assert!(error.contains("`user`") && !error.contains("5432"), "{error}");
    }

    #[test]
    fn one_field_or_the_field_value_needs_no_name() {
        let one: serde_json::Map<_, _> = [("key".to_owned(), "v".into())].into_iter().collect();
        assert!(fields(one.clone()).expect("short").pick(None).is_ok());
        let mut two = one;
        two.insert("other".into(), "w".into());
        assert!(fields(two.clone()).expect("short").pick(None).is_err());
        two.insert("value".into(), "w".into());
        assert!(fields(two).expect("short").pick(None).is_ok());
    }

    #[test]
    fn what_is_no_text_or_too_long_is_refused_without_being_shown() {
        let error = text(b"hunter2\xff").expect_err("it is not text");
        assert!(error.text.contains("byte 7") && !error.text.contains("hunter2"));
        assert!(text(&vec![b'a'; VALUE_BYTES_MAX + 1]).is_err());
    }
}
