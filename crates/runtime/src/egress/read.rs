//! Reads what `PLIMSOLL_EGRESS` says.
//!
//! Strict: an unknown key or a number that makes no sense is an error that names the dependency,
//! the key and what was probably meant. It deliberately stops at no problem. Invariant: all
//! problems are reported at once, and none repeats what may be a secret.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use reqwest::Url;
use serde_json::{Map, Value};

use super::settings::{
    Breaker, Bulkhead, DEPENDENCIES_MAX, Dependency, EgressError, EgressSettings, NAME_BYTES_MAX,
    Retries,
};
use crate::outbound::Hidden;
use crate::secret;
use crate::settings::{parse_address, parse_duration};

/// The longest that a call may be given.
const TIMEOUT_MAX: Duration = Duration::from_secs(3600);
/// Most retries of one call.
const RETRIES_MAX: u64 = 10;
/// Most calls at once, and most that wait.
const CALLS_MAX: u64 = 10_000;

/// Reads the text of `PLIMSOLL_EGRESS`.
///
/// # Errors
/// Every problem of every dependency.
pub fn parse(text: &str) -> Result<EgressSettings, Vec<EgressError>> {
    let declared: Map<String, Value> = serde_json::from_str(text)
        .map_err(|error| vec![EgressError::NotAnObject(error.to_string())])?;
    let mut errors = Vec::new();
    if declared.len() > DEPENDENCIES_MAX {
        errors.push(EgressError::TooMany(declared.len()));
    }
    let mut settings = BTreeMap::new();
    for (name, value) in declared {
        if !is_name(&name) {
            errors.push(EgressError::Name(name));
            continue;
        }
        let mut reader = Reader { errors: &mut errors };
        if let Some(dependency) = reader.dependency(&name, value) {
            settings.insert(name, dependency);
        }
    }
    let mut taken = BTreeSet::new();
    for (name, dependency) in &settings {
        let is_fixed = |listen: &&SocketAddr| listen.port() != 0;
        if dependency.listen.as_ref().filter(is_fixed).is_some_and(|listen| !taken.insert(*listen))
        {
            errors.push(EgressError::ListenTwice(name.clone()));
        }
    }
    if errors.is_empty() { Ok(settings) } else { Err(errors) }
}

/// The variable that tells the application where to call a dependency.
pub fn url_variable(name: &str) -> String {
    format!("{}_EGRESS_URL", name.to_uppercase().replace('-', "_"))
}

fn is_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= NAME_BYTES_MAX
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(is_plain)
}

/// Collects problems while it reads; each place is a path such as `api.retries.max`.
struct Reader<'a> {
    errors: &'a mut Vec<EgressError>,
}

const KEYS: &[&str] = &[
    "url",
    "timeout",
    "try_timeout",
    "connect_timeout",
    "idle_timeout",
    "streaming",
    "retries",
    "breaker",
    "bulkhead",
    "headers",
    "listen",
];
const DURATION: &str = "write a number and its unit, for example `\"500ms\"` or `\"10s\"`";

