//! Secrets by reference: where `${secret:...}` stands, a value of a provider is put, at run time.
//!
//! [`syntax`] reads references, [`settings`] says which providers there are, `provider` asks them,
//! `store` keeps what they said, `deliver` gives it to the app, and `rotation` keeps it fresh.
//! A [`Handle`] is what other parts use: [`Handle::fill`] puts values into a text,
//! [`Handle::changes`] tells of new ones. Without references nothing is started and nothing asked.
//!
//! Invariant: a value is in the memory of engine and app, in the app's variables or on a tmpfs, and
//! nowhere else: in no log, error, endpoint, argument, or variable of ours.

mod cache;
mod check;
mod deliver;
mod fault;
mod provider;
mod rotation;
pub mod settings;
mod store;
pub mod syntax;
mod value;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use secrecy::{ExposeSecret, SecretString};
use tokio::{sync::watch, task::JoinSet};

pub use check::{Checked, check};
pub use deliver::{exec_environment, inherited_references, replaces};
pub use fault::{Fault, FaultKind, Problem, SecretError};
pub use rotation::{Rotation, State, rotate, teach};
pub use value::VALUE_BYTES_MAX;

use cache::Cache;
use provider::Provider;
use settings::{ProviderSettings, SecretSettings};
use store::{Key, Store, targets};
use syntax::{Reference, Template};
use value::Fetched;

use crate::{jitter::jittered, metrics::Metrics};

/// Most questions to providers at the same time.
const CONCURRENT_MAX: usize = 8;
/// Between the first tries to reach a provider.
const RETRY_MIN: Duration = Duration::from_millis(200);
/// Between later ones.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Waits vary by this part of themselves, so that replicas do not ask in step.
const JITTER: f64 = 0.2;

/// The secrets of one process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: SecretSettings,
    providers: Mutex<BTreeMap<String, Arc<Provider>>>,
    store: Mutex<Store>,
    changes: watch::Sender<u64>,
    cache: Option<Cache>,
    metrics: Option<Arc<Metrics>>,
}

/// Whether a text holds a reference, or an escaped one.
pub fn has_reference(text: &str) -> bool {
    syntax::mentions(text)
}

impl Handle {
    /// Nothing is asked before the first reference comes.
    pub fn new(settings: SecretSettings, metrics: Option<Arc<Metrics>>) -> Self {
        let cache = settings.cache.clone().map(Cache::new);
        Self(Arc::new(Inner {
            settings,
            providers: Mutex::default(),
            store: Mutex::default(),
            changes: watch::Sender::new(0),
            cache,
            metrics,
        }))
    }

    /// Counts how often values have changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Puts values into a text; asks providers for what is not known yet, once.
    ///
    /// # Errors
    /// Everything that has no value.
    pub async fn fill(&self, text: &str) -> Result<String, SecretError> {
        if !has_reference(text) {
            return Ok(text.to_owned());
        }
        self.fetch(&[(String::new(), text.to_owned())]).await?;
        self.fill_now(text)
    }

    /// Puts values into a text that has been resolved at the start.
    ///
    /// # Errors
    /// Everything that has no value, or was not resolved yet.
    pub fn fill_now(&self, text: &str) -> Result<String, SecretError> {
        let filled = self.filled("", text)?;
        Ok(filled.map(|text| text.expose_secret().to_owned()).unwrap_or_default())
    }

    /// The text with its values; `None` when it is an optional one that is not there.
    fn filled(&self, place: &str, text: &str) -> Result<Option<SecretString>, SecretError> {
        let template = self.template(place, text).map_err(one)?;
        self.store().fill(&self.0.settings, &template).map_err(|failed| {
            let (reference, fault) = *failed;
            one(Problem { place: place.to_owned(), reference: reference.to_string(), fault })
        })
    }

    /// Fetches all references of the texts that are not known yet; each text has the name of its
    /// place. All problems are reported at once.
    ///
    /// # Errors
    /// Everything that has no value.
    pub async fn fetch(&self, texts: &[(String, String)]) -> Result<(), SecretError> {
        self.fetch_until(texts, None).await
    }

