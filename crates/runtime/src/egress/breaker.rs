//! When calls to a dependency are refused at once, as a pure machine: `on(event, now) -> effects`.
//!
//! ```text
//! closed --too many of the last calls failed--> open --it has lasted--> half_open
//!   ^                                            ^                         |   |
//!   |                                            +------- one failed ------+   |
//!   +----------------------- enough succeeded ---------------------------------+
//! ```
//!
//! Closed, it counts the calls of a sliding window. Open, it refuses. Half open, it lets a few
//! calls through and refuses the others. It deliberately knows no clock and no network: what a
//! failure is, the caller says.
//!
//! Invariant: a result changes only the state that its call was admitted in, and no more than
//! `probes` calls are under way while it is half open.

use std::time::Duration;

use super::settings;

/// The window is counted in so many slots.
const SLOTS: usize = 10;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody wants to call.
    Ask,
    /// An admitted call succeeded.
    Succeeded(Ticket),
    /// An admitted call failed.
    Failed(Ticket),
    /// An admitted call ended without saying anything of the dependency.
    Abandoned(Ticket),
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Call; the ticket comes back with the result.
    Admit(Ticket),
    /// Do not call; it may be worth it after so long.
    Refuse(Duration),
    /// Say that this is the state now.
    Turned(State),
}

/// What an admitted call brings back: the life of the state that admitted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

/// The state, for whoever looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Calls go through.
    Closed,
    /// A few calls go through.
    HalfOpen,
    /// No call goes through.
    Open,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Closed, Self::HalfOpen, Self::Open];

    /// The state as one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Breaker {
    settings: settings::Breaker,
    /// Changes with each state, so that results of an earlier one are known.
    life: u64,
    inner: Inner,
}

#[derive(Clone, Debug)]
enum Inner {
    Closed(Box<Window>),
    HalfOpen { in_flight: u32, succeeded: u32 },
    Open { until: Duration },
}

impl Breaker {
    /// A closed one.
    pub fn new(settings: settings::Breaker) -> Self {
        Self { settings, life: 0, inner: Inner::Closed(Box::default()) }
    }

    /// The state as it is.
    pub fn state(&self) -> State {
        match self.inner {
            Inner::Closed(_) => State::Closed,
            Inner::HalfOpen { .. } => State::HalfOpen,
            Inner::Open { .. } => State::Open,
        }
    }

    /// How long a call that came now would be refused, if it would.
    pub fn refuses(&self, now: Duration) -> Option<Duration> {
        match self.inner {
            Inner::Open { until } if now < until => Some(until - now),
            _ => None,
        }
    }

    /// Takes one event; what comes back is to be done in order.
    pub fn on(&mut self, event: Event, now: Duration) -> Vec<Effect> {
        match event {
            Event::Ask => self.ask(now),
            Event::Succeeded(Ticket(life))
            | Event::Failed(Ticket(life))
            | Event::Abandoned(Ticket(life))
                if life != self.life =>
            {
                Vec::new()
            }
            Event::Succeeded(_) => self.ended(true, now),
            Event::Failed(_) => self.ended(false, now),
            Event::Abandoned(_) => {
                if let Inner::HalfOpen { in_flight, .. } = &mut self.inner {
                    *in_flight = in_flight.saturating_sub(1);
                }
                Vec::new()
            }
        }
    }

    fn ask(&mut self, now: Duration) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Inner::Open { until } = self.inner {
            if now < until {
                return vec![Effect::Refuse(until - now)];
            }
            effects.push(self.turn(Inner::HalfOpen { in_flight: 0, succeeded: 0 }));
        }
        if let Inner::HalfOpen { in_flight, succeeded } = &mut self.inner {
            if *in_flight + *succeeded >= self.settings.probes {
                effects.push(Effect::Refuse(Duration::ZERO));
                return effects;
            }
            *in_flight += 1;
        }
        effects.push(Effect::Admit(Ticket(self.life)));
        effects
    }

    fn ended(&mut self, is_success: bool, now: Duration) -> Vec<Effect> {
        let settings = self.settings;
        let next = match &mut self.inner {
            Inner::Closed(window) => {
                window.count(is_success, now, settings.window);
                window.is_bad(&settings).then_some(State::Open)
            }
            Inner::HalfOpen { .. } if !is_success => Some(State::Open),
            Inner::HalfOpen { in_flight, succeeded } => {
                *in_flight = in_flight.saturating_sub(1);
                *succeeded += 1;
                (*succeeded >= settings.probes).then_some(State::Closed)
            }
            Inner::Open { .. } => None,
        };
        match next {
            Some(State::Open) => vec![self.turn(Inner::Open { until: now + settings.open })],
            Some(_) => vec![self.turn(Inner::Closed(Box::default()))],
            None => Vec::new(),
        }
    }

    fn turn(&mut self, inner: Inner) -> Effect {
        self.life += 1;
        self.inner = inner;
        Effect::Turned(self.state())
    }
}

/// The calls of the last while, in slots of a tenth of it.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    slots: [Slot; SLOTS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// Which tenth since boot it counts.
    turn: u128,
    n_calls: u32,
    n_failed: u32,
}

impl Window {
    fn count(&mut self, is_success: bool, now: Duration, length: Duration) {
        let slot_length = (length.as_nanos() / SLOTS as u128).max(1);
        let turn = now.as_nanos() / slot_length;
        for slot in &mut self.slots {
            if slot.turn + SLOTS as u128 <= turn {
                *slot = Slot::default();
            }
        }
        let index = usize::try_from(turn % SLOTS as u128).unwrap_or_default();
        let slot = &mut self.slots[index];
        slot.turn = turn;
        slot.n_calls = slot.n_calls.saturating_add(1);
        slot.n_failed = slot.n_failed.saturating_add(u32::from(!is_success));
    }

