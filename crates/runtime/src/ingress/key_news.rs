//! Says, counts and records what becomes of the keys that tokens are checked with.
//!
//! It deliberately says each turn of things once, however often a fetch fails. Invariant: every
//! fetch is counted.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use contract::log_events::{self, Event};
use serde_json::Map;

use super::jwt::{KeyNews, Tell};
use crate::audit::{Audit, Entry, Outcome};
use crate::logs::{Level, Sink, Value};
use crate::metrics::GuardCounters;

/// What was said last of published keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Nothing,
    Fetched,
    Failing,
    Expired,
}

/// What keys tell their news to.
pub(super) fn teller(counters: &GuardCounters, sink: &Sink, audit: &Audit) -> Tell {
    let (counters, sink, audit) = (counters.clone(), sink.clone(), audit.clone());
    let said = Mutex::new(Said::Nothing);
    Arc::new(move |news| match news {
        KeyNews::Fetched(n_keys) => {
            counters.fetched_keys(true, Some(Duration::ZERO));
            if turn(&said, Said::Fetched) {
                let keys = ("keys", Value::U64(n_keys as u64));
                say(&sink, Level::Info, log_events::JWKS_FETCHED, &[keys]);
            }
        }
        KeyNews::Failed { why, age, is_expired } => {
            counters.fetched_keys(false, age);
            let (now, level, event) = match is_expired {
                true => (Said::Expired, Level::Error, log_events::JWKS_EXPIRED),
                false => (Said::Failing, Level::Warn, log_events::JWKS_FAILING),
            };
            if turn(&said, now) {
                let age = age.map_or(Value::F64(f64::NAN), |age| Value::U64(age.as_secs()));
                say(&sink, level, event, &[("output", Value::Str(why)), ("age_s", age)]);
            }
        }
        KeyNews::SecretChanged => {
            say(&sink, Level::Info, log_events::JWT_SECRET_CHANGED, &[]);
            record(&audit, Outcome::Allowed, None);
        }
        KeyNews::SecretRefused(error) => {
            let why = error.to_string();
            let output = ("output", Value::Str(&why));
            say(&sink, Level::Error, log_events::JWT_SECRET_REFUSED, &[output]);
            record(&audit, Outcome::Failed, Some(&why));
        }
    })
}

/// Whether this is another state of things than what was said last.
fn turn(said: &Mutex<Said>, now: Said) -> bool {
    let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::replace(&mut *said, now) != now
}

fn say(sink: &Sink, level: Level, event: Event, fields: &[(&str, Value<'_>)]) {
    let named = [(log_events::KEY, Value::Str(event.name))];
    let fields: Vec<_> = named.iter().chain(fields).copied().collect();
    sink.event(level, event.meaning, &fields);
}

fn record(audit: &Audit, outcome: Outcome, why: Option<&str>) {
    let details = why.map(|why| ("error".to_owned(), why.into()));
    audit.record(Entry {
        action: "jwt.secret_changed",
        actor: "engine".to_owned(),
        target: "hmac".to_owned(),
        outcome,
        details: Map::from_iter(details),
    });
}
