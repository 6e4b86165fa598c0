//! Keeps values fresh while the app runs, and does for the app what was asked for on a change.
//!
//! Every round asks for everything without a lease; a lease is renewed after two thirds of its
//! time, and what cannot be renewed is fetched anew. It deliberately never takes a value away: a
//! provider that is down makes values old, which `/health` and `secret_age_seconds` say.
//!
//! Invariant: the redactor knows a new value before the app can.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use contract::log_events;
use nix::{sys::signal::Signal, unistd::Pid};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::sleep;

use super::{
    Handle, JITTER, SecretError,
    deliver::Directory,
    fault::Fault,
    provider::Place,
    settings::{OnChange, SecretSettings},
    store::Key,
};
use crate::{
    board::{Board, Moment},
    jitter::jittered,
    logs::{Level, Sink, Value},
    metrics::Metrics,
    wire::Environment,
};

/// The shortest pause between two rounds, whatever a lease says.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// Between two tries to renew a lease that failed.
const RENEW_RETRY: Duration = Duration::from_secs(5);

/// What `/ready` and `/health` say of secrets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// The first reference that the start waits for.
    pub awaited: Option<String>,
    /// How many are kept fresh.
    pub count: usize,
    /// Why the values could not be confirmed lately.
    pub output: Option<String>,
    /// The age of the oldest, in seconds.
    pub oldest_s: f64,
}

/// Everything that resolving and keeping fresh needs.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// The values.
    pub handle: Handle,
    /// The board, for `/ready`, `/health` and the app's process id.
    pub board: Arc<Board>,
    /// The logs, whose redactor learns the values.
    pub sink: Sink,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Shared by all clones, so that any of them can end it.
    directory: Arc<OnceLock<Directory>>,
    /// The app's variables with references.
    variables: Arc<Vec<(String, String)>>,
    /// Other texts with references.
    others: Arc<Vec<(String, String)>>,
}

impl Rotation {
    /// `others` are texts of settings, each with the name of its flag.
    pub fn new(
        handle: Handle,
        others: Vec<(String, String)>,
        board: Arc<Board>,
        sink: Sink,
        metrics: Arc<Metrics>,
    ) -> Self {
        let variables = Arc::new(super::inherited_references(&handle.0.settings));
        let others = Arc::new(others);
        Self { handle, board, sink, metrics, directory: Arc::default(), variables, others }
    }

    /// Whether there is anything to resolve.
    pub fn is_needed(&self) -> bool {
        !self.variables.is_empty() || !self.others.is_empty()
    }

    /// Resolves everything and gives the app's variables. `is_first` when the app has not been
    /// started yet.
    ///
    /// # Errors
    /// Everything that has no value.
    pub async fn start(&self, limit: Duration, is_first: bool) -> Result<Environment, SecretError> {
        let texts: Vec<_> = self.variables.iter().chain(self.others.iter()).cloned().collect();
        let deadline = Instant::now() + limit;
        let (board, sink) = (self.board.clone(), self.sink.clone());
        self.handle.resolve(&texts, deadline, |error| awaited(&board, &sink, error)).await?;
        self.redact();
        self.tell();
        if self.handle.delivers_files() && !self.variables.is_empty() {
            let wanted = self.handle.0.settings.directory.as_deref();
            let guard = nix::unistd::getppid().as_raw();
            let directory = Directory::open(wanted, guard, is_first).map_err(|error| {
                let fault = Fault::invalid(format!("files cannot be delivered: {error}"));
                super::one(super::Problem { place: String::new(), reference: String::new(), fault })
            })?;
            let _ = self.directory.set(directory);
        }
        self.handle.environment(&self.variables, self.directory.get())
    }

    /// Ends the files that were delivered.
    pub fn remove_files(&self) {
        if let Some(directory) = self.directory.get() {
            directory.remove();
        }
    }

    /// Hands every value to the redactor.
    fn redact(&self) {
        teach(&self.sink, &self.handle.values());
    }

