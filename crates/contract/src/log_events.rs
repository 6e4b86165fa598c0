//! Table: what `plimsoll run` says of the life of a process in its own log lines.
//!
//! Such a line has `stream: plimsoll` and an `event`, which is meant to be searched for: `msg` may
//! be reworded, `event` may not. In a line of the application the key `event` is its own affair
//! (some loggers put the message there).
//!
//! Invariant: an event means one thing, and its line has its fields.

/// Key that holds [`Event::name`].
pub const KEY: &str = "event";

/// One thing that is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Value of the key `event`.
    pub name: &'static str,
    /// Keys that its line has besides those of every line.
    pub fields: &'static [&'static str],
    /// What has happened, without a full stop.
    pub meaning: &'static str,
}

const fn event(
    name: &'static str,
    fields: &'static [&'static str],
    meaning: &'static str,
) -> Event {
    Event { name, fields, meaning }
}

/// Dependencies that gate the start are waited for.
pub const START_GATED: Event =
    event("start.gated", &[], "dependencies that gate the start are waited for");
/// A secret is waited for. The key is not `secret`, whose text would be redacted.
pub const SECRET_AWAITED: Event = event(
    "secret.awaited",
    &["reference", "output"],
    "a provider does not answer, and the start waits for its secret",
);
/// Secrets could not be resolved.
pub const SECRET_UNRESOLVED: Event = event(
    "secret.unresolved",
    &["reference", "place", "output"],
    "a secret has no value; the application is not started",
);
/// A secret changed.
pub const SECRET_ROTATED: Event =
    event("secret.rotated", &["on_change", "delivered"], "a provider has a new value of a secret");
/// A new value could not be given to the app.
pub const SECRET_NOT_DELIVERED: Event = event(
    "secret.not_delivered",
    &["reference", "output"],
    "a new value could not be delivered; the application keeps the old one",
);
/// A value that the redactor does not look for.
pub const SECRET_SHORT: Event = event(
    "secret.short",
    &["reference"],
    "the value of a secret is too short or too plain to be found in log lines",
);
/// The application was started.
pub const APP_SPAWNED: Event = event("app.spawned", &["pid"], "the application was started");
/// The application could not be started.
pub const APP_NOT_SPAWNED: Event =
    event("app.not_spawned", &["program", "code"], "the application could not be started");
/// The application ended.
pub const APP_EXITED: Event = event(
    "app.exited",
    &["code", "signal"],
    "the application ended; `signal` only when one ended it",
);
/// A new engine goes on where another died.
pub const ENGINE_RESTARTED: Event = event(
    "engine.restarted",
    &["restarts"],
    "the engine died and was started again; the application noticed nothing",
);
/// The service became ready.
pub const READY: Event = event("ready", &[], "the service became ready");
/// The service is not ready.
pub const UNREADY: Event =
    event("unready", &["reasons"], "the service stopped being ready, or is not yet");
/// A probe passes.
pub const PROBE_PASS: Event =
    event("probe.pass", &["probe", "kind"], "a dependency is up, for the first time or again");
/// A probe failed, but not often enough to count.
pub const PROBE_WARN: Event = event(
    "probe.warn",
    &["probe", "kind", "failures", "output"],
    "a probe failed, not yet as often as counts as down",
);
/// A probe fails.
pub const PROBE_FAIL: Event =
    event("probe.fail", &["probe", "kind", "failures", "output"], "a dependency is down");
/// The spool is open.
pub const SPOOL_OPENED: Event = event(
    "spool.opened",
    &["dir", "pending", "damaged", "damaged_bytes", "output"],
    "messages are accepted; `damaged` places were torn or damaged, `output` only when a file could \
     not be read at all",
);
/// The spool cannot be opened.
pub const SPOOL_CLOSED: Event =
    event("spool.closed", &["dir", "output"], "the spool cannot be opened, nothing is accepted");
/// Calls to a dependency are refused.
pub const BREAKER_OPENED: Event = event(
    "breaker.opened",
    &["dependency"],
    "too many calls to a dependency failed: they are refused",
);
/// Calls try again.
pub const BREAKER_HALF_OPENED: Event =
    event("breaker.half_opened", &["dependency"], "a few calls try whether a dependency is back");
/// Calls go through again.
pub const BREAKER_CLOSED: Event =
    event("breaker.closed", &["dependency"], "calls to a dependency go through again");
/// Calls wait for a secret.
pub const EGRESS_UNRESOLVED: Event = event(
    "egress.unresolved",
    &["dependency", "reason"],
    "a secret in the header fields of a dependency cannot be resolved: calls get 503, or go on with the last value",
);
/// Spans are lost.
pub const TRACES_FAILING: Event =
    event("traces.failing", &["reason"], "the collector does not take our spans: they are lost");
/// Spans arrive again.
pub const TRACES_EXPORTED: Event =
    event("traces.exported", &[], "the collector takes our spans again");
/// A variable of OpenTelemetry is not followed.
pub const TRACES_IGNORED: Event =
    event("traces.ignored", &["reason"], "a standard variable of OpenTelemetry is not followed");
