//! The life of one process, as a pure machine: `on(event, now) -> Vec<Effect>`.
//!
//! ```text
//! init -> resolving -> gating -> starting -> started -> draining -> closing -> stopping
//!                                                                    |
//!           exited <- lingering <- flushing <- sweeping <------------+
//!
//! init, resolving   -> starting   nothing is to be resolved, nothing gates the start
//! starting          -> stopping   a stop before the app answered: there is nothing to drain
//! draining          -> stopping   the second stop signal, or SIGQUIT
//! any but the last  -> sweeping   the app ended by itself; a stop while there is no app
//! starting to stopping -> sweeping   killed: the grace is over, or the third stop signal
//! resolving         -> flushing   a secret has no value
//! gating, starting  -> flushing   the gate stayed closed; the app cannot be spawned
//! ```
//!
//! * *draining*: `/ready` says no, all is still served, until load balancers have learnt of it;
//! * *closing*: new work is refused, requests in flight are waited for;
//! * *stopping*: the app has its stop signal, and SIGKILL at the end of the grace;
//! * *sweeping*: what the app left behind is ended; *flushing*: its last lines are written;
//! * *lingering*: the last figures wait for whoever collects them.
//!
//! One deadline bounds closing and stopping together (`drain + grace` after the signal), and a part
//! of it is always kept for the app ([`app_share`]). Whether a started app is *ready* is no state
//! of this machine: `board::ready` decides that from the phase and the probes' verdicts.
//!
//! It deliberately has no clock and touches nothing: one driver task (`engine::driver`) feeds it.
//! `now` is the time since boot of the machine, as both guard and engine read it.
//!
//! Invariant: every stop ends in `Exit` within `drain + grace + sweep + flush + linger`, whatever
//! the app does.

use std::time::Duration;

use contract::exit_codes;

use crate::board::Phase;

/// The part of the grace that the app keeps when requests in flight do not end: one in so many.
const APP_SHARE_DIVISOR: u32 = 4;
/// The most that is kept for the app; longer waits belong to the requests.
const APP_SHARE_MAX: Duration = Duration::from_secs(5);
/// The stop signal that ends the wait for requests.
const SIGNALS_TO_HURRY: u32 = 2;
/// The stop signal that ends the grace.
const SIGNALS_TO_KILL: u32 = 3;

/// What the machine must know beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Plan {
    /// Whether there are secrets to resolve first.
    pub is_resolving: bool,
    /// Whether dependencies gate the start.
    pub is_gated: bool,
    /// How long they are waited for.
    pub start_timeout: Duration,
    /// Whether there is an app process; a static site has none.
    pub has_app: bool,
    /// How long everything is still served after a stop signal.
    pub drain: Duration,
    /// How long requests in flight and the app have after that, together.
    pub grace: Duration,
    /// How long what the app left behind has.
    pub sweep: Duration,
    /// How long the last log lines have.
    pub flush: Duration,
    /// How long a last scrape is waited for.
    pub linger: Duration,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// The listeners are served.
    Boot,
    /// Every secret has a value.
    Resolved,
    /// A secret has none; 75, 77 or 78.
    Unresolved {
        /// The exit code that says why.
        code: u8,
    },
    /// All dependencies that gate the start are up.
    GatesPassed,
    /// The app's process exists.
    Spawned,
    /// It could not be made; 126 or 127.
    SpawnFailed {
        /// The exit code that says why.
        code: u8,
    },
    /// The app answers.
    Started,
    /// There are requests in flight.
    Busy,
    /// There are none.
    Idle,
    /// A stop signal came.
    Stop {
        /// Its number.
        signal: i32,
        /// Whether it skips the drain, as SIGQUIT does.
        is_hasty: bool,
    },
    /// The app's main process ended.
    AppExited {
        /// Its exit code, 128 + n for a signal.
        code: u8,
    },
    /// None of the app's descendants is left.
    Swept,
    /// The last line has been written.
    Flushed,
    /// The last figures were collected, or nobody collects any.
    Scraped,
    /// A timer that was armed has come.
    Timer(Timer),
}

