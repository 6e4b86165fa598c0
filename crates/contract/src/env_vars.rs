//! Table: the environment variables of `plimsoll run`, those that it gives its child, and those of
//! `plimsoll up`.
//!
//! Every flag of `run` has a variable, so that an image, a chart or a unit needs no flags. A flag
//! beats the variable, the variable beats the default. It deliberately parses nothing:
//! `runtime` does, and its errors name the variable.
//!
//! Invariant: the variable of the flag `--a-b` is `PLIMSOLL_A_B`.

/// One variable that `plimsoll run` reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Var {
    /// Name of the variable.
    pub name: &'static str,
    /// The flag that says the same, with its two dashes.
    pub flag: &'static str,
    /// What holds when neither is given; words in parentheses, or the value.
    pub default: &'static str,
    /// What a value looks like.
    pub form: &'static str,
    /// What it decides, without a full stop.
    pub meaning: &'static str,
}

/// Name of the service in logs, metrics and `/health`.
pub const SERVICE: Var = Var {
    name: "PLIMSOLL_SERVICE",
    flag: "--service",
    default: "(the command's file name)",
    form: "NAME",
    meaning: "name of the service in logs, metrics and `/health`",
};
/// Name of the environment.
pub const ENV: Var = Var {
    name: "PLIMSOLL_ENV",
    flag: "--env",
    default: "(absent)",
    form: "NAME",
    meaning: "name of the environment in logs",
};
/// Release of the application.
pub const RELEASE: Var = Var {
    name: "PLIMSOLL_RELEASE",
    flag: "--release",
    default: "(absent)",
    form: "TEXT",
    meaning: "release of the application: `version` in logs, `releaseId` in `/health`",
};
/// Name of this replica.
pub const INSTANCE: Var = Var {
    name: "PLIMSOLL_INSTANCE",
    flag: "--instance",
    default: "(host name and process id)",
    form: "NAME",
    meaning: "name of this one process among the service's replicas",
};
/// Address of the admin listener.
pub const LISTEN: Var = Var {
    name: "PLIMSOLL_LISTEN",
    flag: "--listen",
    default: "127.0.0.1:9460",
    form: "ADDR:PORT or off",
    meaning: "where the admin endpoints listen; `off` when a socket is enough",
};
/// Unix socket of the admin listener.
pub const SOCK: Var = Var {
    name: "PLIMSOLL_SOCK",
    flag: "--sock",
    default: "(none)",
    form: "PATH",
    meaning: "Unix socket on which the admin endpoints are answered too; at most 107 bytes",
};
/// Where state is kept.
pub const STATE: Var = Var {
    name: "PLIMSOLL_STATE",
    flag: "--state",
    default: "(none: nothing is kept)",
    form: "DIR",
    meaning: "directory for what outlives the process: the last stop and why it ended",
};
/// The service's port.
pub const INGRESS: Var = Var {
    name: "PLIMSOLL_INGRESS",
    flag: "--ingress",
    default: "(none: the application keeps its port)",
    form: "ADDR:PORT",
    meaning: "where the service listens; the application gets a `PORT` of its own behind it",
};
/// The application's own port.
pub const APP_PORT: Var = Var {
    name: "PLIMSOLL_APP_PORT",
    flag: "--app-port",
    default: "(a free one)",
    form: "PORT",
    meaning: "port on loopback that the application listens on, when it cannot read `PORT`",
};
/// Who answers the health paths on the ingress.
pub const APP_HEALTH: Var = Var {
    name: "PLIMSOLL_APP_HEALTH",
    flag: "--app-health",
    default: "off",
    form: "on or off",
    meaning: "`on` leaves `/live`, `/ready` and `/health` on the ingress to the application",
};
/// The application's own sign that it has started.
pub const READY_HTTP: Var = Var {
    name: "PLIMSOLL_READY_HTTP",
    flag: "--ready-http",
    default: "(its port accepts connections)",
    form: "/path",
    meaning: "path of the application that answers 2xx once it has started, and as long as it may \
              get requests",
};
/// The application's own word that it lives.
pub const LIVE_HTTP: Var = Var {
    name: "PLIMSOLL_LIVE_HTTP",
    flag: "--live-http",
    default: "(its process exists)",
    form: "/path",
    meaning: "path of the application that answers 2xx as long as only a restart would not help",
};
/// What counts as having started.
pub const STARTED: Var = Var {
    name: "PLIMSOLL_STARTED",
    flag: "--started",
    default: "port",
    form: "port or notify",
    meaning: "what counts as having started: the application's port (or `--ready-http`) answers, or \
              it has sent `READY=1` to `NOTIFY_SOCKET`",
};
/// Who sees details.
pub const DETAILS: Var = Var {
    name: "PLIMSOLL_DETAILS",
    flag: "--details",
    default: "local",
    form: "local or always",
    meaning: "who sees every check on `/health`: who asks from this host, or everyone",
};
/// The application's own metrics.
pub const APP_METRICS: Var = Var {
    name: "PLIMSOLL_APP_METRICS",
    flag: "--app-metrics",
    default: "(none)",
    form: "URL or /path",
    meaning: "metrics of the application that `/metrics` merges; a path is asked on its own port",
};
/// Routes with series of their own.
pub const ROUTES: Var = Var {
    name: "PLIMSOLL_ROUTES",
    flag: "--routes",
    default: "(none: every request counts as `other`)",
    form: "/path,/path/{id}",
    meaning: "routes that request metrics tell apart",
};
/// Proxies whose word counts.
pub const TRUSTED_PROXIES: Var = Var {
    name: "PLIMSOLL_TRUSTED_PROXIES",
    flag: "--trusted-proxies",
    default: "127.0.0.0/8, ::1/128",
    form: "CIDR,..",
    meaning: "networks whose `forwarded` and `x-forwarded-*` are believed",
};
/// How often each client may ask.
pub const RATE_LIMIT: Var = Var {
    name: "PLIMSOLL_RATE_LIMIT",
    flag: "--rate-limit",
    default: "(none)",
    form: "100/s, 600/m burst 50 or JSON",
    meaning: "requests that each client may send; more are answered with 429",
};
/// Who may ask.
pub const JWT: Var = Var {
    name: "PLIMSOLL_JWT",
    flag: "--jwt",
    default: "(none)",
    form: "JSON",
    meaning: "issuer, audience, algorithms and keys of the tokens that requests must bring",
};
/// What may be asked.
pub const POLICY: Var = Var {
    name: "PLIMSOLL_POLICY",
    flag: "--policy",
    default: "(none)",
    form: "PATH or JSON",
    meaning: "Rego file or bundle whose `data.plimsoll.allow` lets each request in",
};
/// Who did what.
pub const AUDIT_LOG: Var = Var {
    name: "PLIMSOLL_AUDIT_LOG",
    flag: "--audit-log",
    default: "(none)",
    form: "FILE",
    meaning: "append-only log of admin actions and refusals, each line chained to the last",
};
/// A built site to serve in place of a command.
pub const STATIC: Var = Var {
    name: "PLIMSOLL_STATIC",
    flag: "--static",
    default: "(none)",
    form: "DIR",
    meaning: "directory of a built site to serve, in place of a command",
};
/// Unknown paths of the site.
pub const SPA: Var = Var {
    name: "PLIMSOLL_SPA",
    flag: "--spa",
    default: "off",
    form: "on or off",
    meaning: "whether unknown paths of a site answer with its `index.html`",
};
/// What a page of the site may load.
pub const CSP: Var = Var {
    name: "PLIMSOLL_CSP",
    flag: "--csp",
    default: "(no framing by other sites, no plug-ins, no other base)",
    form: "POLICY",
    meaning: "`Content-Security-Policy` of a site",
};
/// One log line per request.
pub const ACCESS_LOG: Var = Var {
    name: "PLIMSOLL_ACCESS_LOG",
    flag: "--access-log",
    default: "on",
    form: "on or off",
    meaning: "whether the ingress writes a line for each request",
};
/// Dependencies to probe.
pub const PROBES: Var = Var {
    name: "PLIMSOLL_PROBES",
    flag: "--probes",
    default: "{}",
    form: "JSON",
    meaning: "dependencies to probe: an object from name to one of `tcp`, `http`, `exec`, `postgres`, \
              `redis`, `kafka` and `heartbeat` with its own keys, and `severity`, `gate`, \
              `interval_ms`, `timeout_ms`, `fall` and `rise`; texts may hold `${secret:...}`",
};
/// Calls that go through us.
pub const EGRESS: Var = Var {
    name: "PLIMSOLL_EGRESS",
    flag: "--egress",
    default: "{}",
    form: "JSON",
    meaning: "calls of the application that go through plimsoll: an object from name to \
              `{\"url\": \"https://..\"}`, with `timeout`, `try_timeout`, `connect_timeout`, \
              `idle_timeout`, `streaming`, `retries`, `breaker`, `bulkhead`, `headers` and `listen`",
};
/// The table whose events are published.
pub const OUTBOX: Var = Var {
    name: "PLIMSOLL_OUTBOX",
    flag: "--outbox",
    default: "(none)",
    form: "JSON",
    meaning: "the table whose events go to Kafka: an object of `postgres`, `table`, `kafka`, \
              `topic`, `topics`, `poll`, `done`, `batch` and `max_attempts`; needs no command",
};
/// Where secrets come from.
pub const SECRETS: Var = Var {
    name: "PLIMSOLL_SECRETS",
    flag: "--secrets",
    default: "{}",
    form: "JSON",
    meaning: "where `${secret:...}` is resolved: an object of `default`, `providers`, `names`, \
              `deliver`, `on_change`, `splay`, `poll`, `timeout`, `cache`, `directory` and `bare`",
};
/// Whether nothing stands in for a secret.
pub const STRICT_SECRETS: Var = Var {
    name: "PLIMSOLL_STRICT_SECRETS",
    flag: "--strict-secrets",
    default: "off",
    form: "on or off",
    meaning: "`on` lets neither `optional`, `default=` nor the cache stand in for a secret",
};
/// How long the start may take.
pub const START_TIMEOUT: Var = Var {
    name: "PLIMSOLL_START_TIMEOUT",
    flag: "--start-timeout",
    default: "120s",
    form: "DURATION",
    meaning: "how long the dependencies that gate the start are waited for",
};
/// How long to keep serving after a stop signal.
pub const DRAIN: Var = Var {
    name: "PLIMSOLL_DRAIN",
    flag: "--drain",
    default: "0s (5s on Kubernetes)",
    form: "DURATION",
    meaning: "how long the service keeps serving, unready, after a stop signal, until nobody sends more",
};
/// How long the application has to stop.
pub const STOP_GRACE: Var = Var {
    name: "PLIMSOLL_STOP_GRACE",
    flag: "--stop-grace",
    default: "20s",
    form: "DURATION",
    meaning: "how long the application has, from the stop signal it gets, until SIGKILL",
};
/// How long the whole stop may take.
pub const STOP_BUDGET: Var = Var {
    name: "PLIMSOLL_STOP_BUDGET",
    flag: "--stop-budget",
    default: "(the sum of the phases)",
    form: "DURATION",
    meaning: "how long the whole stop may take; shorter phases make room: linger, flush, sweep, drain, then grace",
};
/// The signal that stops the application.
pub const STOP_SIGNAL: Var = Var {
    name: "PLIMSOLL_STOP_SIGNAL",
    flag: "--stop-signal",
    default: "TERM",
    form: "NAME or NUMBER",
    meaning: "signal that asks the application to stop",
};
/// Who gets signals.
pub const SIGNAL_SCOPE: Var = Var {
    name: "PLIMSOLL_SIGNAL_SCOPE",
    flag: "--signal-scope",
    default: "main",
    form: "main, group or tree",
    meaning: "who gets the stop and forwarded signals: the main process, its group or all descendants",
};
/// Exit codes that mean success.
pub const SUCCESS_EXIT_CODES: Var = Var {
    name: "PLIMSOLL_SUCCESS_EXIT_CODES",
    flag: "--success-exit-codes",
    default: "0",
    form: "N,N",
    meaning: "exit codes of the application that become 0 (a JVM ends a clean stop with 143)",
};
/// Signals that become others.
pub const SIGNAL_REWRITE: Var = Var {
    name: "PLIMSOLL_SIGNAL_REWRITE",
    flag: "--signal-rewrite",
    default: "(none)",
    form: "S:R,S:R",
    meaning: "what the application gets in place of a signal, such as `TERM:QUIT`; 0 is nothing",
};
/// How long a last scrape is waited for.
pub const LINGER: Var = Var {
    name: "PLIMSOLL_LINGER",
    flag: "--linger",
    default: "1s",
    form: "DURATION",
    meaning: "how long a stop waits for a last scrape, if somebody scrapes",
};
/// Where to say why it ended.
pub const TERMINATION_LOG: Var = Var {
    name: "PLIMSOLL_TERMINATION_LOG",
    flag: "--termination-log",
    default: "(`/dev/termination-log` as PID 1, where there is one)",
    form: "PATH",
    meaning: "file that says why the process ended, as Kubernetes shows it",
};
/// Leave nothing of us.
pub const EXEC: Var = Var {
    name: "PLIMSOLL_EXEC",
    flag: "--exec",
    default: "off",
    form: "on or off",
    meaning: "`on` resolves secrets, then becomes the command: no endpoints, no logs, no stop of ours",
};
/// Form of the logs.
pub const LOGS: Var = Var {
    name: "PLIMSOLL_LOGS",
    flag: "--logs",
    default: "json",
    form: "json, raw or off",
    meaning: "`json` wraps and enriches every line, `raw` passes bytes through, `off` writes nothing",
};
/// Durable publish.
pub const PUBLISH: Var = Var {
    name: "PLIMSOLL_PUBLISH",
    flag: "--publish",
    default: "(none: nothing can be published)",
    form: "JSON",
    meaning: "topics that take messages over HTTP, and the spool on disk that keeps them until Kafka \
              has them: `dir`, `max_bytes`, `fsync`, `kafka`, `topics`",
};

