//! How fast `/live` and `/ready` answer while things go wrong.
//!
//! Every dependency swallows packets; a stop begins; the engine is killed. It deliberately measures
//! from outside, on a connection that an orchestrator would have.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::latency::Client;
use super::report::Target;
use super::section::{Section, time};
use super::servers::{Running, await_listener, free_addresses};
use super::stats::percentile;
use super::{Effort, memory};

/// Requests to each path.
const N_REQUESTS: usize = 5_000;
/// Stops, and kills of the engine.
const N_TIMES: usize = 10;
/// Dependencies of each kind that never answer.
const N_BLACK_HOLES: usize = 8;
const LIMIT: Duration = Duration::from_secs(10);
const ANSWER_P99_MAX: f64 = 2e-3;
const UNREADY_MAX: f64 = 5e-3;
const BACK_MAX: f64 = 0.3;

pub(super) fn measure(program: &Path, effort: Effort) -> Result<Section> {
    let (n_requests, n_times) = (effort.of(N_REQUESTS), effort.of(N_TIMES));
    let mut rows = Vec::new();
    let mut targets = Vec::new();
    let mut figure = |what: &'static str, mut seconds: Vec<f64>, judged: f64, most: f64| {
        seconds.sort_by(f64::total_cmp);
        let [p50, p99] = [0.5, 0.99].map(|share| percentile(&seconds, share));
        rows.push(vec![what.to_owned(), time(p50), time(p99)]);
        let measured = percentile(&seconds, judged);
        let (wanted, is_met) = (format!("<= {}", time(most)), measured <= most);
        targets.push(Target { what, wanted, measured: time(measured), is_met });
    };
    let holes = BlackHoles::open()?;
    for (what, path) in [
        ("`/live`, every dependency black-holed", "/live"),
        ("`/ready`, every dependency black-holed", "/ready"),
    ] {
        figure(what, asked(program, &holes.probes(), path, n_requests)?, 0.99, ANSWER_P99_MAX);
    }
    let unready = (0..n_times).map(|_| unready(program)).collect::<Result<_>>()?;
    figure("SIGTERM until `/ready` says 503", unready, 0.99, UNREADY_MAX);
    let back = (0..n_times).map(|_| back(program)).collect::<Result<_>>()?;
    figure("`/live` answers again after `kill -9` of the engine", back, 0.99, BACK_MAX);
    Ok(Section {
        title: "Answers while things go wrong",
        method: format!(
            "{n_requests} requests one after another on one connection, while {N_BLACK_HOLES} \
             dependencies do not accept and {N_BLACK_HOLES} accept and never answer.\n\
             {n_times} stops with a drain, asked without a pause on one connection; the engines \
             of {n_times} services killed, each asked on new connections."
        ),
        columns: ["what", "p50", "p99"].map(str::to_owned).to_vec(),
        rows,
        targets,
    })
}

/// Dependencies that answer nothing.
struct BlackHoles {
    /// Never accepted, so that it accepts in the kernel and says nothing.
    silent: TcpListener,
    /// Its queue is full: packets are dropped.
    full: TcpListener,
    _queue: Vec<TcpStream>,
}

impl BlackHoles {
    fn open() -> Result<Self> {
        let silent = TcpListener::bind("127.0.0.1:0")?;
        let full = TcpListener::bind("127.0.0.1:0")?;
        nix::sys::socket::listen(&full, nix::sys::socket::Backlog::new(0)?)?;
        let address = full.local_addr()?;
        let try_one = |_| TcpStream::connect_timeout(&address, Duration::from_millis(50)).ok();
        Ok(Self { silent, full, _queue: (0..4).filter_map(try_one).collect() })
    }

    fn probes(&self) -> String {
        let mut probes = String::from("{");
        for index in 0..N_BLACK_HOLES {
            for (name, kind, listener) in
                [("silent", "http", &self.silent), ("full", "tcp", &self.full)]
            {
                let Ok(address) = listener.local_addr() else { continue };
                let target =
                    if kind == "http" { format!("http://{address}/") } else { address.to_string() };
                let comma = if probes.len() > 1 { "," } else { "" };
                let _ = write!(
                    probes,
                    r#"{comma}"{name}{index}":{{"{kind}":"{target}","severity":"soft"}}"#
                );
            }
        }
        probes + "}"
    }
}

/// A running service with an admin listener on TCP.
struct Service {
    running: Running,
    admin: SocketAddr,
}

impl Service {
    fn start(program: &Path, flags: &[&str]) -> Result<Self> {
        let [admin] = free_addresses()?;
        let running = Running::start(
            Command::new(program)
                .args(["--listen", &admin.to_string()])
                .args(flags)
                .args(["--", "sleep", "600"])
                .stdin(Stdio::null())
                .stdout(Stdio::null()),
        )?;
        await_listener(admin)?;
        let service = Self { running, admin };
        let began = Instant::now();
        while service.client("/ready")?.status()? != 200 {
            ensure!(began.elapsed() < LIMIT, "it does not become ready");
        }
        Ok(service)
    }

    fn client(&self, path: &str) -> Result<Client> {
        Client::connect("the admin listener", self.admin, path)
    }
}

fn asked(program: &Path, probes: &str, path: &str, count: usize) -> Result<Vec<f64>> {
    let service = Service::start(program, &["--probes", probes])?;
    let mut client = service.client(path)?;
    (0..count).map(|_| Ok(client.request()?.as_secs_f64())).collect()
}

fn unready(program: &Path) -> Result<f64> {
    let service = Service::start(program, &["--drain", "1s"])?;
    let mut client = service.client("/ready")?;
    client.request()?;
    let began = Instant::now();
    service.running.signal(Signal::SIGTERM)?;
    while client.status()? == 200 {
        ensure!(began.elapsed() < LIMIT, "it stays ready");
    }
    Ok(began.elapsed().as_secs_f64())
}

/// Each of a service of its own: an engine that dies again and again is started ever later.
fn back(program: &Path) -> Result<f64> {
    let service = Service::start(program, &[])?;
    let own = program.canonicalize().unwrap_or_else(|_| program.to_path_buf());
    let children = memory::children(service.running.pid());
    let engine = children.into_iter().find(|pid| memory::executable(*pid) == own);
    let engine = i32::try_from(engine.context("no engine runs")?)?;
    let began = Instant::now();
    kill(Pid::from_raw(engine), Signal::SIGKILL).context("cannot kill the engine")?;
    // A connection that the dead engine had accepted is reset; the next one waits.
    while service.client("/live").and_then(|mut client| client.status()).is_err() {
        ensure!(began.elapsed() < LIMIT, "it does not come back");
    }
    Ok(began.elapsed().as_secs_f64())
}
