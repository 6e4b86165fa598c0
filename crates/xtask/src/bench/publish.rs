//! Durable publish: how much is accepted, how long an answer takes beside one `fdatasync` of the
//! same disk, and how long a large spool takes to be there again.
//!
//! How much is accepted is asked under saturation, where an answer takes as long as the queue of
//! the load itself: connections divided by throughput, whatever the disk does. How long an answer
//! takes is therefore asked of messages that come at set times, far below saturation.
//!
//! No broker: what is measured is the promise `202`, which is of the disk alone. The spool is on
//! the disk of the build directory, since `/tmp` may be memory.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::latency::Client;
use super::load::{Round, round_with};
use super::report::Target;
use super::section::{Section, time};
use super::servers::{Running, await_listener, free_addresses};
use super::stats::{as_number, percentile};
use super::{Effort, memory};

/// Bytes of a message.
const BODY_BYTES: usize = 512;
const SECONDS: u32 = 5;
/// Messages a second that come at set times, and the connections that they take in turns.
const PACED_PER_SECOND: u32 = 1000;
const PACED_CONNECTIONS: u32 = 16;
/// Connections that publish one message after another.
const CONNECTIONS: u32 = 256;
/// Connections that publish batches, and messages of one.
const BATCH_CONNECTIONS: u32 = 8;
const BATCH: usize = 100;
/// Writes of the disk by itself.
const N_SYNCS: usize = 300;
/// What one write of the disk by itself has: a group commit of as many bytes.
const SYNC_BYTES: usize = 64 * 1024;
const LIMIT: Duration = Duration::from_secs(60);
const RATE_MIN: f64 = 50_000.0;
const SYNCS_MAX: f64 = 2.0;
const RESTART_MAX: f64 = 1.0;

pub(super) fn measure(program: &Path, effort: Effort) -> Result<Section> {
    let parent = program.parent().context("the program has a directory")?;
    let directory = tempfile::Builder::new().prefix("bench-").tempdir_in(parent)?;
    let seconds = effort.seconds(SECONDS);
    let mut syncs = syncs(directory.path(), effort.of(N_SYNCS))?;
    let spool = directory.path().join("spool");
    let service = Service::start(program, &spool)?;
    let single = Script::single(directory.path())?;
    let batched = Script::batched(directory.path())?;
    let url = format!("http://{}", service.admin);
    let (paced, paced_rate) = paced(service.admin, seconds)?;
    // The disk may have become slower or faster meanwhile: both count.
    syncs.extend(self::syncs(directory.path(), effort.of(N_SYNCS))?);
    let one = round_with(&url, seconds, CONNECTIONS, &[], Some(&single.0))?;
    let many = round_with(&url, seconds, BATCH_CONNECTIONS, &[], Some(&batched.0))?;
    syncs.sort_by(f64::total_cmp);
    let [sync_p50, sync_p99] = [0.5, 0.99].map(|share| percentile(&syncs, share));
    let [paced_p50, paced_p99] = [0.5, 0.99].map(|share| percentile(&paced, share));
    let restart = service.restart(program, &spool)?;
    let batch = f64::from(u32::try_from(BATCH)?);
    let messages = many.requests_per_second * batch;
    let mib = directory_bytes(&spool)? / f64::from(1 << 20);
    let ratio = paced_p99 / sync_p99;
    let rate = messages.max(one.requests_per_second);
    let row = |what: &str, rate: f64, round: Round| {
        let [p50, p99] = [round.p50_us, round.p99_us].map(|us| time(us / 1e6));
        vec![what.to_owned(), format!("{rate:.0}"), p50, p99, round.n_errors.to_string()]
    };
    let bare = |what: String, p50, p99| vec![what, "-".into(), p50, p99, "-".into()];
    Ok(Section {
        title: "Durable publish",
        method: format!(
            "Messages of {BODY_BYTES} bytes over loopback TCP, no broker, `fsync: group`, for \
             {seconds} s each.\n\
             At set times: {PACED_PER_SECOND} a second, in turns on {PACED_CONNECTIONS} \
             connections; an answer's time counts from when its message was due. This is judged.\n\
             Saturated: the next message as soon as the last is accepted, one a request on \
             {CONNECTIONS} connections, and {BATCH} a request on {BATCH_CONNECTIONS}; an answer's \
             time is then that of the queue of the load itself.\n\
             An answer is `202`, on disk. Beside it, on the same disk, before and after the \
             messages at set times: {SYNC_BYTES} bytes appended to a file and `fdatasync`, one \
             after another.\n\
             The restart is after `kill -9` of guard and engine."
        ),
        columns: ["what", "messages/s", "p50 of an answer", "p99", "errors"]
            .map(str::to_owned)
            .to_vec(),
        rows: vec![
            paced_row(paced_rate, paced_p50, paced_p99),
            row("one message a request, saturated", one.requests_per_second, one),
            row("batches of 100, saturated", messages, many),
            bare("`fdatasync` of the disk".into(), time(sync_p50), time(sync_p99)),
            bare(
                format!("restart on a spool of {mib:.0} MiB until `/ready`"),
                time(restart),
                "-".into(),
            ),
        ],
        targets: vec![
            Target {
                what: "messages of 512 B accepted on disk, per second",
                wanted: format!(">= {RATE_MIN:.0}"),
                measured: format!("{rate:.0}"),
                is_met: rate >= RATE_MIN,
            },
            Target {
                what: "p99 of an accepted message at 1000/s, in p99 of `fdatasync`",
                wanted: format!("<= {SYNCS_MAX:.1} x"),
                measured: format!("{ratio:.1} x"),
                is_met: ratio <= SYNCS_MAX,
            },
            Target {
                what: "restart on a large spool",
                wanted: format!("<= {}", time(RESTART_MAX)),
                measured: time(restart),
                is_met: restart <= RESTART_MAX,
            },
        ],
    })
}

