//! One round: events of some parts of the table, sent, acknowledged, removed; one transaction.
//!
//! As in `publish::relay`, a failure makes it careful: one event a round until those that failed
//! together have passed or shown to be refused on their own. It deliberately keeps nothing between
//! rounds but that. Invariant: the producer of a failed round is never used again, so what it may
//! still have stored is a prefix of what the next round sends.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time;
use tokio_postgres::Client;

use super::{
    settings::OutboxSettings,
    sql::{Row, Table, said},
};
use crate::kafka::{Config, Failure, FailureKind, Outgoing, Producer, Report, Reports, reports};

/// How long the acknowledgements of a round may take.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(15);

/// What a round did.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// How many events were delivered.
    pub(super) delivered: u64,
    /// Those that were not, for good: id, topic, why.
    pub(super) dead: Vec<(String, String, String)>,
    /// Whether there may be more right now.
    pub(super) is_more: bool,
}

/// What rounds have in common.
pub(super) struct Round<'a> {
    settings: &'a OutboxSettings,
    table: Table,
    config: &'a Config,
    source: &'a str,
    producer: Option<Producer>,
    reporting: tokio::sync::mpsc::UnboundedSender<(u64, Report)>,
    reports: Reports,
    number: u64,
    /// How many rounds of one event are still to come.
    careful: usize,
    /// How often events were refused by their topics, by id; gone once they are done.
    attempts: BTreeMap<String, u32>,
    goes_on: bool,
}

impl<'a> Round<'a> {
    pub(super) fn new(
        settings: &'a OutboxSettings,
        table: Table,
        config: &'a Config,
        source: &'a str,
    ) -> Result<Self, String> {
        let (reporting, reports) = reports();
        let producer = Some(Producer::start(config, 0, &reporting)?);
        Ok(Self {
            settings,
            table,
            config,
            source,
            producer,
            reporting,
            reports,
            number: 0,
            // The first event of a producer goes alone; see `kafka`.
            careful: 1,
            attempts: BTreeMap::new(),
            goes_on: true,
        })
    }

    /// Whether the cluster is there: no transaction is opened to wait for it.
    pub(super) async fn probe(&self) -> Result<(), String> {
        let Some(producer) = &self.producer else { return Err("there is no client".into()) };
        // The topics are known only from the rows.
        let probe = producer.probe(self.settings.topics.values().next().map(String::as_str));
        probe.await.map_err(|why| format!("kafka: {why}"))
    }

    /// Whether the next round may use the same login.
    pub(super) fn goes_on(&self) -> bool {
        self.goes_on
    }

    /// Sends what there is.
    pub(super) async fn run(&mut self, client: &mut Client) -> Result<Sent, String> {
        self.goes_on = false;
        if self.producer.is_none() {
            self.number += 1;
            self.producer = Some(Producer::start(self.config, self.number, &self.reporting)?);
            self.careful = self.careful.max(1);
            self.probe().await?;
        }
        let count = if self.careful > 0 { 1 } else { i64::from(self.settings.batch) };
        let transaction = client.transaction().await.map_err(said)?;
        let rows = self.table.take(&transaction, count).await?;
        if rows.is_empty() {
            transaction.commit().await.map_err(said)?;
            self.goes_on = true;
            return Ok(Sent::default());
        }
        let failures = self.send(&rows).await;
        let mut sent = Sent { is_more: true, ..Sent::default() };
        let mut done = Vec::with_capacity(rows.len());
        for (index, row) in rows.iter().enumerate() {
            match failures.get(&index) {
                None => {
                    sent.delivered += 1;
                    done.push(row.id.clone());
                }
                Some(failure) if self.is_final(failure, row, rows.len()) => {
                    self.table.bury(&transaction, &row.id, &failure.text).await?;
                    let topic = self.settings.topic_of(&row.aggregate_type);
                    sent.dead.push((row.id.clone(), topic, failure.text.clone()));
                    done.push(row.id.clone());
                }
                Some(_) => {}
            }
        }
        self.table.finish(&transaction, &done).await?;
        transaction.commit().await.map_err(said)?;
        self.goes_on = true;
        for id in &done {
            self.attempts.remove(id);
        }
        self.learn(&failures);
        let refused = failures.into_values().next();
        // Something was done, so the next round need not wait.
        match refused.filter(|_| done.is_empty()) {
            Some(failure) => Err(format!("kafka: {failure}")),
            None => Ok(sent),
        }
    }

