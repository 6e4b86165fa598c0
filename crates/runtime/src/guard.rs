//! The foreground process: the only waiter, the owner of sockets, pipes, signals and exit code.
//!
//! One thread, one `poll`. It binds, starts the engine, does what the engine asks (spawn, stop,
//! kill, sweep, exit) and tells it what happened; it forwards signals and reaps orphans by itself.
//! An engine that dies is started again with a snapshot, and neither app nor waiting connection
//! notices. An engine that falls silent during a stop is replaced by the guard's own deadlines.
//! Where one would have nothing to do, there is none (`alone`).
//!
//! It deliberately has no HTTP, no threads, no async runtime, and decides nothing that
//! `lifecycle` decides: its deadlines lie behind those of the machine.
//!
//! Invariant: it exits after the app and with the app's code, within a bound after a stop signal.

mod alone;
mod backstop;
pub mod bare;
pub mod ending;
mod engine_process;
mod link;
mod listen;
mod oom;
mod pulse;
mod reap;
mod signals;
mod spawn;
mod sweep;
mod terminal;

use std::{os::fd::AsFd, time::Duration};

use contract::exit_codes;
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::prctl,
    time::{ClockId, clock_gettime},
    unistd::getpid,
};

use self::{
    ending::{Ending, Origin, Shutdown, ShutdownOutcome},
    engine_process::EngineProcess,
    listen::Listeners,
    oom::OomKills,
    signals::{Meaning, Signals},
    spawn::Pipes,
    sweep::remaining,
};
use crate::{
    audit,
    error::Error,
    notify, publish,
    settings::{Identity, Settings, SignalScope},
    sys::{self, ProgramPages},
    wire::{App, Environment, LAST_LINES_MAX, Snapshot, Stop, ToEngine, ToGuard},
};

/// How often a sweep looks whether it is done.
const SWEEP_POLL: Duration = Duration::from_millis(10);
/// How long an engine has to end after it asked for the exit.
const ENGINE_EXIT_LIMIT: Duration = Duration::from_millis(500);
/// From here on it is worth to give pages back before a sleep; to fetch them costs 30 us.
const LONG_SLEEP: Duration = Duration::from_secs(1);
/// How often one sweep looks for children that appeared while it killed.
const HOPS_MAX: usize = 1000;
const SIGKILL: i32 = nix::libc::SIGKILL;
const SIGTERM: i32 = nix::libc::SIGTERM;

/// Runs a process until it and everything it left behind have ended; returns its exit code.
///
/// # Errors
/// When the process never ran; the caller prints the error and exits with [`Error::exit_code`].
pub fn main(mut settings: Settings) -> Result<u8, Error> {
    if settings.exec {
        return Err(spawn::exec(&settings));
    }
    hide()?;
    let mut listeners = Listeners::bind(&mut settings)?;
    let termination_log = ending::termination_log(&settings)?;
    let identity = settings.identity.clone();
    let state = settings.state.clone();
    let result = Guard::start(settings, &mut listeners).and_then(Guard::run);
    let ending = match &result {
        Ok(ending) => ending.clone(),
        Err(error) => Ending {
            origin: Origin::Plimsoll,
            code: error.exit_code().code,
            reason: error.exit_code().name.into(),
            signal: None,
            service: identity.service,
            instance: identity.instance,
            last_lines: Vec::new(),
            ended_at: ending::wall_clock(),
            shutdown: None,
        },
    };
    ending::write(&ending, state.as_deref(), termination_log.as_deref());
    result.map(|ending| ending.code)
}

/// Keeps the memory of this process, where values of secrets are, from whoever may not read all of
/// the machine's, and out of core dumps. What is executed later decides for itself.
pub(crate) fn hide() -> Result<(), Error> {
    let failed =
        |errno: nix::Error| Error::Setup { intent: "hide its memory", source: errno.into() };
    prctl::set_dumpable(false).map_err(failed)
}

/// Time since boot, the same for every process of the machine.
pub(crate) fn clock() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default()
}

