//! `kill -9` of the engine, again and again, while a client asks a thousand times a second.
//!
//! One client asks the application itself, another one through the ingress. What waits in the
//! backlog is answered by the next engine; a request that the dead engine held breaks, and is
//! counted.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::latency::Client;
use super::report::Target;
use super::section::{Section, time};
use super::servers::{Running, await_listener, free_addresses};
use super::{Effort, memory};

const N_KILLS: usize = 10;
/// Between two requests of a client.
const PACE: Duration = Duration::from_millis(1);
/// Between a new engine and its end; longer than the guard's longest pause here.
const LIFE: Duration = Duration::from_millis(300);
const LIMIT: Duration = Duration::from_secs(30);

pub(super) fn measure(program: &Path, effort: Effort) -> Result<Section> {
    let [app, ingress] = free_addresses()?;
    let this = std::env::current_exe().context("cannot find this program")?;
    let running = Running::start(
        Command::new(program)
            .args(["--listen", "off", "--logs", "off", "--ingress", &ingress.to_string()])
            .args(["--app-port", &app.port().to_string(), "--access-log", "off", "--"])
            .arg(this)
            .arg("bench-upstream")
            .stdin(Stdio::null()),
    )?;
    await_listener(app)?;
    await_listener(ingress)?;
    let n_kills = effort.of(N_KILLS);
    let is_over = &AtomicBool::new(false);
    let [direct, through] = std::thread::scope(|scope| {
        let asked = [app, ingress].map(|address| scope.spawn(move || ask(address, is_over)));
        let killed = (0..n_kills).try_for_each(|_| end_engine(program, &running));
        is_over.store(true, Ordering::Relaxed);
        let asked = asked.map(|it| it.join().map_err(|_| anyhow::anyhow!("a client failed")));
        killed.map(|()| asked)
    })?;
    let (direct, through) = (direct?, through?);
    let row = |what: &str, asked: &Asked| {
        let (count, failed) = (asked.count.to_string(), asked.failed.to_string());
        vec![what.to_owned(), count, failed, time(asked.longest.as_secs_f64())]
    };
    Ok(Section {
        title: "An engine that is killed",
        method: format!(
            "{n_kills} times `kill -9`, each {} ms after the next engine was started, while two \
             clients ask a thousand times a second, one request at a time, on a connection that \
             is kept while it lasts; an engine that dies again and again is started ever later, \
             up to 5 s.\n\
             A longest wait is from a request's first try until its answer, tries that broke \
             included.",
            LIFE.as_millis()
        ),
        columns: ["asked", "requests", "broken", "longest wait"].map(str::to_owned).to_vec(),
        rows: vec![row("the application directly", &direct), row("through the ingress", &through)],
        targets: vec![
            Target {
                what: "requests to the application that fail while engines die",
                wanted: "0".into(),
                measured: direct.failed.to_string(),
                is_met: direct.failed == 0,
            },
            Target {
                what: "requests through the ingress that break, for each engine that dies",
                wanted: "<= 1".into(),
                measured: format!("{} in {n_kills}", through.failed),
                is_met: through.failed <= n_kills,
            },
        ],
    })
}

/// What a client saw.
#[derive(Default)]
struct Asked {
    count: usize,
    failed: usize,
    longest: Duration,
}

fn ask(address: SocketAddr, is_over: &AtomicBool) -> Asked {
    let mut asked = Asked::default();
    let mut client = None;
    let mut next = Instant::now();
    while !is_over.load(Ordering::Relaxed) {
        next += PACE;
        let began = Instant::now();
        let mut is_answered = false;
        while !is_answered && began.elapsed() < LIMIT {
            let mut now = client.take();
            if now.is_none() {
                now = Client::connect("it", address, "/").ok();
            }
            is_answered = now.as_mut().is_some_and(|client| client.request().is_ok());
            asked.failed += usize::from(!is_answered);
            client = now.filter(|_| is_answered);
        }
        asked.count += 1;
        asked.longest = asked.longest.max(began.elapsed());
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    asked
}

/// Kills the engine that lives, and waits until another one has lived for a while.
fn end_engine(program: &Path, running: &Running) -> Result<()> {
    let own = program.canonicalize().unwrap_or_else(|_| program.to_path_buf());
    let engine = || {
        let children = memory::children(running.pid());
        children.into_iter().find(|pid| memory::executable(*pid) == own)
    };
    let dead = engine().context("no engine runs")?;
    kill(Pid::from_raw(i32::try_from(dead)?), Signal::SIGKILL).context("cannot kill the engine")?;
    let began = Instant::now();
    while engine().is_none_or(|pid| pid == dead) {
        ensure!(began.elapsed() < LIMIT, "no engine comes back");
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(LIFE);
    Ok(())
}