/// What a timer is for. Arming one again moves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// The gates were waited for long enough.
    Gate,
    /// Load balancers have had their time.
    Drain,
    /// Requests in flight were waited for long enough.
    Closing,
    /// The app was waited for long enough.
    Grace,
    /// The sweep has lasted long enough.
    Sweep,
    /// The last lines were waited for long enough.
    Flush,
    /// The last scrape was waited for long enough.
    Linger,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// Say that this is the phase now.
    Enter(Phase),
    /// Wake the machine at this time.
    Arm(Timer, Duration),
    /// Resolve secrets.
    Resolve,
    /// Spawn the app.
    Spawn,
    /// Watch for the app's first answer.
    AwaitStart,
    /// Refuse new requests, let those in flight end.
    RefuseWork,
    /// Send the stop signal to the app.
    Terminate,
    /// Send SIGKILL to the app's process group.
    Kill,
    /// End everything that descends from the app.
    Sweep,
    /// Write what is left of the logs.
    Flush,
    /// Watch for a last scrape.
    AwaitScrape,
    /// Exit.
    Exit(Outcome),
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Outcome {
    /// The exit code.
    pub code: u8,
    /// Whose code it is, and why.
    pub cause: Cause,
}

/// Why it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// The app ended, by itself or when asked to.
    App,
    /// The app had to be killed.
    Killed,
    /// A stop came while there was no app.
    Stopped,
    /// A secret had no value.
    Secret,
    /// The gates stayed closed.
    StartGate,
    /// The app could not be spawned.
    SpawnFailed,
}

/// What a machine that takes over must know of the life so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// The app was spawned.
    pub is_spawned: bool,
    /// It had answered.
    pub is_started: bool,
    /// It ended with this code.
    pub exited: Option<u8>,
    /// The first stop signal and when it came.
    pub stop: Option<(Event, Duration)>,
    /// How many stop signals came.
    pub stop_signals: u32,
}

/// The machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Machine {
    plan: Plan,
    state: State,
    is_idle: bool,
    is_spawned: bool,
    /// The first verdict; nothing that comes later replaces the app's own code.
    outcome: Option<Outcome>,
    stop_signals: u32,
    /// When the app is killed at the latest; set by the first stop.
    kill_at: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum State {
    Init,
    Resolving,
    Gating,
    Starting,
    Started,
    Draining,
    Closing,
    Stopping,
    Sweeping { is_swept: bool },
    Flushing,
    Lingering,
    Exited,
}

impl Machine {
    /// A machine in `init`.
    pub fn new(plan: Plan) -> Self {
        Self {
            plan,
            state: State::Init,
            is_idle: true,
            is_spawned: false,
            outcome: None,
            stop_signals: 0,
            kill_at: Duration::MAX,
        }
    }

    /// A machine that takes over a life: the engine was started again, the app was not.
    pub fn resume(plan: Plan, past: Past, now: Duration) -> (Self, Vec<Effect>) {
        let mut machine = Self::new(plan);
        let mut effects = Vec::new();
        if past.is_spawned {
            machine.state = State::Starting;
            effects.push(Effect::Enter(Phase::Starting));
            effects.extend(machine.on(Event::Spawned, now));
            if past.is_started {
                effects.extend(machine.on(Event::Started, now));
            }
        } else if past.stop.is_none() {
            effects.extend(machine.on(Event::Boot, now));
        }
        if let Some((event, since)) = past.stop {
            effects.extend(machine.on(event, since));
            for _ in 1..past.stop_signals.min(SIGNALS_TO_KILL) {
                effects.extend(machine.on(event, now));
            }
        }
        if let Some(code) = past.exited {
            effects.extend(machine.on(Event::AppExited { code }, now));
        }
        (machine, effects)
    }