/// What is taken out of logs and answers.
pub const REDACT: Var = Var {
    name: "PLIMSOLL_REDACT",
    flag: "--redact",
    default: "{\"patterns\": \"default\", \"keys\": \"default\"}",
    form: "JSON or off",
    meaning: "what is taken out of log lines and answers besides the values of secrets: `patterns` \
              and `keys` are `\"default\"`, `\"off\"` or a list of ids or keys, `extra` is a list of \
              `{\"name\", \"keywords\", \"regex\"}`; `off` takes out nothing at all",
};
/// Which lines belong together.
pub const MULTILINE: Var = Var {
    name: "PLIMSOLL_MULTILINE",
    flag: "--multiline",
    default: "auto",
    form: "auto, LANGUAGE, indent or off",
    meaning: "which lines become one: `auto` joins the traces of every known language, `python`, \
              `java`, `node`, `go` or `rust` those of one, `indent` every line that begins with a space",
};
/// What happens while nobody reads the logs.
pub const ON_BLOCK: Var = Var {
    name: "PLIMSOLL_ON_BLOCK",
    flag: "--on-block",
    default: "block",
    form: "block or drop",
    meaning: "what happens while nobody reads the logs: `block` lets the application wait, `drop` \
              drops whole lines and counts them",
};
/// The longest line.
pub const MAX_LINE: Var = Var {
    name: "PLIMSOLL_MAX_LINE",
    flag: "--max-line",
    default: "256KiB",
    form: "SIZE",
    meaning: "longest line that is kept whole; a longer one is passed on in parts",
};

