//! The rules, with a clock of their own.

use super::*;

/// A machine, its time, and a cluster that does what the test says.
struct Stand {
    machine: Machine,
    now: Instant,
    sent: Vec<u64>,
    acknowledged: Vec<u64>,
    buried: Vec<(u64, String)>,
    probes: usize,
    renewals: usize,
}

impl Stand {
    fn new() -> Self {
        let mut stand = Self {
            machine: Machine::new(1),
            now: Instant::now(),
            sent: Vec::new(),
            acknowledged: Vec::new(),
            buried: Vec::new(),
            probes: 0,
            renewals: 0,
        };
        stand.on(Event::Tick);
        stand
    }

    /// Puts an event in; a new producer is there at once.
    fn on(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            for effect in self.machine.on(event, self.now) {
                match effect {
                    Effect::Send(seq) => self.sent.push(seq),
                    Effect::Acknowledge(seq) => self.acknowledged.push(seq),
                    Effect::Bury(seq, why) => self.buried.push((seq, why)),
                    Effect::Probe => self.probes += 1,
                    Effect::Renew => {
                        self.renewals += 1;
                        events.push(Event::Renewed(Ok(())));
                    }
                    Effect::Retry(_) | Effect::Delivery(_) => {}
                }
            }
        }
    }

    fn take(&mut self, topic: &str, seqs: impl IntoIterator<Item = u64>) {
        let topic: Arc<str> = topic.into();
        let item = |seq| Item { seq, topic: topic.clone(), bytes: 10, attempts_max: 3 };
        self.on(Event::Took(seqs.into_iter().map(item).collect()));
    }

    /// What was sent since the last look.
    fn sent(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.sent)
    }

    fn fail(&mut self, seq: u64, kind: FailureKind) {
        self.on(Event::Failed(seq, Failure { kind, text: "refused".into() }));
    }

    /// Lets time go by until the machine wants to be woken.
    fn wait(&mut self) -> Duration {
        let at = self.machine.wake_at().expect("it waits for something");
        let waited = at.saturating_duration_since(self.now);
        self.now = self.now.max(at);
        self.on(Event::Tick);
        waited
    }

    /// A lane that flows: its first record was delivered.
    fn flowing(topic: &str) -> Self {
        let mut stand = Self::new();
        stand.take(topic, [0]);
        stand.on(Event::Delivered(0));
        stand.sent();
        stand
    }
}

#[test]
fn the_first_record_goes_alone_and_the_others_follow_together() {
    let mut stand = Stand::new();
    stand.take("orders", 1..=4);
    assert_eq!(stand.sent(), [1]);
    stand.on(Event::Delivered(1));
    assert_eq!(stand.sent(), [2, 3, 4]);
    for seq in [3, 2, 4] {
        stand.on(Event::Delivered(seq));
    }
    assert_eq!(stand.acknowledged, [1, 3, 2, 4]);
    assert_eq!(stand.machine.held(), 0);
}

#[test]
fn after_a_failure_the_lane_drains_and_goes_on_in_order() {
    let mut stand = Stand::flowing("orders");
    stand.take("orders", 1..=3);
    assert_eq!(stand.sent(), [1, 2, 3]);
    stand.fail(1, FailureKind::Passing);
    stand.take("orders", [4]);
    stand.now += Duration::from_secs(1);
    stand.on(Event::Tick);
    assert_eq!(stand.sent(), [0_u64; 0], "2 and 3 have not answered");
    stand.fail(2, FailureKind::Passing);
    stand.fail(3, FailureKind::Passing);
    assert_eq!(stand.sent(), [1], "the pause is over");
    stand.on(Event::Delivered(1));
    assert_eq!(stand.sent(), [2, 3, 4]);
}

#[test]
fn a_record_that_is_refused_alone_is_buried_and_holds_nobody_up() {
    let mut stand = Stand::new();
    stand.take("orders", 1..=3);
    stand.fail(1, FailureKind::Record);
    assert_eq!(stand.buried, [(1, "refused".into())]);
    assert_eq!(stand.sent(), [1, 2]);
    stand.on(Event::Delivered(2));
    assert_eq!(stand.sent(), [3]);
    stand.on(Event::Buried(1));
    stand.on(Event::Delivered(3));
    assert_eq!(stand.machine.held(), 0);
    assert_eq!(stand.acknowledged, [2, 3], "the grave acknowledges what it takes");
}