struct Guard<'a> {
    settings: Settings,
    listeners: &'a mut Listeners,
    signals: Signals,
    pipes: Pipes,
    engine: EngineProcess,
    snapshot: Snapshot,
    spawn_error: Option<Error>,
    terminated_at: Option<Duration>,
    killed_at: Option<Duration>,
    sweep_since: Option<Duration>,
    /// Asked for by the engine, or by our own deadline: leave with this.
    exit: Option<(u8, String)>,
    last_lines: Vec<String>,
    app_group: Option<i32>,
    /// Whether the kernel killed something of ours because memory ran out.
    is_oom: bool,
    program_pages: ProgramPages,
}

impl<'a> Guard<'a> {
    fn start(settings: Settings, listeners: &'a mut Listeners) -> Result<Self, Error> {
        let setup = |intent| move |source| Error::Setup { intent, source };
        if let Some(state) = &settings.state {
            let refused = |source| Error::State { path: state.clone(), source };
            ending::prepare(state).map_err(refused)?;
        }
        if let Some(spool) = settings.spool() {
            publish::disk::real::prepare(&spool)
                .map_err(|source| Error::Spool { path: spool, source })?;
        }
        if let Some(path) = &settings.audit_log {
            let Identity { service, instance, .. } = &settings.identity;
            audit::prepare(path, service, instance).map_err(Error::AuditLog)?;
        }
        let signals = Signals::block()?;
        if getpid().as_raw() != 1 {
            prctl::set_child_subreaper(true)
                .map_err(|errno| setup("adopt orphans")(errno.into()))?;
        }
        let is_alone = alone::is_enough(&settings);
        let pipes = if is_alone { Pipes::inherit() } else { Pipes::create() };
        let mut pipes = pipes.map_err(setup("make pipes for the application"))?;
        if !settings.workload.has_app() {
            pipes.close_writes();
        }
        let now = clock();
        let snapshot = Snapshot {
            born: now,
            run_id: format!("{}-{}", getpid(), now.as_micros()),
            app: App::Waiting,
            is_started: false,
            is_ready: false,
            stop: None,
            is_swept: false,
            orphans_reaped: 0,
            engine_restarts: 0,
            app_env: Environment::default(),
        };
        Ok(Self {
            settings,
            listeners,
            signals,
            pipes,
            engine: if is_alone { EngineProcess::absent() } else { EngineProcess::due(now) },
            snapshot,
            spawn_error: None,
            terminated_at: None,
            killed_at: None,
            sweep_since: None,
            exit: None,
            last_lines: Vec::new(),
            app_group: None,
            is_oom: false,
            program_pages: ProgramPages::find(),
        })
    }

    fn run(mut self) -> Result<Ending, Error> {
        let oom_kills = OomKills::watch();
        while self.exit.is_none() {
            let now = clock();
            self.keep_app();
            self.keep_engine(now)?;
            self.keep_sweeping(now);
            self.keep_deadlines(now);
            if self.exit.is_some() {
                break;
            }
            self.wait(clock())?;
            while let Some(meaning) = self.signals.next() {
                self.signal(meaning);
            }
            self.serve_engine();
            self.engine.keep_alive(clock());
        }
        self.is_oom = oom_kills.has_happened();
        self.end_engine();
        // Probes of the engine that outlived it.
        self.end_remaining(SIGKILL);
        self.return_terminal();
        if let Some(error) = self.spawn_error {
            return Err(error);
        }
        Ok(self.ending())
    }

    /// Sleeps until a signal, a message or the next deadline.
    fn wait(&self, now: Duration) -> Result<(), Error> {
        let backstop = self.next_backstop().map(|(at, _)| at);
        let mut deadlines = vec![backstop, self.engine.due_at(), self.engine.pulse_at()];
        if self.sweep_since.is_some() && !self.snapshot.is_swept {
            deadlines.push(Some(now + SWEEP_POLL));
        }
        let next = deadlines.into_iter().flatten().min();
        let timeout = next.map_or(PollTimeout::NONE, |at| {
            // Rounded up: waking too early would only mean to poll again.
            let wait_ms = at.saturating_sub(now).as_millis() + 1;
            PollTimeout::try_from(wait_ms).unwrap_or(PollTimeout::MAX)
        });
        let mut sources = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        if let Some(link) = self.engine.link() {
            let mut interest = PollFlags::POLLIN;
            interest.set(PollFlags::POLLOUT, link.is_behind());
            sources.push(PollFd::new(link.as_fd(), interest));
        }
        if next.is_none_or(|at| at.saturating_sub(now) >= LONG_SLEEP) {
            self.program_pages.release();
        }
        match poll(&mut sources, timeout) {
            Ok(_) | Err(nix::Error::EINTR) => Ok(()),
            Err(errno) => Err(Error::Setup { intent: "wait for events", source: errno.into() }),
        }
    }

