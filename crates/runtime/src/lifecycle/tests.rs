//! Walks every state of the machine with every event at every moment.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const TERM: Event = Event::Stop { signal: 15, is_hasty: false };
const QUIT: Event = Event::Stop { signal: 3, is_hasty: true };
const APP_CODE: u8 = 7;
/// No walk asks for a stop later than this, in ticks.
const LAST_STOP: u64 = 2;

const EVENTS: [Event; 15] = [
    Event::Boot,
    Event::Resolved,
    Event::Unresolved { code: 77 },
    Event::GatesPassed,
    Event::Spawned,
    Event::SpawnFailed { code: 127 },
    Event::Started,
    Event::Busy,
    Event::Idle,
    TERM,
    QUIT,
    Event::AppExited { code: APP_CODE },
    Event::Swept,
    Event::Flushed,
    Event::Scraped,
];

fn ticks(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// The longest that a stop may take.
fn budget(plan: Plan) -> Duration {
    plan.drain + plan.grace + plan.sweep + plan.flush + plan.linger
}

fn plan(is_gated: bool, has_app: bool) -> Plan {
    Plan {
        is_resolving: is_gated && !has_app,
        is_gated,
        start_timeout: ticks(2),
        has_app,
        drain: ticks(2),
        grace: ticks(4),
        sweep: ticks(1),
        flush: ticks(1),
        linger: ticks(1),
    }
}

/// One point of the walk: the machine and all that a driver and an observer remember.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Node {
    machine: Machine,
    now: Duration,
    timers: BTreeMap<Timer, Duration>,
    stop_since: Option<Duration>,
    stop_signals: u32,
    terminated_at: Option<Duration>,
    is_hasty: bool,
    app_code: Option<u8>,
    exit: Option<Outcome>,
}

impl Node {
    fn new(plan: Plan) -> Self {
        Self {
            machine: Machine::new(plan),
            now: Duration::ZERO,
            timers: BTreeMap::new(),
            stop_since: None,
            stop_signals: 0,
            terminated_at: None,
            is_hasty: false,
            app_code: None,
            exit: None,
        }
    }

    fn take(&self, event: Event) -> Self {
        let mut next = self.clone();
        if let Event::Stop { is_hasty, .. } = event {
            next.stop_since.get_or_insert(self.now);
            next.stop_signals = (next.stop_signals + 1).min(SIGNALS_TO_KILL);
            next.is_hasty |= is_hasty;
        }
        if let (Event::AppExited { code }, None) = (event, self.exit) {
            next.app_code.get_or_insert(code);
        }
        for effect in next.machine.on(event, self.now) {
            next.carry_out(effect);
        }
        next.machine.stop_signals = next.machine.stop_signals.min(SIGNALS_TO_KILL);
        next
    }

    fn carry_out(&mut self, effect: Effect) {
        assert!(self.exit.is_none(), "an effect after the exit: {effect:?}");
        match effect {
            Effect::Arm(timer, at) => drop(self.timers.insert(timer, at)),
            Effect::Exit(outcome) => self.exit = Some(outcome),
            Effect::Kill => self.check_kill(),
            Effect::Terminate => {
                assert!(self.stop_since.is_some(), "nobody asked for a stop");
                self.terminated_at.get_or_insert(self.now);
            }
            Effect::Spawn => assert!(self.stop_since.is_none(), "a spawn during a stop"),
            _ => {}
        }
    }

    fn check_kill(&self) {
        let since = self.stop_since.expect("a kill needs a stop");
        let plan = self.machine.plan;
        if self.stop_signals < SIGNALS_TO_KILL {
            let asked = self.terminated_at.expect("a kill before the stop signal");
            assert!(self.now >= asked + app_share(plan.grace), "the app had no time to stop");
            assert!(self.now <= since + plan.drain + plan.grace, "the app had too much time");
        }
        if self.stop_signals == 1 && !self.is_hasty {
            assert!(self.now >= since + plan.grace, "a kill before the grace was over");
        }
    }