#[test]
fn of_a_refused_batch_only_the_guilty_record_is_buried() {
    let mut stand = Stand::flowing("orders");
    stand.take("orders", 1..=4);
    stand.sent();
    for seq in 1..=3 {
        stand.fail(seq, FailureKind::Record);
    }
    stand.on(Event::Broken);
    assert_eq!(stand.renewals, 1, "4 has not answered");
    stand.fail(4, FailureKind::Passing);
    assert_eq!(stand.renewals, 2);
    stand.wait();
    assert_eq!(stand.sent(), [1]);
    stand.on(Event::Delivered(1));
    assert_eq!(stand.sent(), [2]);
    stand.fail(2, FailureKind::Record);
    stand.on(Event::Broken);
    assert_eq!(stand.buried.len(), 1);
    assert_eq!(stand.sent(), [3]);
    stand.on(Event::Delivered(3));
    assert_eq!(stand.sent(), [4]);
}

#[test]
fn a_large_record_travels_alone() {
    let mut stand = Stand::flowing("orders");
    let item = |seq, bytes| Item { seq, topic: "orders".into(), bytes, attempts_max: 3 };
    stand.on(Event::Took(vec![item(1, 10), item(2, LARGE_BYTES), item(3, 10)]));
    assert_eq!(stand.sent(), [1]);
    stand.on(Event::Delivered(1));
    assert_eq!(stand.sent(), [2]);
    stand.fail(2, FailureKind::Record);
    assert_eq!(stand.buried.len(), 1);
    assert_eq!(stand.sent(), [3]);
}

#[test]
fn a_topic_that_stays_away_buries_its_records_after_their_attempts() {
    let mut stand = Stand::new();
    stand.take("gone", 1..=2);
    stand.take("orders", 3..=3);
    stand.on(Event::Delivered(3));
    for attempt in 1..=3 {
        assert_eq!(stand.buried.len(), 0, "before attempt {attempt}");
        stand.fail(1, FailureKind::Topic);
        if attempt < 3 {
            stand.wait();
        }
    }
    let whys = [(1, "refused (3 attempts)".into()), (2, "refused (3 attempts)".into())];
    assert_eq!(stand.buried, whys);
    stand.take("orders", [4]);
    assert_eq!(stand.sent().last(), Some(&4), "another topic goes on");
}

#[test]
fn failures_that_come_together_count_once() {
    let mut stand = Stand::flowing("orders");
    stand.take("orders", 1..=5);
    for seq in 1..=5 {
        stand.fail(seq, FailureKind::Topic);
    }
    assert_eq!(stand.buried, []);
}

#[test]
fn what_passes_is_tried_for_ever() {
    let mut stand = Stand::new();
    stand.take("orders", [1]);
    let mut longest = Duration::ZERO;
    for _ in 0..100 {
        stand.fail(1, FailureKind::Passing);
        longest = longest.max(stand.wait());
    }
    assert_eq!(stand.buried, []);
    assert!(longest > Duration::from_secs(20) && longest <= BACKOFF_MAX, "{longest:?}");
}

#[test]
fn nothing_is_sent_while_the_cluster_is_away_and_a_delivery_ends_that() {
    let mut stand = Stand::flowing("orders");
    stand.take("orders", 1..=2);
    assert_eq!(stand.sent(), [1, 2]);
    stand.on(Event::Unreachable("refused".into()));
    assert_eq!(stand.probes, 1, "doubt asks first");
    stand.take("orders", [3]);
    stand.on(Event::Probed(Err("refused".into())));
    assert_eq!(stand.machine.breaker.state(), Delivery::Stopped("refused".into()));
    stand.wait();
    assert_eq!((stand.probes, stand.sent()), (2, vec![]));
    stand.on(Event::Delivered(1));
    assert_eq!(stand.sent(), [3]);
    stand.on(Event::Probed(Err("too late".into())));
    assert_eq!(stand.machine.breaker.state(), Delivery::Flowing);
}

