//! Feeds the lifecycle and carries its effects out: the one task that moves the process on.
//!
//! It deliberately decides nothing. Invariant: effects are carried out in the order they were
//! decided, before the next event is taken.

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc, time::Duration};

use super::{
    Parts, audit, changes,
    control::{Control, Word},
    narrate, orphans,
    record::Recorder,
    secrets::{Resolving, Secrets},
    spans::Spans,
    start_check,
};
use crate::{
    board::{self, Board, Moment, Phase},
    guard::clock,
    lifecycle::{Effect, Event, Machine, Outcome, Plan, Timer},
    secret::SecretError,
    settings::Settings,
    sys,
    wire::{App, Environment, Snapshot, ToGuard},
};

/// How much of the flush the last spans may take.
const SPANS_SHARE: f32 = 0.9;
/// How long the last lines have when the guard was killed.
const ORPHANED_FLUSH: Duration = Duration::from_millis(500);

/// After a takeover, how long what was ready may be unknown before it counts as lost.
const TAKEOVER_SETTLES: Duration = Duration::from_secs(2);

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// The driver of one engine.
pub(super) struct Driver {
    settings: Arc<Settings>,
    parts: Parts,
    control: Control,
    snapshot: Snapshot,
    machine: Machine,
    recorder: Recorder,
    spans: Spans,
    timers: BTreeMap<Timer, Duration>,
    /// Ends with the app's first answer.
    start_check: Option<Task>,
    /// Ends with the last request in flight.
    emptied: Option<Task>,
    /// Ends with the last line.
    flush: Option<Task>,
    secrets: Option<Secrets>,
    /// Ends with values for all of them, or with an error.
    resolving: Option<Resolving>,
    /// Ends with the last scrape.
    scrape: Option<Task>,
    /// Ends when an engine that took over has had time to learn what is ready.
    settling: Option<Task>,
    /// What the guard was told last of readiness.
    told_ready: bool,
    is_ready: bool,
}

/// How the engine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// As the lifecycle says.
    Exit(Outcome),
    /// The guard was killed.
    Orphaned,
}

impl Driver {
    pub(super) fn new(
        settings: Arc<Settings>,
        mut parts: Parts,
        secrets: Option<Secrets>,
        control: Control,
        snapshot: Snapshot,
    ) -> (Self, Vec<Effect>) {
        let is_gated = !board::start_gates(&parts.board.snapshot(), Moment::now()).is_empty();
        let plan = Plan {
            is_resolving: secrets.is_some(),
            is_gated,
            start_timeout: settings.start_timeout,
            has_app: settings.workload.has_app(),
            drain: settings.stop.drain,
            grace: settings.stop.grace,
            sweep: settings.stop.sweep,
            flush: settings.stop.flush,
            linger: settings.stop.linger,
        };
        let (mut machine, effects) = Machine::resume(plan, changes::past(&snapshot), clock());
        if parts.ingress.is_some() {
            // Whether it is idle is known once it refuses work, and then it says so.
            machine.on(Event::Busy, clock());
        }
        let (is_takeover, is_ready) = (snapshot.engine_restarts > 0, snapshot.is_ready);
        let recorder = Recorder::new(parts.metrics.clone(), &settings, &snapshot);
        let spans = Spans::begin(&parts.tracer, &settings, &snapshot, &mut parts.app_env);
        let driver = Self {
            recorder,
            spans,
            settings,
            parts,
            control,
            snapshot,
            machine,
            timers: BTreeMap::new(),
            start_check: None,
            emptied: None,
            flush: None,
            resolving: None,
            secrets,
            scrape: None,
            settling: is_takeover.then(|| Box::pin(tokio::time::sleep(TAKEOVER_SETTLES)) as Task),
            told_ready: is_ready,
            is_ready,
        };
        (driver, effects)
    }

    /// Runs until there is nothing left but to exit.
    pub(super) async fn run(mut self, effects: Vec<Effect>) -> End {
        self.control.ask(&ToGuard::Pong).await;
        self.take_over();
        if let Some(end) = self.carry_out(effects).await {
            return end;
        }
        let mut board = self.parts.board.subscribe();
        loop {
            let events = tokio::select! {
                biased;
                word = self.control.receive() => match word {
                    Some(Word::Changed(snapshot)) => self.note(snapshot),
                    Some(Word::Ping) => {
                        self.control.ask(&ToGuard::Pong).await;
                        continue;
                    }
                    None => return self.orphaned().await,
                },
                timer = next_timer(&self.timers) => {
                    self.timers.remove(&timer);
                    vec![Event::Timer(timer)]
                }
                resolved = resolved(&mut self.resolving) => self.resolved(resolved),
                () = finished(&mut self.start_check) => self.started().await,
                () = finished(&mut self.flush) => vec![Event::Flushed],
                Ok(()) = board.changed() => self.readiness(),
                state = self.parts.outward.next() => {
                    self.control.ask(&ToGuard::Notify { state }).await;
                    Vec::new()
                }
                () = finished(&mut self.emptied) => vec![Event::Idle],
                () = finished(&mut self.scrape) => vec![Event::Scraped],
                () = finished(&mut self.settling) => self.readiness(),
            };
            self.tell_ready().await;
            for event in events {
                let effects = self.machine.on(event, clock());
                if let Some(end) = self.carry_out(effects).await {
                    return end;
                }
            }
        }
    }