    /// Hands all over and waits for all; returns those that failed.
    async fn send(&mut self, rows: &[Row]) -> BTreeMap<usize, Failure> {
        let mut failures = BTreeMap::new();
        let mut waiting = BTreeSet::new();
        for (index, row) in rows.iter().enumerate() {
            match self.hand_over(index, row) {
                Ok(()) => {
                    waiting.insert(index);
                }
                Err(failure) => {
                    failures.insert(index, failure);
                }
            }
        }
        let deadline = time::Instant::now() + ANSWER_LIMIT;
        while !waiting.is_empty() {
            let report = time::timeout_at(deadline, self.reports.recv()).await;
            let Ok(Some((number, report))) = report else { break };
            if number != self.number {
                continue;
            }
            match report {
                Report::Delivered(tag) => {
                    waiting.remove(&index(tag));
                }
                Report::Failed(tag, failure) => {
                    waiting.remove(&index(tag));
                    failures.insert(index(tag), failure);
                }
                Report::Broken(_) | Report::Unreachable(_) => {}
            }
        }
        let limit = ANSWER_LIMIT.as_secs();
        let silent = Failure {
            kind: FailureKind::Passing,
            text: format!("no acknowledgement for {limit} s"),
        };
        failures.extend(waiting.into_iter().map(|index| (index, silent.clone())));
        failures
    }

    fn hand_over(&self, index: usize, row: &Row) -> Result<(), Failure> {
        let topic = self.settings.topic_of(&row.aggregate_type);
        let mut headers = vec![
            ("id".into(), row.id.as_bytes()),
            ("type".into(), row.kind.as_bytes()),
            ("plimsoll-id".into(), row.id.as_bytes()),
            ("plimsoll-source".into(), self.source.as_bytes()),
            ("content-type".into(), b"application/json".as_slice()),
        ];
        let parent = row.traceparent.as_ref();
        headers.extend(parent.map(|parent| ("traceparent".into(), parent.as_bytes())));
        let outgoing = Outgoing {
            topic: &topic,
            partition: None,
            key: Some(row.aggregate_id.as_bytes()),
            payload: Some(row.payload.as_bytes()),
            headers,
            at_ms: None,
            tag: index as u64,
        };
        let Some(producer) = &self.producer else {
            let text = "there is no client".into();
            return Err(Failure { kind: FailureKind::Producer, text });
        };
        producer.send(&outgoing)
    }

    /// Whether an event is refused for good: on its own, or by its topic too often.
    fn is_final(&mut self, failure: &Failure, row: &Row, n_rows: usize) -> bool {
        match failure.kind {
            FailureKind::Record => n_rows == 1,
            FailureKind::Topic => {
                let attempts = self.attempts.entry(row.id.clone()).or_default();
                *attempts += 1;
                *attempts >= self.settings.max_attempts
            }
            FailureKind::Producer | FailureKind::Passing => false,
        }
    }

    /// Decides how the next round goes.
    fn learn(&mut self, failures: &BTreeMap<usize, Failure>) {
        self.careful = self.careful.saturating_sub(1);
        if failures.is_empty() {
            return;
        }
        // Whatever it still does is behind us.
        self.producer = None;
        let suspects = failures.values().filter(|failure| failure.kind == FailureKind::Record);
        self.careful = self.careful.max(suspects.count());
    }
}

fn index(tag: u64) -> usize {
    usize::try_from(tag).unwrap_or(usize::MAX)
}