#[test]
fn an_idle_connection_that_was_closed_stops_nobody() {
    let mut stand = Stand::flowing("orders");
    stand.on(Event::Unreachable("disconnected".into()));
    stand.on(Event::Probed(Ok(())));
    stand.take("orders", [1]);
    assert_eq!(stand.sent(), [1]);
}

#[test]
fn silence_is_looked_into() {
    let mut stand = Stand::flowing("orders");
    stand.take("orders", [1]);
    stand.wait();
    assert_eq!(stand.probes, 1);
    stand.on(Event::Probed(Ok(())));
    stand.wait();
    assert_eq!(stand.probes, 2);
}

#[test]
fn a_producer_that_breaks_at_once_is_renewed_ever_slower() {
    let mut stand = Stand::new();
    for _ in 0..30 {
        stand.on(Event::Broken);
        if stand.machine.wake_at().is_some() {
            stand.wait();
        }
    }
    assert_eq!(stand.renewals, 31);
    stand.on(Event::Broken);
    assert!(stand.wait() > BACKOFF_MIN / 20);
}

#[test]
fn a_full_window_has_no_room() {
    let mut stand = Stand::new();
    let all = u64::try_from(WINDOW_RECORDS).unwrap();
    stand.take("orders", 1..=all);
    assert_eq!(stand.machine.room().0, 0);
    stand.on(Event::Delivered(1));
    assert_eq!(stand.machine.room().0, 1);
}

proptest::proptest! {
    /// Whatever the cluster answers, the first copies of a topic's records are stored in order, and
    /// in the end each is delivered or buried.
    #[test]
    fn first_copies_keep_their_order(
        seed: u64,
        answers in proptest::collection::vec(0..100_u8, 0..400),
    ) {
        let mut stand = Stand::new();
        let mut random = fastrand::Rng::with_seed(seed);
        let mut answers = answers.into_iter();
        let mut stored: BTreeMap<bool, Vec<u64>> = BTreeMap::new();
        let mut in_flight: Vec<u64> = Vec::new();
        let mut next = 1;
        for _ in 0..20_000 {
            if next <= 60 && random.bool() {
                let topic = if u64::is_multiple_of(next, 2) { "even" } else { "odd" };
                stand.take(topic, [next]);
                next += 1;
            }
            in_flight.extend(stand.sent());
            for (seq, _) in std::mem::take(&mut stand.buried) {
                stand.on(Event::Buried(seq));
            }
            for _ in 0..std::mem::take(&mut stand.probes) {
                stand.on(Event::Probed(Ok(())));
            }
            in_flight.extend(stand.sent());
            if in_flight.is_empty() {
                if next > 60 && stand.machine.held() == 0 {
                    break;
                }
                if stand.machine.wake_at().is_some() {
                    stand.wait();
                }
                continue;
            }
            // As the library: what was handed over first answers first.
            let seq = in_flight.remove(0);
            let kind = match answers.next().unwrap_or(100) {
                0..10 => FailureKind::Record,
                10..20 => FailureKind::Topic,
                20..30 => FailureKind::Passing,
                30..35 => FailureKind::Producer,
                _ => {
                    stored.entry(seq.is_multiple_of(2)).or_default().push(seq);
                    stand.on(Event::Delivered(seq));
                    continue;
                }
            };
            // Nothing that was handed over behind it is stored: see `kafka::producer`.
            let behind: Vec<u64> =
                in_flight.iter().copied().filter(|other| other % 2 == seq % 2).collect();
            in_flight.retain(|other| other % 2 != seq % 2);
            stand.fail(seq, kind);
            for seq in behind {
                stand.fail(seq, FailureKind::Passing);
            }
        }
        proptest::prop_assert_eq!(stand.machine.held(), 0);
        for seqs in stored.values() {
            proptest::prop_assert!(seqs.is_sorted(), "{:?}", seqs);
        }
    }
}