    async fn carry_out(&mut self, effects: Vec<Effect>) -> Option<End> {
        for effect in effects {
            match effect {
                Effect::Enter(phase) => {
                    self.enter(phase);
                    self.tell_ready().await;
                }
                Effect::Arm(timer, at) => drop(self.timers.insert(timer, at)),
                Effect::Resolve => self.resolve(),
                Effect::Spawn if !self.settings.workload.has_app() => self.serve_static(),
                Effect::Spawn => {
                    let env = self.parts.app_env.clone();
                    self.control.ask(&ToGuard::Spawn { env }).await;
                }
                Effect::AwaitStart => {
                    let (settings, board) = (self.settings.clone(), self.parts.board.clone());
                    self.start_check =
                        Some(Box::pin(async move { start_check::wait(&settings, &board).await }));
                }
                Effect::RefuseWork => self.refuse_work(),
                Effect::Terminate => self.control.ask(&ToGuard::Terminate).await,
                Effect::Kill => {
                    narrate::kill(&self.parts.sink, &self.settings);
                    self.spans.killed();
                    self.control.ask(&ToGuard::Kill).await;
                }
                Effect::Sweep => self.control.ask(&ToGuard::Sweep).await,
                Effect::Flush => self.flush(),
                Effect::AwaitScrape => {
                    self.scrape = Some(Box::pin(self.parts.metrics.next_scrape(Moment::now())));
                }
                Effect::Exit(outcome) => {
                    let reason = narrate::cause(outcome.cause).to_owned();
                    self.remove_files();
                    let (code, last_lines) = (outcome.code, self.parts.sink.last_lines());
                    self.control.ask(&ToGuard::Exit { code, reason, last_lines }).await;
                    return Some(End::Exit(outcome));
                }
            }
        }
        None
    }

    fn enter(&mut self, phase: Phase) {
        match (phase, &self.parts.ingress) {
            (Phase::Draining, Some(ingress)) => ingress.announce(),
            // Also without a drain, of an app that never answered.
            (Phase::Stopping, Some(ingress)) => ingress.refuse(),
            _ => {}
        }
        if phase >= Phase::Draining {
            self.start_check = None;
        }
        self.recorder.enter(phase, clock());
        self.spans.enter(phase, &self.parts.tracer);
        self.parts.board.set_phase(phase, Moment::now());
        narrate::phase(&self.parts.sink, phase, &self.snapshot, &self.settings);
        if phase == Phase::Exiting {
            return;
        }
        self.readiness();
    }

    /// Resolves secrets: the app waits for it, unless an earlier engine has spawned it.
    fn resolve(&mut self) {
        let is_first = self.snapshot.app == App::Waiting;
        self.resolving = self.secrets.as_ref().map(|secrets| secrets.resolve(is_first));
    }

    fn resolved(&mut self, resolved: Result<Environment, SecretError>) -> Vec<Event> {
        match resolved {
            Ok(env) => {
                self.parts.app_env.0.extend(env.0);
                vec![Event::Resolved]
            }
            Err(error) => {
                error.problems.iter().for_each(|it| narrate::unresolved(&self.parts.sink, it));
                vec![Event::Unresolved { code: error.exit_code().code }]
            }
        }
    }

    /// The files with secrets go when the app has.
    fn remove_files(&self) {
        if let Some(secrets) = &self.secrets {
            secrets.remove_files();
        }
    }

    /// There is no process to spawn: the ingress serves the files as soon as it may.
    fn serve_static(&mut self) {
        let now = Moment::now();
        self.parts.board.app_spawned(std::process::id(), now);
        self.start_check = Some(Box::pin(std::future::ready(())));
    }

    /// Has the ingress refuse what comes, and waits for what is there.
    fn refuse_work(&mut self) {
        if let Some(ingress) = &self.parts.ingress {
            ingress.refuse();
            self.emptied = Some(Box::pin(ingress.closed()));
        }
    }

    async fn started(&mut self) -> Vec<Event> {
        self.control.ask(&ToGuard::Started).await;
        sys::ProgramPages::find().release();
        sys::trim_heap();
        if self.settings.workload.has_app() {
            vec![Event::Started]
        } else {
            vec![Event::Spawned, Event::Started]
        }
    }

    fn flush(&mut self) {
        let Some(pipeline) = self.parts.pipeline.take() else { return };
        let limit = self.settings.stop.flush;
        self.spans.end();
        let tracer = self.parts.tracer.clone();
        let publisher = self.parts.publisher.clone();
        self.flush = Some(Box::pin(async move {
            let published = async {
                if let Some(publisher) = publisher {
                    publisher.finish(limit).await;
                }
            };
            // Together, for they share the time.
            let spans = tracer.flush(limit.mul_f32(SPANS_SHARE));
            tokio::join!(published, spans, pipeline.finish(limit));
        }));
    }

