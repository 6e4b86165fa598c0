//! The keys of a service.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{
    command::{RawCommand, RawMigrate, RawVerb},
    environment::RawOwners,
    slo::RawSlo,
};
use crate::{
    decode::{Decode, OneOrMany, Reader},
    keys::keys,
    merge::{Field, Loose, Table, replaced},
    names::{Domain, EnvVar, HttpPath, Malformed, RelativePath, ServiceName, VerbName, not_a},
    plan::{Gate, LanguageVersion, Overlap, PackageManager, Restart, Severity, Signal, SiteServer},
    scalar::{Cron, SecretNames, Status, Text, short},
    span::Spanned,
    syntax::{Node, Shape},
    units::{Bytes, MilliCpu, Millis, Port, Ppm},
};

keys! {
    /// One process of the platform, or one site. Its kind follows from its keys: `static` is a
    /// site, `schedule` a cron, `once` a job, `route` or `port` a web service; else it is a worker.
    RawService, "a service" {
        /// Directory of its sources, and working directory of its commands.
        path ["path"]: RelativePath = "`.`";
        /// Another service whose sources and image it shares. From there it inherits `path`,
        /// `language`, `package_manager`, `system`, `build`, `env`, `secrets`, `watch` and
        /// `security`, unless it has its own; `env` is merged. It does not inherit `uses`: who
        /// needs what is said per process.
        from ["from"]: ServiceName = "none";
        /// Programming language, where detection must not guess; with the version that its image
        /// has, if it matters: `python@3.12`.
        language ["language"]: LanguageVersion = "detected";
        /// Package manager, where detection must not guess.
        package_manager ["package_manager"]: PackageManager = "detected";
        /// Native packages the image needs, by their Debian names.
        system ["system"]: Vec<Spanned<String>> = "none";
        /// Makes the sources runnable; executed by `plimsoll up` before the start.
        build ["build"]: RawCommand = "detected";
        /// Starts it.
        run ["run"]: RawCommand = "detected";
        /// The port others reach it on. `run` listens there and gives the app its own `PORT`.
        port ["port"]: Port = "8080 for web, 4173 for a site, else none";
        /// What it needs: resources and other services. Each becomes a variable, a start order, a
        /// probe, a network edge.
        uses ["uses"]: Vec<Spanned<RawUse>> = "nothing";
        /// Its environment. Values may hold placeholders.
        env ["env"]: Table<EnvVar, Text> = "what `uses` brings";
        /// Variables whose values come from secret providers: names only.
        secrets ["secrets"]: SecretNames = "none";
        /// Schema changes, run once per release before traffic moves.
        migrate ["migrate"]: Loose<RawMigrate> = "none";
        /// Loads first data.
        seed ["seed"]: RawCommand = "none";
        /// Its tests.
        test ["test"]: RawCommand = "detected";
        /// Its linters.
        lint ["lint"]: RawCommand = "detected";
        /// The app's own verbs, such as `scrape` or `embed`.
        verbs ["verbs"]: Table<VerbName, Loose<RawVerb>> = "none";
        /// Requests that must be answered before traffic moves: path to status.
        smoke ["smoke"]: Table<HttpPath, Loose<RawSmoke>> = "none";
        /// Where the edge sends requests from: `@` is the environment's domain, `api` is
        /// `api.<domain>`, a name with a dot is itself; a path may follow.
        route ["route"]: OneOrMany<RouteSpec> = "none";
        /// How many instances, and what decides it. A number is both `min` and `max`.
        scale ["scale"]: Loose<RawScale> = "1; 2 for web and sites in production";
        /// What its users are promised.
        slo ["slo"]: RawSlo = "nothing";
        /// What it may take from the machine.
        limits ["limits"]: RawLimits = "by kind";
        /// What it may do on the machine.
        security ["security"]: RawSecurity = "nothing beyond its own files";
        /// How it is asked to end. A duration is `grace`.
        stop ["stop"]: Loose<RawStop> = "`TERM`, 20s";
        /// How traffic leaves it before it is asked to end. A duration is `limit`.
        drain ["drain"]: Loose<RawDrain> = "30s";
        /// When it is started again.
        restart ["restart"]: Restart = "`always`; `on-failure` for a job or cron";
        /// Graphics processors. A number is `count`.
        gpu ["gpu"]: Loose<RawGpu> = "none";
        /// How its own readiness is found out. A path is `ready`.
        health ["health"]: Loose<RawHealth> = "its port accepts connections";
        /// How a process without a port shows that it works. A duration is `max_age`.
        heartbeat ["heartbeat"]: Loose<RawHeartbeat> = "none";
        /// The app's own metrics, merged into the service's. A path is `path`, a number `port`.
        metrics ["metrics"]: Loose<RawMetrics> = "none";
        /// What `plimsoll up` watches besides `path`. `false` turns it off.
        watch ["watch"]: Loose<RawWatch> = "its `path`";
        /// When it runs. Five fields are `cron`.
        schedule ["schedule"]: Loose<RawSchedule> = "none";
        /// Whether it runs once per release.
        once ["once"]: bool = "false";
        /// A built site. A path is `dir`.
        site ["static"]: Loose<RawStatic> = "none";
        /// Who answers for it; what is absent is taken from the platform's `owners`.
        owners ["owners"]: RawOwners = "the platform's";
    }

    /// Details of one entry of `uses`: `- db: {as: ANALYTICS_URL, severity: soft}`.
    RawUseDetail, "an entry of `uses`" {
        /// The variable it brings.
        alias ["as"]: EnvVar = "by type";
        /// `hard`: not ready without it. `soft`: degraded without it.
        severity ["severity"]: Severity = "`hard`";
        /// What waits for it: `start`, `ready`.
        gate ["gate"]: Vec<Spanned<Gate>> = "`[start, ready]`; `[]` when soft";
    }

    /// An expected answer. Short form: the status.
    RawSmoke, "an expected answer" {
        /// The status that passes.
        status ["status"]: Status = "200";
        /// A text the body must contain.
        contains ["contains"]: String = "none";
    }

    /// How many instances, and what decides it. Short form: a fixed number.
    RawScale, "`scale`" {
        /// Never fewer.
        min ["min"]: u32 = "1; 2 for web and sites in production";
        /// Never more.
        max ["max"]: u32 = "`min`";
        /// Mean processor use that adds an instance.
        cpu ["cpu"]: Ppm = "70% where `max` is above `min` and nothing else is said";
        /// Mean memory use that adds an instance.
        memory ["memory"]: Ppm = "none";
        /// The p95 of requests that adds an instance.
        latency ["latency"]: Millis = "none";
        /// A backlog that adds an instance.
        queue ["queue"]: RawQueueScale = "none";
    }

    /// Scaling by backlog.
    RawQueueScale, "`queue`" {
        /// The gauge that holds the depth.
        metric ["metric"]: String = "required";
        /// Items per instance.
        target ["target"]: u32 = "required";
    }

    /// What a service may take from the machine.
    RawLimits, "`limits`" {
        /// Processor it may use.
        cpu ["cpu"]: MilliCpu = "1; 250m for a site";
        /// Memory it may use; above it is killed.
        memory ["memory"]: Bytes = "512Mi; 128Mi for a site";
        /// Processes and threads it may have.
        pids ["pids"]: u32 = "512";
        /// Processor reserved for it.
        cpu_request ["cpu_request"]: MilliCpu = "a quarter of `cpu`";
        /// Memory reserved for it.
        memory_request ["memory_request"]: Bytes = "half of `memory`";
    }

    /// What a service may do on the machine.
    RawSecurity, "`security`" {
        /// User and group id.
        user ["user"]: u32 = "65532";
        /// Whether the root file system cannot be written.
        read_only_root ["read_only_root"]: bool = "true";
        /// Linux capabilities kept; all others are dropped.
        capabilities ["capabilities"]: Vec<Spanned<String>> = "none";
        /// Directories that stay writable, in memory.
        writable ["writable"]: Vec<Spanned<String>> = "`[/tmp]`";
    }

    /// How a process is asked to end. Short form: `grace`.
    RawStop, "`stop`" {
        /// From the signal until it is killed.
        grace ["grace"]: Millis = "20s";
        /// The signal.
        signal ["signal"]: Signal = "`TERM`";
    }

    /// How traffic leaves a process before it is asked to end. Short form: `limit`.
    RawDrain, "`drain`" {
        /// Keeps serving for this long after it became unready, until everyone has noticed.
        delay ["delay"]: Millis = "5s in a cluster, else 0s";
        /// Requests in flight get this long.
        limit ["limit"]: Millis = "30s";
        /// WebSockets and other long-lived streams get this long.
        streams ["streams"]: Millis = "5m, or `limit` if that is longer";
        /// Whether two releases may run at once.
        overlap ["overlap"]: Overlap = "`start-first`";
    }

    /// Graphics processors. Short form: their number.
    RawGpu, "`gpu`" {
        /// How many per instance; 0 is none.
        count ["count"]: u32 = "1";
        /// The model, as the provider names it.
        model ["model"]: String = "any";
        /// CUDA version of the image variant.
        cuda ["cuda"]: Text = "the newest known";
    }

    /// How the app's own state is found out. Short form: `ready`.
    RawHealth, "`health`" {
        /// The app's own liveness path.
        live ["live"]: HttpPath = "none";
        /// The app's own readiness path.
        ready ["ready"]: HttpPath = "none: its port accepts connections";
        /// Between two probes.
        interval ["interval"]: Millis = "5s";
        /// For one probe.
        timeout ["timeout"]: Millis = "2s";
        /// Failures in a row that make it unready.
        fall ["fall"]: u32 = "3";
        /// Successes in a row that make it ready.
        rise ["rise"]: u32 = "1";
        /// How long a start may take.
        start_timeout ["start_timeout"]: Millis = "60s";
    }

    /// How a worker shows that it works. Short form: `max_age`.
    RawHeartbeat, "`heartbeat`" {
        /// Older than this is dead.
        max_age ["max_age"]: Millis = "60s";
        /// A file that the app touches.
        file ["file"]: String = "none";
        /// A text that a line of its log contains.
        log ["log"]: String = "none";
        /// Whether the app posts to the admin listener.
        http ["http"]: bool = "false; without any of the three: `WATCHDOG=1` to `NOTIFY_SOCKET`";
    }

    /// The app's own metrics in Prometheus text form. Short form: `path`, or `port`.
    RawMetrics, "`metrics`" {
        /// Its port.
        port ["port"]: Port = "the app's own `PORT`";
        /// Its path.
        path ["path"]: HttpPath = "`/metrics`";
    }

    /// What `plimsoll up` watches besides `path`. Short form: `enabled`.
    RawWatch, "`watch`" {
        /// More files and directories.
        paths ["paths"]: Vec<Spanned<RelativePath>> = "none";
        /// Patterns that never cause a reload, in the form of `.gitignore`.
        ignore ["ignore"]: Vec<Spanned<String>> = "what git ignores";
        /// Whether anything is watched at all.
        enabled ["enabled"]: bool = "true";
    }

    /// When a service runs. Short form: `cron`.
    RawSchedule, "`schedule`" {
        /// Five fields: minute, hour, day of month, month, day of week.
        cron ["cron"]: Cron = "required";
        /// IANA name of the time zone.
        timezone ["timezone"]: String = "`UTC`";
        /// How long one run may take.
        timeout ["timeout"]: Millis = "1h";
    }

    /// A built site. Short form: `dir`.
    RawStatic, "`static`" {
        /// The built files, relative to the service's `path`.
        dir ["dir"]: RelativePath = "required";
        /// Whether unknown paths get `index.html`.
        spa ["spa"]: bool = "true";
        /// Content-Security-Policy, when the default is too strict.
        csp ["csp"]: String = "same origin only";
        /// What sends the files in its image; `plimsoll up` always does it itself.
        server ["server"]: SiteServer = "`plimsoll`";
    }
}

