//! The JSON bodies of the admin endpoints, as types that one side writes and the other reads.
//!
//! They follow `application/health+json` where it speaks (`/health`), and stay as small where it
//! does not (`/live`, `/ready`, `/started`). Texts inside (`output`) are already redacted by
//! whoever fills them in; times are RFC 3339 in UTC, because a person reads them.
//!
//! Invariant: a reader of an older version accepts the body of a newer one (unknown keys are
//! ignored), and an absent value has no key.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Media type of [`Live`], [`Ready`] and [`Started`].
pub const JSON: &str = "application/json";

/// Media type of [`Health`].
pub const HEALTH_JSON: &str = "application/health+json";

/// Media type of `/metrics` in the Prometheus text format.
pub const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Media type of `/metrics` for a client that accepts OpenMetrics.
pub const OPENMETRICS_TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answer of `/live`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// Whether the process can still do its work; decides the status code.
    pub status: LiveStatus,
    /// Why not, when dead: `app_exited`, `heartbeat_stale` and the like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Whether the process can still do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LiveStatus {
    /// 200.
    Alive,
    /// 503: only a restart helps.
    Dead,
}

/// Answer of `/ready`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ready {
    /// Whether traffic may come; decides the status code.
    pub status: ReadyStatus,
    /// When it became so, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Why not: `starting`, `draining`, `dependency:db`. Empty exactly when ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// Verdict of every check by name, without the details of [`Health`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub checks: BTreeMap<String, Status>,
}

/// Whether traffic may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadyStatus {
    /// 200.
    Ready,
    /// 503.
    Unready,
}

/// Answer of `/started`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Whether the application has started; decides the status code.
    pub status: StartedStatus,
    /// What is being waited for, when starting.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

/// Whether the application has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StartedStatus {
    /// 200, and so for the rest of the process's life.
    Started,
    /// 503.
    Starting,
}

/// Verdict of one check, or of all together, in the words of `application/health+json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Pass,
    /// Serving, but something that is not essential is wrong.
    Warn,
    /// Something essential is wrong.
    Fail,
}

/// What the failure of a dependency means for the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The service cannot serve without it: unready while it is down.
    Hard,
    /// The service serves without it: a warning while it is down.
    Soft,
}

/// Answer of `/health`: `application/health+json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// The worst that matters; `fail` makes the status code 503.
    pub status: Status,
    /// Version of this body; [`HEALTH_VERSION`].
    pub version: String,
    /// Release of the application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_id: Option<String>,
    /// Name of the service.
    pub service_id: String,
    /// Name of this one process among the service's replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Sentences for the person who reads it: `cache is soft: serving without it`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Checks by `<component>:<measurement>`, such as `app:process` and `db:responseTime`.
    #[serde(default)]
    pub checks: BTreeMap<String, Vec<Check>>,
}

/// Answer of `/health`, `/live`, `/ready` and `/started` to a client that accepts
/// `application/json;profile=microprofile`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MicroProfile {
    /// Decides the status code.
    pub status: Up,
    /// The checks that decided.
    pub checks: Vec<MicroCheck>,
}

/// The two words of MicroProfile Health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Up {
    /// 200.
    Up,
    /// 503.
    Down,
}

/// One check in the words of MicroProfile Health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MicroCheck {
    /// Its name.
    pub name: String,
    /// Its verdict.
    pub status: Up,
    /// What else is known.
    pub data: BTreeMap<String, String>,
}

/// Answer of `/info`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// Name of the service.
    pub service: String,
    /// Release of the application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Name of the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// Name of this one process among the service's replicas.
    pub instance: String,
    /// Version of plimsoll.
    pub plimsoll: String,
    /// Revision that plimsoll was built from.
    pub rev: String,
}

/// Answer to a request that no endpoint takes (400 to 499).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// What is wrong, and what to do.
    pub error: String,
    /// The paths that exist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
}

/// Media type of batches: one JSON value a line.
pub const NDJSON: &str = "application/x-ndjson";

