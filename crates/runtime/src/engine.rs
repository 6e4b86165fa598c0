//! The process that does everything that may fail: HTTP, probes, logs, and the lifecycle's driver.
//!
//! It is started by the guard and takes settings, sockets and pipes from it; when it dies, the next
//! one goes on from the guard's snapshot. It deliberately owns nothing that must survive: not the
//! app, not a listening socket, not the exit code.
//!
//! Invariant: it never outlives its guard, and one task alone moves the lifecycle.

mod audit;
mod changes;
mod control;
mod driver;
mod egress;
mod narrate;
mod orphans;
mod record;
mod secrets;
mod spans;
mod start_check;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixListener,
    sync::Arc,
};

use nix::sys::{
    prctl,
    signal::{SigSet, SigmaskHow, sigprocmask},
};
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::{
    control::{Control, Inheritance},
    driver::{Driver, End},
    secrets::Secrets,
};
use crate::{
    admin::{self, Admin},
    audit::Audit,
    board::{self, Board, Moment},
    error::Error,
    guard,
    ingress::{self, Behind, Ingress},
    logs::{self, Pipeline, Redactor, Sink},
    metrics::{AppMetrics, Metrics},
    notify::{self, outward::Outward},
    outbox::{self, Outbox},
    probe,
    publish::{self, Publisher},
    secret::Handle,
    settings::{LogMode, Settings, Workload},
    telemetry::Tracer,
    wire::Environment,
};

/// The hidden subcommand that the guard starts this program with.
pub const SUBCOMMAND: &str = "engine";
/// Shown by `ps`; the kernel keeps 15 bytes.
const PROCESS_NAME: &std::ffi::CStr = c"plimsoll-engine";

/// Runs as the engine of the guard that started this process; returns its exit code.
///
/// # Errors
/// When no guard of this version is at the other end, or the kernel refuses what an engine needs.
pub fn main() -> Result<u8, Error> {
    guard::hide()?;
    let inheritance = control::inherit()?;
    // Only for the eyes of whoever looks at `ps`.
    let _ = prctl::set_name(PROCESS_NAME);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(setup("start its event loop"))?;
    let end = runtime.block_on(serve(inheritance))?;
    // Tasks that still serve must not delay the exit.
    runtime.shutdown_background();
    Ok(match end {
        End::Exit(outcome) => outcome.code,
        End::Orphaned => contract::exit_codes::INTERNAL.code,
    })
}

async fn serve(inheritance: Inheritance) -> Result<End, Error> {
    let _signals = outlive_signals().map_err(setup("handle signals"))?;
    let Inheritance { control, inbox, settings, snapshot, .. } = inheritance;
    let settings = Arc::new(settings);
    let board = Board::new(identity(&settings), Moment::now());
    let inputs = logs::Inputs {
        stdout: inheritance.app_stdout,
        stderr: inheritance.app_stderr,
        journal: inheritance.journal,
    };
    let outputs = outputs().map_err(setup("write to stdout"))?;
    let metrics = Metrics::new(&identity(&settings), routes(&settings));
    // The guard has checked them, so what is refused here was never sent by it.
    let probes = probe::parse_values(&settings.probes).unwrap_or_default();
    let log_beats = probe::LogBeats::new(&probes);
    let log_settings =
        logs::Settings { on_line: log_beats.hook(), ..log_settings(&settings, &metrics) };
    let (sink, pipeline) = logs::start(&log_settings, inputs, outputs, metrics.log_counters())
        .map_err(setup("start its log pipeline"))?;
    board.update(Moment::now(), |board| board.engine_restarts = snapshot.engine_restarts);
    let guard = std::os::unix::process::parent_id();
    let outward = Outward::new(board.clone(), guard);
    let secrets = Handle::new(settings.secrets.clone(), Some(metrics.clone()));
    let audit = audit::open(&settings, &metrics, &sink);
    let mut parts = Parts {
        board,
        metrics,
        sink,
        pipeline: Some(pipeline),
        ingress: None,
        outward,
        secrets,
        audit,
        app_env: Environment::default(),
        tracer: Tracer::off(),
        publisher: None,
    };
    audit::started(&parts, &snapshot);
    let _exporting = spans::start_tracing(&settings, &mut parts);
    let secrets = Secrets::new(&settings, &parts, &snapshot, &log_beats);
    let has_references = settings.probes.values().any(secrets::refers);
    let _probes = if has_references {
        probe::announce(&probes, &parts.board);
        None
    } else {
        Some(probe::spawn(probes, &parts.board, &parts.metrics, &parts.sink, &log_beats))
    };
    let _own = probe::spawn_own(&settings.app, &parts.board, &parts.metrics, &parts.sink);
    let hear = |socket| notify::hear::spawn(socket, guard, parts.board.clone(), parts.sink.clone());
    let _ear = inheritance.notify.map(hear).transpose().map_err(setup("listen to the app"))?;
    let egress = egress::start(&settings, inheritance.egress, &mut parts)?;
    let publisher = start_publish(&settings, &parts)?;
    parts.publisher = publisher.clone();
    let admin = Arc::new(Admin {
        egress: egress.calls(),
        board: parts.board.clone(),
        metrics: parts.metrics.clone(),
        app_metrics: settings.app.metrics_url().and_then(|url| AppMetrics::new(&url).ok()),
        details: settings.details,
        publisher,
        audit: parts.audit.clone(),
    });
    let _admin = serve_admin(inheritance.admin_tcp, inheritance.admin_sock, &admin)
        .map_err(setup("serve its admin endpoints"))?;
    parts.ingress = start_ingress(inheritance.ingress, &settings, &parts).await?;
    let _relay = start_relay(&settings, &parts);
    let _outbox = start_outbox(&settings, &parts);
    let control = Control::new(control, inbox)?;
    let (driver, effects) = Driver::new(settings, parts, secrets, control, snapshot);
    Ok(driver.run(effects).await)
}