short! {
    RawSmoke: Status => |status| RawSmoke { status: Field::Set(status), ..RawSmoke::default() };
    RawScale: u32 => |count| RawScale {
        min: Field::Set(count.clone()),
        max: Field::Set(count),
        ..RawScale::default()
    };
    RawStop: Millis => |grace| RawStop { grace: Field::Set(grace), ..RawStop::default() };
    RawDrain: Millis => |limit| RawDrain { limit: Field::Set(limit), ..RawDrain::default() };
    RawGpu: u32 => |count| RawGpu { count: Field::Set(count), ..RawGpu::default() };
    RawHealth: HttpPath => |ready| RawHealth { ready: Field::Set(ready), ..RawHealth::default() };
    RawHeartbeat: Millis => |max_age| RawHeartbeat {
        max_age: Field::Set(max_age),
        ..RawHeartbeat::default()
    };
    RawMetrics: PathOrPort => |either| match either.value {
        PathOrPort::Path(path) => RawMetrics {
            path: Field::Set(Spanned::new(path, either.span)),
            ..RawMetrics::default()
        },
        PathOrPort::Port(port) => RawMetrics {
            port: Field::Set(Spanned::new(port, either.span)),
            ..RawMetrics::default()
        },
    };
    RawWatch: bool => |enabled| RawWatch { enabled: Field::Set(enabled), ..RawWatch::default() };
    RawSchedule: Cron => |cron| RawSchedule { cron: Field::Set(cron), ..RawSchedule::default() };
    RawStatic: RelativePath => |dir| RawStatic { dir: Field::Set(dir), ..RawStatic::default() };
}

