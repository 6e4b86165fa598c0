//! The size of the programs, and the memory of the one in images: idle, and with real dependencies.
//!
//! PostgreSQL, Redis and Kafka are probed, and messages are published to Kafka, as a service in
//! production does. Memory is read when all are up and the messages are delivered.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use testkit::{Kafka, Postgres, Redis};

use super::latency::Client;
use super::load::round_with;
use super::memory::{self, Memory};
use super::report::Target;
use super::section::Section;
use super::servers::{Running, await_listener, free_addresses};
use super::{Effort, as_mib};

const LIMIT: Duration = Duration::from_secs(60);
const SETTLE: Duration = Duration::from_secs(2);
const PROGRAM_MIB_MAX: f64 = 15.0;
const IDLE_MIB_MAX: f64 = 8.0;
const GUARD_PSS_MIB_MAX: f64 = 0.4;
const ACTIVE_MIB_MAX: f64 = 15.0;

pub(super) fn measure(program: &Path, _: Effort) -> Result<Section> {
    let idle = memory_of(program, &[], |_| Ok(()))?;
    let (postgres, redis, kafka) = (Postgres::start(), Redis::start(&[]), Kafka::start());
    let directory = tempfile::tempdir().context("cannot create a directory")?;
    let probes = format!(
        r#"{{"db": {{"postgres": "{}"}}, "cache": {{"redis": "{}"}}, "bus": {{"kafka": "{}"}}}}"#,
        postgres.url(),
        redis.url(),
        kafka.bootstrap()
    );
    let publish = format!(
        r#"{{"dir": "{}", "topics": {{"t": {{}}}}, "kafka": {{"brokers": "{}"}}}}"#,
        directory.path().join("spool").display(),
        kafka.bootstrap()
    );
    let script = directory.path().join("post.lua");
    fs::write(&script, "wrk.method=\"POST\"\nwrk.path=\"/v1/publish/t\"\nwrk.body=\"hello\"\n")?;
    let active = memory_of(program, &["--probes", &probes, "--publish", &publish], |admin| {
        round_with(&format!("http://{admin}"), 1, 4, &[], Some(&script))?;
        Ok(())
    })?;
    let size = as_mib(fs::metadata(program)?.len() / 1024);
    let [idle_guard, idle_engine] = idle;
    let row = |what: &str, memory: Memory| {
        let mib = |kib: u64| format!("{:.1} MiB", as_mib(kib));
        vec![what.to_owned(), mib(memory.rss_kib), mib(memory.pss_kib), mib(memory.anonymous_kib)]
    };
    let target = |what, measured: f64, most: f64| Target {
        what,
        wanted: format!("<= {most} MiB"),
        measured: format!("{measured:.1} MiB"),
        is_met: measured <= most,
    };
    Ok(Section {
        title: "Footprint",
        method: format!(
            "`plimsoll-run` has {size:.1} MiB{}.\n\
             Memory of one service by itself, with an admin listener: idle, and with probes of \
             PostgreSQL, Redis and Kafka and one second of messages published to Kafka.",
            beside(program)
        ),
        columns: ["process", "RSS", "PSS", "anonymous"].map(str::to_owned).to_vec(),
        rows: vec![
            row("guard, idle", idle_guard),
            row("engine, idle", idle_engine),
            row("guard, all three", active[0]),
            row("engine, all three", active[1]),
        ],
        targets: vec![
            target("size of `plimsoll-run`", size, PROGRAM_MIB_MAX),
            target("engine, idle, RSS", as_mib(idle_engine.rss_kib), IDLE_MIB_MAX),
            target("guard, idle, PSS", as_mib(idle_guard.pss_kib), GUARD_PSS_MIB_MAX),
            target("engine with all three, RSS", as_mib(active[1].rss_kib), ACTIVE_MIB_MAX),
        ],
    })
}

/// The size of the whole program, if it is beside the one in images.
fn beside(program: &Path) -> String {
    let size = fs::metadata(program.with_file_name("plimsoll")).map(|whole| whole.len() / 1024);
    size.map(|kib| format!(", `plimsoll` {:.1} MiB", as_mib(kib))).unwrap_or_default()
}

/// Memory of the guard and the engine of a service, after it was ready and something was done.
fn memory_of(
    program: &Path,
    flags: &[&str],
    act: impl FnOnce(SocketAddr) -> Result<()>,
) -> Result<[Memory; 2]> {
    let [admin] = free_addresses()?;
    let running = Running::start(
        Command::new(program)
            .args(["--listen", &admin.to_string(), "--logs", "off"])
            .args(flags)
            .args(["--", "sleep", "600"])
            .stdin(Stdio::null()),
    )?;
    await_listener(admin)?;
    let began = Instant::now();
    while Client::connect("the service", admin, "/health")?.status()? != 200 {
        ensure!(began.elapsed() < LIMIT, "a dependency does not come up");
        std::thread::sleep(Duration::from_millis(20));
    }
    act(admin)?;
    std::thread::sleep(SETTLE);
    let own = program.canonicalize().unwrap_or_else(|_| program.to_path_buf());
    let engine = running.tree().into_iter().skip(1).find(|pid| memory::executable(*pid) == own);
    Ok([memory::of(running.pid())?, memory::of(engine.context("no engine runs")?)?])
}
