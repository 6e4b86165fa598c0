//! The single values of the language: how each is decoded and what the JSON Schema says of it.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::{
    decode::{Decode, Reader},
    diagnostics::{Code, Problem},
    merge::replaced,
    names::{
        AppName, Domain, EnvName, EnvVar, HttpPath, Malformed, RelativePath, ResourceName,
        SecretName, ServiceName, VerbName, not_a,
    },
    plan::{
        CloudProvider, ErrorsBackend, Gate, LanguageVersion, LogsBackend, MetricsBackend, Overlap,
        PackageManager, ResourceType, Restart, Severity, Signal, SiteServer, Target, TracesBackend,
        Verify, Weekday,
    },
    span::Spanned,
    syntax::{Node, Shape},
    units::{Bytes, MilliCpu, Millis, Port, Ppm},
};

/// Types that check themselves: noun for people, JSON types, an example.
macro_rules! checked {
    ($($type:ty, $noun:literal, $types:tt, $example:literal;)*) => {$(
        impl Decode for $type {
            const NOUN: &'static str = $noun;

            fn decode(node: &Node, reader: &mut Reader) -> Option<$type> {
                reader.parsed(node, $noun)
            }
        }

        replaced!($type);

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": $types, "title": $noun, "examples": [$example]})
            }
        }
    )*};
}

checked! {
    AppName, "an app name", "string", "shop";
    ServiceName, "a service name", "string", "backend";
    ResourceName, "a resource name", "string", "db";
    EnvName, "an environment name", "string", "production";
    VerbName, "a verb", "string", "scrape";
    EnvVar, "an environment variable", "string", "LOG_LEVEL";
    RelativePath, "a path", "string", "backend";
    HttpPath, "a URL path", "string", "/ready";
    Domain, "a domain", "string", "shop.example";
    Port, "a port", "integer", "8080";
    Millis, "a duration", ["string", "integer"], "20s";
    Bytes, "a size", ["string", "integer"], "512Mi";
    MilliCpu, "an amount of processor", ["string", "number"], "500m";
    Ppm, "a percentage", ["string", "number"], "99.9";
    Cron, "a schedule", "string", "0 3 * * *";
    Clock, "a time of day", "string", "03:00";
    LanguageVersion, "a language", "string", "python@3.12";
    Text, "a text", ["string", "number", "boolean"], "info";
}

/// Types with a list of words.
macro_rules! worded {
    ($($type:ty, $noun:literal;)*) => {$(
        impl Decode for $type {
            const NOUN: &'static str = $noun;

            fn decode(node: &Node, reader: &mut Reader) -> Option<$type> {
                reader.parsed(node, $noun)
            }
        }

        replaced!($type);

        impl std::str::FromStr for $type {
            type Err = Malformed;

            fn from_str(text: &str) -> Result<$type, Malformed> {
                <$type>::ALL.iter().copied().find(|word| word.as_str() == text).ok_or_else(|| {
                    let words = <$type>::ALL.iter().map(|word| word.as_str());
                    Malformed::new(not_a(text, $noun), crate::suggest::help(text, words))
                })
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let words = <$type>::ALL.iter().zip(<$type>::HELP).map(|(word, help)| {
                    serde_json::json!({"const": word.as_str(), "description": help.trim()})
                });
                json_schema!({"title": $noun, "oneOf": words.collect::<Vec<_>>()})
            }
        }
    )*};
}

worded! {
    Target, "a target";
    PackageManager, "a package manager";
    CloudProvider, "a cloud provider";
    ResourceType, "a resource type";
    Severity, "a severity";
    Gate, "a gate";
    Signal, "a signal";
    Overlap, "an overlap";
    Restart, "a restart policy";
    SiteServer, "a server of sites";
    Verify, "a frequency";
    Weekday, "a weekday";
    MetricsBackend, "a metrics backend";
    TracesBackend, "a traces backend";
    LogsBackend, "a logs backend";
    ErrorsBackend, "an errors backend";
}

/// A secret's name. Anything else is told without repeating it.
impl Decode for SecretName {
    const NOUN: &'static str = "a secret name";

    fn decode(node: &Node, reader: &mut Reader) -> Option<SecretName> {
        let parsed = match &node.shape {
            Shape::Text(text) => text.parse(),
            Shape::Null | Shape::List(_) | Shape::Map(_) => Err(Malformed::new(
                format!("expected {}, found {}", Self::NOUN, node.shape.noun()),
                "write names only: `[OPENAI_API_KEY]`",
            )),
        };
        match parsed {
            Ok(name) => Some(name),
            Err(Malformed { message, help }) => {
                let problem = Problem::error(Code::SecretLiteral, message);
                reader.problems.push(problem.at(node.span, "").help(help));
                None
            }
        }
    }
}

replaced!(SecretName);

impl JsonSchema for SecretName {
    fn schema_name() -> Cow<'static, str> {
        "SecretName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "title": "a secret name",
            "examples": ["OPENAI_API_KEY"],
            "pattern": "^[A-Za-z0-9_][A-Za-z0-9_./-]*$",
        })
    }
}

/// A list of secret names. Every other shape may hold a value, and is not shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SecretNames(pub(crate) Vec<Spanned<SecretName>>);

impl Decode for SecretNames {
    const NOUN: &'static str = "a list of secret names";