    /// The phase, as the board knows it.
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Init => Phase::Init,
            State::Resolving => Phase::Resolving,
            State::Gating => Phase::Gating,
            State::Starting => Phase::Starting,
            State::Started => Phase::Started,
            State::Draining | State::Closing => Phase::Draining,
            State::Stopping => Phase::Stopping,
            State::Sweeping { .. } => Phase::Sweeping,
            State::Flushing => Phase::Flushing,
            State::Lingering => Phase::Lingering,
            State::Exited => Phase::Exiting,
        }
    }

    /// Takes one event; what comes back is to be done in order.
    pub fn on(&mut self, event: Event, now: Duration) -> Vec<Effect> {
        use State::{
            Closing, Draining, Exited, Flushing, Gating, Init, Lingering, Resolving, Started,
            Starting, Stopping, Sweeping,
        };
        match (self.state, event) {
            (Exited, _) => Vec::new(),

            (_, Event::AppExited { code }) => self.app_exited(code, now),
            (_, Event::Stop { signal, is_hasty }) => self.stop(signal, is_hasty, now),

            (Init, Event::Boot) if self.plan.is_resolving => {
                vec![self.enter(Resolving), Effect::Resolve]
            }
            (Resolving, Event::Unresolved { code }) => {
                self.settle(code, Cause::Secret);
                self.flush(now)
            }
            (Init, Event::Boot) | (Resolving, Event::Resolved) if self.plan.is_gated => {
                let gate = Effect::Arm(Timer::Gate, now + self.plan.start_timeout);
                vec![self.enter(Gating), gate]
            }
            (Init, Event::Boot) | (Resolving, Event::Resolved) | (Gating, Event::GatesPassed) => {
                vec![self.enter(Starting), Effect::Spawn]
            }
            (Gating, Event::Timer(Timer::Gate)) => {
                self.settle(exit_codes::START_GATE.code, Cause::StartGate);
                self.flush(now)
            }

            (Starting, Event::SpawnFailed { code }) => {
                self.settle(code, Cause::SpawnFailed);
                self.flush(now)
            }
            (Stopping, Event::SpawnFailed { code }) => {
                self.settle(code, Cause::SpawnFailed);
                self.sweep(now)
            }
            (Starting, Event::Spawned) => {
                self.is_spawned = true;
                vec![Effect::AwaitStart]
            }
            (_, Event::Spawned) => {
                self.is_spawned = true;
                Vec::new()
            }
            (Starting, Event::Started) => vec![self.enter(Started)],

            (Closing, Event::Idle) => {
                self.is_idle = true;
                self.terminate(now)
            }
            (_, Event::Busy | Event::Idle) => {
                self.is_idle = event == Event::Idle;
                Vec::new()
            }

            (Draining, Event::Timer(Timer::Drain)) => self.close(now),
            (Closing, Event::Timer(Timer::Closing)) => self.terminate(now),
            (Stopping, Event::Timer(Timer::Grace)) => self.kill(now),

            (Sweeping { .. }, Event::Swept) => {
                self.state = Sweeping { is_swept: true };
                if self.owes_app() { Vec::new() } else { self.flush(now) }
            }
            (Sweeping { .. }, Event::Timer(Timer::Sweep)) => self.flush(now),
            (Flushing, Event::Flushed | Event::Timer(Timer::Flush)) => self.linger(now),
            (Lingering, Event::Scraped | Event::Timer(Timer::Linger)) => self.exit(),

            (_, _) => Vec::new(),
        }
    }

    fn stop(&mut self, signal: i32, is_hasty: bool, now: Duration) -> Vec<Effect> {
        self.stop_signals = self.stop_signals.saturating_add(1);
        if self.stop_signals == 1 {
            self.kill_at = now + self.plan.drain + self.plan.grace;
        }
        let is_urgent = is_hasty || self.stop_signals >= SIGNALS_TO_HURRY;
        let is_last = self.stop_signals >= SIGNALS_TO_KILL;
        match self.state {
            State::Init | State::Resolving | State::Gating => {
                self.settle(exit_codes::of_signal(signal), Cause::Stopped);
                self.sweep(now)
            }
            State::Starting | State::Draining | State::Closing | State::Stopping if is_last => {
                self.kill(now)
            }
            State::Started if is_urgent => {
                let mut effects = vec![self.enter(State::Closing), Effect::RefuseWork];
                effects.extend(self.terminate(now));
                effects
            }
            State::Started => self.drain(now),
            State::Draining if is_urgent => {
                let mut effects = vec![Effect::RefuseWork];
                effects.extend(self.terminate(now));
                effects
            }
            State::Closing if is_urgent => self.terminate(now),
            // An app that did not answer yet has nothing to drain.
            State::Starting => self.terminate(now),
            State::Stopping => vec![Effect::Terminate],
            State::Lingering => self.exit(),
            _ => Vec::new(),
        }
    }

    fn drain(&mut self, now: Duration) -> Vec<Effect> {
        let mut effects = vec![self.enter(State::Draining)];
        if self.plan.drain.is_zero() {
            effects.extend(self.close(now));
        } else {
            effects.push(Effect::Arm(Timer::Drain, now + self.plan.drain));
        }
        effects
    }

    fn close(&mut self, now: Duration) -> Vec<Effect> {
        self.state = State::Closing;
        let mut effects = vec![Effect::RefuseWork];
        if self.is_idle {
            effects.extend(self.terminate(now));
        } else {
            let latest = self.kill_at.saturating_sub(app_share(self.plan.grace));
            effects.push(Effect::Arm(Timer::Closing, latest));
        }
        effects
    }

    fn terminate(&mut self, now: Duration) -> Vec<Effect> {
        if !self.plan.has_app {
            self.settle(exit_codes::OK.code, Cause::Stopped);
            return self.sweep(now);
        }
        self.kill_at = self.kill_at.min(now + self.plan.grace);
        let grace = Effect::Arm(Timer::Grace, self.kill_at);
        vec![self.enter(State::Stopping), Effect::Terminate, grace]
    }

    fn kill(&mut self, now: Duration) -> Vec<Effect> {
        let mut effects = vec![Effect::Kill];
        effects.extend(self.sweep(now));
        effects
    }

    fn app_exited(&mut self, code: u8, now: Duration) -> Vec<Effect> {
        self.is_spawned = true;
        if self.outcome.is_none() {
            self.settle(code, Cause::App);
        }
        match self.state {
            State::Flushing | State::Lingering | State::Exited => Vec::new(),
            State::Sweeping { is_swept: false } => Vec::new(),
            State::Sweeping { is_swept: true } => self.flush(now),
            _ => self.sweep(now),
        }
    }

    fn sweep(&mut self, now: Duration) -> Vec<Effect> {
        let limit = Effect::Arm(Timer::Sweep, now + self.plan.sweep);
        vec![self.enter(State::Sweeping { is_swept: false }), Effect::Sweep, limit]
    }

    fn flush(&mut self, now: Duration) -> Vec<Effect> {
        let limit = Effect::Arm(Timer::Flush, now + self.plan.flush);
        vec![self.enter(State::Flushing), Effect::Flush, limit]
    }

    fn linger(&mut self, now: Duration) -> Vec<Effect> {
        if self.plan.linger.is_zero() || self.stop_signals == 0 {
            return self.exit();
        }
        let limit = Effect::Arm(Timer::Linger, now + self.plan.linger);
        vec![self.enter(State::Lingering), limit, Effect::AwaitScrape]
    }

    fn exit(&mut self) -> Vec<Effect> {
        let killed =
            Outcome { code: exit_codes::of_signal(nix::libc::SIGKILL), cause: Cause::Killed };
        let outcome = *self.outcome.get_or_insert(killed);
        vec![self.enter(State::Exited), Effect::Exit(outcome)]
    }

    fn enter(&mut self, state: State) -> Effect {
        self.state = state;
        Effect::Enter(self.phase())
    }

    fn settle(&mut self, code: u8, cause: Cause) {
        self.outcome = Some(Outcome { code, cause });
    }

    /// Whether an app runs whose end has not been seen.
    fn owes_app(&self) -> bool {
        self.is_spawned && self.plan.has_app && self.outcome.is_none()
    }
}

/// How much of the grace the app keeps when requests in flight do not end.
pub fn app_share(grace: Duration) -> Duration {
    (grace / APP_SHARE_DIVISOR).min(APP_SHARE_MAX)
}

#[cfg(test)]
mod tests;
