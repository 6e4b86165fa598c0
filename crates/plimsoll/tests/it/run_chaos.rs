//! Chaos: engine, application, broker and database are killed at random under load; afterwards
//! every accepted message and event is in Kafka, every log line is accounted for, no process is
//! left.
//!
//! `PLIMSOLL_CHAOS_SECONDS` says for how long, `PLIMSOLL_CHAOS_SEED` repeats the order of blows.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{Kafka, Postgres, is_alive, signal, wait_for};

use crate::{
    run_harness::{SIGKILL, SIGTERM, app_pid, engine_pid, messages},
    run_kafka::{LIMIT, Publishing, ids_in_order, publish},
};

const SECONDS_DEFAULT: u64 = 20;
/// Threads that publish, each with keys of its own.
const PUBLISHERS: usize = 4;
/// Between two blows, milliseconds: at least, and how much more.
const PAUSE_MS: (u64, u64) = (300, 1200);

/// Random enough for the order of blows, and repeatable.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// An application that numbers its lines, and keeps beside them how many it has written.
fn app(directory: &Path, life: usize) -> String {
    let progress = directory.join(format!("progress-{life}"));
    format!(
        "i=0; while :; do i=$((i+1)); echo \"line {life} $i\"; echo $i > {}; sleep 0.005; done",
        progress.display()
    )
}

#[test]
fn nothing_accepted_is_lost_whatever_is_killed() {
    let seconds = variable("PLIMSOLL_CHAOS_SECONDS").unwrap_or(SECONDS_DEFAULT);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seed = variable("PLIMSOLL_CHAOS_SEED").unwrap_or(now.as_secs());
    println!("PLIMSOLL_CHAOS_SEED={seed} PLIMSOLL_CHAOS_SECONDS={seconds}");
    let mut random = Random(seed);

    let directory = TempDir::new().unwrap();
    let (mut kafka, mut postgres) = (Kafka::start(), Postgres::start());
    kafka.create_topic("orders", 3, &[]);
    kafka.create_topic("outbox.event.order", 3, &[]);
    let _ = postgres.sql(&crate::run_outbox::ddl());
    let settings = json!({
        "dir": directory.path().join("spool"),
        "kafka": {"brokers": kafka.bootstrap()},
        "topics": {"orders": {}},
    });
    let outbox = json!({"postgres": postgres.url(), "poll": "200ms"}).to_string();
    let start = |life: usize| {
        let app = app(directory.path(), life);
        Publishing::start(directory.path(), &settings, &["--outbox", &outbox], &app)
    };
    let mut life = 0;
    let mut lives = vec![start(life)];
    let load = Load::start(lives[0].sock());

    let (end, mut events) = (Instant::now() + Duration::from_secs(seconds), 0);
    while Instant::now() < end {
        let pause = PAUSE_MS.0 + random.below(PAUSE_MS.1);
        let next = Instant::now() + Duration::from_millis(pause);
        wait_for("the next blow", LIMIT, || Instant::now() >= next);
        insert(&postgres, events);
        events += 50;
        let blow = random.below(4);
        println!("blow {blow} after {pause} ms");
        match blow {
            0 => signal(engine_pid(&lives[life].run), SIGKILL),
            1 => {
                signal(app_pid(&lives[life].run), SIGKILL);
                lives[life].run.wait(LIMIT);
                // Starting it again is the orchestrator's job.
                life += 1;
                lives.push(start(life));
            }
            2 => {
                kafka.kill();
                kafka.restart();
            }
            _ => {
                postgres.kill();
                postgres.restart();
            }
        }
    }
    let accepted = load.stop();
    let last = &lives[life];
    wait_for("an empty spool", LIMIT, || last.spool().is_some_and(|spool| spool["pending"] == 0));
    wait_for("an empty outbox", LIMIT, || postgres.sql("select count(*) from outbox") == "0");
    lives[life].run.signal(SIGTERM);
    lives[life].run.wait(LIMIT);

    let delivered = ids_in_order(&kafka.consume("orders"));
    let missing: Vec<_> = accepted.difference(&delivered).collect();
    println!("{} messages and {events} events in {} lives", accepted.len(), life + 1);
    assert!(!accepted.is_empty() && missing.is_empty(), "not in Kafka: {missing:?}");
    let relayed: BTreeSet<u64> = kafka.consume("outbox.event.order").iter().map(number).collect();
    assert_eq!(relayed, (0..events).collect());
    lives
        .iter()
        .enumerate()
        .for_each(|(life, service)| check_life(directory.path(), life, service));
}

/// Every line of one life of the service, and nothing that is left of it.
fn check_life(directory: &Path, life: usize, service: &Publishing) {
    check_lines(directory, life, &service.run.stdout());
    assert_eq!(service.run.processes(), [0_i32; 0]);
    assert!(!is_alive(service.run.pid()));
}

/// Fifty events, numbered from `first` on.
fn insert(postgres: &Postgres, first: u64) {
    let _ = postgres.sql(&format!(
        "insert into outbox (aggregatetype, aggregateid, type, payload) \
         select 'order', n % 5, 'Placed', jsonb_build_object('n', n) \
         from generate_series({first}, {first} + 49) n order by n"
    ));
}

fn number(record: &testkit::KafkaRecord) -> u64 {
    let value: Value = serde_json::from_slice(&record.payload).unwrap();
    value["n"].as_u64().unwrap()
}

/// Each line once and in order, from the first to the last that was written.
fn check_lines(directory: &Path, life: usize, stdout: &str) {
    let lines = messages(stdout, "stdout");
    let prefix = format!("line {life} ");
    let numbers: Vec<u64> =
        lines.iter().filter_map(|line| line.strip_prefix(&prefix)?.parse().ok()).collect();
    assert!(numbers.iter().copied().eq(1..=numbers.len() as u64), "life {life}: {numbers:?}");
    // The file may have been cut at the moment of the kill.
    let progress =
        fs::read_to_string(directory.join(format!("progress-{life}"))).unwrap_or_default();
    let written: u64 = progress.trim().parse().unwrap_or_default();
    assert!(numbers.len() as u64 >= written, "life {life}: {} of {written}", numbers.len());
}

/// Threads that publish until they are told to stop, and remember what was accepted.
struct Load {
    is_over: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
    accepted: Arc<Mutex<BTreeSet<String>>>,
}

impl Load {
    fn start(sock: &Path) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let accepted = Arc::new(Mutex::new(BTreeSet::new()));
        let threads = (0..PUBLISHERS).map(|publisher| {
            let (sock, is_over, accepted) = (sock.to_owned(), is_over.clone(), accepted.clone());
            thread::spawn(move || {
                let mut next: BTreeMap<u64, u64> = BTreeMap::new();
                let mut n = 0_u64;
                while !is_over.load(Ordering::Relaxed) {
                    let key = n % 3;
                    let number = next.entry(key).or_default();
                    let id = format!("{publisher}-{key}-{number}");
                    let body = json!({"n": *number}).to_string();
                    // What was not accepted is sent again under its id, as a careful sender does.
                    if publish(&sock, "orders", &format!("{publisher}-{key}"), &id, &body) {
                        accepted.lock().unwrap().insert(id);
                        *number += 1;
                    } else {
                        // A service that is being started again needs the processor more.
                        thread::park_timeout(Duration::from_millis(20));
                    }
                    n += 1;
                }
            })
        });
        let threads = threads.collect();
        Self { is_over, threads, accepted }
    }

    fn stop(self) -> BTreeSet<String> {
        self.is_over.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        Arc::try_unwrap(self.accepted).unwrap().into_inner().unwrap()
    }
}
