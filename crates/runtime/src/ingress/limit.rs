//! How often each client may ask.
//!
//! A token bucket per client, kept as one number (the generic cell rate algorithm): the time at
//! which its bucket is full again. The table of clients is bounded by ageing: two generations,
//! each of half the bound; who is not seen while one generation fills is forgotten with it, and
//! so is full again. An IPv6 client is its /64, because that is what one subscriber gets. The
//! `governor` crate does the same arithmetic, but its keyed table grows with the clients until it
//! is swept and cannot be bounded, and it brings eleven crates.
//!
//! It deliberately shares nothing between replicas: a limit is per process.
//!
//! Invariant: memory does not depend on how many clients ask, and a refused request costs a client
//! nothing of what its bucket regains.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderMap;
use serde::Deserialize;

use super::path::Pattern;

/// Most clients that a rule remembers, unless the settings say otherwise.
pub const CLIENTS_MAX: usize = 65_536;

/// Largest number and burst of a rule.
const COUNT_MAX: u32 = 1_000_000;

/// What `--rate-limit` says.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitSettings {
    /// The rule of every request that no route names.
    #[serde(default)]
    pub default: Option<Rule>,
    /// Who a client is.
    #[serde(default)]
    pub key: Key,
    /// Rules of their own, the first that matches.
    #[serde(default)]
    pub routes: Vec<RouteRule>,
    /// Paths that are not limited.
    #[serde(default)]
    pub exempt: Vec<Pattern>,
    /// Most clients that each rule remembers.
    #[serde(default = "clients_max")]
    pub clients_max: usize,
}

fn clients_max() -> usize {
    CLIENTS_MAX
}

/// The rule of a route.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteRule {
    /// Its path.
    pub path: Pattern,
    /// Its methods; none means all.
    #[serde(default)]
    pub methods: Vec<String>,
    /// How often.
    pub limit: Rule,
}

/// Who a client is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Key {
    /// Its address.
    #[default]
    Address,
    /// The value of a header; its address when it sends none.
    Header(http::HeaderName),
    /// A claim of its token; its address when it has none.
    Claim(String),
}

/// So many requests in a window, and how many of them at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Rule {
    /// Requests.
    pub count: u32,
    /// In this time.
    pub window: Duration,
    /// At once.
    pub burst: u32,
}

/// A limit that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// Not a rule.
    #[error("`{text}` is not a rate\nhelp: write it as `100/s` or `600/m burst 50`")]
    Rule {
        /// What was written.
        text: String,
    },
    /// Not a key.
    #[error("`{text}` does not say who a client is\nhelp: `ip`, `header:x-api-key` or `claim:sub`")]
    Key {
        /// What was written.
        text: String,
    },
    /// Not what the settings look like.
    #[error("the rate limit cannot be read: {problem}\nhelp: {{\"default\": \"100/s\"}} is one")]
    Json {
        /// What is wrong, with its place.
        problem: String,
    },
}

impl FromStr for LimitSettings {
    type Err = LimitError;

    /// Reads a rule, or the JSON of all settings.
    fn from_str(text: &str) -> Result<Self, LimitError> {
        if !text.trim_start().starts_with('{') {
            return Ok(Self {
                default: Some(text.parse()?),
                key: Key::Address,
                routes: Vec::new(),
                exempt: Vec::new(),
                clients_max: CLIENTS_MAX,
            });
        }
        let json = |problem: String| LimitError::Json { problem };
        let settings: Self = serde_json::from_str(text).map_err(|error| json(error.to_string()))?;
        if settings.default.is_none() && settings.routes.is_empty() {
            return Err(json("it has neither `default` nor `routes`".to_owned()));
        }
        if !(2..=16 * CLIENTS_MAX).contains(&settings.clients_max) {
            return Err(json(format!("`clients_max` is from 2 to {}", 16 * CLIENTS_MAX)));
        }
        Ok(settings)
    }
}

impl FromStr for Rule {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        let error = || LimitError::Rule { text: text.to_owned() };
        let mut words = text.split_whitespace();
        let (count, unit) = words.next().and_then(|rate| rate.split_once('/')).ok_or_else(error)?;
        let number = |word: &str| {
            word.parse().ok().filter(|count| (1..=COUNT_MAX).contains(count)).ok_or_else(error)
        };
        let count = number(count)?;
        let window = Duration::from_secs(match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86400,
            _ => return Err(error()),
        });
        let burst = match (words.next(), words.next(), words.next()) {
            (None, ..) => count,
            (Some("burst"), Some(burst), None) => number(burst)?,
            _ => return Err(error()),
        };
        Ok(Self { count, window, burst })
    }
}

impl TryFrom<String> for Rule {
    type Error = LimitError;

    fn try_from(text: String) -> Result<Self, LimitError> {
        text.parse()
    }
}

impl TryFrom<String> for Key {
    type Error = LimitError;

    fn try_from(text: String) -> Result<Self, LimitError> {
        let error = || LimitError::Key { text: text.clone() };
        match text.split_once(':') {
            None if text == "ip" => Ok(Self::Address),
            Some(("header", name)) => name.parse().map(Self::Header).map_err(|_| error()),
            Some(("claim", name)) if !name.is_empty() => Ok(Self::Claim(name.to_owned())),
            _ => Err(error()),
        }
    }
}

