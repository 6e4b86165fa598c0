//! `plimsoll run --outbox` between a real PostgreSQL and a real Kafka.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    time::Duration,
};

use testkit::{Kafka, KafkaRecord, Postgres, Run, wait_for};

use crate::run_harness::{SIGKILL, SIGTERM, binary};

/// Everything together, on a machine that does other things too.
const LIMIT: Duration = Duration::from_secs(120);
const EVENTS: usize = 10_000;
const AGGREGATES: usize = 100;

/// What `plimsoll outbox init` prints.
pub(crate) fn ddl() -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    let output = command.args(["outbox", "init", "--print"]).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

fn relay(postgres: &Postgres, kafka: &Kafka) -> Run {
    relay_that(postgres, kafka, "delete")
}

fn relay_that(postgres: &Postgres, kafka: &Kafka, done: &str) -> Run {
    let settings = serde_json::json!({
        "postgres": postgres.url(),
        "kafka": {"brokers": kafka.bootstrap()},
        "poll": "200ms",
        "done": done,
    });
    Run::start(&binary(), ["--listen", "off", "--outbox", &settings.to_string()])
}

/// Inserts events `from..to`, each aggregate's numbered by its place in the whole.
fn insert(postgres: &Postgres, from: usize, to: usize) {
    let _ = postgres.sql(&format!(
        "insert into outbox (aggregatetype, aggregateid, type, payload, traceparent) \
         select 'order', n % {AGGREGATES}, 'Placed', jsonb_build_object('n', n), \
         '00-11111111111111111111111111111111-2222222222222222-01' \
         from generate_series({from}, {to} - 1) n order by n"
    ));
}

fn left(postgres: &Postgres) -> usize {
    postgres.sql("select count(*) from outbox").parse().unwrap()
}

fn number(record: &KafkaRecord) -> usize {
    let value: serde_json::Value = serde_json::from_slice(&record.payload).unwrap();
    usize::try_from(value["n"].as_u64().unwrap()).unwrap()
}

#[test]
fn every_event_arrives_in_order_though_relay_and_broker_and_database_die() {
    let (mut postgres, mut kafka) = (Postgres::start(), Kafka::start());
    kafka.create_topic("outbox.event.order", 3, &[]);
    let _ = postgres.sql(&ddl());
    let first = relay(&postgres, &kafka);
    let second = relay(&postgres, &kafka);
    insert(&postgres, 0, EVENTS / 2);
    wait_for("some events", LIMIT, || kafka.count("outbox.event.order") > 500);
    first.signal(SIGKILL);
    let third = relay(&postgres, &kafka);
    kafka.kill();
    insert(&postgres, EVENTS / 2, EVENTS);
    kafka.restart();
    wait_for("more events", LIMIT, || left(&postgres) < EVENTS / 2);
    postgres.kill();
    postgres.restart();
    wait_for("an empty outbox", LIMIT, || left(&postgres) == 0);

    let mut seen: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut ids: BTreeMap<usize, String> = BTreeMap::new();
    for record in kafka.consume("outbox.event.order") {
        let n = number(&record);
        assert_eq!(record.key_text(), (n % AGGREGATES).to_string());
        assert_eq!(
            (record.header("type"), record.header("id")),
            ("Placed", record.header("plimsoll-id"))
        );
        assert!(record.header("traceparent").starts_with("00-1111"));
        let id = ids.entry(n).or_insert_with(|| record.header("id").to_owned());
        assert_eq!(id, record.header("id"), "copies have the same id");
        seen.entry(record.key_text()).or_default().push(n);
    }
    assert_eq!(ids.len(), EVENTS, "every event is in Kafka");
    assert_eq!(ids.values().collect::<BTreeSet<_>>().len(), EVENTS);
    for (aggregate, all) in seen {
        let mut once = BTreeSet::new();
        let firsts: Vec<_> = all.into_iter().filter(|n| once.insert(*n)).collect();
        assert!(firsts.is_sorted(), "aggregate {aggregate}: {firsts:?}");
    }
    for mut run in [second, third] {
        run.signal(SIGTERM);
        assert_eq!(run.wait(LIMIT).code, 0);
    }
}

#[test]
fn an_event_that_kafka_refuses_is_set_aside_and_holds_nobody_up() {
    let (postgres, kafka) = (Postgres::start(), Kafka::start());
    kafka.create_topic("outbox.event.order", 1, &[("max.message.bytes", "2000")]);
    let _ = postgres.sql(&ddl());
    insert(&postgres, 0, 10);
    let _ = postgres.sql(
        "insert into outbox (aggregatetype, aggregateid, type, payload) \
         select 'order', '3', 'Placed', jsonb_build_object('n', 10, 'x', \
         string_agg(md5(n::text), '')) from generate_series(1, 1000) n",
    );
    insert(&postgres, 11, 20);
    let _relay = relay(&postgres, &kafka);
    wait_for("an empty outbox", LIMIT, || left(&postgres) == 0);
    let dead = postgres.sql("select error from outbox_dead where payload->>'n' = '10'");
    assert!(dead.contains("MessageSizeTooLarge"), "{dead}");
    let numbers: BTreeSet<_> = kafka.consume("outbox.event.order").iter().map(number).collect();
    assert_eq!(numbers, (0..20).filter(|n| *n != 10).collect());
}

#[test]
fn a_marked_event_stays_in_its_table_and_is_sent_once() {
    let (postgres, kafka) = (Postgres::start(), Kafka::start());
    kafka.create_topic("outbox.event.order", 1, &[]);
    let _ = postgres.sql(&ddl());
    let unmarked = || postgres.sql("select count(*) from outbox where published_at is null");
    insert(&postgres, 0, 50);
    let mut first = relay_that(&postgres, &kafka, "mark");
    wait_for("marks", LIMIT, || unmarked() == "0");
    first.signal(SIGTERM);
    assert_eq!(first.wait(LIMIT).code, 0);
    insert(&postgres, 50, 60);
    let _second = relay_that(&postgres, &kafka, "mark");
    wait_for("more marks", LIMIT, || unmarked() == "0");
    assert_eq!(left(&postgres), 60);
    let mut numbers: Vec<_> = kafka.consume("outbox.event.order").iter().map(number).collect();
    // Each is an aggregate of its own, and those have no order among them.
    numbers.sort_unstable();
    assert_eq!(numbers, (0..60).collect::<Vec<_>>());
}
