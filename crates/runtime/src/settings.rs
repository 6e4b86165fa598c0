//! Everything that `plimsoll run` must know, as types.
//!
//! The command line (`plimsoll`) builds one from flags and variables, the guard hands it to the
//! engine over their socket. It deliberately reads no environment and parses no command line.
//!
//! Invariant: `Settings::new(command)` alone is valid; [`Settings::check`] holds before anything
//! starts.

pub(crate) mod duration_text;
mod signal;
mod words;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use contract::exit_codes;
use serde::{Deserialize, Serialize};

pub use self::signal::{StopSignal, parse_rewrites};
pub use self::words::{parse_address, parse_duration, parse_listen};
use crate::{
    admin::DetailPolicy,
    egress::EgressSettings,
    error::Error,
    ingress::GuardSettings,
    logs::LineSettings,
    metrics::AppMetrics,
    notify::StartedBy,
    outbox::OutboxSettings,
    probe,
    publish::{self, settings::PublishSettings},
    secret::settings::SecretSettings,
    telemetry::TelemetrySettings,
};

/// Where the admin endpoints listen when nothing else is said.
pub const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9460);
/// The longest duration that any phase may be given.
pub const DURATION_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest path of a Unix socket, in bytes: its address has 108 with the closing zero.
pub const SOCK_LIMIT_BYTES: usize = 107;

/// Everything that `plimsoll run` must know about one process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Who this process is, in logs and on `/health`.
    pub identity: Identity,
    /// What runs.
    pub workload: Workload,
    /// Where the admin endpoints are answered.
    pub admin: AdminSettings,
    /// The service port, if we stand in front of the application.
    pub ingress: Option<IngressSettings>,
    /// How the application is reached and judged.
    pub app: AppSettings,
    /// Dependencies to probe, by name, as given in `PLIMSOLL_PROBES`.
    pub probes: BTreeMap<String, serde_json::Value>,
    /// Who sees every check on `/health`.
    pub details: DetailPolicy,
    /// Where secrets come from, and how the application gets them.
    pub secrets: SecretSettings,
    /// How long the dependencies that gate the start are waited for.
    pub start_timeout: Duration,
    /// How the process is stopped.
    pub stop: StopSettings,
    /// Form of the log lines.
    pub logs: LogMode,
    /// What is done with log lines besides.
    pub lines: LineSettings,
    /// What can be published, and where it is kept.
    pub publish: Option<PublishSettings>,
    /// Directory for what outlives the process.
    pub state: Option<PathBuf>,
    /// Where it is kept who did what.
    pub audit_log: Option<PathBuf>,
    /// Where to say why it ended, besides the state directory.
    pub termination_log: Option<PathBuf>,
    /// Become the application: resolve what it needs, then leave nothing of us.
    pub exec: bool,
    /// Calls of the application that go through us, by name.
    pub egress: EgressSettings,
    /// The table whose events are published.
    #[serde(default)]
    pub outbox: Option<OutboxSettings>,
    /// Where spans go, as the standard `OTEL_*` variables say.
    pub telemetry: TelemetrySettings,
}

/// Who this process is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Name of the service.
    pub service: String,
    /// Name of the environment; absent from logs when not given.
    pub environment: Option<String>,
    /// Release of the application; absent from logs when not given.
    pub version: Option<String>,
    /// Name of this replica.
    pub instance: String,
}

/// What runs: a process of the user's, or files that the engine serves itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Workload {
    /// A program and its arguments.
    Command {
        /// Program, found through `PATH` unless it has a slash.
        program: OsString,
        /// Its arguments.
        args: Vec<OsString>,
    },
    /// A built site; there is no application process.
    Static {
        /// The directory that is served.
        directory: PathBuf,
        /// Whether unknown paths answer with `index.html`.
        spa: bool,
        /// `Content-Security-Policy`, in place of the default.
        csp: Option<String>,
    },
    /// Only what the engine does by itself, such as relaying an outbox.
    Engine,
}

/// Where the admin endpoints are answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminSettings {
    /// TCP address; `None` is `off`.
    pub listen: Option<SocketAddr>,
    /// Unix socket.
    pub sock: Option<PathBuf>,
}