/// What the driver acts on.
struct Parts {
    board: Arc<Board>,
    metrics: Arc<Metrics>,
    sink: Sink,
    pipeline: Option<Pipeline>,
    ingress: Option<Ingress>,
    /// What the systemd that runs us is told.
    outward: Outward,
    /// Values of secrets, for whoever has a reference.
    secrets: Handle,
    /// Who did what.
    audit: Audit,
    /// What the app gets from us beyond what the guard gives it.
    app_env: Environment,
    tracer: Tracer,
    /// Where messages go in, when something can be published.
    publisher: Option<Publisher>,
}

/// Opens the spool, if something can be published.
fn start_publish(settings: &Settings, parts: &Parts) -> Result<Option<Publisher>, Error> {
    let (Some(publish), Some(spool)) = (settings.publish.clone(), settings.spool()) else {
        return Ok(None);
    };
    let counters = parts.metrics.publish();
    let publisher = publish::start(publish, &spool, counters, parts.sink.clone())
        .map_err(setup("start the thread of the spool"))?;
    tokio::spawn(publish::report::report(publisher.clone(), parts.board.clone()));
    Ok(Some(publisher))
}

/// Delivers what is published, if there is a cluster to deliver to.
fn start_relay(settings: &Settings, parts: &Parts) -> Option<publish::relay::Relay> {
    let publisher = parts.publisher.clone()?;
    let identity = &settings.identity;
    Some(publish::relay::start(publish::relay::Parts {
        kafka: publisher.settings().kafka.clone()?,
        publisher,
        source: format!("{}/{}", identity.service, identity.instance),
        sink: parts.sink.clone(),
        tracer: parts.tracer.clone(),
        secrets: parts.secrets.clone(),
    }))
}

/// Relays the outbox, if there is one.
fn start_outbox(settings: &Settings, parts: &Parts) -> Option<Outbox> {
    let outbox = settings.outbox.clone()?;
    let identity = &settings.identity;
    Some(outbox::start(outbox::Parts {
        kafka: outbox.kafka.clone().or_else(|| settings.publish.as_ref()?.kafka.clone())?,
        settings: outbox,
        source: format!("{}/{}", identity.service, identity.instance),
        board: parts.board.clone(),
        counters: parts.metrics.outbox(),
        sink: parts.sink.clone(),
        secrets: parts.secrets.clone(),
    }))
}

/// Answers from the first moment on, so that somebody can say why the service is not ready.
fn serve_admin(
    tcp: Option<TcpListener>,
    sock: Option<UnixListener>,
    admin: &Arc<Admin>,
) -> io::Result<Vec<admin::Server>> {
    let tcp = tcp.map(admin::Listener::Tcp);
    let sock = sock.map(admin::Listener::Unix);
    tcp.into_iter().chain(sock).map(|listener| admin::serve(listener, admin.clone())).collect()
}