/// What a bucket says to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// The rule that decided.
    pub rule: Rule,
    /// `None`: go on. Else how long to wait.
    pub retry_after: Option<Duration>,
    /// Requests that are left at once.
    pub remaining: u32,
    /// Until the bucket is full again.
    pub reset: Duration,
}

/// The buckets of every rule.
#[derive(Debug)]
pub struct Limiter {
    key: Key,
    default: Option<Bucket>,
    routes: Vec<(RouteRule, Bucket)>,
    exempt: Vec<Pattern>,
    hasher: [RandomState; 2],
    epoch: Instant,
}

/// What of a request a limiter looks at.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// Who asks.
    pub client: IpAddr,
    /// With which method.
    pub method: &'a str,
    /// For what.
    pub path: &'a str,
    /// With which fields.
    pub headers: &'a HeaderMap,
    /// With which claims, once they were verified.
    pub claims: Option<&'a serde_json::Map<String, serde_json::Value>>,
}

impl Limiter {
    /// Full buckets.
    pub fn new(settings: LimitSettings) -> Self {
        let n_max = settings.clients_max;
        Self {
            key: settings.key,
            default: settings.default.map(|rule| Bucket::new(rule, n_max)),
            routes: settings
                .routes
                .into_iter()
                .map(|route| {
                    let bucket = Bucket::new(route.limit, n_max);
                    (route, bucket)
                })
                .collect(),
            exempt: settings.exempt,
            hasher: [RandomState::new(), RandomState::new()],
            epoch: Instant::now(),
        }
    }

    /// Whether it has to wait for the claims of a token.
    pub fn needs_claims(&self) -> bool {
        matches!(self.key, Key::Claim(_))
    }

    /// Takes one request out of its client's bucket; `None` when no rule is about it.
    pub fn take(&self, asking: &Asking<'_>, now: Instant) -> Option<Decision> {
        if self.exempt.iter().any(|pattern| pattern.matches(asking.path)) {
            return None;
        }
        let is_route = |route: &RouteRule| {
            (route.methods.is_empty()
                || route.methods.iter().any(|method| method.eq_ignore_ascii_case(asking.method)))
                && route.path.matches_loosely(asking.path)
        };
        let routed = self.routes.iter().find(|(route, _)| is_route(route));
        let bucket = routed.map(|(_, bucket)| bucket).or(self.default.as_ref())?;
        let now = now.saturating_duration_since(self.epoch);
        Some(bucket.take(self.client(asking), now))
    }

    /// Clients that are remembered.
    pub fn n_clients(&self) -> usize {
        let routed = self.routes.iter().map(|(_, bucket)| bucket);
        self.default.iter().chain(routed).map(Bucket::n_clients).sum()
    }

    /// A client as a number: what it is called may be long, and is the client's to choose.
    fn client(&self, asking: &Asking<'_>) -> u128 {
        let named = match &self.key {
            Key::Address => None,
            Key::Header(name) => asking.headers.get(name).map(|value| self.hash(value.as_bytes())),
            Key::Claim(name) => asking
                .claims
                .and_then(|claims| claims.get(name))
                .map(|claim| self.hash(claim.to_string().as_bytes())),
        };
        named.unwrap_or_else(|| match asking.client.to_canonical() {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits() >> 64 << 64,
        })
    }

    fn hash(&self, name: &[u8]) -> u128 {
        let [high, low] = self.hasher.each_ref().map(|hasher| u128::from(hasher.hash_one(name)));
        high << 64 | low
    }
}

/// The buckets of one rule.
#[derive(Debug)]
struct Bucket {
    rule: Rule,
    clients: Mutex<Generations>,
}

/// When each client's bucket is full again, in nanoseconds since the start.
#[derive(Debug)]
struct Generations {
    young: HashMap<u128, u64>,
    old: HashMap<u128, u64>,
    half_max: usize,
}

impl Bucket {
    fn new(rule: Rule, n_max: usize) -> Self {
        let (young, old) = (HashMap::new(), HashMap::new());
        Self { rule, clients: Mutex::new(Generations { young, old, half_max: n_max / 2 }) }
    }

    fn n_clients(&self) -> usize {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.young.len() + clients.old.len()
    }

    fn take(&self, client: u128, now: Duration) -> Decision {
        let Rule { count, window, burst } = self.rule;
        let now = nanos(now);
        let each = nanos(window) / u64::from(count);
        let depth = each * u64::from(burst);
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let full_at = clients.get(client).max(now);
        let used = full_at - now + each;
        let is_allowed = used <= depth;
        let full_at = if is_allowed { full_at + each } else { full_at };
        clients.put(client, full_at);
        let left = depth.saturating_sub(full_at - now) / each;
        Decision {
            rule: self.rule,
            retry_after: (!is_allowed).then(|| Duration::from_nanos(used - depth)),
            remaining: u32::try_from(left).unwrap_or(u32::MAX),
            reset: Duration::from_nanos(full_at - now),
        }
    }
}

impl Generations {
    fn get(&mut self, client: u128) -> u64 {
        let young = self.young.get(&client).copied();
        young.or_else(|| self.old.remove(&client)).unwrap_or(0)
    }

    fn put(&mut self, client: u128, full_at: u64) {
        if self.young.len() >= self.half_max && !self.young.contains_key(&client) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(client, full_at);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests;