    fn check(&self) {
        let plan = self.machine.plan;
        if let Some(since) = self.stop_since {
            let latest = since + budget(plan);
            assert!(self.exit.is_some() || self.now <= latest, "a stop outlived its budget");
        }
        if let (Some(exit), Some(code)) = (self.exit, self.app_code) {
            let is_own = !matches!(exit.cause, Cause::App | Cause::Killed);
            assert!(is_own || exit.code == code, "the app's code was lost: {exit:?}");
        }
        if self.stop_since.is_some() {
            assert_ne!(self.machine.phase(), Phase::Started, "ready during a stop");
        }
    }

    fn successors(&self) -> Vec<Self> {
        let mut successors: Vec<_> = EVENTS
            .into_iter()
            .filter(|event| !matches!(event, Event::Stop { .. }) || self.now <= ticks(LAST_STOP))
            .map(|event| self.take(event))
            .collect();
        let due = self.timers.iter().find(|(_, at)| **at <= self.now).map(|(timer, _)| *timer);
        match due {
            Some(timer) => {
                let mut fired = self.take(Event::Timer(timer));
                if fired.timers.get(&timer) == self.timers.get(&timer) {
                    fired.timers.remove(&timer);
                }
                successors.push(fired);
            }
            None if self.exit.is_none() => {
                let mut later = self.clone();
                later.now += ticks(1);
                successors.push(later);
            }
            None => {}
        }
        successors
    }
}

fn walk(plan: Plan) -> BTreeSet<Node> {
    let limit = ticks(LAST_STOP) + budget(plan) + ticks(1);
    let mut seen = BTreeSet::new();
    let mut open = vec![Node::new(plan)];
    while let Some(node) = open.pop() {
        node.check();
        if node.now > limit || !seen.insert(node.clone()) {
            continue;
        }
        open.extend(node.successors());
    }
    seen
}

#[test]
fn every_state_keeps_its_promises_under_every_event() {
    let mut states = BTreeSet::new();
    for is_gated in [false, true] {
        for has_app in [false, true] {
            let nodes = walk(plan(is_gated, has_app));
            assert!(nodes.len() > 1_000, "the walk is too small: {}", nodes.len());
            states.extend(nodes.into_iter().map(|node| node.machine.state));
        }
    }
    // Two for `Sweeping`: nothing of the diagram is out of reach.
    assert!(states.len() >= 10, "{states:?}");
}

#[test]
fn only_a_started_app_can_be_ready() {
    use crate::board::{Board, Identity, Moment, ready};
    for phase in [
        Phase::Init,
        Phase::Resolving,
        Phase::Gating,
        Phase::Starting,
        Phase::Draining,
        Phase::Stopping,
    ] {
        let now = Moment::now();
        let board = Board::new(Identity::default(), now);
        board.app_spawned(1, now);
        board.set_phase(phase, now);
        assert!(!ready(&board.snapshot(), now).is_empty(), "{phase:?}");
    }
}

fn run(machine: &mut Machine, events: &[(u64, Event)]) -> Vec<Effect> {
    events.iter().flat_map(|(now, event)| machine.on(*event, ticks(*now))).collect()
}

fn started() -> Machine {
    let mut machine = Machine::new(plan(false, true));
    run(&mut machine, &[(0, Event::Boot), (0, Event::Spawned), (0, Event::Started)]);
    machine
}

#[test]
fn requests_in_flight_delay_the_stop_signal_until_they_end() {
    let mut machine = started();
    let effects =
        run(&mut machine, &[(0, Event::Busy), (0, TERM), (2, Event::Timer(Timer::Drain))]);
    assert!(effects.contains(&Effect::RefuseWork));
    assert!(!effects.contains(&Effect::Terminate));
    assert!(effects.contains(&Effect::Arm(Timer::Closing, ticks(5))), "one tick stays for the app");
    assert!(machine.on(Event::Idle, ticks(3)).contains(&Effect::Terminate));
}