    /// Shows how old values are.
    fn tell(&self) {
        let ages = self.handle.store().ages(&self.handle.0.settings, Instant::now());
        let fault = ages.iter().find_map(|(name, age)| {
            age.fault.as_ref().map(|fault| format!("{name}: {}", first_line(&fault.text)))
        });
        let oldest_s = ages.iter().map(|(_, age)| age.age.as_secs_f64()).fold(0.0, f64::max);
        let state = State { awaited: None, count: ages.len(), output: fault, oldest_s };
        self.metrics
            .secret_ages(ages.iter().map(|(name, age)| (name.as_str(), age.age, age.lease)));
        self.board.update(Moment::now(), |snapshot| snapshot.secrets = Some(state));
    }
}

/// Tells the redactor all values there are, by name.
pub fn teach(sink: &Sink, values: &[(String, SecretString)]) {
    let pairs = values.iter().map(|(name, value)| (name.as_str(), value.expose_secret()));
    for name in sink.redactor().set_secrets(pairs) {
        sink.event(
            Level::Warn,
            "the value of a secret is too short or too plain to be searched for in log lines",
            &[event(log_events::SECRET_SHORT), ("reference", Value::Str(&name))],
        );
    }
}

fn awaited(board: &Board, sink: &Sink, error: &SecretError) {
    let first = error.problems.first().map(|problem| problem.reference.clone());
    board.update(Moment::now(), |snapshot| {
        snapshot.secrets = Some(State { awaited: first.clone(), ..State::default() });
    });
    for problem in &error.problems {
        sink.event(
            Level::Warn,
            "a secret is waited for",
            &[
                event(log_events::SECRET_AWAITED),
                ("reference", Value::Str(&problem.reference)),
                ("output", Value::Str(first_line(&problem.fault.text))),
            ],
        );
    }
}

/// Keeps values fresh until it is dropped.
pub async fn rotate(rotation: Rotation) {
    let mut pending: Option<Pin<Box<dyn Future<Output = ()> + Send>>> = None;
    let mut poll_at = Instant::now() + rotation.pause();
    loop {
        let lease = rotation.handle.store().next_lease();
        let lease_at = lease.as_ref().map(|(_, at)| *at);
        let wake = lease_at.map_or(poll_at, |at| at.min(poll_at)).max(Instant::now() + PAUSE_MIN);
        tokio::select! {
            () = sleep(wake.saturating_duration_since(Instant::now())) => {}
            () = done(&mut pending) => { pending = None; continue; }
        }
        let mut has_changed = false;
        if let Some((key, at)) = lease
            && at <= Instant::now()
        {
            has_changed |= rotation.handle.extend(&key).await;
        }
        if poll_at <= Instant::now() {
            has_changed |= rotation.handle.refresh().await;
            poll_at = Instant::now() + rotation.pause();
        }
        rotation.tell();
        if has_changed {
            rotation.redact();
            pending = rotation.changed();
        }
    }
}

async fn done(pending: &mut Option<Pin<Box<dyn Future<Output = ()> + Send>>>) {
    match pending {
        Some(running) => running.await,
        None => std::future::pending().await,
    }
}

impl Rotation {
    /// Until the next round, give or take a fifth.
    fn pause(&self) -> Duration {
        jittered(self.handle.0.settings.poll, JITTER, fastrand::f64())
    }

    /// Gives new values out; what comes back is what the app still has to be told.
    fn changed(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        let settings: &SecretSettings = &self.handle.0.settings;
        if let Some(directory) = self.directory.get()
            && let Err(error) = self.handle.environment(&self.variables, Some(directory))
        {
            self.say_failed(&error);
        }
        self.handle.remember();
        self.handle.0.changes.send_modify(|count| *count += 1);
        let action = settings.on_change;
        self.sink.event(
            Level::Info,
            "a secret has a new value",
            &[
                event(log_events::SECRET_ROTATED),
                ("on_change", Value::Str(&action.to_string())),
                (
                    "delivered",
                    Value::Str(if self.directory.get().is_some() { "file" } else { "env" }),
                ),
            ],
        );
        if self.variables.is_empty() || action == OnChange::File {
            return None;
        }
        let wait = settings.splay.mul_f64(fastrand::f64());
        let board = self.board.clone();
        Some(Box::pin(async move {
            sleep(wait).await;
            act(action, &board);
        }))
    }

