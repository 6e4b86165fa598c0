//! Table: the endpoints that `plimsoll run` answers by itself.
//!
//! One row per endpoint, with every path that means it, so that the admin listener, the ingress,
//! the probes in charts and the reference page cannot disagree. Bodies are in [`crate::bodies`]. It
//! deliberately does not route: [`find`] is a look-up.
//!
//! Invariant: a path means one endpoint.

/// One endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// The path to use.
    pub path: &'static str,
    /// Other paths that mean the same, for charts written for other tools.
    pub aliases: &'static [&'static str],
    /// Method; a `GET` endpoint answers `HEAD` too.
    pub method: Method,
    /// Where it is answered.
    pub listeners: Listeners,
    /// Status codes it can answer, with the meaning of each.
    pub statuses: &'static [(u16, &'static str)],
    /// Type of the body, as named in [`crate::bodies`], or words for it.
    pub body: &'static str,
    /// What the answer means, in a sentence without a full stop.
    pub meaning: &'static str,
}

/// Method of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `GET`, and `HEAD`.
    Get,
    /// `POST`.
    Post,
}

impl Method {
    /// The method as it is written in a request.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

/// Where an endpoint is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listeners {
    /// On the admin listeners and on the ingress, in front of the application's own path.
    AdminAndIngress,
    /// Only on the admin listeners (TCP and Unix socket).
    Admin,
    /// Only on the Unix socket: who may open the file may command.
    Socket,
}

impl Listeners {
    /// The listeners in words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AdminAndIngress => "admin, ingress",
            Self::Admin => "admin",
            Self::Socket => "admin socket",
        }
    }
}

/// `Cache-Control` of every answer in this table.
pub const CACHE_CONTROL: &str = "no-store";

/// Of endpoints whose use is recorded before it has an effect.
const UNAUDITED: (u16, &str) = (503, "the audit log cannot be kept, so nothing was done");

/// Whether the process can still do its work.
pub const LIVE: Endpoint = Endpoint {
    path: "/live",
    aliases: &["/livez", "/health/live"],
    method: Method::Get,
    listeners: Listeners::AdminAndIngress,
    statuses: &[(200, "alive"), (503, "dead; `reason` says why")],
    body: "Live",
    meaning: "the application's process exists and its heartbeat, if it has one, is fresh; never looks \
              at a dependency; stays 200 during a drain, until the application is gone",
};

/// Whether traffic may come.
pub const READY: Endpoint = Endpoint {
    path: "/ready",
    aliases: &["/readyz", "/health/ready"],
    method: Method::Get,
    listeners: Listeners::AdminAndIngress,
    statuses: &[(200, "ready"), (503, "unready; `reasons` says why")],
    body: "Ready",
    meaning: "the application has started, every hard dependency that gates readiness is up, and no stop \
              has begun; answered from the last verdicts, so that it costs microseconds",
};

/// Whether the application has started.
pub const STARTED: Endpoint = Endpoint {
    path: "/started",
    aliases: &["/startupz", "/health/started"],
    method: Method::Get,
    listeners: Listeners::Admin,
    statuses: &[(200, "started"), (503, "starting; `reasons` says what is waited for")],
    body: "Started",
    meaning: "the application has started; once 200, always 200",
};

/// Every check, with details.
pub const HEALTH: Endpoint = Endpoint {
    path: "/health",
    aliases: &["/health/detailed"],
    method: Method::Get,
    listeners: Listeners::AdminAndIngress,
    statuses: &[(200, "`pass` or `warn`"), (503, "`fail`")],
    body: "Health",
    meaning: "every check with its verdict, age and last output, as `application/health+json`",
};

/// Every metric.
pub const METRICS: Endpoint = Endpoint {
    path: "/metrics",
    aliases: &[],
    method: Method::Get,
    listeners: Listeners::Admin,
    statuses: &[(200, "the exposition")],
    body: "Prometheus text 0.0.4, or OpenMetrics 1.0 when accepted",
    meaning: "the metrics of this reference, and the application's own when they are merged",
};

/// A sign of life from a worker.
pub const HEARTBEAT: Endpoint = Endpoint {
    path: "/v1/heartbeat",
    aliases: &[],
    method: Method::Post,
    listeners: Listeners::Admin,
    statuses: &[
        (204, "noted"),
        (403, "asked over TCP from another host"),
        (404, "no heartbeat probe is configured"),
    ],
    body: "empty",
    meaning: "the worker is alive now; what a `heartbeat` probe without a file waits for",
};