/// The service port and what is accepted on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngressSettings {
    /// Where the service listens.
    pub listen: SocketAddr,
    /// Routes that request metrics tell apart, such as `/v1/items/{id}`.
    pub routes: Vec<String>,
    /// Whether every request writes a line.
    pub access_log: bool,
    /// Whether the application answers the health paths itself.
    pub app_health: bool,
    /// Who gets in.
    pub guards: GuardSettings,
}

/// How the application is reached and judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppSettings {
    /// Address that the application listens on, and its `HOST`.
    pub host: IpAddr,
    /// Port that the application listens on; with an ingress `None` means a free one.
    pub port: Option<u16>,
    /// Path that answers 2xx once the application has started, and as long as it may get
    /// requests; else its port is connected to, once.
    pub ready_http: Option<String>,
    /// Path that answers 2xx as long as the application does its work.
    pub live_http: Option<String>,
    /// What counts as having started.
    pub started: StartedBy,
    /// URL, or path on the application's port, of metrics that `/metrics` merges.
    pub metrics: Option<String>,
    /// Who gets the signals that are passed on.
    pub signal_scope: SignalScope,
    /// What the application gets in place of a signal; 0 is nothing.
    pub signal_rewrite: BTreeMap<i32, i32>,
    /// Exit codes that count as success and become 0.
    pub success_exit_codes: Vec<u8>,
}

/// The phases of a stop, each with its longest duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopSettings {
    /// How long we keep serving, unready, so that load balancers learn of it.
    pub drain: Duration,
    /// How long requests in flight and then the application have, together, until SIGKILL.
    pub grace: Duration,
    /// How long what the application left behind has.
    pub sweep: Duration,
    /// How long the last log lines have.
    pub flush: Duration,
    /// How long a last scrape is waited for, if somebody scrapes.
    pub linger: Duration,
    /// The signal that asks the application to stop.
    pub signal: StopSignal,
}

/// Form of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogMode {
    /// One JSON object a line.
    Json,
    /// The application's bytes as they are.
    Raw,
    /// Nothing.
    Off,
}

/// Who gets the signals that are passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalScope {
    /// The application's main process.
    Main,
    /// Its process group.
    Group,
    /// All its descendants.
    Tree,
}

impl Settings {
    /// What holds for `plimsoll run -- program args` and nothing else.
    pub fn new(workload: Workload) -> Self {
        let service = workload.name();
        Self {
            identity: Identity {
                service,
                environment: None,
                version: None,
                instance: default_instance(),
            },
            workload,
            admin: AdminSettings { listen: Some(LISTEN_DEFAULT), sock: None },
            ingress: None,
            app: AppSettings {
                host: IpAddr::V4(Ipv4Addr::LOCALHOST),
                port: None,
                ready_http: None,
                live_http: None,
                started: StartedBy::Port,
                metrics: None,
                signal_scope: SignalScope::Main,
                signal_rewrite: BTreeMap::new(),
                success_exit_codes: Vec::new(),
            },
            probes: BTreeMap::new(),
            secrets: SecretSettings::default(),
            details: DetailPolicy::Local,
            start_timeout: Duration::from_secs(120),
            stop: StopSettings::default(),
            logs: LogMode::Json,
            lines: LineSettings::default(),
            publish: None,
            state: None,
            audit_log: None,
            termination_log: None,
            exec: false,
            egress: EgressSettings::new(),
            outbox: None,
            telemetry: TelemetrySettings::default(),
        }
    }