/// The two short forms of `metrics`.
#[derive(Clone, Debug)]
pub(crate) enum PathOrPort {
    Path(HttpPath),
    Port(Port),
}

impl Decode for PathOrPort {
    const NOUN: &'static str = "a path or a port";

    fn decode(node: &Node, reader: &mut Reader) -> Option<PathOrPort> {
        match &node.shape {
            Shape::Text(text) if text.starts_with(|c: char| c.is_ascii_digit()) => {
                Port::decode(node, reader).map(PathOrPort::Port)
            }
            _ => HttpPath::decode(node, reader).map(PathOrPort::Path),
        }
    }
}

impl JsonSchema for PathOrPort {
    fn schema_name() -> Cow<'static, str> {
        "PathOrPort".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (path, port) =
            (generator.subschema_for::<HttpPath>(), generator.subschema_for::<Port>());
        json_schema!({"anyOf": [path, port]})
    }
}

/// One entry of `uses`: `db`, `db: ANALYTICS_URL`, or `db: {as: ANALYTICS_URL}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawUse {
    pub(crate) name: Spanned<String>,
    pub(crate) detail: RawUseDetail,
}

replaced!(RawUse);

impl Decode for RawUse {
    const NOUN: &'static str = "an entry of `uses`";

    fn decode(node: &Node, reader: &mut Reader) -> Option<RawUse> {
        match &node.shape {
            Shape::Text(name) => {
                let name = Spanned::new(name.clone(), node.span);
                Some(RawUse { name, detail: RawUseDetail::default() })
            }
            Shape::Map(entries) => match entries.as_slice() {
                [(name, value)] => {
                    let detail = match value.shape {
                        Shape::Text(_) => RawUseDetail {
                            alias: Field::decode(value, reader),
                            ..Default::default()
                        },
                        Shape::Null | Shape::List(_) | Shape::Map(_) => {
                            RawUseDetail::decode(value, reader)?
                        }
                    };
                    Some(RawUse { name: name.clone(), detail })
                }
                _ => {
                    reader.wrong_shape(
                        node,
                        Self::NOUN,
                        "write one name per entry: `- db: {as: NAME}`",
                    );
                    None
                }
            },
            Shape::Null | Shape::List(_) => {
                reader.wrong_shape(
                    node,
                    "the name of a resource or service",
                    "write `[db, cache]`",
                );
                None
            }
        }
    }
}

