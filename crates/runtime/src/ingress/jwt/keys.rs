//! The keys that tokens are checked with, and how published ones are kept fresh.
//!
//! A published set is fetched in the background, again when a token names a key that is not in it
//! (not more often than [`REFETCH_PAUSE`]), and the last good one is used while it cannot be
//! fetched, up to the `stale` bound. A shared secret is followed: a new value takes the place of
//! the last at once, so that a stolen one ends with it. It deliberately takes no secrets from a
//! published set: an `oct` key in it is passed over.
//!
//! Invariant: every [`Key`] knows the one algorithm, or the one family, that it is for.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::settings::{Jwks, JwtSettings, Secret, is_hmac};
use crate::{jitter::jittered, outbound};

/// Least time between two fetches.
pub(super) const REFETCH_PAUSE: Duration = Duration::from_secs(2);
/// Longest time of one fetch, and so of a request that waits for it.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);
/// The time between fetches varies by this part of itself.
const JITTER: f64 = 0.1;
/// Most keys of a set.
const KEYS_MAX: usize = 64;
/// Fewest bytes of a shared secret (RFC 7518, 3.2).
const SECRET_BYTES_MIN: usize = 32;

/// Keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file cannot be read.
    #[error("cannot read the key `{path}`: {source}")]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is no key for this.
    #[error("`{path}` holds no public key for {algorithm}")]
    Unusable {
        /// The file.
        path: std::path::PathBuf,
        /// What it should be for.
        algorithm: String,
    },
    /// A set of keys is none.
    #[error("{from} is not a set of keys: {problem}")]
    Set {
        /// Where it is from.
        from: String,
        /// What is wrong.
        problem: String,
    },
    /// The secret is too short to be one.
    #[error("the `hmac` secret has fewer than {SECRET_BYTES_MIN} bytes")]
    ShortSecret,
}

/// One key.
#[derive(Debug)]
struct Key {
    kid: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// Keys at one time.
#[derive(Debug, Default)]
pub(super) struct KeySet(Vec<Key>);

impl KeySet {
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a token with this head could be checked.
    pub(super) fn has(&self, kid: Option<&str>, algorithm: Algorithm) -> bool {
        self.find(kid, algorithm).next().is_some()
    }

    /// The keys for a token. One that names a key is checked with that, or one without a name.
    pub(super) fn find(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &DecodingKey> {
        let fits = move |key: &&Key| {
            key.algorithms.contains(&algorithm)
                && (kid.is_none() || key.kid.is_none() || key.kid.as_deref() == kid)
        };
        self.0.iter().filter(fits).map(|key| &key.key)
    }

    /// Reads a published set. Keys that are not for us are passed over: it may have others' too.
    fn published(text: &[u8], accepted: &[Algorithm]) -> Result<Self, String> {
        let set: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let keys = set.get("keys").and_then(Value::as_array).ok_or("it has no `keys`")?;
        if keys.len() > KEYS_MAX {
            return Err(format!("it has more than {KEYS_MAX} keys"));
        }
        let read = |value: &Value| serde_json::from_value(value.clone()).ok();
        let set: Vec<Key> =
            keys.iter().filter_map(read).filter_map(|jwk: Jwk| key(&jwk, accepted)).collect();
        if set.is_empty() { Err("it has no key for us".to_owned()) } else { Ok(Self(set)) }
    }
}

fn key(jwk: &Jwk, accepted: &[Algorithm]) -> Option<Key> {
    use Algorithm as A;
    if jwk.common.public_key_use.as_ref().is_some_and(|it| *it != PublicKeyUse::Signature) {
        return None;
    }
    let family: &[A] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => {
            &[A::RS256, A::RS384, A::RS512, A::PS256, A::PS384, A::PS512]
        }
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => &[A::ES256],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => &[A::ES384],
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            &[A::EdDSA]
        }
        _ => return None,
    };
    let named = jwk.common.key_algorithm.map(A::try_from);
    let algorithms: Vec<A> = family
        .iter()
        .copied()
        .filter(|it| accepted.contains(it))
        .filter(|it| named.as_ref().is_none_or(|named| named.as_ref().is_ok_and(|one| one == it)))
        .collect();
    if algorithms.is_empty() {
        return None;
    }
    let key = DecodingKey::from_jwk(jwk).ok()?;
    Some(Key { kid: jwk.common.key_id.clone(), algorithms, key })
}