    /// Finds what contradicts itself, before anything is bound or started.
    ///
    /// # Errors
    /// Every problem, in the order of the fields.
    pub fn check(&self) -> Result<(), Vec<Error>> {
        let mut errors = Vec::new();
        if let Workload::Static { directory, .. } = &self.workload {
            if self.ingress.is_none() {
                errors.push(Error::Settings {
                    problem: format!("nothing says where to serve `{}`", directory.display()),
                    help: "give the port with `--ingress 127.0.0.1:4173`",
                });
            }
            if !directory.is_dir() {
                errors.push(Error::Settings {
                    problem: format!("`{}` is not a directory to serve", directory.display()),
                    help: "build the site first, or give another directory with `--static`",
                });
            }
        }
        if self.exec && (self.ingress.is_some() || !self.probes.is_empty()) {
            errors.push(Error::Settings {
                problem: "`--exec` leaves nothing of us that could serve a port or probe".into(),
                help: "leave out `--exec`, or `--ingress` and `--probes`",
            });
        }
        if let Some(ingress) = &self.ingress {
            errors.extend(ingress.guards.check());
        }
        let has_cluster = self.publish.as_ref().is_some_and(|publish| publish.kafka.is_some());
        let outbox = self.outbox.iter();
        let problems = outbox.flat_map(|outbox| outbox.check(has_cluster).err()).flatten();
        errors.extend(problems.map(Error::from));
        if self.exec && self.outbox.is_some() {
            errors.push(Error::Settings {
                problem: "`--exec` leaves nothing of us that could relay an outbox".into(),
                help: "leave out `--exec` or `--outbox`",
            });
        }
        if let Some(sock) = &self.admin.sock {
            errors.extend(check_sock(sock).err());
        }
        errors.extend(self.check_own_path("--ready-http", self.app.ready_http.as_deref()));
        errors.extend(self.check_own_path("--live-http", self.app.live_http.as_deref()));
        errors.extend(self.check_metrics().err());
        if let Err(problems) = probe::parse_values(&self.probes) {
            errors.extend(problems.into_iter().map(Error::from));
        }
        if let Some(publish) = &self.publish
            && let Err(problems) = publish::settings::check(publish, self.state.is_some())
        {
            errors.extend(problems.into_iter().map(Error::from));
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Where messages are kept, when there is something to publish.
    pub fn spool(&self) -> Option<PathBuf> {
        let publish = self.publish.as_ref()?;
        publish.dir.clone().or_else(|| Some(self.state.as_ref()?.join("spool")))
    }

    fn check_own_path(&self, flag: &str, path: Option<&str>) -> Vec<Error> {
        let Some(path) = path else { return Vec::new() };
        let mut errors = Vec::new();
        if !path.starts_with('/') || path.contains(|letter: char| letter <= ' ') {
            errors.push(Error::Settings {
                problem: format!("`{flag}` is not a path: `{path}`"),
                help: "give the path alone, for example `--ready-http /healthz`",
            });
        }
        errors.extend(self.check_has_port(path).err());
        errors
    }

    fn check_metrics(&self) -> Result<(), Error> {
        let Some(metrics) = &self.app.metrics else { return Ok(()) };
        if metrics.starts_with('/') {
            return self.check_has_port(metrics);
        }
        AppMetrics::new(metrics).map(drop).map_err(|error| Error::Settings {
            problem: error.to_string(),
            help: "give the path alone, for example `--app-metrics /metrics`, or a whole address",
        })
    }

    /// A path of the application needs a port to ask.
    fn check_has_port(&self, path: &str) -> Result<(), Error> {
        if self.ingress.is_some() || self.app.port.is_some() {
            return Ok(());
        }
        Err(Error::Settings {
            problem: format!("nothing says on which port to ask `{path}`"),
            help: "give the application's port with `--app-port`",
        })
    }
}

impl AppSettings {
    /// Where the application exposes metrics of its own; a path is asked on its port.
    pub fn metrics_url(&self) -> Option<String> {
        match (self.metrics.as_deref()?, self.port) {
            (path, Some(port)) if path.starts_with('/') => {
                Some(format!("http://{}{path}", SocketAddr::new(self.host, port)))
            }
            (url, _) => Some(url.to_owned()),
        }
    }

    /// What the application gets for this signal; `None` is nothing.
    pub fn rewritten(&self, signal: i32) -> Option<i32> {
        let signal = self.signal_rewrite.get(&signal).copied().unwrap_or(signal);
        (signal != 0).then_some(signal)
    }

    /// The code to exit with when the application exits with `code`.
    pub fn success_code(&self, code: u8) -> u8 {
        if self.success_exit_codes.contains(&code) { exit_codes::OK.code } else { code }
    }
}

impl Workload {
    /// Whether there is an application process.
    pub fn has_app(&self) -> bool {
        matches!(self, Self::Command { .. })
    }

    /// The program or the directory, for messages.
    pub fn program(&self) -> String {
        match self {
            Self::Command { program, .. } => program.to_string_lossy().into_owned(),
            Self::Static { directory, .. } => directory.display().to_string(),
            Self::Engine => "outbox".into(),
        }
    }

    /// The name of a service that was not given one: the program's or the directory's.
    fn name(&self) -> String {
        let path = match self {
            Self::Command { program, .. } => Path::new(program),
            Self::Static { directory, .. } => directory,
            Self::Engine => Path::new("outbox"),
        };
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        name.filter(|name| !name.is_empty()).unwrap_or_else(|| "app".into())
    }
}

impl StopSettings {
    /// The phases that make room, in this order, when the whole stop must fit into `budget`.
    #[must_use]
    pub fn within(mut self, budget: Duration) -> Self {
        let mut excess = self.total().saturating_sub(budget);
        let Self { drain, grace, sweep, flush, linger, .. } = &mut self;
        for phase in [linger, flush, sweep, drain, grace] {
            let cut = excess.min(*phase);
            *phase -= cut;
            excess -= cut;
        }
        self
    }

    /// The longest that a stop takes, from the signal to the exit.
    pub fn total(&self) -> Duration {
        self.drain + self.grace + self.sweep + self.flush + self.linger
    }

    /// The drain that suits where we run: Kubernetes removes endpoints while a pod already stops.
    pub fn drain_default(is_kubernetes: bool) -> Duration {
        if is_kubernetes { Duration::from_secs(5) } else { Duration::ZERO }
    }
}

impl Default for StopSettings {
    fn default() -> Self {
        Self {
            drain: Duration::ZERO,
            grace: Duration::from_secs(20),
            sweep: Duration::from_secs(1),
            flush: Duration::from_secs(2),
            linger: Duration::from_secs(1),
            signal: StopSignal::default(),
        }
    }
}

fn check_sock(path: &Path) -> Result<(), Error> {
    let length = path.as_os_str().len();
    if length <= SOCK_LIMIT_BYTES {
        return Ok(());
    }
    Err(Error::SockTooLong { path: path.into(), length, limit: SOCK_LIMIT_BYTES })
}

/// Host name and process id: unique on a network whose hosts have names.
fn default_instance() -> String {
    let host = nix::unistd::gethostname().ok().and_then(|host| host.into_string().ok());
    let host = host.filter(|host| !host.is_empty()).unwrap_or_else(|| "localhost".into());
    format!("{host}-{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleep() -> Settings {
        Settings::new(Workload::Command { program: "/bin/sleep".into(), args: vec!["1".into()] })
    }

    #[test]
    fn a_command_alone_is_enough() {
        let settings = sleep();
        assert!(settings.check().is_ok());
        assert_eq!(settings.identity.service, "sleep");
        assert_eq!(settings.admin.listen, Some(LISTEN_DEFAULT));
    }

    #[test]
    fn settings_survive_the_way_to_the_engine() {
        let text = serde_json::to_string(&sleep()).unwrap();
        assert_eq!(serde_json::from_str::<Settings>(&text).unwrap(), sleep());
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(parse_duration("2m").unwrap(), Duration::from_secs(120));
        assert_eq!(parse_duration("0").unwrap(), Duration::ZERO);
        for text in
            ["20", "", "s", "-1s", "1.5s", "20 s", "99999999999999999999s", "25h", "1d", "1é"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_need_a_port() {
        assert_eq!(parse_address(":8080").unwrap().to_string(), "0.0.0.0:8080");
        assert_eq!(parse_address("localhost:1").unwrap().to_string(), "127.0.0.1:1");
        assert_eq!(parse_address("[::1]:80").unwrap().to_string(), "[::1]:80");
        assert_eq!(parse_listen("off").unwrap(), None);
        for text in ["", "8080", "127.0.0.1", "host:80", "127.0.0.1:70000", "::1:80:"] {
            assert!(parse_address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_small_budget_takes_from_linger_first_and_from_grace_last() {
        let stop = StopSettings { drain: Duration::from_secs(5), ..StopSettings::default() };
        let whole = stop.total();
        let less = stop.within(whole - Duration::from_millis(400));
        assert_eq!((less.linger, less.flush), (Duration::from_millis(600), stop.flush));
        let stop = stop.within(Duration::from_secs(22));
        assert_eq!((stop.linger, stop.flush, stop.sweep), Default::default());
        assert_eq!((stop.drain, stop.grace), (Duration::from_secs(2), Duration::from_secs(20)));
        assert_eq!(stop.within(Duration::from_secs(1)).total(), Duration::from_secs(1));
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let mut settings = Settings::new(Workload::Static {
            directory: "/nowhere/at/all".into(),
            spa: false,
            csp: None,
        });
        settings.admin.sock = Some("x".repeat(SOCK_LIMIT_BYTES + 1).into());
        assert_eq!(settings.check().unwrap_err().len(), 3);
    }
}