/// Every variable that `plimsoll run` reads, in the order of the reference page.
pub const ALL: &[&Var] = &[
    &SERVICE,
    &ENV,
    &RELEASE,
    &INSTANCE,
    &LISTEN,
    &SOCK,
    &STATE,
    &INGRESS,
    &APP_PORT,
    &APP_HEALTH,
    &READY_HTTP,
    &LIVE_HTTP,
    &STARTED,
    &TRUSTED_PROXIES,
    &RATE_LIMIT,
    &JWT,
    &POLICY,
    &AUDIT_LOG,
    &STATIC,
    &SPA,
    &CSP,
    &APP_METRICS,
    &ROUTES,
    &ACCESS_LOG,
    &PROBES,
    &SECRETS,
    &STRICT_SECRETS,
    &DETAILS,
    &EGRESS,
    &OUTBOX,
    &START_TIMEOUT,
    &DRAIN,
    &STOP_GRACE,
    &STOP_BUDGET,
    &STOP_SIGNAL,
    &SIGNAL_SCOPE,
    &SIGNAL_REWRITE,
    &LINGER,
    &SUCCESS_EXIT_CODES,
    &TERMINATION_LOG,
    &EXEC,
    &LOGS,
    &REDACT,
    &MULTILINE,
    &ON_BLOCK,
    &MAX_LINE,
    &PUBLISH,
];