/// Answer to a message that was published, and each line of the answer to a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// In a batch: what the status code would be for this message alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Its id; consumers see it as `plimsoll-id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its place in the order of everything accepted here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Where it is safe: `disk`, `memory` or `broker`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durable: Option<String>,
    /// In a batch: why it was not accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Answer of `/v1/spool`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpoolStatus {
    /// Whether messages are accepted.
    pub status: Status,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// Messages that the broker does not have.
    pub pending: u64,
    /// Age of the oldest of them.
    pub lag_seconds: f64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Bytes that it may take.
    pub max_bytes: u64,
    /// Dead letters.
    pub dead: u64,
    /// The last number that was given.
    pub last_seq: u64,
    /// When a message counts as safe.
    pub fsync: String,
    /// What can be published to.
    pub topics: Vec<String>,
}

/// Answer of `/v1/spool/dlq`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetters {
    /// The oldest, oldest first.
    pub letters: Vec<DeadLetter>,
    /// How many there are in all.
    pub total: u64,
}

/// A message that the broker refused for good, without its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Its number.
    pub seq: u64,
    /// When it was accepted, RFC 3339.
    pub time: String,
    /// Its topic.
    pub topic: String,
    /// Its id.
    pub id: String,
    /// Its key, as far as that is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Bytes of its body.
    pub bytes: u64,
    /// Why the broker refused it.
    pub error: String,
}

/// Value of [`Health::version`].
pub const HEALTH_VERSION: &str = "1";

/// One observation of one component.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// `component`, `datastore` or `system`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component_type: Option<String>,
    /// Verdict of this check alone.
    pub status: Status,
    /// What was measured, in [`Check::observed_unit`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_value: Option<Observed>,
    /// `ms`, `s`, `bytes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_unit: Option<String>,
    /// When it was observed, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// What was said when it failed, redacted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// What its failure means for the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// When it last passed, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<String>,
    /// Failures since it last passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consecutive_failures: Option<u64>,
    /// Process id, for a process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// How much waits, for a queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<u64>,
}

impl Check {
    /// A check of which only the verdict is known.
    pub const fn new(status: Status) -> Self {
        Self {
            component_type: None,
            status,
            observed_value: None,
            observed_unit: None,
            time: None,
            output: None,
            severity: None,
            last_success: None,
            consecutive_failures: None,
            pid: None,
            pending: None,
        }
    }
}

/// What a check measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Observed {
    /// A quantity.
    Number(f64),
    /// A state, such as `running`.
    Text(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_body_is_one_word() {
        let live = Live { status: LiveStatus::Alive, reason: None };
        assert_eq!(serde_json::to_string(&live).unwrap(), r#"{"status":"alive"}"#);
    }

    #[test]
    fn an_unready_body_says_why() {
        let ready = Ready {
            status: ReadyStatus::Unready,
            since: None,
            reasons: vec!["dependency:db".into(), "draining".into()],
            checks: BTreeMap::from([("db".into(), Status::Fail)]),
        };
        assert_eq!(
            serde_json::to_string(&ready).unwrap(),
            r#"{"status":"unready","reasons":["dependency:db","draining"],"checks":{"db":"fail"}}"#
        );
    }

    #[test]
    fn health_reads_what_it_wrote_and_ignores_what_it_does_not_know() {
        let text = r#"{"status":"warn","version":"1","releaseId":"2026.11.21-4f2a","serviceId":"gateway",
            "instance":"gateway-1","notes":["cache is soft: serving without it"],"later":{"a":1},
            "checks":{"app:process":[{"componentType":"component","status":"pass","observedValue":"running","pid":17}],
                      "db:responseTime":[{"status":"pass","observedValue":2.4,"observedUnit":"ms","severity":"hard","consecutiveFailures":0}]}}"#;
        let health: Health = serde_json::from_str(text).unwrap();
        assert_eq!(health.checks["db:responseTime"][0].observed_value, Some(Observed::Number(2.4)));
        let again: Health = serde_json::from_str(&serde_json::to_string(&health).unwrap()).unwrap();
        assert_eq!(again, health);
    }

    #[test]
    fn the_worst_status_is_the_greatest() {
        assert_eq!(
            [Status::Warn, Status::Fail, Status::Pass].into_iter().max(),
            Some(Status::Fail)
        );
    }
}