impl Reader<'_> {
    fn dependency(&mut self, name: &str, value: Value) -> Option<Dependency> {
        let help = "write `{\"url\": \"https://api.example.com\"}`";
        let fields = self.object(name, value, KEYS, help)?;
        let url = self.url(name, fields.get("url"))?;
        let mut it = Dependency::new(&url);
        let place = |key: &str| format!("{name}.{key}");
        let zero = Duration::ZERO;
        self.duration(&place("timeout"), fields.get("timeout"), zero, &mut it.timeout);
        it.try_timeout = it.timeout;
        self.duration(&place("try_timeout"), fields.get("try_timeout"), zero, &mut it.try_timeout);
        let connect = fields.get("connect_timeout");
        self.duration(&place("connect_timeout"), connect, zero, &mut it.connect_timeout);
        let idle = fields.get("idle_timeout");
        self.duration(&place("idle_timeout"), idle, zero, &mut it.idle_timeout);
        if let Some(value) = fields.get("streaming") {
            match value.as_bool() {
                Some(is) => it.is_streaming = is,
                None => self.wrong(place("streaming"), "is not a boolean", "write `true`"),
            }
        }
        self.retries(&place("retries"), fields.get("retries"), &mut it.retries);
        self.breaker(&place("breaker"), fields.get("breaker"), &mut it.breaker);
        self.bulkhead(&place("bulkhead"), fields.get("bulkhead"), &mut it.bulkhead);
        self.headers(&place("headers"), fields.get("headers"), &mut it.headers);
        if let Some(value) = fields.get("listen") {
            let help = "write an address on loopback, for example `\"127.0.0.1:18081\"`";
            match value.as_str().map(parse_address) {
                Some(Ok(address)) if address.ip().is_loopback() => it.listen = Some(address),
                // Whoever reaches it calls with the service's credentials.
                Some(Ok(_)) => self.wrong(place("listen"), "is not on loopback", help),
                _ => self.wrong(place("listen"), "is not an address", help),
            }
        }
        Some(it)
    }

    fn url(&mut self, name: &str, value: Option<&Value>) -> Option<String> {
        let help = "write `\"url\": \"https://api.example.com/v1\"`";
        let mut wrong = |problem: &str| {
            self.wrong(format!("{name}.url"), problem, help);
            None
        };
        let Some(text) = value.and_then(Value::as_str) else { return wrong("is missing") };
        // The address may hold credentials: it is not shown.
        let Ok(url) = Url::parse(text) else { return wrong("is not an address") };
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return wrong("is not an `http` or `https` address");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return wrong("holds credentials: put them into `headers`, as `${secret:..}`");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return wrong("has a query or a fragment, which calls bring themselves");
        }
        Some(url.to_string())
    }

    fn retries(&mut self, place: &str, value: Option<&Value>, retries: &mut Retries) {
        let Some(value) = value else { return };
        let mut max = u64::from(retries.max);
        if value.is_u64() {
            self.count(place, Some(value), 0, RETRIES_MAX, &mut max);
        } else {
            let help = "write a number, or `{\"max\": 2, \"budget\": 0.2, \"backoff\": \"50ms\"}`";
            let keys = &["max", "budget", "budget_min", "backoff", "backoff_max"];
            let Some(fields) = self.object(place, value.clone(), keys, help) else { return };
            let of = |key: &str| (format!("{place}.{key}"), fields.get(key));
            let (at, value) = of("max");
            self.count(&at, value, 0, RETRIES_MAX, &mut max);
            let (at, value) = of("budget");
            self.share(&at, value, 0.0..=1.0, &mut retries.budget);
            let (at, value) = of("budget_min");
            self.share(&at, value, 0.0..=1000.0, &mut retries.budget_min);
            let (at, value) = of("backoff");
            self.duration(&at, value, Duration::ZERO, &mut retries.backoff);
            let (at, value) = of("backoff_max");
            self.duration(&at, value, retries.backoff, &mut retries.backoff_max);
        }
        retries.max = narrow(max);
    }

    fn breaker(&mut self, place: &str, value: Option<&Value>, breaker: &mut Option<Breaker>) {
        let Some(value) = value else { return };
        if value.as_str() == Some("off") {
            *breaker = None;
            return;
        }
        let help = "write `\"off\"`, or `{\"failure_ratio\": 0.5, \"min_calls\": 20}`";
        let keys = &["failure_ratio", "min_calls", "window", "open", "probes"];
        let Some(fields) = self.object(place, value.clone(), keys, help) else { return };
        let mut it = Breaker::default();
        let of = |key: &str| (format!("{place}.{key}"), fields.get(key));
        let (at, value) = of("failure_ratio");
        self.share(&at, value, 0.01..=1.0, &mut it.failure_ratio);
        let (mut calls, mut probes) = (u64::from(it.min_calls), u64::from(it.probes));
        let (at, value) = of("min_calls");
        self.count(&at, value, 1, CALLS_MAX, &mut calls);
        let (at, value) = of("probes");
        self.count(&at, value, 1, 100, &mut probes);
        (it.min_calls, it.probes) = (narrow(calls), narrow(probes));
        let (at, value) = of("window");
        self.duration(&at, value, Duration::from_millis(100), &mut it.window);
        let (at, value) = of("open");
        self.duration(&at, value, Duration::ZERO, &mut it.open);
        *breaker = Some(it);
    }

    fn bulkhead(&mut self, place: &str, value: Option<&Value>, bulkhead: &mut Bulkhead) {
        let Some(value) = value else { return };
        let help = "write `{\"max\": 128, \"queue\": 128, \"wait\": \"1s\"}`";
        let Some(fields) = self.object(place, value.clone(), &["max", "queue", "wait"], help)
        else {
            return;
        };
        let of = |key: &str| (format!("{place}.{key}"), fields.get(key));
        let (mut max, mut queue) = (u64::from(bulkhead.max), u64::from(bulkhead.queue));
        let (at, value) = of("max");
        self.count(&at, value, 1, CALLS_MAX, &mut max);
        let (at, value) = of("queue");
        self.count(&at, value, 0, CALLS_MAX, &mut queue);
        (bulkhead.max, bulkhead.queue) = (narrow(max), narrow(queue));
        let (at, value) = of("wait");
        self.duration(&at, value, Duration::ZERO, &mut bulkhead.wait);
    }

    fn headers(
        &mut self,
        place: &str,
        value: Option<&Value>,
        headers: &mut BTreeMap<String, Hidden>,
    ) {
        let Some(value) = value else { return };
        let help = "write `{\"authorization\": \"Bearer ${secret:api_token}\"}`";
        let Some(fields) = value.as_object() else {
            return self.wrong(place.to_owned(), "is not an object", help);
        };
        for (name, value) in fields {
            let at = format!("{place}.{name}");
            let Ok(field) = HeaderName::from_bytes(name.as_bytes()) else {
                self.wrong(at, "is not the name of a header field", help);
                continue;
            };
            if super::fields::is_ours(&field) {
                self.wrong(at, "frames the message, which is ours to do", "leave it out");
                continue;
            }
            match value.as_str() {
                Some(text)
                    if secret::has_reference(text) || HeaderValue::from_str(text).is_ok() =>
                {
                    headers.insert(field.as_str().to_owned(), text.into());
                }
                _ => self.wrong(at, "is not the text of a header field", help),
            }
        }
    }

    /// An object with none but these keys.
    fn object(
        &mut self,
        place: &str,
        value: Value,
        keys: &[&str],
        help: &'static str,
    ) -> Option<Map<String, Value>> {
        let Value::Object(fields) = value else {
            self.wrong(place.to_owned(), "is not an object", help);
            return None;
        };
        for key in fields.keys().filter(|key| !keys.contains(&key.as_str())) {
            let near = keys.iter().find(|known| is_near(known, key));
            let help = match near {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("the keys are `{}`", keys.join("`, `")),
            };
            let (place, key) = (place.to_owned(), key.clone());
            self.errors.push(EgressError::Key { place, key, help });
        }
        Some(fields)
    }

    fn duration(
        &mut self,
        place: &str,
        value: Option<&Value>,
        least: Duration,
        target: &mut Duration,
    ) {
        let Some(value) = value else { return };
        match value.as_str().map(parse_duration) {
            Some(Ok(duration)) if duration.is_zero() || duration < least => {
                self.wrong(place.to_owned(), "is too short", DURATION);
            }
            Some(Ok(duration)) if duration > TIMEOUT_MAX => {
                self.wrong(place.to_owned(), "is longer than an hour", DURATION);
            }
            Some(Ok(duration)) => *target = duration,
            _ => self.wrong(place.to_owned(), "is not a duration", DURATION),
        }
    }

    fn count(&mut self, place: &str, value: Option<&Value>, min: u64, max: u64, target: &mut u64) {
        let Some(value) = value else { return };
        match value.as_u64().filter(|number| (min..=max).contains(number)) {
            Some(number) => *target = number,
            None => {
                let problem = format!("is not a number from {min} to {max}");
                self.wrong(place.to_owned(), &problem, "write a whole number");
            }
        }
    }

    fn share(
        &mut self,
        place: &str,
        value: Option<&Value>,
        range: std::ops::RangeInclusive<f64>,
        target: &mut f64,
    ) {
        let Some(value) = value else { return };
        match value.as_f64().filter(|share| range.contains(share)) {
            Some(share) => *target = share,
            None => {
                let problem = format!("is not a number from {} to {}", range.start(), range.end());
                self.wrong(place.to_owned(), &problem, "write a number, for example `0.2`");
            }
        }
    }

    fn wrong(&mut self, place: String, problem: &str, help: &'static str) {
        self.errors.push(EgressError::Value { place, problem: problem.to_owned(), help });
    }
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Whether one is probably a slip of the other: one letter too many, too few, wrong or moved.
fn is_near(known: &str, given: &str) -> bool {
    let given = given.to_lowercase().replace('-', "_");
    let (known, given): (Vec<_>, Vec<_>) = (known.chars().collect(), given.chars().collect());
    let start = known.iter().zip(&given).take_while(|(a, b)| a == b).count();
    let end = known.iter().rev().zip(given.iter().rev()).take_while(|(a, b)| a == b).count();
    let longest = known.len().max(given.len());
    start + end + 2 >= longest && start + end > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        parse(text).expect_err("a problem").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_url_is_enough() {
        let settings = parse(r#"{"llm": {"url": "https://api.example.com/v1"}}"#).unwrap();
        assert_eq!(settings["llm"], Dependency::new("https://api.example.com/v1"));
        assert_eq!(url_variable("my-llm"), "MY_LLM_EGRESS_URL");
    }

    #[test]
    fn everything_can_be_said() {
        let text = r#"{"llm": {
            "url": "http://127.0.0.1:1", "timeout": "10s", "connect_timeout": "1s",
            "idle_timeout": "2s", "streaming": true,
            "retries": {"max": 3, "budget": 0.1, "budget_min": 1, "backoff": "10ms", "backoff_max": "1s"},
            "breaker": {"failure_ratio": 0.3, "min_calls": 5, "window": "20s", "open": "1s", "probes": 1},
            "bulkhead": {"max": 4, "queue": 0, "wait": "100ms"},
            "headers": {"Authorization": "Bearer ${secret:llm}"}, "listen": "127.0.0.1:0"}}"#;
        let settings = parse(text).unwrap();
        let llm = &settings["llm"];
        assert_eq!((llm.timeout.as_secs(), llm.try_timeout.as_secs()), (10, 10));
        assert_eq!((llm.retries.max, llm.bulkhead.max, llm.bulkhead.queue), (3, 4, 0));
        assert_eq!(llm.breaker.unwrap().min_calls, 5);
        assert_eq!(llm.headers["authorization"].reveal(), "Bearer ${secret:llm}");
        let sent = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<EgressSettings>(&sent).unwrap(), settings);
    }

    #[test]
    fn short_forms_are_understood() {
        let settings = parse(r#"{"a": {"url": "http://a", "retries": 0, "breaker": "off"}}"#);
        let settings = settings.unwrap();
        assert_eq!((settings["a"].retries.max, settings["a"].breaker), (0, None));
    }

    #[test]
    fn every_problem_is_reported_with_its_place_and_a_mend() {
        let found = problems(
            r#"{"llm": {"url": "http://a", "timeuot": "1s", "retries": {"max": 99, "budjet": 1},
                "breaker": {"probes": 0}, "bulkhead": {"wait": "soon"}, "listen": "0.0.0.0:1",
                "headers": {"connection": "x"}},
                "Bad": {"url": "http://a"}, "none": {}}"#,
        );
        for part in [
            "`llm`: there is no key `timeuot`\nhelp: did you mean `timeout`?",
            "`llm.retries`: there is no key `budjet`\nhelp: did you mean `budget`?",
            "`llm.retries.max`: is not a number from 0 to 10",
            "`llm.breaker.probes`",
            "`llm.bulkhead.wait`: is not a duration",
            "`llm.listen`: is not on loopback",
            "`llm.headers.connection`: frames the message",
            "`Bad` cannot name a dependency",
            "`none.url`: is missing",
        ] {
            assert!(found.iter().any(|problem| problem.contains(part)), "{part}: {found:#?}");
        }
        assert_eq!(found.len(), 9, "{found:#?}");
    }

    #[test]
    fn an_address_with_credentials_is_refused_and_not_repeated() {
        let found = problems(r#"{"a": {"url": "https://user:hunter2@api"}}"#);
        assert!(found[0].contains("holds credentials") && !found[0].contains("hunter2"));
    }

    #[test]
    fn two_listeners_cannot_share_an_address() {
        let found = problems(
            r#"{"a": {"url": "http://a", "listen": "127.0.0.1:81"},
                "b": {"url": "http://b", "listen": "127.0.0.1:81"}}"#,
        );
        assert!(found[0].contains("`b.listen`"), "{found:?}");
    }
}
