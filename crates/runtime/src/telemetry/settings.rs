//! What the standard `OTEL_*` variables say, as types.
//!
//! They belong to the application as much as to us, so a value that we cannot follow is a warning
//! and never a reason not to start: [`TelemetrySettings::warnings`] are written to the log once.
//! It deliberately reads no environment: the caller looks names up.
//!
//! Invariant: without an endpoint there is no [`Export`], and then nothing is recorded at all.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;
use proxy::TraceContext;
use serde::{Deserialize, Serialize};

use crate::outbound::Hidden;

/// How long one export may take.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// The longest that an export may be given.
const TIMEOUT_MAX: Duration = Duration::from_secs(600);
/// How long a span waits for others.
const DELAY_DEFAULT: Duration = Duration::from_secs(5);
/// Most spans that wait.
const QUEUE_DEFAULT: usize = 2048;
/// Most spans of one export.
const BATCH_DEFAULT: usize = 512;
/// The longest queue that can be asked for: a span is about a kilobyte.
const QUEUE_MAX: usize = 1 << 16;
/// Most attributes of a span, and most events.
const COUNT_DEFAULT: usize = 128;
/// Most bytes of an attribute's text when nothing is said.
const VALUE_BYTES_DEFAULT: usize = 4096;
/// Most attributes of the resource, and most header fields.
const PAIRS_MAX: usize = 64;

/// What is recorded, and where it goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TelemetrySettings {
    /// Where spans are sent; none records nothing.
    pub export: Option<Export>,
    /// Which traces are recorded.
    pub sampler: Sampler,
    /// Attributes of the service that were given, in place of what we know of it.
    pub resource: BTreeMap<String, String>,
    /// The trace that whoever started us wants its startup to be part of.
    pub parent: Option<String>,
    /// What was said and is not followed, in words for the log.
    pub warnings: Vec<String>,
}

/// Where spans are sent, and how many wait for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// Whole address of the collector; may hold credentials.
    pub endpoint: Hidden,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Header fields of every export; values may hold tokens and `${secret:}` references.
    pub headers: BTreeMap<String, Hidden>,
    /// How long one export may take, with its retries.
    pub timeout: Duration,
    /// Whether bodies are compressed with gzip.
    pub is_compressed: bool,
    /// PEM file of the certificates to trust in place of the machine's.
    pub certificate: Option<PathBuf>,
    /// PEM files of our own certificate and its key.
    pub client: Option<(PathBuf, PathBuf)>,
    /// What waits, and how long.
    pub batch: Batch,
    /// What one span may hold.
    pub limits: Limits,
}

/// What is spoken to a collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// OTLP over HTTP in protobuf.
    Http,
    /// OTLP over gRPC.
    Grpc,
}

/// Bounds of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// How long a span waits for others.
    pub delay: Duration,
    /// Most spans that wait; more are dropped and counted.
    pub queue_max: usize,
    /// Most spans of one export.
    pub batch_max: usize,
}

/// Bounds of one span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Most attributes.
    pub attributes: usize,
    /// Most events.
    pub events: usize,
    /// Most bytes of an attribute's text.
    pub value_bytes: usize,
}

/// Which traces are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampler {
    /// Whether the caller's decision counts, where there is a caller.
    pub is_parent_based: bool,
    /// What share of the others is recorded, from 0 to 1.
    pub ratio: f64,
}

impl Default for Sampler {
    fn default() -> Self {
        Self { is_parent_based: true, ratio: 1.0 }
    }
}

impl TelemetrySettings {
    /// Reads the standard variables through `look_up`.
    pub fn from_variables(look_up: impl Fn(&str) -> Option<String>) -> Self {
        let mut words = Words { look_up: &look_up, warnings: Vec::new() };
        let export = if words.is_off() { None } else { export(&mut words) };
        let mut settings = Self { export, ..Self::default() };
        if settings.export.is_some() {
            settings.sampler = sampler(&mut words);
            settings.resource = resource(&mut words);
            settings.parent = words.text("TRACEPARENT").filter(|it| is_traceparent(it));
        }
        settings.warnings = words.warnings;
        settings
    }
}

/// The variables, and what was wrong with them so far.
struct Words<'a> {
    look_up: &'a dyn Fn(&str) -> Option<String>,
    warnings: Vec<String>,
}