    fn signal(&mut self, meaning: Meaning) {
        match meaning {
            Meaning::Child => self.reap(),
            Meaning::Stop { signal, is_hasty } => self.stop(signal, is_hasty),
            Meaning::Forward { signal } => self.forward(signal),
            Meaning::Suspend { signal } => {
                self.forward(signal);
                // Its group too, as a terminal would do.
                if let (App::Running { pid, .. }, SignalScope::Main) =
                    (self.snapshot.app, self.settings.app.signal_scope)
                {
                    let _ = sys::kill(-pid, signal);
                }
                // As PID 1 the kernel ignores it, as it should.
                let _ = sys::kill(getpid().as_raw(), nix::libc::SIGSTOP);
            }
            Meaning::Ignore => {}
        }
    }

    fn stop(&mut self, signal: i32, is_hasty: bool) {
        let since = clock();
        let first = Stop { signal, is_hasty: false, since, signals: 0 };
        let stop = self.snapshot.stop.get_or_insert(first);
        stop.signals = stop.signals.saturating_add(1);
        stop.is_hasty |= is_hasty;
        self.engine.hurry(since);
        self.tell();
    }

    /// Gives a signal, or what is to be given in its place, to whom the settings say.
    fn forward(&self, signal: i32) {
        let App::Running { pid, .. } = self.snapshot.app else { return };
        let Some(signal) = self.settings.app.rewritten(signal) else { return };
        // The app may have ended in this moment; then there is nobody to tell.
        let _ = match self.settings.app.signal_scope {
            SignalScope::Main => sys::kill(pid, signal),
            SignalScope::Group => sys::kill(-pid, signal),
            SignalScope::Tree => {
                for pid in remaining(getpid().as_raw(), self.engine.pid()) {
                    let _ = sys::kill(pid, signal);
                }
                Ok(())
            }
        };
    }

    /// Does what the engine asked for, in order.
    fn serve_engine(&mut self) {
        for message in self.engine.receive() {
            match message {
                ToGuard::Pong => {}
                ToGuard::Spawn { env } => self.spawn(env),
                ToGuard::Started => self.snapshot.is_started = true,
                ToGuard::Ready(is_ready) => self.snapshot.is_ready = is_ready,
                ToGuard::Notify { state } => {
                    // Nobody may listen any more, and that is nothing to stop for.
                    let _ = notify::outward::send(&state);
                }
                ToGuard::Terminate => self.terminate(),
                ToGuard::Kill => self.kill(),
                ToGuard::Sweep => self.sweep(),
                ToGuard::Exit { code, reason, last_lines } => {
                    self.exit = Some((code, reason));
                    self.last_lines = last_lines;
                    self.last_lines.truncate(LAST_LINES_MAX);
                }
            }
        }
    }

    fn spawn(&mut self, env: Environment) {
        if self.snapshot.app != App::Waiting {
            return;
        }
        let mask = self.signals.inherited();
        self.snapshot.app_env = env;
        let marks =
            spawn::Marks { run_id: &self.snapshot.run_id, notify: self.listeners.notify_address() };
        let env = &self.snapshot.app_env;
        self.snapshot.app = match spawn::app(&self.settings, env, marks, &mut self.pipes, mask) {
            Ok(pid) => {
                self.app_group = Some(pid);
                App::Running { pid, since: clock() }
            }
            Err((code, source)) => {
                let program = self.settings.workload.program();
                self.spawn_error = Some(Error::Spawn { program, code, source });
                App::Failed { code, at: clock() }
            }
        };
        self.tell();
        // From here on it sleeps, perhaps for months.
        sys::trim_heap();
    }

    fn terminate(&mut self) {
        self.terminated_at.get_or_insert_with(clock);
        if let App::Running { pid, .. } = self.snapshot.app {
            self.forward(self.settings.stop.signal.number());
            // A stopped process does not see the signal before it goes on.
            let _ = sys::kill(-pid, nix::libc::SIGCONT);
        }
    }