    fn decode(node: &Node, reader: &mut Reader) -> Option<SecretNames> {
        if let Shape::List(_) = node.shape {
            return Vec::decode(node, reader).map(SecretNames);
        }
        let message = format!("expected {}, found {}", Self::NOUN, node.shape.noun());
        let problem = Problem::error(Code::SecretLiteral, message);
        reader
            .problems
            .push(problem.at(node.span, "").help("write names only: `secrets: [OPENAI_API_KEY]`"));
        None
    }
}

replaced!(SecretNames);

impl JsonSchema for SecretNames {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "SecretNames".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let name = generator.subschema_for::<SecretName>();
        json_schema!({"type": "array", "items": name})
    }
}

/// A text that may look like a number or a truth value, in the characters that were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text(pub(crate) String);

impl std::str::FromStr for Text {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Text, Malformed> {
        Ok(Text(text.to_owned()))
    }
}

impl Decode for String {
    const NOUN: &'static str = "a text";

    fn decode(node: &Node, reader: &mut Reader) -> Option<String> {
        reader.text(node, Self::NOUN).map(str::to_owned)
    }
}

replaced!(String);

impl Decode for bool {
    const NOUN: &'static str = "`true` or `false`";

    fn decode(node: &Node, reader: &mut Reader) -> Option<bool> {
        match reader.text(node, Self::NOUN)? {
            "true" => Some(true),
            "false" => Some(false),
            text => {
                let malformed = Malformed::new(not_a(text, Self::NOUN), "write `true` or `false`");
                reader.malformed(node.span, &malformed);
                None
            }
        }
    }
}

replaced!(bool);

impl Decode for u32 {
    const NOUN: &'static str = "a whole number";

    fn decode(node: &Node, reader: &mut Reader) -> Option<u32> {
        /// Nothing that is counted here comes near.
        const COUNT_MAX: u32 = 1_000_000_000;
        let text = reader.text(node, Self::NOUN)?;
        let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<u32>() {
            Ok(number) if is_plain && number <= COUNT_MAX => Some(number),
            _ => {
                let help = "write digits only: `3`";
                reader.malformed(node.span, &Malformed::new(not_a(text, Self::NOUN), help));
                None
            }
        }
    }
}

replaced!(u32);

/// A cron expression with five fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cron(pub(crate) String);

/// Lowest and highest value of each field.
const CRON_FIELDS: [(u32, u32); 5] = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)];

impl std::str::FromStr for Cron {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Cron, Malformed> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let fits = fields.len() == CRON_FIELDS.len()
            && fields.iter().zip(CRON_FIELDS).all(|(field, range)| is_cron_field(field, range));
        if fits {
            return Ok(Cron(fields.join(" ")));
        }
        Err(Malformed::new(
            not_a(text, "a schedule"),
            "write five fields, minute hour day month weekday, in numbers: `0 3 * * 1`",
        ))
    }
}

fn is_cron_field(field: &str, (low, high): (u32, u32)) -> bool {
    let number = |text: &str| text.parse::<u32>().ok().filter(|n| (low..=high).contains(n));
    field.split(',').all(|item| {
        let (range, step) = item.split_once('/').map_or((item, None), |(r, s)| (r, Some(s)));
        let step_fits =
            step.is_none_or(|step| step.parse::<u32>().is_ok_and(|s| s > 0 && s <= high));
        let range_fits = range == "*"
            || match range.split_once('-') {
                Some((from, to)) => number(from).zip(number(to)).is_some_and(|(a, b)| a <= b),
                None => number(range).is_some(),
            };
        step_fits && range_fits
    })
}

/// A time of day in minutes after midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clock(pub(crate) u16);

impl std::str::FromStr for Clock {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Clock, Malformed> {
        let two = |part: &str, limit: u16| {
            let is_plain = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
            part.parse::<u16>().ok().filter(|n| is_plain && *n < limit)
        };
        text.split_once(':')
            .and_then(|(hours, minutes)| Some(Clock(two(hours, 24)? * 60 + two(minutes, 60)?)))
            .ok_or_else(|| {
                Malformed::new(not_a(text, "a time of day"), "write hours and minutes: `03:00`")
            })
    }
}

/// A status code, and the test that an answer has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status(pub(crate) u16);

impl Decode for Status {
    const NOUN: &'static str = "an HTTP status";

    fn decode(node: &Node, reader: &mut Reader) -> Option<Status> {
        let text = reader.text(node, Self::NOUN)?;
        match text.parse::<u16>() {
            Ok(status) if text.len() == 3 && (100..600).contains(&status) => Some(Status(status)),
            _ => {
                let malformed = Malformed::new(not_a(text, Self::NOUN), "write 100 to 599: `200`");
                reader.malformed(node.span, &malformed);
                None
            }
        }
    }
}

replaced!(Status);

impl JsonSchema for Status {
    fn schema_name() -> Cow<'static, str> {
        "Status".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "title": "an HTTP status", "minimum": 100, "maximum": 599})
    }
}

/// Says how a map may be written as a single value.
macro_rules! short {
    ($($type:ident: $inner:ty => |$value:ident| $make:expr;)*) => {$(
        impl crate::decode::Short for $type {
            fn short(
                node: &crate::syntax::Node,
                reader: &mut crate::decode::Reader,
            ) -> Option<Option<$type>> {
                if !matches!(node.shape, crate::syntax::Shape::Text(_)) {
                    return None;
                }
                let decoded = <$inner as crate::decode::Decode>::decode(node, reader);
                Some(decoded.map(|inner| {
                    let $value = crate::span::Spanned::new(inner, node.span);
                    $make
                }))
            }

            fn short_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                generator.subschema_for::<$inner>()
            }
        }
    )*};
}

pub(crate) use short;