impl Words<'_> {
    /// A value; an empty one counts as not given, as the specification says.
    fn text(&self, name: &str) -> Option<String> {
        (self.look_up)(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// The value of `OTEL_EXPORTER_OTLP_TRACES_<name>`, or else of `OTEL_EXPORTER_OTLP_<name>`,
    /// with the variable that said it.
    fn otlp(&self, name: &str) -> Option<(String, String)> {
        let names =
            [format!("OTEL_EXPORTER_OTLP_TRACES_{name}"), format!("OTEL_EXPORTER_OTLP_{name}")];
        names.into_iter().find_map(|name| Some((self.text(&name)?, name)))
    }

    fn warn(&mut self, name: &str, problem: impl fmt::Display) {
        self.warnings.push(format!("`{name}` {problem}"));
    }

    fn number(&mut self, name: &str, default: usize, max: usize) -> usize {
        let Some(text) = self.text(name) else { return default };
        match text.parse::<usize>() {
            Ok(number) if (1..=max).contains(&number) => number,
            _ => {
                self.warn(name, format_args!("is not a number from 1 to {max}: using {default}"));
                default
            }
        }
    }

    fn milliseconds(&mut self, value: Option<(String, String)>, default: Duration) -> Duration {
        let Some((text, name)) = value else { return default };
        match text.parse().map(Duration::from_millis) {
            Ok(duration) if duration <= TIMEOUT_MAX && !duration.is_zero() => duration,
            _ => {
                let problem = format_args!(
                    "is not a number of milliseconds up to {}: using {}",
                    TIMEOUT_MAX.as_millis(),
                    default.as_millis()
                );
                self.warn(&name, problem);
                default
            }
        }
    }

    /// Whether the variables turn tracing off.
    fn is_off(&mut self) -> bool {
        let is_disabled =
            self.text("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true"));
        let exporters = self.text("OTEL_TRACES_EXPORTER").unwrap_or_else(|| "otlp".to_owned());
        // Another exporter is the application's affair.
        is_disabled || !exporters.split(',').any(|exporter| exporter.trim() == "otlp")
    }
}

fn is_traceparent(text: &str) -> bool {
    TraceContext::continue_from(text.as_bytes()).is_some()
}

fn export(words: &mut Words<'_>) -> Option<Export> {
    words.otlp("ENDPOINT")?;
    let protocol = protocol(words);
    let endpoint = endpoint(words, protocol)?;
    let timeout = words.otlp("TIMEOUT");
    let delay = words.text("OTEL_BSP_SCHEDULE_DELAY");
    let delay = delay.map(|text| (text, "OTEL_BSP_SCHEDULE_DELAY".to_owned()));
    let timeout = words.milliseconds(timeout, TIMEOUT_DEFAULT);
    let patience = words.text("OTEL_BSP_EXPORT_TIMEOUT");
    let patience = patience.map(|text| (text, "OTEL_BSP_EXPORT_TIMEOUT".to_owned()));
    let timeout = timeout.min(words.milliseconds(patience, TIMEOUT_MAX));
    let queue_max = words.number("OTEL_BSP_MAX_QUEUE_SIZE", QUEUE_DEFAULT, QUEUE_MAX);
    let batch_max = words.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", BATCH_DEFAULT, QUEUE_MAX);
    let paths = |(text, _)| PathBuf::from(text);
    let client = words.otlp("CLIENT_CERTIFICATE").zip(words.otlp("CLIENT_KEY"));
    Some(Export {
        endpoint: endpoint.into(),
        protocol,
        headers: headers(words),
        timeout,
        is_compressed: is_compressed(words),
        certificate: words.otlp("CERTIFICATE").map(paths),
        client: client.map(|(certificate, key)| (paths(certificate), paths(key))),
        batch: Batch {
            delay: words.milliseconds(delay, DELAY_DEFAULT),
            queue_max,
            batch_max: batch_max.min(queue_max),
        },
        limits: limits(words),
    })
}

fn protocol(words: &mut Words<'_>) -> Protocol {
    match words.otlp("PROTOCOL") {
        None => Protocol::Http,
        Some((text, name)) => match text.as_str() {
            "grpc" => Protocol::Grpc,
            "http/protobuf" => Protocol::Http,
            other => {
                let problem = format_args!("is `{other}`: plimsoll speaks `http/protobuf` instead");
                words.warn(&name, problem);
                Protocol::Http
            }
        },
    }
}

