//! Moves events from a table of the application's database to Kafka: the outbox pattern.
//!
//! ```text
//! app: begin; change; insert into outbox; commit        (the one atomic step)
//! us:  begin; claim shards; select -> Kafka -> acknowledged; delete; commit
//! ```
//!
//! The application writes an event in the transaction that makes it true. Each round here is one
//! transaction, too: it claims some of the [`sql::SHARDS`] parts of the aggregates with advisory
//! locks, so that several instances share the work and no aggregate has two of them; sends its
//! oldest events; and removes what the broker has. The way is straight to Kafka: the table is the
//! spool already, and a second one on disk would add a copy and a place to lose it, but no safety.
//! It deliberately changes no schema: `plimsoll outbox init` prints what it needs.
//!
//! Invariant: a row is removed only after the broker has acknowledged it, or in the transaction
//! that makes it a dead letter; so each event is delivered at least once, with its own id.

mod round;
pub mod settings;
pub mod sql;

use std::{convert::Infallible, sync::Arc, time::Duration};

use contract::{
    bodies::{Severity, Status},
    log_events,
};
use tokio::{task::JoinSet, time};

pub use self::settings::{OutboxError, OutboxSettings, parse};
use self::{
    round::{Round, Sent},
    sql::Table,
};
use crate::{
    board::{Board, Gates, Moment, Verdict},
    kafka::KafkaSettings,
    logs::{Level, Sink, Value},
    metrics::outbox::Counters,
    probe,
    publish::backoff,
    secret::Handle,
};

/// The name of its check on `/health`.
const NAME: &str = "outbox";
/// How long a login may take.
const LOGIN_LIMIT: Duration = Duration::from_secs(10);
/// How often its state is written to the board at least.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// What an outbox relay works with.
#[derive(Debug)]
pub struct Parts {
    /// The table and how it is read.
    pub settings: OutboxSettings,
    /// The cluster.
    pub kafka: KafkaSettings,
    /// Who publishes, for the header `plimsoll-source`.
    pub source: String,
    /// Where its check is shown.
    pub board: Arc<Board>,
    /// What it counts.
    pub counters: Counters,
    /// Where to tell of outages and dead letters.
    pub sink: Sink,
    /// What fills the references in the settings.
    pub secrets: Handle,
}

/// An outbox relay at work. Dropping it ends it; an open transaction is rolled back.
#[derive(Debug)]
pub struct Outbox {
    _tasks: JoinSet<()>,
}

/// Starts to move events. Must be called inside a tokio runtime.
#[must_use]
pub fn start(parts: Parts) -> Outbox {
    let mut tasks = JoinSet::new();
    tasks.spawn(run(parts));
    Outbox { _tasks: tasks }
}

/// Round after round; a failure is told once, and answered with a pause.
async fn run(parts: Parts) {
    parts.counters.declare();
    let mut state = Narrator { parts: &parts, failures: 0, is_told: false };
    state.report(Some("no result yet"));
    loop {
        let why = match session(&parts, &mut state).await {
            Ok(never) => match never {},
            Err(why) => why,
        };
        state.failed(&why);
        time::sleep(backoff(state.failures, &mut fastrand::Rng::new())).await;
    }
}

/// One login and one producer, until something fails.
async fn session(parts: &Parts, state: &mut Narrator<'_>) -> Result<Infallible, String> {
    let url = parts.secrets.fill(&parts.settings.postgres).await.map_err(|e| e.to_string())?;
    let config = parts.kafka.filled(&parts.secrets).await?;
    let login = probe::postgres_login(&url, LOGIN_LIMIT);
    let mut database = login.await.map_err(|why| format!("database: {why}"))?;
    let table = Table::find(&mut database.client, &parts.settings).await?;
    let mut round = Round::new(&parts.settings, table, &config, &parts.source)?;
    round.probe().await?;
    loop {
        let outcome = round.run(&mut database.client).await;
        match &outcome {
            Ok(sent) => state.went(sent),
            Err(why) if round.goes_on() => state.failed(why),
            Err(why) => return Err(why.clone()),
        }
        if matches!(&outcome, Ok(sent) if sent.is_more) {
            continue;
        }
        if outcome.is_err() {
            time::sleep(backoff(state.failures, &mut fastrand::Rng::new())).await;
            continue;
        }
        let poll = parts.settings.poll.min(REPORT_INTERVAL);
        // A notification that came during the round is kept for this wait.
        let _ = time::timeout(poll, database.told.notified()).await;
        if database.client.is_closed() {
            return Err("database: it closed the connection".into());
        }
    }
}

/// Tells the board, the log and the metrics how it goes.
struct Narrator<'a> {
    parts: &'a Parts,
    failures: u32,
    is_told: bool,
}

impl Narrator<'_> {
    fn went(&mut self, sent: &Sent) {
        self.parts.counters.delivered(sent.delivered);
        for (id, topic, why) in &sent.dead {
            self.parts.counters.dead();
            let fields = [
                ("event", Value::Str(log_events::OUTBOX_DEAD_LETTER.name)),
                ("topic", Value::Str(topic)),
                ("id", Value::Str(id)),
                ("output", Value::Str(why)),
            ];
            let words = "the broker refuses an event for good; it is in the table of dead letters";
            self.parts.sink.event(Level::Error, words, &fields);
        }
        if self.is_told {
            let fields = [("event", Value::Str(log_events::OUTBOX_RESUMED.name))];
            self.parts.sink.event(Level::Info, "the outbox is relayed again", &fields);
        }
        self.failures = 0;
        self.is_told = false;
        self.report(None);
    }

    fn failed(&mut self, why: &str) {
        self.failures = self.failures.saturating_add(1);
        self.parts.counters.failed();
        // A broker that is restarted is not worth a line.
        if self.failures == 2 && !self.is_told {
            self.is_told = true;
            let fields = [
                ("event", Value::Str(log_events::OUTBOX_STOPPED.name)),
                ("output", Value::Str(why)),
            ];
            let words = "the outbox cannot be relayed; its events stay in the table";
            self.parts.sink.event(Level::Warn, words, &fields);
        }
        self.report(Some(why));
    }

    /// Keeps the check on `/health`: soft, since the application serves without it.
    fn report(&self, problem: Option<&str>) {
        let now = Moment::now();
        let board = &self.parts.board;
        let known = board.snapshot();
        let last = known.verdicts.get(NAME).and_then(|verdict| verdict.last_success);
        let verdict = Verdict {
            kind: NAME,
            severity: Severity::Soft,
            gates: Gates::default(),
            interval: REPORT_INTERVAL.max(round::ANSWER_LIMIT),
            status: if problem.is_some() { Status::Fail } else { Status::Pass },
            observed: None,
            depth: None,
            checked: now,
            last_success: if problem.is_some() { last } else { Some(now.wall) },
            consecutive_failures: self.failures,
            output: problem.map(|why| self.parts.sink.redactor().redact_str(why).into_owned()),
        };
        board.record(NAME, verdict, now);
    }
}