    /// Takes the guard's word.
    fn note(&mut self, snapshot: Snapshot) -> Vec<Event> {
        let events = changes::between(&self.snapshot, &snapshot);
        let before = self.snapshot.app;
        if let (None, Some(stop)) = (self.snapshot.stop, snapshot.stop) {
            self.spans.stop(&self.parts.tracer, &narrate::signal_name(stop.signal));
            let ids = self.spans.shutdown_ids();
            narrate::stop(&self.parts.sink, stop.signal, &self.settings, ids);
            let service = &self.settings.identity.service;
            audit::stopped(&self.parts.audit, stop.signal, service);
        }
        self.snapshot = snapshot;
        self.note_app(before);
        events
    }

    /// Begins where the engine before left off, which has said what there was to say of a start.
    fn take_over(&mut self) {
        if self.snapshot.engine_restarts == 0 {
            return self.note_app(App::Waiting);
        }
        narrate::taken_over(&self.parts.sink, self.snapshot.engine_restarts);
        match self.snapshot.app {
            App::Running { pid, .. } => {
                self.recorder.orphans(&self.snapshot);
                self.parts.board.app_spawned(pid.unsigned_abs(), Moment::now());
            }
            App::Waiting | App::Failed { .. } | App::Exited { .. } => self.note_app(App::Waiting),
        }
    }

    /// Has the guard remember what was said of readiness.
    async fn tell_ready(&mut self) {
        if self.told_ready != self.is_ready {
            self.told_ready = self.is_ready;
            self.control.ask(&ToGuard::Ready(self.is_ready)).await;
        }
    }

    /// Tells the board of the app, if it changed.
    fn note_app(&mut self, before: App) {
        self.recorder.orphans(&self.snapshot);
        if before == self.snapshot.app {
            return;
        }
        let now = Moment::now();
        let board: &Board = &self.parts.board;
        match self.snapshot.app {
            App::Running { pid, .. } => {
                board.app_spawned(pid.unsigned_abs(), now);
                narrate::spawned(&self.parts.sink, pid);
            }
            App::Exited { code, signal, .. } => {
                board.app_exited(&narrate::how(code, signal), now);
                let was_asked = self.snapshot.stop.is_some();
                narrate::exited(&self.parts.sink, code, signal, was_asked);
                self.recorder.exited(code, signal);
                self.spans.exited(code, signal);
            }
            App::Failed { code, .. } => {
                narrate::not_spawned(&self.parts.sink, &self.settings, code);
                self.spans.not_spawned(code);
            }
            App::Waiting => {}
        }
    }

    /// Looks at the board: whether the gates have opened, and whether readiness turned over.
    fn readiness(&mut self) -> Vec<Event> {
        let now = Moment::now();
        let snapshot = self.parts.board.snapshot();
        let reasons = board::ready(&snapshot, now);
        if reasons.is_empty() || snapshot.draining {
            self.settling = None;
        }
        if self.settling.is_none() && self.is_ready != reasons.is_empty() {
            self.is_ready = reasons.is_empty();
            // A stop has said so already.
            if self.is_ready || !snapshot.draining {
                narrate::readiness(&self.parts.sink, &reasons);
            }
            if self.is_ready {
                self.recorder.ready(&self.snapshot, clock());
                self.spans.ready();
            }
        }
        let is_open =
            snapshot.phase == Phase::Gating && board::start_gates(&snapshot, now).is_empty();
        if is_open { vec![Event::GatesPassed] } else { Vec::new() }
    }

    /// Nobody waits for the app any more: end all of it, and say what there is to say.
    async fn orphaned(mut self) -> End {
        if let App::Running { pid, .. } = self.snapshot.app {
            let _ = sys::kill(-pid, nix::libc::SIGKILL);
        }
        orphans::kill_all(&self.snapshot.run_id);
        self.remove_files();
        if let Some(pipeline) = self.parts.pipeline.take() {
            pipeline.finish(ORPHANED_FLUSH).await;
        }
        End::Orphaned
    }
}

/// Comes with the earliest timer, or never.
async fn next_timer(timers: &BTreeMap<Timer, Duration>) -> Timer {
    let Some((timer, at)) = timers.iter().min_by_key(|(_, at)| **at) else {
        return std::future::pending().await;
    };
    tokio::time::sleep(at.saturating_sub(clock())).await;
    *timer
}

/// Comes with the values of all secrets, or never.
async fn resolved(task: &mut Option<Resolving>) -> Result<Environment, SecretError> {
    let resolved = match task {
        Some(running) => running.await,
        None => std::future::pending().await,
    };
    *task = None;
    resolved
}

/// Comes with the end of the task, or never.
async fn finished(task: &mut Option<Task>) {
    match task {
        Some(running) => running.await,
        None => std::future::pending().await,
    }
    *task = None;
}