/// What becomes of keys.
#[derive(Debug, Clone, Copy)]
pub enum KeyNews<'a> {
    /// So many were fetched.
    Fetched(usize),
    /// They could not be fetched.
    Failed {
        /// Why not.
        why: &'a str,
        /// The age of those in use; `None` when there never were any.
        age: Option<Duration>,
        /// Whether they are too old to be used any more.
        is_expired: bool,
    },
    /// The shared secret has a new value.
    SecretChanged,
    /// Its new value cannot be used.
    SecretRefused(&'a KeyError),
}

/// Hears what becomes of keys.
pub type Tell = Arc<dyn Fn(KeyNews<'_>) + Send + Sync>;

/// Where keys come from.
#[derive(Debug)]
pub struct KeySource {
    current: watch::Receiver<Arc<KeySet>>,
    fetching: Option<Fetching>,
    _following: Option<Following>,
}

/// The task that follows a shared secret.
#[derive(Debug)]
struct Following(JoinHandle<()>);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The task that fetches.
#[derive(Debug)]
struct Fetching {
    wanted: Arc<Notify>,
    /// Counts fetches, whatever came of them.
    fetched: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Drop for Fetching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl KeySource {
    /// Reads what is here, and begins to fetch what is elsewhere.
    pub(super) fn new(
        settings: &JwtSettings,
        hmac: Option<watch::Receiver<Secret>>,
        tell: Tell,
    ) -> Result<Self, KeyError> {
        let (current_in, current) = watch::channel(Arc::new(fixed(settings)?));
        // Settings have a secret or published keys, never both.
        if let Some(secret) = hmac {
            let following = follow(secret, settings.algorithms.clone(), current_in, tell);
            let _following = Some(Following(tokio::spawn(following)));
            return Ok(Self { current, fetching: None, _following });
        }
        let fetching = settings.jwks.clone().map(|jwks| {
            let wanted = Arc::new(Notify::new());
            let (fetched_in, fetched) = watch::channel(0);
            let fetcher = Fetcher {
                jwks,
                accepted: settings.algorithms.clone(),
                current: current_in,
                fetched: fetched_in,
                wanted: Arc::clone(&wanted),
                tell,
            };
            Fetching { wanted, fetched, task: tokio::spawn(fetcher.run()) }
        });
        Ok(Self { current, fetching, _following: None })
    }

    /// The keys now.
    pub(super) fn current(&self) -> Arc<KeySet> {
        Arc::clone(&self.current.borrow())
    }

    /// Waits for one more fetch, but not for long, and not when one was just made.
    pub(super) async fn refreshed(&self) {
        let Some(fetching) = &self.fetching else { return };
        let mut fetched = fetching.fetched.clone();
        fetched.mark_unchanged();
        fetching.wanted.notify_one();
        let _in_time = timeout(FETCH_TIMEOUT, fetched.changed()).await;
    }
}

/// The key that a shared secret is.
fn shared(secret: &Secret, algorithms: &[Algorithm]) -> Result<Key, KeyError> {
    if secret.0.len() < SECRET_BYTES_MIN {
        return Err(KeyError::ShortSecret);
    }
    let key = DecodingKey::from_secret(secret.0.as_bytes());
    Ok(Key { kid: None, algorithms: algorithms.to_vec(), key })
}

/// Takes every new value of a shared secret that can be used.
async fn follow(
    mut secret: watch::Receiver<Secret>,
    algorithms: Vec<Algorithm>,
    current: watch::Sender<Arc<KeySet>>,
    tell: Tell,
) {
    while secret.changed().await.is_ok() {
        let key = shared(&secret.borrow_and_update(), &algorithms);
        match key {
            Ok(key) => {
                current.send_replace(Arc::new(KeySet(vec![key])));
                tell(KeyNews::SecretChanged);
            }
            Err(error) => tell(KeyNews::SecretRefused(&error)),
        }
    }
}

/// What the settings hold themselves.
fn fixed(settings: &JwtSettings) -> Result<KeySet, KeyError> {
    let mut keys = Vec::new();
    if let Some(secret) = &settings.hmac {
        keys.push(shared(secret, &settings.algorithms)?);
    }
    if let Some(path) = &settings.jwks_file {
        let read = |source| KeyError::File { path: path.clone(), source };
        let text = std::fs::read(path).map_err(read)?;
        let set = KeySet::published(&text, &settings.algorithms)
            .map_err(|problem| KeyError::Set { from: format!("`{}`", path.display()), problem })?;
        keys.extend(set.0);
    }
    for pem in &settings.keys {
        let unusable =
            || KeyError::Unusable { path: pem.file.clone(), algorithm: pem.algorithm.clone() };
        let text = std::fs::read(&pem.file)
            .map_err(|source| KeyError::File { path: pem.file.clone(), source })?;
        let algorithm: Algorithm = pem.algorithm.parse().map_err(|_| unusable())?;
        let key = match algorithm {
            _ if is_hmac(algorithm) || !settings.algorithms.contains(&algorithm) => None,
            Algorithm::ES256 | Algorithm::ES384 => DecodingKey::from_ec_pem(&text).ok(),
            Algorithm::EdDSA => DecodingKey::from_ed_pem(&text).ok(),
            _ => DecodingKey::from_rsa_pem(&text).ok(),
        };
        let key = key.ok_or_else(unusable)?;
        keys.push(Key { kid: pem.kid.clone(), algorithms: vec![algorithm], key });
    }
    Ok(KeySet(keys))
}

/// Keeps a published set fresh.
struct Fetcher {
    jwks: Jwks,
    accepted: Vec<Algorithm>,
    current: watch::Sender<Arc<KeySet>>,
    fetched: watch::Sender<u64>,
    wanted: Arc<Notify>,
    tell: Tell,
}

impl Fetcher {
    async fn run(self) {
        let Ok(client) = outbound::client(FETCH_TIMEOUT) else { return };
        let fixed = Arc::clone(&self.current.borrow());
        let mut last_good = None;
        loop {
            let is_good = match self.fetch(&client).await {
                Ok(set) => {
                    last_good = Some(Instant::now());
                    let n_keys = set.0.len();
                    self.current.send_replace(Arc::new(set));
                    (self.tell)(KeyNews::Fetched(n_keys));
                    true
                }
                Err(why) => {
                    let age = last_good.map(|at: Instant| at.elapsed());
                    // Keys that nobody could withdraw for so long are nobody's any more.
                    let is_expired = age.is_some_and(|age| age > self.jwks.stale);
                    if is_expired {
                        self.current.send_replace(Arc::clone(&fixed));
                    }
                    (self.tell)(KeyNews::Failed { why: &why, age, is_expired });
                    false
                }
            };
            self.fetched.send_modify(|n_fetches| *n_fetches += 1);
            tokio::time::sleep(REFETCH_PAUSE.min(self.jwks.refresh)).await;
            // After a failure again soon, else when it is time or somebody misses a key.
            if is_good {
                let _time = timeout(self.pause(), self.wanted.notified()).await;
            }
        }
    }

    /// Replicas that were started together do not fetch together.
    fn pause(&self) -> Duration {
        jittered(self.jwks.refresh, JITTER, fastrand::f64())
    }

    async fn fetch(&self, client: &reqwest::Client) -> Result<KeySet, String> {
        let answer = client.get(&self.jwks.url).send().await.map_err(|error| error.to_string())?;
        if !answer.status().is_success() {
            return Err(format!("the answer is {}", answer.status()));
        }
        let text = outbound::read(answer).await.map_err(|error| error.to_string())?;
        KeySet::published(&text, &self.accepted)
    }
}