/// The whole address: that of traces as it is, the common one with the path of traces.
fn endpoint(words: &mut Words<'_>, protocol: Protocol) -> Option<String> {
    let (text, name) = words.otlp("ENDPOINT")?;
    let is_common = !name.contains("TRACES");
    let text = match (protocol, text.contains("://")) {
        (Protocol::Http, _) if is_common => format!("{}/v1/traces", text.trim_end_matches('/')),
        (Protocol::Grpc, false) => {
            let insecure = words.otlp("INSECURE");
            let is_insecure = insecure.is_some_and(|(text, _)| text.eq_ignore_ascii_case("true"));
            format!("{}://{text}", if is_insecure { "http" } else { "https" })
        }
        _ => text,
    };
    let is_usable = text.parse::<Uri>().is_ok_and(|uri| {
        uri.authority().is_some() && matches!(uri.scheme_str(), Some("http" | "https"))
    });
    if !is_usable {
        // The address may hold credentials: it is not shown.
        words.warn(&name, "is not an `http` or `https` address: no spans are sent");
        return None;
    }
    Some(text)
}

fn headers(words: &mut Words<'_>) -> BTreeMap<String, Hidden> {
    let Some((text, name)) = words.otlp("HEADERS") else { return BTreeMap::new() };
    let mut headers = BTreeMap::new();
    for (key, value) in pairs(words, &name, &text) {
        // A reference to a secret has bytes that no value has; it is looked at when resolved.
        let is_value = value.contains("${secret:") || HeaderValue::from_str(&value).is_ok();
        match HeaderName::from_bytes(key.as_bytes()) {
            Ok(key) if is_value => drop(headers.insert(key.as_str().to_owned(), value.into())),
            _ => words.warn(&name, "has a pair that is no header field: left out"),
        }
    }
    headers
}

/// `key=value,key=value`, with values percent-encoded.
fn pairs(words: &mut Words<'_>, name: &str, text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let decoded = item.split_once('=').and_then(|(key, value)| {
            let value = percent_decode_str(value.trim()).decode_utf8().ok()?.into_owned();
            Some((key.trim().to_owned(), value))
        });
        match decoded {
            Some(_) if pairs.len() == PAIRS_MAX => {
                words.warn(name, format_args!("has more than {PAIRS_MAX} pairs: the rest is left"));
                break;
            }
            Some((key, value)) if !key.is_empty() => pairs.push((key, value)),
            _ => words.warn(name, "has an item that is not `key=value`: left out"),
        }
    }
    pairs
}

fn is_compressed(words: &mut Words<'_>) -> bool {
    match words.otlp("COMPRESSION") {
        None => false,
        Some((text, name)) => match text.as_str() {
            "gzip" => true,
            "none" => false,
            other => {
                words.warn(&name, format_args!("is `{other}`, not `gzip` or `none`: using `none`"));
                false
            }
        },
    }
}

fn limits(words: &mut Words<'_>) -> Limits {
    let attributes = words.number("OTEL_ATTRIBUTE_COUNT_LIMIT", COUNT_DEFAULT, QUEUE_MAX);
    let bytes = words.number("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", VALUE_BYTES_DEFAULT, QUEUE_MAX);
    Limits {
        attributes: words.number("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", attributes, QUEUE_MAX),
        events: words.number("OTEL_SPAN_EVENT_COUNT_LIMIT", COUNT_DEFAULT, QUEUE_MAX),
        value_bytes: words.number("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", bytes, QUEUE_MAX),
    }
}

fn sampler(words: &mut Words<'_>) -> Sampler {
    const NAME: &str = "OTEL_TRACES_SAMPLER";
    let Some(text) = words.text(NAME) else { return Sampler::default() };
    let (is_parent_based, rest) = match text.strip_prefix("parentbased_") {
        Some(rest) => (true, rest),
        None => (false, text.as_str()),
    };
    let ratio = match rest {
        "always_on" => 1.0,
        "always_off" => 0.0,
        "traceidratio" => ratio(words),
        _ => {
            let problem = format_args!("is `{text}`, which is not known: every trace is recorded");
            words.warn(NAME, problem);
            return Sampler::default();
        }
    };
    Sampler { is_parent_based, ratio }
}

fn ratio(words: &mut Words<'_>) -> f64 {
    const NAME: &str = "OTEL_TRACES_SAMPLER_ARG";
    let ratio = words.text(NAME).and_then(|text| text.parse::<f64>().ok());
    ratio.filter(|ratio| (0.0..=1.0).contains(ratio)).unwrap_or_else(|| {
        words.warn(NAME, "is not a number from 0 to 1: using 1");
        1.0
    })
}

