//! A producer of librdkafka, and what it reports.
//!
//! It has threads of its own, so what happens comes as [`Report`]s through a queue. The queue needs
//! no bound of its own: there is one report a record, and whoever sends bounds the records.
//!
//! Invariant: nothing here waits for the network on the engine's thread, not even the end.

use std::{
    borrow::Cow,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rdkafka::{
    ClientContext,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    error::{KafkaError, RDKafkaErrorCode},
    message::{DeliveryResult, Header, OwnedHeaders},
    producer::{BaseRecord, Producer as _, ProducerContext, PurgeConfig, ThreadedProducer},
};
use tokio::sync::mpsc;

use super::{Config, Failure, FailureKind};

/// How long a probe waits for the cluster.
const PROBE_LIMIT: Duration = Duration::from_secs(3);

/// A record on its way.
#[derive(Debug)]
pub(crate) struct Outgoing<'a> {
    pub(crate) topic: &'a str,
    /// Where it has to go, if its key does not say.
    pub(crate) partition: Option<i32>,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) payload: Option<&'a [u8]>,
    pub(crate) headers: Vec<(Cow<'a, str>, &'a [u8])>,
    /// When it was accepted, in milliseconds of Unix time.
    pub(crate) at_ms: Option<i64>,
    /// What its report is called.
    pub(crate) tag: u64,
}

/// What a producer tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// All replicas that are in step have the record.
    Delivered(u64),
    /// It was not stored, as far as is known.
    Failed(u64, Failure),
    /// The producer has to be replaced; reports of its records still come.
    Broken(String),
    /// No broker can be reached.
    Unreachable(String),
}

/// Where reports come out, each with the number of its producer.
pub(crate) type Reports = mpsc::UnboundedReceiver<(u64, Report)>;

/// The two ends of the queue of reports.
pub(crate) fn reports() -> (mpsc::UnboundedSender<(u64, Report)>, Reports) {
    mpsc::unbounded_channel()
}

/// A connection to a cluster. Dropping it gives up what is still in flight.
pub(crate) struct Producer {
    inner: Option<Arc<ThreadedProducer<Context>>>,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Producer")
    }
}

impl Producer {
    /// Starts its threads; it connects by itself. `number` comes with each report.
    ///
    /// # Errors
    /// What the library says, without values.
    pub(crate) fn start(
        config: &Config,
        number: u64,
        reports: &mpsc::UnboundedSender<(u64, Report)>,
    ) -> Result<Self, String> {
        let context = Context { number, reports: reports.clone(), trouble: Mutex::default() };
        let inner = ThreadedProducer::from_config_and_context(config.client(), context);
        inner.map(|inner| Self { inner: Some(Arc::new(inner)) }).map_err(|error| error.to_string())
    }

    /// Hands a record over; its report comes later.
    ///
    /// # Errors
    /// When the library does not take it; then no report comes.
    pub(crate) fn send(&self, outgoing: &Outgoing<'_>) -> Result<(), Failure> {
        let Some(inner) = &self.inner else { return Err(Failure::of(RDKafkaErrorCode::Fatal)) };
        let headers = outgoing.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key, value: Some(*value) })
        });
        let tag = usize::try_from(outgoing.tag).unwrap_or(usize::MAX);
        let mut record: BaseRecord<'_, [u8], [u8], usize> =
            BaseRecord::with_opaque_to(outgoing.topic, tag).headers(headers);
        record.payload = outgoing.payload;
        record.key = outgoing.key;
        record.partition = outgoing.partition;
        record.timestamp = outgoing.at_ms;
        inner.send(record).map_err(|(error, _)| match error.rdkafka_error_code() {
            Some(code) => Failure::of(code),
            None => Failure { kind: FailureKind::Passing, text: error.to_string() },
        })
    }

    /// Gives up what is in flight; the reports say so.
    pub(crate) fn give_up(&self) {
        if let Some(inner) = &self.inner {
            inner.purge(PurgeConfig::default().queue().inflight());
        }
    }

    /// Asks any broker about a topic, or about all of them when none is named.
    ///
    /// # Errors
    /// What was in the way.
    pub(crate) fn probe(
        &self,
        topic: Option<&str>,
    ) -> impl Future<Output = Result<(), String>> + Send + use<> {
        let inner = self.inner.clone();
        let topic = topic.map(str::to_owned);
        let ask = move || {
            let inner = inner.ok_or("there is no client")?;
            let answer = inner.client().fetch_metadata(topic.as_deref(), PROBE_LIMIT);
            // What the connection said tells more than that there was no answer.
            let words = |error: KafkaError| inner.context().trouble().unwrap_or(error.to_string());
            answer.map(drop).map_err(words)
        };
        async move {
            let asked = tokio::task::spawn_blocking(ask).await;
            asked.unwrap_or_else(|error| Err(error.to_string()))
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            // Its threads are joined, which takes until a connection attempt ends; a thread that
            // cannot be started leaves that to the end of the process.
            let inner = std::mem::ManuallyDrop::new(inner);
            let end = move || drop(std::mem::ManuallyDrop::into_inner(inner));
            let _ = std::thread::Builder::new().name("plimsoll-k-end".into()).spawn(end);
        }
    }
}

