//! One service of a plan: a process, or a site that is served.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::{
    command::{Command, Migrate, Verb},
    environment::{Owners, words},
    language::{LanguageVersion, PackageManager},
    slo::Slo,
};
use crate::{
    names::{Domain, EnvVar, HttpPath, RelativePath, SecretName, ServiceName, VerbName},
    template::Template,
    units::{Bytes, MilliCpu, Millis, Port, Ppm},
};

words!(
    /// What kind of process a service is; inferred from its keys.
    Kind {
        /// Answers HTTP on a port.
        Web = "web",
        /// Runs until it is stopped, without a port.
        Worker = "worker",
        /// A built site.
        Static = "static",
        /// Runs at the times of its `schedule`.
        Cron = "cron",
        /// Runs once per release.
        Job = "job",
    }
);

/// One process or site, with every default filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// Inferred: `static`, then `schedule`, `once`, `route` or `port`; else a worker.
    pub kind: Kind,
    /// Who answers for it.
    pub owners: Owners,
    /// Directory of its sources, and working directory of its commands.
    pub path: RelativePath,
    /// The service whose sources and image it shares.
    pub from: Option<ServiceName>,
    /// Programming language, where detection must not guess.
    pub language: Option<LanguageVersion>,
    /// Package manager, where detection must not guess.
    pub package_manager: Option<PackageManager>,
    /// Native packages the image needs (Debian names).
    pub system: Vec<String>,
    /// Makes the sources runnable; executed by `plimsoll up` before the start.
    pub build: Option<Command>,
    /// Starts it. Absent: found by detection, or a site.
    pub run: Option<Command>,
    /// The port others reach it on.
    pub port: Option<Port>,
    /// What it needs, by name of resource or service.
    pub uses: BTreeMap<String, Use>,
    /// Its environment: what `env` says and what `uses` brings.
    pub env: BTreeMap<EnvVar, Template>,
    /// Variables whose values come from secret providers.
    pub secrets: Vec<SecretName>,
    /// Schema changes before traffic moves.
    pub migrate: Option<Migrate>,
    /// Loads first data.
    pub seed: Option<Command>,
    /// Its tests.
    pub test: Option<Command>,
    /// Its linters.
    pub lint: Option<Command>,
    /// Its own verbs.
    pub verbs: BTreeMap<VerbName, Verb>,
    /// Requests that must be answered before traffic moves.
    pub smoke: Vec<SmokeCheck>,
    /// Where the edge sends requests from.
    pub route: Vec<Route>,
    /// How many instances, and what decides it.
    pub scale: Scale,
    /// What its users are promised.
    pub slo: Slo,
    /// What it may take from the machine.
    pub limits: Limits,
    /// What it may do on the machine.
    pub security: Security,
    /// How it is asked to end.
    pub stop: Stop,
    /// How traffic leaves it before it is asked to end.
    pub drain: Drain,
    /// When it is started again.
    pub restart: Restart,
    /// Graphics processors, when it needs them.
    pub gpu: Option<Gpu>,
    /// How its own readiness is found out.
    pub health: Health,
    /// How a process without a port shows that it works.
    pub heartbeat: Option<Heartbeat>,
    /// The app's own metrics, merged into the service's.
    pub metrics: Option<MetricsEndpoint>,
    /// What `plimsoll up` watches.
    pub watch: Watch,
    /// When it runs; for `cron`.
    pub schedule: Option<Schedule>,
    /// Whether it runs once per release.
    pub once: bool,
    /// The site; for `static`.
    #[serde(rename = "static")]
    pub site: Option<Static>,
}

/// One edge of the graph: a service needs something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Use {
    /// A resource or a service.
    #[serde(flatten)]
    pub target: UseTarget,
    /// The variables it brings, with their values.
    pub env: BTreeMap<EnvVar, Template>,
    /// Whether the service is unready without it.
    pub severity: Severity,
    /// What waits for it.
    pub gate: Vec<Gate>,
}

/// What is used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum UseTarget {
    /// A resource of the plan.
    Resource(crate::names::ResourceName),
    /// Another service of the plan.
    Service(ServiceName),
}

words!(
    /// How much a missing dependency matters.
    Severity {
        /// The service is not ready without it.
        Hard = "hard",
        /// The service is degraded without it.
        Soft = "soft",
    }
);

words!(
    /// What a dependency holds back.
    Gate {
        /// The process starts only once it answers.
        Start = "start",
        /// The service is ready only while it answers.
        Ready = "ready",
    }
);

/// A request and its expected answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SmokeCheck {
    /// Path below the service's own address.
    pub path: HttpPath,
    /// The status that passes.
    pub status: u16,
    /// A text the body must contain.
    pub contains: Option<String>,
}

/// A host and path prefix that lead to a service. The path is not stripped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    /// The full host name.
    pub host: Domain,
    /// Prefix of whole segments; `/` is everything.
    pub path: HttpPath,
}

impl std::fmt::Display for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = if self.path.as_str() == "/" { "" } else { self.path.as_str() };
        write!(f, "{}{path}", self.host)
    }
}