    fn say_failed(&self, error: &SecretError) {
        for problem in &error.problems {
            self.sink.event(
                Level::Error,
                "a new value cannot be delivered; the app keeps the old one",
                &[
                    event(log_events::SECRET_NOT_DELIVERED),
                    ("reference", Value::Str(&problem.place)),
                    ("output", Value::Str(first_line(&problem.fault.text))),
                ],
            );
        }
    }
}

fn act(action: OnChange, board: &Board) {
    let app = board.snapshot().app.pid.and_then(|pid| i32::try_from(pid).ok());
    let (pid, signal) = match action {
        OnChange::File => return,
        OnChange::Signal(number) => match (app, Signal::try_from(number)) {
            (Some(pid), Ok(signal)) => (Pid::from_raw(pid), signal),
            _ => return,
        },
        // The guard drains and stops as for anybody; whoever runs us starts us again.
        OnChange::Restart => (nix::unistd::getppid(), Signal::SIGTERM),
    };
    // Gone already: then there is nobody to tell.
    let _ = nix::sys::signal::kill(pid, signal);
}

impl Handle {
    /// Asks again for everything without a lease. Whether something has changed.
    async fn refresh(&self) -> bool {
        let keys: Vec<Key> = {
            let store = self.store();
            let due = store.entries.iter().filter(|(_, entry)| entry.lease.is_none());
            due.map(|(key, _)| key.clone()).collect()
        };
        let before = self.fingerprints();
        let failed = self.ask(keys, None).await;
        {
            let mut store = self.store();
            for (key, fault) in failed {
                if let Some(entry) = store.entries.get_mut(&key) {
                    entry.fault = Some(fault);
                }
            }
        }
        self.remember();
        before != self.fingerprints()
    }

    /// Renews a lease, or fetches anew what it was for. Whether the value has changed.
    async fn extend(&self, key: &Key) -> bool {
        let lease = self.store().entries.get(key).and_then(|entry| entry.lease.clone());
        let Some(lease) = lease else { return false };
        let Ok(provider) = self.provider(&key.provider) else { return false };
        let limit = self.0.settings.timeout;
        let renewed = match lease.is_renewable {
            true => provider.renew(&lease, limit).await,
            false => Err(Fault::missing("it cannot be renewed")),
        };
        match renewed {
            // At the end of its longest time a lease is renewed for ever less.
            Ok(renewed) if renewed.duration * 3 > lease.duration => {
                if let Some(entry) = self.store().entries.get_mut(key) {
                    entry.lease = Some(renewed);
                    entry.at = Instant::now();
                    entry.fault = None;
                }
                false
            }
            renewed => {
                let fetched = self.ask_one(key, None).await;
                let mut store = self.store();
                match fetched {
                    Ok(fetched) => store.put(key.clone(), fetched, Instant::now()),
                    Err(fault) => {
                        if let Some(entry) = store.entries.get_mut(key) {
                            entry.fault = Some(fault);
                            // Nobody is there: try again soon, with what is left of it.
                            let wait = RENEW_RETRY.mul_f64(1.5);
                            if let (Some(lease), Err(_)) = (&mut entry.lease, &renewed) {
                                lease.duration = entry.at.elapsed() * 3 / 2 + wait;
                            }
                        }
                        false
                    }
                }
            }
        }
    }

    /// What tells values apart, without being them.
    fn fingerprints(&self) -> BTreeMap<(String, Place), Vec<u8>> {
        use super::value::Document;
        use ring::digest::{SHA256, digest};
        let store = self.store();
        let print = |(key, entry): (&Key, &super::store::Entry)| {
            let bytes = match &entry.document {
                Document::Text(text) => digest(&SHA256, text.expose_secret().as_bytes()),
                Document::Fields(fields) => {
                    let mut context = ring::digest::Context::new(&SHA256);
                    for (name, value) in fields {
                        context.update(&name.len().to_be_bytes());
                        context.update(name.as_bytes());
                        context.update(&value.expose_secret().len().to_be_bytes());
                        context.update(value.expose_secret().as_bytes());
                    }
                    context.finish()
                }
            };
            ((key.provider.clone(), key.place.clone()), bytes.as_ref().to_vec())
        };
        store.entries.iter().map(print).collect()
    }
}

fn event(event: log_events::Event) -> (&'static str, Value<'static>) {
    (log_events::KEY, Value::Str(event.name))
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