/// A wish to send no more traffic here.
pub const DRAIN: Endpoint = Endpoint {
    path: "/v1/drain",
    aliases: &[],
    method: Method::Post,
    listeners: Listeners::Socket,
    statuses: &[(204, "unready from now on"), (403, "asked over TCP"), UNAUDITED],
    body: "empty",
    meaning: "the service is unready until it ends, but goes on serving what comes",
};

/// A message to publish.
pub const PUBLISH: Endpoint = Endpoint {
    path: "/v1/publish/{topic}",
    aliases: &["/publish/{topic}"],
    method: Method::Post,
    listeners: Listeners::Admin,
    statuses: &[
        (202, "accepted; `durable` says where it is safe"),
        (200, "accepted before, under the same `Idempotency-Key`"),
        (400, "a key is missing, or a header cannot travel"),
        (403, "asked from another host"),
        (404, "the topic is not declared, or nothing can be published"),
        (413, "the body is longer than `max_body`"),
        (429, "the spool is full; `Retry-After` says when to ask again"),
        (503, "the spool cannot be written"),
    ],
    body: "Published",
    meaning: "the body is a message for the topic: `X-Key` is its key, `Idempotency-Key` its id; \
              `Content-Type`, `traceparent`, `tracestate`, `ce-*` and declared `x-*` headers travel with it",
};

/// Many messages to publish.
pub const PUBLISH_BATCH: Endpoint = Endpoint {
    path: "/v1/publish",
    aliases: &["/publish"],
    method: Method::Post,
    listeners: Listeners::Admin,
    statuses: &[
        (202, "every message was accepted"),
        (207, "some were not: each line of the answer has a `status`"),
        (400, "a line cannot be read; nothing was accepted"),
        (403, "asked from another host"),
        (404, "nothing can be published"),
        (413, "too many lines, or too many bytes"),
    ],
    body: "one Published a line",
    meaning: "each line is a JSON object with `topic`, `data` (any JSON), `text` or `base64`, and \
              perhaps `key`, `id` and `headers`; the answer has a line for each, in the same order",
};

/// What the spool holds.
pub const SPOOL: Endpoint = Endpoint {
    path: "/v1/spool",
    aliases: &[],
    method: Method::Get,
    listeners: Listeners::Admin,
    statuses: &[(200, "always, even when it is broken"), (404, "nothing can be published")],
    body: "SpoolStatus",
    meaning: "how much waits in the spool, how old it is, and whether messages are accepted",
};

/// Messages that were given up.
pub const DEAD_LETTERS: Endpoint = Endpoint {
    path: "/v1/spool/dlq",
    aliases: &[],
    method: Method::Get,
    listeners: Listeners::Admin,
    statuses: &[(200, "the oldest 1000"), (404, "nothing can be published")],
    body: "DeadLetters",
    meaning: "messages that the broker refused for good and that no dead-letter topic took",
};

/// Accepts a dead letter again.
pub const DEAD_RETRY: Endpoint = Endpoint {
    path: "/v1/spool/dlq/{seq}/retry",
    aliases: &[],
    method: Method::Post,
    listeners: Listeners::Admin,
    statuses: &[
        (202, "accepted, under a new number"),
        (404, "there is no such dead letter"),
        UNAUDITED,
    ],
    body: "Published",
    meaning: "the dead letter is a message again, the last of its topic",
};

/// Removes a dead letter.
pub const DEAD_DROP: Endpoint = Endpoint {
    path: "/v1/spool/dlq/{seq}/drop",
    aliases: &[],
    method: Method::Post,
    listeners: Listeners::Admin,
    statuses: &[(204, "gone"), (404, "there is no such dead letter"), UNAUDITED],
    body: "empty",
    meaning: "the dead letter is removed for good",
};

/// A wish to send no traffic here for a while.
pub const HOLD: Endpoint = Endpoint {
    path: "/v1/unready",
    aliases: &[],
    method: Method::Post,
    listeners: Listeners::Socket,
    statuses: &[(204, "unready until `/v1/ready`"), (403, "asked over TCP"), UNAUDITED],
    body: "empty",
    meaning: "the service is unready, with the reason `held`, until it is released",
};