    /// The same; a provider that has not answered by `deadline` is given up.
    async fn fetch_until(
        &self,
        texts: &[(String, String)],
        deadline: Option<Instant>,
    ) -> Result<(), SecretError> {
        let mut problems = Vec::new();
        let mut wanted: BTreeMap<Reference, &str> = BTreeMap::new();
        for (place, text) in texts {
            match self.template(place, text) {
                Ok(template) => {
                    for reference in template.references() {
                        wanted.entry(reference.clone()).or_insert(place);
                    }
                }
                Err(problem) => problems.push(problem),
            }
        }
        let mut faults = self.fetch_references(wanted.keys(), deadline).await;
        for (reference, place) in &wanted {
            let fault = match faults.remove(reference) {
                Some(fault) => Some(fault),
                None => self.store().value(&self.0.settings, reference).err(),
            };
            let fault = fault.filter(|fault| !self.may_miss(reference, fault));
            if let Some(fault) = fault {
                let (place, reference) = ((*place).to_owned(), reference.to_string());
                problems.push(Problem { place, reference, fault });
            }
        }
        self.store().wanted.extend(wanted.into_keys());
        if problems.is_empty() { Ok(()) } else { Err(SecretError { problems }) }
    }

    /// As [`Handle::fetch`], again and again while providers do not answer, until `deadline`.
    /// `awaited` is told what is missing after each try.
    ///
    /// # Errors
    /// As [`Handle::fetch`].
    pub async fn resolve(
        &self,
        texts: &[(String, String)],
        deadline: Instant,
        mut awaited: impl FnMut(&SecretError),
    ) -> Result<(), SecretError> {
        let mut wait = RETRY_MIN;
        loop {
            let error = match self.fetch_until(texts, Some(deadline)).await {
                Ok(()) => {
                    self.remember();
                    return Ok(());
                }
                Err(error) => error,
            };
            if !error.is_passing() || Instant::now() + wait >= deadline {
                return Err(error);
            }
            awaited(&error);
            tokio::time::sleep(jittered(wait, JITTER, fastrand::f64())).await;
            wait = (wait * 2).min(RETRY_MAX);
        }
    }

    /// Names and values of everything that is known, for the redactor of the logs.
    pub fn values(&self) -> Vec<(String, SecretString)> {
        let store = self.store();
        let value = |reference: &Reference| {
            // What holds in place of a missing value is written in the open.
            let value = store.pick(&self.0.settings, reference).ok()?;
            Some((reference.to_string(), value))
        };
        store.wanted.iter().filter_map(value).collect()
    }

    /// What stands where a reference says, if it has been fetched.
    fn pick(&self, reference: &Reference) -> Result<SecretString, Fault> {
        self.store().pick(&self.0.settings, reference)
    }

    fn may_miss(&self, reference: &Reference, fault: &Fault) -> bool {
        let has_other = reference.is_optional || reference.default.is_some();
        fault.kind == FaultKind::Missing && has_other && !self.0.settings.strict
    }

    fn template(&self, place: &str, text: &str) -> Result<Template, Problem> {
        let wrong = |error: syntax::SyntaxError| Problem {
            place: place.to_owned(),
            reference: String::new(),
            fault: Fault::config(error),
        };
        if self.0.settings.bare
            && let Some(reference) = syntax::parse_bare(text).map_err(wrong)?
        {
            return Ok(Template { pieces: vec![syntax::Piece::Reference(reference)] });
        }
        syntax::parse(text).map_err(wrong)
    }

