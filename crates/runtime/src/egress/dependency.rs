//! One dependency while the process lives: its client, its breaker, its bulkhead, its figures.
//!
//! It deliberately makes no call; [`super::call`] does. Invariant: whatever the breaker says is
//! carried out at once: the metric, the health check and the line agree with it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use contract::log_events;
use http::{HeaderMap, HeaderName, HeaderValue};
use reqwest::Url;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::breaker::{self, Breaker, Effect, State};
use super::budget::{self, Budget};
use super::flight::{Admission, Outcome};
use super::{EgressParts, settings};
use crate::board::{Board, Moment};
use crate::guard::clock;
use crate::logs::{Level, Sink, Value};
use crate::metrics::egress::Figures;
use crate::outbound;
use crate::telemetry::Tracer;

/// How long a client is used: then a new one asks for the host's addresses again.
const CLIENT_LIFETIME: Duration = Duration::from_secs(300);
/// How long a connection may wait for its next call.
const POOL_IDLE: Duration = Duration::from_secs(30);
/// Most connections that wait.
const POOL_MAX: usize = 64;

/// One declared dependency.
#[derive(Debug)]
pub(super) struct Dependency {
    pub(super) name: String,
    pub(super) settings: settings::Dependency,
    pub(super) base: Url,
    pub(super) tracer: Tracer,
    client: Mutex<(reqwest::Client, Instant)>,
    breaker: Option<Mutex<Breaker>>,
    budget: Mutex<Budget>,
    room: Arc<Semaphore>,
    n_waiting: AtomicU32,
    /// The declared header fields, once their secrets are known.
    fields: Mutex<Option<HeaderMap>>,
    figures: Figures,
    board: Arc<Board>,
    sink: Sink,
}

impl Dependency {
    pub(super) fn new(
        name: &str,
        settings: &settings::Dependency,
        parts: &EgressParts,
    ) -> Result<Self, outbound::OutboundError> {
        let base = Url::parse(&settings.url)
            .map_err(|error| outbound::OutboundError::Http(error.to_string()))?;
        let figures = parts.metrics.egress(name);
        let it = Self {
            name: name.to_owned(),
            base,
            tracer: parts.tracer.clone(),
            client: Mutex::new((client(settings)?, Instant::now())),
            breaker: settings.breaker.map(|it| Mutex::new(Breaker::new(it))),
            budget: Mutex::new(Budget::new(&settings.retries)),
            room: Arc::new(Semaphore::new(settings.bulkhead.max as usize)),
            n_waiting: AtomicU32::new(0),
            fields: Mutex::new(None),
            figures,
            board: parts.board.clone(),
            sink: parts.sink.clone(),
            settings: settings.clone(),
        };
        it.show(State::Closed);
        Ok(it)
    }

    /// The client, made anew now and then.
    pub(super) fn client(&self) -> reqwest::Client {
        let mut held = lock(&self.client);
        if held.1.elapsed() > CLIENT_LIFETIME
            && let Ok(fresh) = client(&self.settings)
        {
            *held = (fresh, Instant::now());
        }
        held.0.clone()
    }

    /// The declared header fields, when they are known.
    pub(super) fn fields(&self) -> Option<HeaderMap> {
        lock(&self.fields).clone()
    }

    /// Takes the header fields with their secrets in place.
    pub(super) fn set_fields(&self, resolved: impl IntoIterator<Item = (String, String)>) {
        let field = |(name, value): (String, String)| {
            let mut value = HeaderValue::from_str(&value).ok()?;
            value.set_sensitive(true);
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value))
        };
        let fields: Option<HeaderMap> = resolved.into_iter().map(field).collect();
        *lock(&self.fields) = fields;
    }

    /// How long a call that came now would be refused, if it would.
    pub(super) fn refuses(&self) -> Option<Duration> {
        lock(self.breaker.as_ref()?).refuses(clock())
    }

    /// Asks the breaker for one try.
    ///
    /// # Errors
    /// How long it may refuse.
    pub(super) fn admit(self: &Arc<Self>) -> Result<Option<Admission>, Duration> {
        let Some(breaker) = &self.breaker else { return Ok(None) };
        let effects = lock(breaker).on(breaker::Event::Ask, clock());
        let mut admitted = Err(Duration::ZERO);
        for effect in effects {
            match effect {
                Effect::Admit(ticket) => admitted = Ok(Some(Admission::new(self.clone(), ticket))),
                Effect::Refuse(wait) => admitted = Err(wait),
                Effect::Turned(state) => self.turned(state),
            }
        }
        admitted
    }

    /// Tells the breaker how a try ended.
    pub(super) fn tell(&self, event: breaker::Event) {
        let Some(breaker) = &self.breaker else { return };
        let effects = lock(breaker).on(event, clock());
        for effect in effects {
            if let Effect::Turned(state) = effect {
                self.turned(state);
            }
        }
    }

    /// A call begins; it pays for a part of a retry.
    pub(super) fn called(&self) {
        lock(&self.budget).on(budget::Event::Called, clock());
    }

    /// Whether one more retry is paid for.
    pub(super) fn may_retry(&self) -> bool {
        let effects = lock(&self.budget).on(budget::Event::Retry, clock());
        let is_granted = effects.contains(&budget::Effect::Grant);
        if is_granted {
            self.figures.retried();
        }
        is_granted
    }

    /// A place among the calls under way. None when too many wait, or it took too long.
    pub(super) async fn enter(&self, limit: Duration) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = self.room.clone().try_acquire_owned() {
            return Some(permit);
        }
        let waiting = Waiting::begin(&self.n_waiting);
        if waiting.position > self.settings.bulkhead.queue {
            return None;
        }
        let limit = limit.min(self.settings.bulkhead.wait);
        let permit = tokio::time::timeout(limit, self.room.clone().acquire_owned()).await;
        permit.ok()?.ok()
    }

    /// A call ended.
    pub(super) fn ended(&self, outcome: Outcome, took: Duration) {
        self.figures.ended(outcome, took);
    }

    fn turned(&self, state: State) {
        self.show(state);
        let (level, event, message) = match state {
            State::Open => (
                Level::Warn,
                log_events::BREAKER_OPENED,
                "calls to a dependency are refused: too many failed",
            ),
            State::HalfOpen => (
                Level::Info,
                log_events::BREAKER_HALF_OPENED,
                "a few calls try whether the dependency is back",
            ),
            State::Closed => {
                (Level::Info, log_events::BREAKER_CLOSED, "calls to a dependency go through again")
            }
        };
        let fields =
            [(log_events::KEY, Value::Str(event.name)), ("dependency", Value::Str(&self.name))];
        self.sink.event(level, message, &fields);
    }

    fn show(&self, state: State) {
        if self.breaker.is_none() {
            return;
        }
        self.figures.breaker(state);
        self.board.update(Moment::now(), |board| {
            board.breakers.insert(self.name.clone(), state);
        });
    }
}

/// Counts a call that waits, for as long as it does.
struct Waiting<'a> {
    counter: &'a AtomicU32,
    position: u32,
}

impl<'a> Waiting<'a> {
    fn begin(counter: &'a AtomicU32) -> Self {
        let position = counter.fetch_add(1, Ordering::Relaxed) + 1;
        Self { counter, position }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.counter.fetch_sub(1, Ordering::Relaxed);
    }
}

fn client(settings: &settings::Dependency) -> Result<reqwest::Client, outbound::OutboundError> {
    let mut tls = (*outbound::tls()).clone();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(settings.connect_timeout)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(POOL_MAX)
        .build()?;
    Ok(client)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