fn paced_row(rate: f64, p50: f64, p99: f64) -> Vec<String> {
    let what = format!("one message a request, {PACED_PER_SECOND}/s at set times");
    vec![what, format!("{rate:.0}"), time(p50), time(p99), "0".into()]
}

/// Times of answers to messages that come at set times, seconds, and how many came a second. A
/// message that is not accepted is an error.
fn paced(admin: SocketAddr, seconds: u32) -> Result<(Vec<f64>, f64)> {
    let body = "x".repeat(BODY_BYTES);
    let request = format!(
        "POST /v1/publish/t HTTP/1.1\r\nhost: {admin}\r\ncontent-length: {BODY_BYTES}\r\n\r\n{body}"
    );
    let connect = |_| Client::sending("the service", admin, request.clone().into_bytes());
    let clients = (0..PACED_CONNECTIONS).map(connect).collect::<Result<Vec<_>>>()?;
    let began = Instant::now();
    let mut times = std::thread::scope(|scope| {
        let threads = (0..).zip(clients).map(|(index, client)| {
            scope.spawn(move || {
                pace(client, (index..).step_by(PACED_CONNECTIONS as usize), began, seconds)
            })
        });
        let threads: Vec<_> = threads.collect();
        let times = threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow::anyhow!("a publisher panicked"))?);
        times.collect::<Result<Vec<_>>>()
    })?
    .concat();
    let rate = as_number(times.len()) / began.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    Ok((times, rate))
}

/// Sends the messages of one connection when they are due, each with its number in all.
fn pace(
    mut client: Client,
    numbers: impl Iterator<Item = u32>,
    began: Instant,
    seconds: u32,
) -> Result<Vec<f64>> {
    let numbers = numbers.take_while(|number| *number < seconds * PACED_PER_SECOND);
    let answered = numbers.map(|number| {
        let due = began + Duration::from_secs(1) * number / PACED_PER_SECOND;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let status = client.status()?;
        ensure!(status == 202, "a message was answered with {status}");
        Ok(due.elapsed().as_secs_f64())
    });
    answered.collect()
}