fn resource(words: &mut Words<'_>) -> BTreeMap<String, String> {
    const NAME: &str = "OTEL_RESOURCE_ATTRIBUTES";
    let text = words.text(NAME).unwrap_or_default();
    let mut resource: BTreeMap<_, _> = pairs(words, NAME, &text).into_iter().collect();
    if let Some(service) = words.text("OTEL_SERVICE_NAME") {
        resource.insert("service.name".to_owned(), service);
    }
    resource
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> TelemetrySettings {
        let variables: BTreeMap<_, _> = pairs.iter().copied().collect();
        TelemetrySettings::from_variables(|name| variables.get(name).map(|text| (*text).to_owned()))
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");

    #[test]
    fn without_an_endpoint_nothing_is_recorded() {
        assert_eq!(of(&[]), TelemetrySettings::default());
        assert_eq!(of(&[("OTEL_TRACES_SAMPLER", "wrong")]), TelemetrySettings::default());
        assert_eq!(of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]), TelemetrySettings::default());
    }

    #[test]
    fn the_standard_switches_turn_it_off() {
        for switch in [("OTEL_SDK_DISABLED", "TRUE"), ("OTEL_TRACES_EXPORTER", "none")] {
            assert_eq!(of(&[ENDPOINT, switch]).export, None, "{switch:?}");
        }
        assert!(of(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "console,otlp")]).export.is_some());
    }

    #[test]
    fn the_common_endpoint_gets_the_path_of_traces_and_the_own_one_does_not() {
        let endpoint = |pairs: &[_]| of(pairs).export.map(|it| it.endpoint.reveal().to_owned());
        assert_eq!(endpoint(&[ENDPOINT]).unwrap(), "http://collector:4318/v1/traces");
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://c/x");
        assert_eq!(endpoint(&[ENDPOINT, own]).unwrap(), "https://c/x");
        let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        assert_eq!(endpoint(&[ENDPOINT, grpc]).unwrap(), "http://collector:4318");
        let bare = ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317");
        assert_eq!(endpoint(&[bare, grpc]).unwrap(), "https://collector:4317");
        let insecure = ("OTEL_EXPORTER_OTLP_INSECURE", "true");
        assert_eq!(endpoint(&[bare, grpc, insecure]).unwrap(), "http://collector:4317");
    }

    #[test]
    fn header_fields_are_decoded_and_never_shown() {
        let given = ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20hunter2, x-a = b ,bad");
        let settings = of(&[ENDPOINT, given]);
        let headers = &settings.export.as_ref().unwrap().headers;
        assert_eq!(headers["authorization"].reveal(), "Bearer hunter2");
        assert_eq!(headers["x-a"].reveal(), "b");
        assert_eq!(settings.warnings.len(), 1, "{:?}", settings.warnings);
        assert!(!format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn what_cannot_be_followed_is_a_warning_and_the_default() {
        let settings = of(&[
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "brotli"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
            ("OTEL_TRACES_SAMPLER", "xray"),
        ]);
        assert_eq!(settings.warnings.len(), 5, "{:?}", settings.warnings);
        let export = settings.export.unwrap();
        assert_eq!((export.protocol, export.timeout), (Protocol::Http, TIMEOUT_DEFAULT));
        assert_eq!(export.batch.queue_max, QUEUE_DEFAULT);
        assert_eq!(settings.sampler, Sampler::default());
    }

    #[test]
    fn an_address_that_is_none_is_not_repeated() {
        let settings = of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "user:hunter2@collector")]);
        assert_eq!(settings.export, None);
        assert!(!format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn samplers_have_their_standard_names() {
        let sampler = |name, arg| {
            of(&[ENDPOINT, ("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", arg)]).sampler
        };
        assert_eq!(
            sampler("parentbased_traceidratio", "0.25"),
            Sampler { is_parent_based: true, ratio: 0.25 }
        );
        assert_eq!(sampler("always_off", ""), Sampler { is_parent_based: false, ratio: 0.0 });
    }

    #[test]
    fn the_service_has_its_own_variable() {
        let settings = of(&[
            ENDPOINT,
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,team=x%20y"),
            ("OTEL_SERVICE_NAME", "b"),
        ]);
        assert_eq!(settings.resource["service.name"], "b");
        assert_eq!(settings.resource["team"], "x y");
    }

    #[test]
    fn settings_survive_the_way_to_the_engine() {
        let settings = of(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_HEADERS", "a=b")]);
        let text = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<TelemetrySettings>(&text).unwrap(), settings);
    }
}