/// A variable of OpenTelemetry's that both `plimsoll run` and the application follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StandardVar {
    /// Name of the variable.
    pub name: &'static str,
    /// What holds when it is not set; words in parentheses, or the value.
    pub default: &'static str,
    /// What it decides, without a full stop.
    pub meaning: &'static str,
}

const fn standard(name: &'static str, default: &'static str, meaning: &'static str) -> StandardVar {
    StandardVar { name, default, meaning }
}

/// The variables of OpenTelemetry that `plimsoll run` follows. One that begins with
/// `OTEL_EXPORTER_OTLP_` can also be given for traces alone, as `OTEL_EXPORTER_OTLP_TRACES_`.
pub const STANDARD: &[StandardVar] = &[
    standard(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "(none: nothing is traced)",
        "collector; `/v1/traces` is appended, unless it is given for traces alone or spoken to by gRPC",
    ),
    standard("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", "`http/protobuf` or `grpc`"),
    standard(
        "OTEL_EXPORTER_OTLP_HEADERS",
        "(none)",
        "header fields `key=value,key=value`, percent-encoded; may hold `${secret:}` references",
    ),
    standard("OTEL_EXPORTER_OTLP_TIMEOUT", "10000", "milliseconds that one export may take"),
    standard("OTEL_EXPORTER_OTLP_COMPRESSION", "none", "`gzip` or `none`"),
    standard(
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
        "(the machine's)",
        "PEM file of the certificates to trust",
    ),
    standard("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "(none)", "PEM file of our certificate"),
    standard("OTEL_EXPORTER_OTLP_CLIENT_KEY", "(none)", "PEM file of its key"),
    standard(
        "OTEL_EXPORTER_OTLP_INSECURE",
        "false",
        "`true`: gRPC without TLS, when the endpoint has no scheme",
    ),
    standard("OTEL_SDK_DISABLED", "false", "`true` turns tracing off"),
    standard("OTEL_TRACES_EXPORTER", "otlp", "without `otlp` in it, tracing is off"),
    standard(
        "OTEL_TRACES_SAMPLER",
        "parentbased_always_on",
        "`always_on`, `always_off`, `traceidratio`, each also with `parentbased_` before it",
    ),
    standard("OTEL_TRACES_SAMPLER_ARG", "1", "share of traces for `traceidratio`, from 0 to 1"),
    standard("OTEL_SERVICE_NAME", "(the service's name)", "`service.name` of the spans"),
    standard(
        "OTEL_RESOURCE_ATTRIBUTES",
        "(instance, release, environment)",
        "further attributes of the service",
    ),
    standard("OTEL_BSP_SCHEDULE_DELAY", "5000", "milliseconds that a span waits for others"),
    standard(
        "OTEL_BSP_MAX_QUEUE_SIZE",
        "2048",
        "spans that may wait; more are dropped and counted",
    ),
    standard("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "512", "most spans of one export"),
    standard("OTEL_BSP_EXPORT_TIMEOUT", "(none)", "bounds `OTEL_EXPORTER_OTLP_TIMEOUT`"),
    standard("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "128", "most attributes of a span"),
    standard("OTEL_SPAN_EVENT_COUNT_LIMIT", "128", "most events of a span"),
    standard("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "4096", "most bytes of an attribute's text"),
];

/// The variable that gives `plimsoll up` the address of a resource that runs elsewhere.
pub fn resource_url(resource: &str) -> String {
    format!("PLIMSOLL_{}_URL", resource.to_uppercase().replace('-', "_"))
}

/// One variable that the application gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChildVar {
    /// Name of the variable.
    pub name: &'static str,
    /// When it is set.
    pub when: &'static str,
    /// What it holds, without a full stop.
    pub meaning: &'static str,
}

/// The port to listen on.
pub const CHILD_PORT: ChildVar = ChildVar {
    name: "PORT",
    when: "with an ingress",
    meaning: "port that the application must listen on, on loopback",
};
/// The address to listen on.
pub const CHILD_HOST: ChildVar = ChildVar {
    name: "HOST",
    when: "with an ingress, unless set",
    meaning: "address that the application should listen on: `127.0.0.1`",
};
/// The admin socket.
pub const CHILD_SOCK: ChildVar = ChildVar {
    name: "PLIMSOLL_SOCK",
    when: "with an admin socket",
    meaning: "Unix socket of the admin endpoints, for `POST /v1/heartbeat`",
};
/// The name of this replica.
pub const CHILD_INSTANCE: ChildVar = ChildVar {
    name: "PLIMSOLL_INSTANCE",
    when: "always",
    meaning: "name of this one process among the service's replicas",
};
/// Where to say that it is ready.
pub const CHILD_NOTIFY_SOCKET: ChildVar = ChildVar {
    name: "NOTIFY_SOCKET",
    when: "always",
    meaning: "datagram socket that takes `READY=1`, `WATCHDOG=1`, `STATUS=...` as systemd's does",
};
/// How often to say that it lives.
pub const CHILD_WATCHDOG_USEC: ChildVar = ChildVar {
    name: "WATCHDOG_USEC",
    when: "with a `heartbeat` probe via `notify`",
    meaning: "microseconds within which each `WATCHDOG=1` must follow the one before",
};
/// What to touch.
pub const CHILD_HEARTBEAT_FILE: ChildVar = ChildVar {
    name: "PLIMSOLL_HEARTBEAT_FILE",
    when: "with a `heartbeat` probe of a file",
    meaning: "file that a worker must touch to show that it lives",
};
/// The mark of this run.
pub const CHILD_RUN_ID: ChildVar = ChildVar {
    name: "PLIMSOLL_RUN_ID",
    when: "always",
    meaning: "mark of everything that this run started, by which it is found should we be killed",
};
/// The service's name, for telemetry libraries.
pub const CHILD_OTEL_SERVICE_NAME: ChildVar = ChildVar {
    name: "OTEL_SERVICE_NAME",
    when: "unless set",
    meaning: "name of the service, for OpenTelemetry libraries",
};
/// The resource's attributes, for telemetry libraries.
pub const CHILD_OTEL_RESOURCE_ATTRIBUTES: ChildVar = ChildVar {
    name: "OTEL_RESOURCE_ATTRIBUTES",
    when: "unless set",
    meaning: "instance, release and environment, for OpenTelemetry libraries",
};

/// Where to call a dependency.
pub const CHILD_EGRESS_URL: ChildVar = ChildVar {
    name: "<NAME>_EGRESS_URL",
    when: "for each dependency of `--egress`",
    meaning: "address that calls to the dependency go to, in place of its own",
};
/// The trace of the startup, for telemetry libraries.
pub const CHILD_TRACEPARENT: ChildVar = ChildVar {
    name: "TRACEPARENT",
    when: "when traces are exported",
    meaning: "span of the startup, for what the application wants to be part of it",
};

/// Every variable that the application gets; it inherits all others unchanged.
pub const CHILD: &[&ChildVar] = &[
    &CHILD_PORT,
    &CHILD_HOST,
    &CHILD_SOCK,
    &CHILD_INSTANCE,
    &CHILD_RUN_ID,
    &CHILD_NOTIFY_SOCKET,
    &CHILD_WATCHDOG_USEC,
    &CHILD_HEARTBEAT_FILE,
    &CHILD_OTEL_SERVICE_NAME,
    &CHILD_OTEL_RESOURCE_ATTRIBUTES,
    &CHILD_EGRESS_URL,
    &CHILD_TRACEPARENT,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_variable_is_named_after_its_flag() {
        for var in ALL {
            let flag = var.flag.strip_prefix("--").unwrap();
            assert_eq!(var.name, format!("PLIMSOLL_{}", flag.to_uppercase().replace('-', "_")));
        }
    }

    #[test]
    fn the_variable_of_a_resource_has_its_name() {
        assert_eq!(resource_url("main-db"), "PLIMSOLL_MAIN_DB_URL");
    }

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = ALL.iter().map(|var| var.name).collect();
        assert_eq!(names.len(), ALL.len());
        let names: BTreeSet<_> = CHILD.iter().map(|var| var.name).collect();
        assert_eq!(names.len(), CHILD.len());
    }

    #[test]
    fn meanings_have_no_full_stop() {
        assert!(ALL.iter().all(|var| !var.meaning.ends_with('.') && !var.default.is_empty()));
        assert!(CHILD.iter().all(|var| !var.meaning.ends_with('.')));
    }
}