    fn kill(&mut self) {
        self.killed_at.get_or_insert_with(clock);
        if let App::Running { pid, .. } = self.snapshot.app {
            let _ = sys::kill(-pid, SIGKILL);
        }
    }

    fn sweep(&mut self) {
        if self.sweep_since.is_none() {
            self.sweep_since = Some(clock());
            self.pipes.close_writes();
            self.end_remaining(SIGTERM);
            self.keep_sweeping(clock());
        }
    }

    /// Looks whether anything is left, and kills it in the second half of the time.
    fn keep_sweeping(&mut self, now: Duration) {
        let Some(since) = self.sweep_since.filter(|_| !self.snapshot.is_swept) else { return };
        self.reap();
        let is_over = now >= since + self.settings.stop.sweep / 2;
        let signal = if is_over { SIGKILL } else { 0 };
        if self.end_remaining(signal) == 0 {
            self.snapshot.is_swept = true;
            self.tell();
        }
    }

    /// Kills what is left, and what forks away while it is looked for: its parent dies, so that it
    /// is our own child at once.
    fn kill_remaining(&mut self) -> usize {
        let guard = getpid().as_raw();
        let n_left = sweep::kill_remaining(guard, self.engine.pid());
        let mut has_changed = false;
        for _ in 0..HOPS_MAX {
            has_changed |= self.reap_quietly();
            let engine = self.engine.pid();
            let mut hopped = sweep::children(guard);
            hopped.retain(|pid| Some(*pid) != engine);
            // The list is no snapshot: who forks fast enough is on none. That there is no child at
            // all is certain, and can be seen once the engine has ended.
            if hopped.is_empty() && (engine.is_some() || self.is_childless()) {
                break;
            }
            for pid in hopped {
                let _ = sys::kill(pid, SIGKILL);
            }
        }
        if has_changed {
            self.tell();
        }
        n_left
    }

    fn end_remaining(&mut self, signal: i32) -> usize {
        if self.is_childless() {
            return 0;
        }
        if signal == SIGKILL {
            return self.kill_remaining();
        }
        let left = remaining(getpid().as_raw(), self.engine.pid());
        for pid in &left {
            let _ = sys::kill(*pid, signal);
        }
        left.len()
    }

    /// Tells the engine all we know; one that does not listen is ended, and started again.
    fn tell(&mut self) {
        let message = ToEngine::Changed(self.snapshot.clone());
        self.engine.send(&message);
    }

    fn ending(&self) -> Ending {
        let (code, reason) = self.exit.clone().unwrap_or_default();
        let (origin, code, reason, signal) = match self.snapshot.app {
            App::Exited { code, signal, .. } => {
                let code = self.settings.app.success_code(code);
                let reason = match signal {
                    Some(SIGKILL) if self.killed_at.is_some() => "killed",
                    Some(SIGKILL) if self.is_oom => "oom",
                    Some(_) => "signal",
                    None => "exit",
                };
                (Origin::App, code, reason.into(), signal)
            }
            App::Running { .. } => {
                let code = exit_codes::of_signal(SIGKILL);
                (Origin::App, code, "killed".into(), Some(SIGKILL))
            }
            App::Waiting | App::Failed { .. } => (Origin::Plimsoll, code, reason, None),
        };
        let shutdown = self.snapshot.stop.map(|stop| Shutdown {
            seconds: clock().saturating_sub(stop.since).as_secs_f64(),
            outcome: self.shutdown_outcome(signal),
        });
        let identity = self.settings.identity.clone();
        Ending {
            origin,
            code,
            reason,
            signal,
            service: identity.service,
            instance: identity.instance,
            last_lines: self.last_lines.clone(),
            ended_at: ending::wall_clock(),
            shutdown,
        }
    }

    fn shutdown_outcome(&self, signal: Option<i32>) -> ShutdownOutcome {
        match signal {
            _ if self.killed_at.is_some() => ShutdownOutcome::Killed,
            Some(signal) if signal != self.settings.stop.signal.number() => {
                ShutdownOutcome::Crashed
            }
            _ => ShutdownOutcome::Graceful,
        }
    }
}