    fn is_bad(&self, settings: &settings::Breaker) -> bool {
        let n_calls: u64 = self.slots.iter().map(|slot| u64::from(slot.n_calls)).sum();
        let n_failed: u64 = self.slots.iter().map(|slot| u64::from(slot.n_failed)).sum();
        n_failed > 0
            && n_calls >= u64::from(settings.min_calls)
            && n_failed as f64 >= settings.failure_ratio * n_calls as f64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn settings() -> settings::Breaker {
        settings::Breaker { min_calls: 4, probes: 2, ..settings::Breaker::default() }
    }

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn admitted(breaker: &mut Breaker, now: Duration) -> Option<Ticket> {
        breaker.on(Event::Ask, now).into_iter().find_map(|effect| match effect {
            Effect::Admit(ticket) => Some(ticket),
            _ => None,
        })
    }

    fn fail(breaker: &mut Breaker, now: Duration) -> Vec<Effect> {
        let ticket = admitted(breaker, now).expect("admitted");
        breaker.on(Event::Failed(ticket), now)
    }

    fn opened(at: Duration) -> Breaker {
        let mut breaker = Breaker::new(settings());
        for _ in 0..4 {
            fail(&mut breaker, at);
        }
        assert_eq!(breaker.state(), State::Open);
        breaker
    }

    #[test]
    fn too_many_failures_open_it_but_not_too_few_calls() {
        let mut breaker = Breaker::new(settings());
        for _ in 0..3 {
            assert!(fail(&mut breaker, s(1)).is_empty());
        }
        assert_eq!(fail(&mut breaker, s(1)), [Effect::Turned(State::Open)]);
        assert_eq!(breaker.on(Event::Ask, s(2)), [Effect::Refuse(s(4))]);
    }

    #[test]
    fn failures_that_left_the_window_do_not_count() {
        let mut breaker = Breaker::new(settings());
        for _ in 0..3 {
            fail(&mut breaker, s(1));
        }
        assert!(fail(&mut breaker, s(30)).is_empty());
    }

    #[test]
    fn a_few_calls_try_whether_it_is_over() {
        let mut breaker = opened(s(1));
        let first = admitted(&mut breaker, s(6)).expect("the first probe");
        let second = admitted(&mut breaker, s(6)).expect("the second probe");
        assert_eq!(breaker.on(Event::Ask, s(6)), [Effect::Refuse(s(0))]);
        assert!(breaker.on(Event::Succeeded(first), s(6)).is_empty());
        let closed = [Effect::Turned(State::Closed)];
        assert_eq!(breaker.on(Event::Succeeded(second), s(6)), closed);
    }

    #[test]
    fn one_failed_probe_opens_it_again_for_the_whole_time() {
        let mut breaker = opened(s(1));
        let probe = admitted(&mut breaker, s(6)).expect("a probe");
        assert_eq!(breaker.on(Event::Failed(probe), s(7)), [Effect::Turned(State::Open)]);
        assert_eq!(breaker.refuses(s(8)), Some(s(4)));
    }

    #[test]
    fn an_abandoned_probe_makes_room_for_another() {
        let mut breaker = opened(s(1));
        let probes = [admitted(&mut breaker, s(6)), admitted(&mut breaker, s(6))];
        assert_eq!(admitted(&mut breaker, s(6)), None);
        breaker.on(Event::Abandoned(probes[0].expect("a probe")), s(6));
        assert!(admitted(&mut breaker, s(6)).is_some());
    }

    #[test]
    fn a_late_result_of_an_earlier_state_changes_nothing() {
        let mut breaker = Breaker::new(settings());
        let late = admitted(&mut breaker, s(1)).expect("admitted");
        for _ in 0..4 {
            fail(&mut breaker, s(1));
        }
        admitted(&mut breaker, s(6)).expect("a probe");
        assert!(breaker.on(Event::Failed(late), s(6)).is_empty());
        assert_eq!(breaker.state(), State::HalfOpen);
    }

    proptest! {
        #[test]
        fn probes_are_bounded_and_an_open_one_admits_nobody(
            steps in prop::collection::vec((0..5u8, 0..3000u64, 0..8usize), 0..200)
        ) {
            let mut breaker = Breaker::new(settings());
            let (mut now, mut tickets) = (Duration::ZERO, Vec::new());
            for (step, wait, pick) in steps {
                now += Duration::from_millis(wait);
                let was = breaker.state();
                let refuses = breaker.refuses(now);
                let ticket = (!tickets.is_empty()).then(|| tickets.remove(pick % tickets.len()));
                let event = match (step, ticket) {
                    (1, Some(ticket)) => Event::Succeeded(ticket),
                    (2 | 3, Some(ticket)) => Event::Failed(ticket),
                    (4, Some(ticket)) => Event::Abandoned(ticket),
                    (_, ticket) => {
                        tickets.extend(ticket);
                        Event::Ask
                    }
                };
                let effects = breaker.on(event, now);
                for effect in &effects {
                    match effect {
                        Effect::Admit(ticket) => {
                            prop_assert!(refuses.is_none());
                            tickets.push(*ticket);
                        }
                        Effect::Refuse(_) => prop_assert!(was != State::Closed),
                        Effect::Turned(state) => prop_assert!(*state != was),
                    }
                }
                if event == Event::Ask {
                    let is_answered = |effect: &&Effect| !matches!(effect, Effect::Turned(_));
                    prop_assert_eq!(effects.iter().filter(is_answered).count(), 1);
                }
                if breaker.state() == State::HalfOpen {
                    let alive = tickets.iter().filter(|it| it.0 == breaker.life).count();
                    prop_assert!(alive <= 2, "{} probes", alive);
                }
            }
        }
    }
}
