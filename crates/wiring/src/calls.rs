//! Calls to `http` resources: what `plimsoll run` is told of them, and where the application calls.
//!
//! A variable that would hold the resource's address holds that of a listener of `run` on loopback,
//! so that timeouts, retries and the breaker of the manifest work for an application that knows
//! nothing of them. Deliberately direct are builds and migrations, which have no `run` around them,
//! and an address with credentials, a query or a fragment, below which no call can be made.
//!
//! Invariant: an address that the application is given is one that `run` is told to listen on.

use std::collections::BTreeMap;

use contract::env_vars;
use http::Uri;
use manifest::Plan;
use manifest::names::ResourceName;
use manifest::plan::{Http, ResourceSpec, Service, UseTarget};
use manifest::template::{Output, Part};
use manifest::units::Ppm;
use serde_json::{Map, Value, json};

/// The most that `run` takes of each; a manifest may say more.
const RETRIES_MAX: u32 = 10;
const CALLS_MAX: u32 = 10_000;
const TIMEOUT_MAX_MS: u64 = 3_600_000;
/// The share of failures that opens a breaker is at least this for `run`.
const FAILURE_RATIO_MIN: f64 = 0.01;
/// A wait between two tries doubles up to this, unless the first is longer.
const BACKOFF_MAX_MS: u64 = 2_000;

/// The calls of one service that go through its `run`.
#[derive(Clone, Debug, Default)]
pub struct Calls {
    /// What `run` is told, by the name it has there.
    declared: Map<String, Value>,
    /// What the application is told, by resource.
    addresses: BTreeMap<String, String>,
}

/// The `http` resources that a service uses, with what the manifest says of calls to them.
pub fn called<'a>(
    plan: &'a Plan,
    service: &'a Service,
) -> impl Iterator<Item = (&'a ResourceName, &'a Http)> {
    service.uses.values().filter_map(|used| {
        let UseTarget::Resource(name) = &used.target else { return None };
        match &plan.resources.get(name)?.spec {
            ResourceSpec::Http(http) => Some((name, http)),
            _ => None,
        }
    })
}

/// Where a resource really is, and the port on loopback on which its calls are taken; absent where
/// nobody knows.
pub type Locate<'a> = dyn FnMut(&ResourceName) -> Option<(String, u16)> + 'a;

impl Calls {
    /// The calls of a service whose addresses are known.
    pub fn of(plan: &Plan, service: &Service, locate: &mut Locate<'_>) -> Self {
        let mut calls = Self::default();
        for (resource, http) in called(plan, service) {
            let Some((url, port)) = locate(resource).filter(|(url, _)| is_base(url)) else {
                continue;
            };
            // `run` makes variables of these names, and those have no `-`.
            let name = resource.as_str().replace('_', "-");
            if calls.declared.contains_key(&name) {
                continue;
            }
            calls.declared.insert(name, declared(&url, http, port));
            let slash = if url.ends_with('/') { "/" } else { "" };
            calls.addresses.insert(resource.to_string(), format!("http://127.0.0.1:{port}{slash}"));
        }
        calls
    }

    /// The setting that `run` is told; none when there is nothing to tell.
    #[must_use]
    pub fn setting(&self) -> Option<(&'static str, String)> {
        let text = || Value::from(self.declared.clone()).to_string();
        (!self.declared.is_empty()).then(|| (env_vars::EGRESS.name, text()))
    }

    /// Where the application calls, when a placeholder stands for the address of such a resource.
    #[must_use]
    pub fn address(&self, part: &Part) -> Option<&String> {
        match part {
            Part::Resource { resource, output: Output::Url } => {
                self.addresses.get(resource.as_str())
            }
            _ => None,
        }
    }
}

/// Whether calls can be made below an address.
fn is_base(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let has_login = uri.authority().is_none_or(|authority| authority.as_str().contains('@'));
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    is_http && !has_login && uri.query().is_none() && !url.contains('#')
}

fn declared(url: &str, http: &Http, port: u16) -> Value {
    let ms = |ms: u64| format!("{}ms", ms.clamp(1, TIMEOUT_MAX_MS));
    let retries = http.retry.max.min(RETRIES_MAX);
    let backoff_max = http.retry.backoff.0.max(BACKOFF_MAX_MS);
    // The manifest limits one try; the call has time for all of them and the waits in between.
    let one = http.timeout.0.saturating_add(backoff_max);
    let whole = one.saturating_mul(u64::from(retries)).saturating_add(http.timeout.0);
    let failure_ratio = f64::from(http.breaker.failures.parts()) / f64::from(Ppm::WHOLE.parts());
    let concurrency = http.concurrency.clamp(1, CALLS_MAX);
    json!({
        "url": url,
        "timeout": ms(whole),
        "try_timeout": ms(http.timeout.0),
        "retries": {
            "max": retries,
            "backoff": ms(http.retry.backoff.0),
            "backoff_max": ms(backoff_max),
        },
        "breaker": {
            "failure_ratio": failure_ratio.clamp(FAILURE_RATIO_MIN, 1.0),
            "open": ms(http.breaker.open.0),
        },
        "bulkhead": {"max": concurrency, "queue": concurrency},
        "listen": format!("127.0.0.1:{port}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_address_can_be_called_below() {
        for url in ["http://a", "https://a:8443/v1/", "http://[::1]:80/x"] {
            assert!(is_base(url), "{url}");
        }
        for url in ["ftp://a", "http://me:pw@a", "http://a/?k=1", "http://a/#b", "a", ""] {
            assert!(!is_base(url), "{url}");
        }
    }
}