    /// Asks for what is not known yet; what comes back are the failures.
    async fn fetch_references(
        &self,
        references: impl Iterator<Item = &Reference>,
        deadline: Option<Instant>,
    ) -> BTreeMap<Reference, Fault> {
        let mut faults = BTreeMap::new();
        let mut open: Vec<(&Reference, Vec<Key>)> = Vec::new();
        for reference in references {
            match targets(&self.0.settings, reference) {
                Ok(keys) => open.push((reference, keys)),
                Err(fault) => drop(faults.insert(reference.clone(), fault)),
            }
        }
        let mut round = 0;
        while !open.is_empty() {
            let known = |key: &Key| self.store().entries.contains_key(key);
            open.retain(|(_, keys)| !keys.iter().any(known));
            let asked: BTreeSet<_> = open.iter().filter_map(|(_, keys)| keys.get(round)).collect();
            let mut failed = self.ask(asked.into_iter().cloned().collect(), deadline).await;
            self.stand_in(&mut failed);
            open.retain(|(reference, keys)| {
                let Some(fault) = keys.get(round).and_then(|key| failed.get(key)) else {
                    return false;
                };
                let known = faults.entry((*reference).clone()).or_insert_with(|| fault.clone());
                if round > 0 {
                    known.text = format!("{}, and {}", known.text, fault.text);
                    known.kind = known.kind.max(fault.kind);
                }
                fault.kind == FaultKind::Missing && round + 1 < keys.len()
            });
            round += 1;
        }
        let store = self.store();
        faults.retain(|reference, fault| {
            let keys = targets(&self.0.settings, reference).unwrap_or_default();
            fault.kind == FaultKind::Config
                || !keys.iter().any(|key| store.entries.contains_key(key))
        });
        faults
    }

    /// Asks providers, several at a time, and keeps what they say; what comes back are failures.
    async fn ask(&self, keys: Vec<Key>, deadline: Option<Instant>) -> BTreeMap<Key, Fault> {
        let mut failed = BTreeMap::new();
        let mut keys = keys.into_iter();
        let mut running = JoinSet::new();
        loop {
            while running.len() < CONCURRENT_MAX {
                let Some(key) = keys.next() else { break };
                let handle = self.clone();
                running.spawn(async move {
                    let fetched = handle.ask_one(&key, deadline).await;
                    (key, fetched)
                });
            }
            match running.join_next().await {
                None => return failed,
                Some(Ok((key, Ok(fetched)))) => {
                    self.store().put(key, fetched, Instant::now());
                }
                Some(Ok((key, Err(fault)))) => drop(failed.insert(key, fault)),
                Some(Err(_)) => {}
            }
        }
    }

    async fn ask_one(&self, key: &Key, deadline: Option<Instant>) -> Result<Fetched, Fault> {
        let provider = self.provider(&key.provider)?;
        let began = Instant::now();
        let limit = self.0.settings.timeout;
        let left = deadline.map(|deadline| deadline.saturating_duration_since(began));
        let fetched = provider.fetch(&key.place, left.map_or(limit, |left| left.min(limit))).await;
        if let Some(metrics) = &self.0.metrics {
            let result = fetched.as_ref().err().map_or("ok", |fault| fault.kind.word());
            metrics.secret_fetched(provider.word(), result, began.elapsed());
        }
        fetched
    }

    fn provider(&self, name: &str) -> Result<Arc<Provider>, Fault> {
        let mut providers = self.0.providers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(provider) = providers.get(name) {
            return Ok(provider.clone());
        }
        let declared = self.0.settings.providers.get(name).cloned();
        let settings = declared.or_else(|| ProviderSettings::built_in(name));
        let settings = settings.ok_or_else(|| self.0.settings.unknown_provider(name))?;
        let provider = Arc::new(Provider::new(&settings, self.0.settings.timeout)?);
        providers.insert(name.to_owned(), provider.clone());
        Ok(provider)
    }

    /// Takes the last good values from the cache where a provider does not answer.
    fn stand_in(&self, failed: &mut BTreeMap<Key, Fault>) {
        let Some(cache) = self.0.cache.as_ref().filter(|_| !self.0.settings.strict) else { return };
        let is_down = |fault: &Fault| fault.kind == FaultKind::Unreachable;
        if !failed.values().any(is_down) {
            return;
        }
        let Ok(mut kept) = cache.read() else { return };
        failed.retain(|key, fault| {
            let entry = if is_down(fault) { kept.remove(key) } else { None };
            let Some(mut entry) = entry else { return true };
            entry.fault = Some(fault.clone());
            self.store().entries.insert(key.clone(), entry);
            false
        });
    }

    /// Keeps what is known for a start without providers.
    fn remember(&self) {
        let Some(cache) = &self.0.cache else { return };
        // That it cannot be written is no reason to stop; `secret check` tells.
        let _ = cache.write(&self.store().entries);
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.0.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn one(problem: Problem) -> SecretError {
    SecretError { problems: vec![problem] }
}