#[test]
fn everything_is_still_served_while_load_balancers_learn_of_the_stop() {
    let mut machine = started();
    let effects = machine.on(TERM, ticks(0));
    let expected = vec![Effect::Enter(Phase::Draining), Effect::Arm(Timer::Drain, ticks(2))];
    assert_eq!(effects, expected);
}

#[test]
fn the_second_signal_cuts_the_drain_and_the_third_kills() {
    let mut machine = started();
    run(&mut machine, &[(0, Event::Busy), (0, TERM)]);
    assert!(machine.on(TERM, ticks(1)).contains(&Effect::Terminate));
    assert!(machine.on(TERM, ticks(1)).contains(&Effect::Kill));
}

#[test]
fn an_app_that_ends_by_itself_is_not_signalled() {
    let mut machine = started();
    let effects = machine.on(Event::AppExited { code: 3 }, ticks(1));
    assert!(effects.contains(&Effect::Sweep));
    assert!(!effects.contains(&Effect::Terminate) && !effects.contains(&Effect::Kill));
    let effects = run(&mut machine, &[(1, Event::Swept), (1, Event::Flushed)]);
    assert_eq!(effects.last(), Some(&Effect::Exit(Outcome { code: 3, cause: Cause::App })));
}

#[test]
fn a_killed_app_that_is_never_seen_to_end_counts_as_137() {
    let mut machine = started();
    run(&mut machine, &[(0, TERM), (2, Event::Timer(Timer::Drain))]);
    let effects = run(
        &mut machine,
        &[
            (6, Event::Timer(Timer::Grace)),
            (7, Event::Timer(Timer::Sweep)),
            (8, Event::Timer(Timer::Flush)),
            (8, Event::Scraped),
        ],
    );
    assert!(effects.contains(&Effect::Kill));
    assert_eq!(effects.last(), Some(&Effect::Exit(Outcome { code: 137, cause: Cause::Killed })));
}

#[test]
fn a_gate_that_stays_closed_ends_the_start_with_its_own_code() {
    let mut machine = Machine::new(plan(true, true));
    let effects =
        run(&mut machine, &[(0, Event::Boot), (2, Event::Timer(Timer::Gate)), (2, Event::Flushed)]);
    assert!(!effects.contains(&Effect::Spawn));
    assert_eq!(effects.last(), Some(&Effect::Exit(Outcome { code: 69, cause: Cause::StartGate })));
}

#[test]
fn a_new_engine_takes_a_stop_over_with_the_time_that_is_left() {
    let past = Past {
        is_spawned: true,
        is_started: true,
        exited: None,
        stop: Some((TERM, ticks(10))),
        stop_signals: 1,
    };
    let (mut machine, effects) = Machine::resume(plan(false, true), past, ticks(14));
    assert!(!effects.contains(&Effect::Spawn), "the app runs already");
    assert!(effects.contains(&Effect::Arm(Timer::Drain, ticks(12))));
    let effects = machine.on(Event::Timer(Timer::Drain), ticks(14));
    assert!(effects.contains(&Effect::Arm(Timer::Grace, ticks(16))), "{effects:?}");
}

#[test]
fn a_stop_waits_for_a_last_scrape_but_not_for_a_second_signal() {
    let mut machine = started();
    let lingers =
        [(0, QUIT), (0, Event::AppExited { code: 0 }), (0, Event::Swept), (0, Event::Flushed)];
    let effects = run(&mut machine, &lingers);
    assert!(effects.ends_with(&[
        Effect::Enter(Phase::Lingering),
        Effect::Arm(Timer::Linger, ticks(1)),
        Effect::AwaitScrape
    ]));
    let exit = Effect::Exit(Outcome { code: 0, cause: Cause::App });
    assert_eq!(machine.clone().on(Event::Scraped, ticks(0)).last(), Some(&exit));
    assert_eq!(machine.on(TERM, ticks(0)).last(), Some(&exit));
}