impl JsonSchema for RawUse {
    fn schema_name() -> Cow<'static, str> {
        "Use".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (detail, variable) =
            (generator.subschema_for::<RawUseDetail>(), generator.subschema_for::<EnvVar>());
        json_schema!({
            "description": "A resource or service: its name, or its name with the variable it \
                brings, or with details.",
            "anyOf": [{"type": "string"}, {"type": "object", "minProperties": 1,
                "maxProperties": 1, "additionalProperties": {"anyOf": [variable, detail]}}],
        })
    }
}

/// Where requests come from, before the environment's domain is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RouteSpec {
    pub(crate) host: RouteHost,
    pub(crate) path: HttpPath,
}

/// The host of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RouteHost {
    /// `@`: the environment's domain.
    Domain,
    /// `api`: a label before the environment's domain.
    Label(Domain),
    /// `api.shop.example`: itself.
    Full(Domain),
}

impl std::str::FromStr for RouteSpec {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<RouteSpec, Malformed> {
        let malformed = |_| {
            Malformed::new(
                not_a(text, "a route"),
                "write `@` for the domain itself, a label such as `api`, or a full host name, \
                 each with or without a path: `@/docs`",
            )
        };
        let slash = text.find('/').unwrap_or(text.len());
        let (host, path) = text.split_at(slash);
        let path = if path.len() > 1 { path.trim_end_matches('/') } else { "/" };
        let path = if path.is_empty() { "/" } else { path };
        let host = match host {
            "@" => RouteHost::Domain,
            host if host.contains('.') => RouteHost::Full(host.parse().map_err(malformed)?),
            host => RouteHost::Label(host.parse().map_err(malformed)?),
        };
        Ok(RouteSpec { host, path: path.parse().map_err(malformed)? })
    }
}

impl Decode for RouteSpec {
    const NOUN: &'static str = "a route";

    fn decode(node: &Node, reader: &mut Reader) -> Option<RouteSpec> {
        reader.parsed(node, Self::NOUN)
    }
}

impl JsonSchema for RouteSpec {
    fn schema_name() -> Cow<'static, str> {
        "Route".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "title": "a route", "examples": ["@", "api", "@/docs"]})
    }
}