/// Turns callbacks, which come on the library's threads, into reports.
struct Context {
    number: u64,
    reports: mpsc::UnboundedSender<(u64, Report)>,
    /// What was last wrong with a connection, in words.
    trouble: Mutex<Option<String>>,
}

impl Context {
    fn report(&self, report: Report) {
        // Whoever does not listen any more has nothing to send either.
        let _ = self.reports.send((self.number, report));
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(code) if Failure::of(code).kind == FailureKind::Producer => {
                self.report(Report::Broken(reason.to_owned()));
            }
            Some(RDKafkaErrorCode::AllBrokersDown) => {
                let words = self.trouble().unwrap_or_else(|| reason.to_owned());
                self.report(Report::Unreachable(words));
            }
            _ => {
                let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
                *trouble = Some(reason.to_owned());
            }
        }
    }

    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}
}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, tag: usize) {
        let tag = tag as u64;
        self.report(match result {
            Ok(_) => Report::Delivered(tag),
            Err((error, _)) => {
                let passing = || Failure { kind: FailureKind::Passing, text: error.to_string() };
                let code = error.rdkafka_error_code();
                Report::Failed(tag, code.map_or_else(passing, Failure::of))
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rdkafka::{
        mocking::MockCluster, producer::DefaultProducerContext, types::RDKafkaApiKey,
        types::RDKafkaRespErr,
    };

    use super::*;
    use crate::kafka::KafkaSettings;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn cluster() -> MockCluster<'static, DefaultProducerContext> {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("orders", 1, 1).unwrap();
        cluster
    }

    fn config(brokers: &str, more: &[(&str, &str)]) -> Config {
        let properties: BTreeMap<_, _> = more.iter().copied().collect();
        let settings = serde_json::json!({"brokers": brokers, "properties": properties});
        serde_json::from_value::<KafkaSettings>(settings).unwrap().config().unwrap()
    }

    fn outgoing(tag: u64) -> Outgoing<'static> {
        Outgoing {
            topic: "orders",
            partition: None,
            key: Some(b"k"),
            payload: Some(b"body"),
            headers: vec![("plimsoll-id".into(), b"1")],
            at_ms: None,
            tag,
        }
    }

    /// The reports about `count` records, and whether the producer broke.
    async fn outcome(reports: &mut Reports, count: usize) -> (Vec<(u64, Option<Failure>)>, bool) {
        let (mut outcomes, mut is_broken) = (Vec::new(), false);
        while outcomes.len() < count {
            let report = tokio::time::timeout(PATIENCE, reports.recv()).await.unwrap();
            match report.unwrap().1 {
                Report::Delivered(tag) => outcomes.push((tag, None)),
                Report::Failed(tag, failure) => outcomes.push((tag, Some(failure))),
                Report::Broken(_) => is_broken = true,
                Report::Unreachable(_) => {}
            }
        }
        (outcomes, is_broken)
    }

    #[tokio::test]
    async fn records_are_delivered_in_order() {
        let cluster = cluster();
        let (sender, mut reports) = reports();
        let producer =
            Producer::start(&config(&cluster.bootstrap_servers(), &[]), 7, &sender).unwrap();
        (0..100).for_each(|tag| producer.send(&outgoing(tag)).unwrap());
        let (outcomes, is_broken) = outcome(&mut reports, 100).await;
        assert!(outcomes.iter().all(|(_, failure)| failure.is_none()) && !is_broken);
        assert!(outcomes.iter().map(|(tag, _)| tag).is_sorted());
        assert_eq!(producer.probe(Some("orders")).await, Ok(()));
    }

    #[tokio::test]
    async fn errors_that_pass_are_retried_inside_and_keep_the_order() {
        let cluster = cluster();
        let passing = [
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        ];
        cluster.request_errors(RDKafkaApiKey::Produce, &passing);
        let (sender, mut reports) = reports();
        let config = config(&cluster.bootstrap_servers(), &[("batch.num.messages", "3")]);
        let producer = Producer::start(&config, 7, &sender).unwrap();
        (0..30).for_each(|tag| producer.send(&outgoing(tag)).unwrap());
        let (outcomes, is_broken) = outcome(&mut reports, 30).await;
        assert!(outcomes.iter().all(|(_, failure)| failure.is_none()), "{outcomes:?}");
        assert!(outcomes.iter().map(|(tag, _)| tag).is_sorted() && !is_broken);
    }

    #[tokio::test]
    async fn what_waits_behind_a_refused_batch_comes_back_and_the_producer_is_over() {
        let cluster = cluster();
        let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
        cluster.request_errors(RDKafkaApiKey::Produce, &[refused]);
        cluster.broker_round_trip_time(-1, Duration::from_millis(50)).unwrap();
        let (sender, mut reports) = reports();
        let config = config(&cluster.bootstrap_servers(), &[("batch.num.messages", "3")]);
        let producer = Producer::start(&config, 7, &sender).unwrap();
        (0..60).for_each(|tag| producer.send(&outgoing(tag)).unwrap());
        let (outcomes, mut is_broken) = outcome(&mut reports, 60).await;
        while !is_broken {
            let report = tokio::time::timeout(PATIENCE, reports.recv()).await.unwrap();
            is_broken = matches!(report.unwrap().1, Report::Broken(_));
        }
        let kind = |tag: u64| {
            let outcome = outcomes.iter().find(|(of, _)| *of == tag).unwrap();
            outcome.1.as_ref().map(|failure| failure.kind)
        };
        assert_eq!((0..3).map(kind).collect::<Vec<_>>(), [Some(FailureKind::Record); 3]);
        // The mock cluster, unlike a broker, stores what was already on the way.
        assert!((15 + 3..60).map(kind).all(|kind| kind == Some(FailureKind::Passing)));
        assert!(producer.send(&outgoing(99)).is_err(), "a broken producer takes nothing");
    }

    #[tokio::test]
    async fn a_record_that_is_too_large_here_disturbs_no_other() {
        let cluster = cluster();
        let (sender, mut reports) = reports();
        let config = config(&cluster.bootstrap_servers(), &[("message.max.bytes", "2000")]);
        let producer = Producer::start(&config, 7, &sender).unwrap();
        let large = vec![0; 5000];
        let refused = producer.send(&Outgoing { payload: Some(&large), ..outgoing(0) });
        assert_eq!(refused.unwrap_err().kind, FailureKind::Record);
        producer.send(&outgoing(1)).unwrap();
        let (outcomes, is_broken) = outcome(&mut reports, 1).await;
        assert!(outcomes[0] == (1, None) && !is_broken);
    }

    #[tokio::test]
    async fn nobody_at_the_address_is_said_in_words() {
        let (sender, mut reports) = reports();
        let producer = Producer::start(&config("127.0.0.1:1", &[]), 7, &sender).unwrap();
        let report = tokio::time::timeout(PATIENCE, reports.recv()).await.unwrap();
        let Some((7, Report::Unreachable(words))) = report else { panic!("{report:?}") };
        assert!(words.contains("Connection refused"), "{words}");
        assert!(producer.probe(None).await.unwrap_err().contains("Connection refused"));
    }

    #[tokio::test]
    async fn an_end_with_records_in_flight_takes_no_time_here() {
        let (sender, _reports) = reports();
        let producer = Producer::start(&config("127.0.0.1:1", &[]), 7, &sender).unwrap();
        producer.send(&outgoing(1)).unwrap();
        let before = std::time::Instant::now();
        drop(producer);
        assert!(before.elapsed() < Duration::from_millis(100));
    }
}