/// Times of single writes of the disk, seconds.
fn syncs(directory: &Path, count: usize) -> Result<Vec<f64>> {
    let path = directory.join("syncs");
    let mut file = File::create(&path)?;
    let bytes = vec![b'x'; SYNC_BYTES];
    let sync = |_| {
        let began = Instant::now();
        file.write_all(&bytes)?;
        file.sync_data()?;
        Ok(began.elapsed().as_secs_f64())
    };
    let times = (0..count).map(sync).collect();
    fs::remove_file(path)?;
    times
}

/// What `wrk` sends.
struct Script(std::path::PathBuf);

impl Script {
    fn single(directory: &Path) -> Result<Self> {
        let body = "x".repeat(BODY_BYTES);
        Self::write(directory, "single", "/v1/publish/t", &body)
    }

    fn batched(directory: &Path) -> Result<Self> {
        // The text is what is stored; the frame around it is not counted.
        let line = format!(r#"{{\"topic\":\"t\",\"text\":\"{}\"}}\n"#, "x".repeat(BODY_BYTES));
        Self::write(directory, "batch", "/v1/publish", &line.repeat(BATCH))
    }

    fn write(directory: &Path, name: &str, path: &str, body: &str) -> Result<Self> {
        let file = directory.join(format!("{name}.lua"));
        let text = format!("wrk.method=\"POST\"\nwrk.path=\"{path}\"\nwrk.body=\"{body}\"\n");
        fs::write(&file, text)?;
        Ok(Self(file))
    }
}

/// A service that takes messages.
struct Service {
    running: Running,
    admin: SocketAddr,
}

impl Service {
    fn start(program: &Path, spool: &Path) -> Result<Self> {
        let [admin] = free_addresses()?;
        let publish = format!(
            r#"{{"dir": "{}", "max_bytes": "4GiB", "topics": {{"t": {{}}}}}}"#,
            spool.display()
        );
        let running = Running::start(
            Command::new(program)
                .args(["--listen", &admin.to_string(), "--logs", "off", "--publish", &publish])
                .args(["--", "sleep", "600"])
                .stdin(Stdio::null()),
        )?;
        let service = Self { running, admin };
        service.wait_until_ready()?;
        Ok(service)
    }

    fn wait_until_ready(&self) -> Result<()> {
        await_listener(self.admin)?;
        let began = Instant::now();
        let status = || Client::connect("the service", self.admin, "/ready")?.status();
        while status().ok() != Some(200) {
            ensure!(began.elapsed() < LIMIT, "it does not become ready");
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Kills all of it at once; says how long the next one takes until it is ready.
    fn restart(mut self, program: &Path, spool: &Path) -> Result<f64> {
        let own = program.canonicalize().unwrap_or_else(|_| program.to_path_buf());
        let tree = self.running.tree();
        let own: Vec<_> = tree.into_iter().filter(|pid| memory::executable(*pid) == own).collect();
        // The guard first: it would start another engine.
        for pid in own.into_iter().map(i32::try_from) {
            kill(Pid::from_raw(pid?), Signal::SIGKILL).context("cannot kill the service")?;
        }
        let began = Instant::now();
        while !self.running.has_ended()? {
            ensure!(began.elapsed() < LIMIT, "it does not end");
            std::thread::sleep(Duration::from_millis(1));
        }
        let began = Instant::now();
        let _again = Self::start(program, spool)?;
        Ok(began.elapsed().as_secs_f64())
    }
}

fn directory_bytes(directory: &Path) -> Result<f64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let metadata = entry?.metadata()?;
        bytes += if metadata.is_file() { metadata.len() } else { 0 };
    }
    Ok(f64::from(u32::try_from(bytes / 1024)?) * 1024.0)
}