/// A stranger wrote to the notify socket.
pub const NOTIFY_REFUSED: Event = event(
    "notify.refused",
    &["pid"],
    "a process that is not the application's wrote to the notify socket; said once",
);
/// The audit log cannot be kept.
pub const AUDIT_FAILING: Event = event(
    "audit.failing",
    &["output"],
    "records of the audit log are lost; what must not happen unrecorded is refused",
);
/// The audit log is kept again.
pub const AUDIT_KEPT: Event = event(
    "audit.kept",
    &["lost"],
    "the audit log is kept again; so many records were lost meanwhile",
);
/// Published keys cannot be fetched.
pub const JWKS_FAILING: Event = event(
    "jwks.failing",
    &["output", "age_s"],
    "the keys of tokens cannot be fetched: the last ones, so many seconds old, serve on",
);
/// They were not fetched for too long.
pub const JWKS_EXPIRED: Event = event(
    "jwks.expired",
    &["output", "age_s"],
    "the keys of tokens were not fetched for longer than `stale`: tokens get 503",
);
/// They are fetched again.
pub const JWKS_FETCHED: Event =
    event("jwks.fetched", &["keys"], "the keys of tokens were fetched, or fetched again");
/// The shared secret changed.
pub const JWT_SECRET_CHANGED: Event =
    event("jwt.secret_changed", &[], "the shared secret of tokens has a new value");
/// Its new value cannot be used.
pub const JWT_SECRET_REFUSED: Event = event(
    "jwt.secret_refused",
    &["output"],
    "the new shared secret of tokens cannot be used: the last one stays",
);
/// The cluster cannot be reached.
pub const PUBLISH_STOPPED: Event = event(
    "publish.stopped",
    &["brokers", "output"],
    "messages cannot be delivered; they are kept until the cluster is back",
);
/// It can be reached again.
pub const PUBLISH_RESUMED: Event =
    event("publish.resumed", &["brokers", "took_ms"], "messages are delivered again");
/// A message was refused for good.
pub const PUBLISH_DEAD_LETTER: Event = event(
    "publish.dead_letter",
    &["topic", "id", "seq", "to", "output"],
    "the broker refuses a message for good; `to` is the topic that it went to, or `spool`",
);
/// Events of the outbox cannot be relayed.
pub const OUTBOX_STOPPED: Event =
    event("outbox.stopped", &["output"], "events stay in the table until they can be relayed");
/// They can be again.
pub const OUTBOX_RESUMED: Event = event("outbox.resumed", &[], "the outbox is relayed again");
/// An event was refused for good.
pub const OUTBOX_DEAD_LETTER: Event = event(
    "outbox.dead_letter",
    &["topic", "id", "output"],
    "the broker refuses an event for good; it is in the table of dead letters",
);
/// A stop began.
pub const SHUTDOWN_BEGIN: Event = event(
    "shutdown.begin",
    &["signal", "drain_ms", "grace_ms", "trace_id", "span_id"],
    "a stop signal came: unready from now on, still serving; ids only when traces are exported",
);
/// The application was asked to stop.
pub const SHUTDOWN_TERMINATE: Event =
    event("shutdown.terminate", &["signal"], "the application was asked to stop");
/// The application is killed.
pub const SHUTDOWN_KILL: Event =
    event("shutdown.kill", &["grace_ms"], "the application did not stop in time and is killed");
/// A stop ended.
pub const SHUTDOWN_END: Event =
    event("shutdown.end", &["duration_ms"], "the application and all it left behind are gone");

/// Lines of log were dropped.
pub const LOGS_DROPPED: Event = event(
    "logs.dropped",
    &["dropped"],
    "so many log lines were dropped while nobody read them; they are read again",
);

/// Every event, in the order in which a life has them.
pub const ALL: &[&Event] = &[
    &LOGS_DROPPED,
    &START_GATED,
    &SECRET_AWAITED,
    &SECRET_UNRESOLVED,
    &SECRET_ROTATED,
    &SECRET_NOT_DELIVERED,
    &SECRET_SHORT,
    &APP_SPAWNED,
    &APP_NOT_SPAWNED,
    &ENGINE_RESTARTED,
    &READY,
    &UNREADY,
    &PROBE_PASS,
    &PROBE_WARN,
    &PROBE_FAIL,
    &SPOOL_OPENED,
    &SPOOL_CLOSED,
    &BREAKER_OPENED,
    &BREAKER_HALF_OPENED,
    &BREAKER_CLOSED,
    &EGRESS_UNRESOLVED,
    &TRACES_IGNORED,
    &TRACES_FAILING,
    &TRACES_EXPORTED,
    &NOTIFY_REFUSED,
    &AUDIT_FAILING,
    &AUDIT_KEPT,
    &JWKS_FETCHED,
    &JWKS_FAILING,
    &JWKS_EXPIRED,
    &JWT_SECRET_CHANGED,
    &JWT_SECRET_REFUSED,
    &PUBLISH_STOPPED,
    &PUBLISH_RESUMED,
    &PUBLISH_DEAD_LETTER,
    &OUTBOX_STOPPED,
    &OUTBOX_RESUMED,
    &OUTBOX_DEAD_LETTER,
    &SHUTDOWN_BEGIN,
    &SHUTDOWN_TERMINATE,
    &SHUTDOWN_KILL,
    &APP_EXITED,
    &SHUTDOWN_END,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn an_event_is_listed_once() {
        let names: BTreeSet<_> = ALL.iter().map(|event| event.name).collect();
        assert_eq!(names.len(), ALL.len());
    }

    #[test]
    fn names_and_keys_need_no_escape() {
        let is_plain = |c: char| c.is_ascii_lowercase() || c == '_' || c == '.';
        for event in ALL {
            assert!(event.name.chars().all(is_plain));
            assert!(event.fields.iter().all(|field| field.chars().all(is_plain)));
        }
    }
}