/// Serves the service port, if there is one. Until the app listens, requests wait for it.
async fn start_ingress(
    listener: Option<TcpListener>,
    settings: &Settings,
    parts: &Parts,
) -> Result<Option<Ingress>, Error> {
    let (Some(listener), Some(mut ingress)) = (listener, settings.ingress.clone()) else {
        return Ok(None);
    };
    let behind = match &settings.workload {
        Workload::Static { directory, spa, csp } => {
            Behind::Site { directory: directory.clone(), is_spa: *spa, csp: csp.clone() }
        }
        Workload::Command { .. } | Workload::Engine => {
            // The guard has chosen a port where none was given.
            Behind::App(SocketAddr::new(settings.app.host, settings.app.port.unwrap_or_default()))
        }
    };
    let (jwt, hmac) = fill_jwt(ingress.guards.jwt, &parts.secrets).await?;
    ingress.guards.jwt = jwt;
    let parts = ingress::Parts {
        service: settings.identity.service.clone(),
        behind,
        routes: ingress.routes,
        access_log: ingress.access_log,
        app_health: ingress.app_health,
        details: settings.details,
        guards: ingress.guards,
        hmac,
        audit: parts.audit.clone(),
        board: parts.board.clone(),
        metrics: parts.metrics.clone(),
        sink: parts.sink.clone(),
        tracer: parts.tracer.clone(),
    };
    let failed = |error| setup("serve the service port")(io::Error::other(error));
    ingress::start(listener, parts).map(Some).map_err(failed)
}

/// Puts the shared secret into the token settings, as a JSON string whatever is in it, and follows
/// it: what comes second gives its new values.
async fn fill_jwt(
    text: Option<String>,
    secrets: &Handle,
) -> Result<(Option<String>, Option<ingress::SharedSecret>), Error> {
    let Some(text) = text else { return Ok((None, None)) };
    let Ok(mut settings) = serde_json::from_str::<serde_json::Value>(&text) else {
        return Ok((Some(text), None));
    };
    let Some(hmac) = settings.get("hmac").and_then(|hmac| hmac.as_str()).map(str::to_owned) else {
        return Ok((Some(text), None));
    };
    let mut changes = secrets.changes();
    let failed = |error| setup("read the secret of tokens")(io::Error::other(error));
    let value = secrets.fill(&hmac).await.map_err(failed)?;
    settings["hmac"] = value.clone().into();
    let (fresh, following) = tokio::sync::watch::channel(ingress::Secret(value));
    let secrets = secrets.clone();
    tokio::spawn(async move {
        while !fresh.is_closed() && changes.changed().await.is_ok() {
            // A value that is gone changes nothing: the last one serves on.
            let Ok(value) = secrets.fill_now(&hmac) else { continue };
            fresh.send_if_modified(|last| std::mem::replace(&mut last.0, value.clone()) != value);
        }
    });
    Ok((Some(settings.to_string()), Some(following)))
}

/// Signals to stop are for the guard. They are handled, not ignored: an ignored signal would stay
/// ignored in the programs that probes run.
fn outlive_signals() -> io::Result<Vec<Signal>> {
    let kinds = [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::quit(),
        SignalKind::hangup(),
        SignalKind::user_defined1(),
        SignalKind::user_defined2(),
        SignalKind::alarm(),
    ];
    let handled = kinds.into_iter().map(signal).collect::<io::Result<_>>()?;
    // The guard started us with everything blocked, so that none could come before this line.
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
    Ok(handled)
}

fn identity(settings: &Settings) -> board::Identity {
    let identity = settings.identity.clone();
    board::Identity {
        service: identity.service,
        env: identity.environment.unwrap_or_default(),
        version: identity.version.unwrap_or_default(),
        instance: identity.instance,
    }
}

fn routes(settings: &Settings) -> &[String] {
    settings.ingress.as_ref().map_or(&[], |ingress| &ingress.routes)
}

fn log_settings(settings: &Settings, metrics: &Metrics) -> logs::Settings {
    let lines = &settings.lines;
    logs::Settings {
        line_bytes_max: lines.max_line,
        multiline: lines.multiline,
        on_block: lines.on_block,
        redactor: Redactor::new(&lines.redact, metrics.redaction_counters()),
        ..logs::Settings::new(format(settings.logs), identity(settings))
    }
}

fn format(mode: LogMode) -> logs::Format {
    match mode {
        LogMode::Json => logs::Format::Json,
        LogMode::Raw => logs::Format::Raw,
        LogMode::Off => logs::Format::Off,
    }
}

fn outputs() -> io::Result<logs::Outputs> {
    use std::os::fd::AsFd;
    let stdout = io::stdout().as_fd().try_clone_to_owned()?;
    let stderr = io::stderr().as_fd().try_clone_to_owned()?;
    Ok(logs::Outputs { stdout, stderr })
}

fn setup(intent: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::Setup { intent, source }
}