/// The end of such a wish.
pub const RELEASE: Endpoint = Endpoint {
    path: "/v1/ready",
    aliases: &[],
    method: Method::Post,
    listeners: Listeners::Socket,
    statuses: &[(204, "no longer held"), (403, "asked over TCP"), UNAUDITED],
    body: "empty",
    meaning: "`/v1/unready` no longer holds; a drain and a dependency that is down still do",
};

/// What runs.
pub const INFO: Endpoint = Endpoint {
    path: "/info",
    aliases: &[],
    method: Method::Get,
    listeners: Listeners::Admin,
    statuses: &[(200, "always")],
    body: "Info",
    meaning: "which service, release and build of plimsoll this is",
};

/// Every endpoint, in the order of the reference page.
pub const ALL: &[&Endpoint] = &[
    &LIVE,
    &READY,
    &STARTED,
    &HEALTH,
    &METRICS,
    &INFO,
    &HEARTBEAT,
    &HOLD,
    &RELEASE,
    &DRAIN,
    &PUBLISH,
    &PUBLISH_BATCH,
    &SPOOL,
    &DEAD_LETTERS,
    &DEAD_RETRY,
    &DEAD_DROP,
];

impl Endpoint {
    /// The path and its aliases.
    pub fn paths(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.path).chain(self.aliases.iter().copied())
    }
}

/// The endpoint that a path means, whatever the method; `None` when the path is not ours.
pub fn find(path: &str) -> Option<&'static Endpoint> {
    ALL.iter().copied().find(|endpoint| endpoint.paths().any(|own| matches(own, path)))
}

/// What stands in a path for the first `{name}` of an endpoint's.
pub fn parameter<'a>(endpoint: &Endpoint, path: &'a str) -> Option<&'a str> {
    let own = endpoint.paths().find(|own| matches(own, path))?;
    let mut parts = own.split('/').zip(path.split('/'));
    parts.find(|(own, _)| own.starts_with('{')).map(|(_, part)| part)
}

/// Whether a path is an endpoint's; `{name}` stands for one part that is not empty.
fn matches(own: &str, path: &str) -> bool {
    if !own.contains('{') {
        return own == path;
    }
    let mut parts = path.split('/');
    own.split('/').all(|own| {
        let part = parts.next();
        if own.starts_with('{') {
            part.is_some_and(|part| !part.is_empty())
        } else {
            part == Some(own)
        }
    }) && parts.next().is_none()
}

/// The endpoint that the ingress answers in front of the application; `None` leaves it the path.
pub fn find_on_ingress(path: &str) -> Option<&'static Endpoint> {
    find(path).filter(|endpoint| endpoint.listeners == Listeners::AdminAndIngress)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_path_means_one_endpoint() {
        let mut seen = BTreeSet::new();
        for path in ALL.iter().flat_map(|endpoint| endpoint.paths()) {
            assert!(seen.insert(path), "`{path}` is listed twice");
            assert!(path.starts_with('/') && !path.ends_with('/'), "`{path}`");
        }
    }

    #[test]
    fn every_alias_finds_its_endpoint() {
        assert_eq!(find("/readyz"), Some(&READY));
        assert_eq!(find("/health/detailed"), Some(&HEALTH));
        assert_eq!(find("/Ready"), None);
        assert_eq!(find("/ready/"), None);
    }

    #[test]
    fn a_name_in_braces_stands_for_one_part() {
        assert_eq!(find("/v1/publish/orders"), Some(&PUBLISH));
        assert_eq!(find("/publish/orders"), Some(&PUBLISH));
        assert_eq!(find("/v1/publish"), Some(&PUBLISH_BATCH));
        assert_eq!(parameter(&PUBLISH, "/publish/orders"), Some("orders"));
        assert_eq!(parameter(&DEAD_RETRY, "/v1/spool/dlq/7/retry"), Some("7"));
        for path in ["/v1/publish/", "/v1/publish/a/b", "/publish//", "/v1/spool/dlq//retry"] {
            assert_eq!(find(path), None, "{path}");
        }
    }

    #[test]
    fn metrics_and_the_heartbeat_are_not_for_the_outside() {
        assert_eq!(find_on_ingress("/metrics"), None);
        assert_eq!(find_on_ingress("/v1/heartbeat"), None);
        assert_eq!(find_on_ingress("/ready"), Some(&READY));
    }
}