impl Serialize for Route {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// How many instances there are, and what decides it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Scale {
    /// Never fewer.
    pub min: u32,
    /// Never more; at least `min`.
    pub max: u32,
    /// Mean processor use, of the request, that adds an instance.
    pub cpu: Option<Ppm>,
    /// Mean memory use, of the request, that adds an instance.
    pub memory: Option<Ppm>,
    /// The p95 of requests that adds an instance.
    pub latency: Option<Millis>,
    /// A backlog that adds an instance.
    pub queue: Option<QueueScale>,
}

/// Scaling by backlog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct QueueScale {
    /// The gauge that holds the depth.
    pub metric: String,
    /// Items per instance.
    pub target: u32,
}

/// Upper bounds and reservations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Processor it may use.
    pub cpu: MilliCpu,
    /// Memory it may use; above it is killed.
    pub memory: Bytes,
    /// Processes and threads it may have.
    pub pids: u32,
    /// Processor reserved for it.
    pub cpu_request: MilliCpu,
    /// Memory reserved for it.
    pub memory_request: Bytes,
}

/// What the process may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Security {
    /// User and group id; never 0 unless the manifest says so.
    pub user: u32,
    /// Whether the root file system cannot be written.
    pub read_only_root: bool,
    /// Linux capabilities kept; all others are dropped.
    pub capabilities: Vec<String>,
    /// Directories that stay writable, in memory.
    pub writable: Vec<String>,
}

words!(
    /// A signal that asks a process to end.
    Signal {
        /// Terminate.
        Term = "TERM",
        /// Interrupt.
        Int = "INT",
        /// Quit.
        Quit = "QUIT",
        /// Hang up.
        Hup = "HUP",
        /// User-defined 1.
        Usr1 = "USR1",
        /// User-defined 2.
        Usr2 = "USR2",
        /// Window change (Apache's graceful stop).
        Winch = "WINCH",
    }
);

/// How a process is asked to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stop {
    /// From the signal until it is killed.
    pub grace: Millis,
    /// The signal.
    pub signal: Signal,
}

words!(
    /// Whether two releases of a service may run at once.
    Overlap {
        /// The new one starts before the old one stops.
        StartFirst = "start-first",
        /// The old one has ended before the new one starts.
        Never = "never",
    }
);

/// How traffic leaves a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Drain {
    /// Keeps serving for this long after it became unready, until everyone has noticed.
    pub delay: Millis,
    /// Requests in flight get this long.
    pub limit: Millis,
    /// WebSockets and other long-lived streams get this long.
    pub streams: Millis,
    /// Whether two releases may run at once.
    pub overlap: Overlap,
}

words!(
    /// When a process that ended is started again.
    Restart {
        /// However it ended.
        Always = "always",
        /// Unless it ended with 0.
        OnFailure = "on-failure",
        /// Never.
        Never = "never",
    }
);

/// Graphics processors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gpu {
    /// How many per instance.
    pub count: u32,
    /// The model, as the provider names it.
    pub model: Option<String>,
    /// CUDA version of the image variant.
    pub cuda: Option<String>,
}

/// How `run` finds out about the app itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Health {
    /// The app's own liveness path.
    pub live: Option<HttpPath>,
    /// The app's own readiness path; absent: its port accepts connections.
    pub ready: Option<HttpPath>,
    /// Between two probes.
    pub interval: Millis,
    /// For one probe.
    pub timeout: Millis,
    /// Failures in a row that make it unready.
    pub fall: u32,
    /// Successes in a row that make it ready.
    pub rise: u32,
    /// How long a start may take.
    pub start_timeout: Millis,
}

/// How a worker shows that it works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Heartbeat {
    /// Where the sign comes from.
    pub via: HeartbeatVia,
    /// Older than this is dead.
    pub max_age: Millis,
}

/// Where a heartbeat comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HeartbeatVia {
    /// The app touches this file.
    File(String),
    /// The app posts to the admin listener.
    Http,
    /// The app sends `WATCHDOG=1` to `NOTIFY_SOCKET`.
    Notify,
    /// The app logs a line that contains this text.
    Log(String),
}

/// The app's own metrics in Prometheus text form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MetricsEndpoint {
    /// Its port, when it is not the app's own `PORT`.
    pub port: Option<Port>,
    /// The path.
    pub path: HttpPath,
}

/// What `plimsoll up` watches besides the service's path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Watch {
    /// More files and directories.
    pub paths: Vec<RelativePath>,
    /// Patterns that never cause a reload, in the form of `.gitignore`.
    pub ignore: Vec<String>,
    /// Whether anything is watched at all.
    pub enabled: bool,
}

/// When a cron service runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Schedule {
    /// Five fields: minute, hour, day of month, month, day of week.
    pub cron: String,
    /// IANA name of the time zone.
    pub timezone: String,
    /// How long one run may take.
    pub timeout: Millis,
}

words!(
    /// What sends the files of a site in its image.
    SiteServer {
        /// `plimsoll run --static`: nothing else is in the image.
        Plimsoll = "plimsoll",
        /// nginx, with `plimsoll run` in front of it.
        Nginx = "nginx",
    }
);

/// A built site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Static {
    /// The built files, relative to the service's path.
    pub dir: RelativePath,
    /// Whether unknown paths get `index.html`.
    pub spa: bool,
    /// Content-Security-Policy, when the default is too strict.
    pub csp: Option<String>,
    /// What sends the files in its image.
    pub server: SiteServer,
}
