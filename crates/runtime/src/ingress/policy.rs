//! What may be asked: a Rego policy decides about each request.
//!
//! The policy is compiled once by `regorus`, and again when its files change; one that does not
//! compile never replaces one that did. The query gives a boolean, or an object with `allow` and a
//! `reason`; anything else (undefined, an error, too slow) is no. It deliberately sends nothing
//! to a policy server: a decision is made in this process, in bounded time.
//!
//! Invariant: a request passes only if the query said `true`.

mod time;

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use regorus::utils::limits::{ExecutionTimerConfig, set_fallback_execution_timer_config};
use regorus::{CompiledPolicy, Engine, Value};
use serde::Deserialize;
use tokio::task::JoinHandle;

/// What is asked of a policy, unless the settings say otherwise.
pub const QUERY: &str = "data.plimsoll.allow";

/// Longest time of one decision.
const DECISION_MAX: Duration = Duration::from_millis(100);
/// A decision that took longer is made off the event loop the next time.
const HEAVY: Duration = Duration::from_micros(500);
/// How often the files are looked at.
const RELOAD_PERIOD: Duration = Duration::from_secs(1);
/// Most files of a bundle, and most bytes of one.
const FILES_MAX: usize = 512;
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Most bytes of a reason.
const REASON_BYTES_MAX: usize = 256;
/// Directories in a bundle below one another.
const DEPTH_MAX: usize = 16;

/// What `--policy` says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicySettings {
    /// A `.rego` file, or a directory of them with `data.json` files.
    pub path: PathBuf,
    /// The rule that decides.
    #[serde(default = "query")]
    pub query: String,
    /// Headers that the policy sees.
    #[serde(default)]
    pub headers: Vec<String>,
}

fn query() -> String {
    QUERY.to_owned()
}

/// A policy that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The settings are none.
    #[error("the policy settings cannot be read: {0}\nhelp: give the path of a `.rego` file")]
    Settings(String),
    /// A file cannot be read.
    #[error("cannot read the policy `{path}`: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Larger than a policy is.
    #[error("the policy `{path}` has more than {FILES_MAX} files or {FILE_BYTES_MAX} bytes in one")]
    TooLarge {
        /// The file or directory.
        path: PathBuf,
    },
    /// There is none.
    #[error("there is no `.rego` file in `{path}`")]
    Empty {
        /// The directory.
        path: PathBuf,
    },
    /// It does not compile.
    #[error("the policy does not compile: {0}")]
    Compile(String),
}

impl FromStr for PolicySettings {
    type Err = PolicyError;

    /// Reads a path, or the JSON of all settings.
    fn from_str(text: &str) -> Result<Self, PolicyError> {
        if text.trim_start().starts_with('{') {
            return serde_json::from_str(text)
                .map_err(|error| PolicyError::Settings(error.to_string()));
        }
        if text.is_empty() {
            return Err(PolicyError::Settings("the path is empty".to_owned()));
        }
        Ok(Self { path: text.into(), query: query(), headers: Vec::new() })
    }
}

/// What a policy says to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may go on.
    pub is_allowed: bool,
    /// Why not, in the policy's words or ours.
    pub reason: String,
    /// What went wrong, for the log; the client is not told.
    pub error: Option<String>,
}

/// A policy that is kept up to date.
#[derive(Debug)]
pub struct Policy {
    settings: PolicySettings,
    current: Arc<RwLock<CompiledPolicy>>,
    /// Microseconds of the last decision.
    last_us: AtomicU64,
    watching: JoinHandle<()>,
}

impl Drop for Policy {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

impl Policy {
    /// Compiles a policy and begins to watch its files; `reloaded` is told what came of a change.
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When it cannot be read or does not compile.
    pub fn new(
        settings: PolicySettings,
        reloaded: impl Fn(Result<(), PolicyError>) + Send + 'static,
    ) -> Result<Self, PolicyError> {
        let check_interval = NonZeroU32::new(64).expect("64 is not zero");
        let timer = ExecutionTimerConfig { limit: DECISION_MAX, check_interval };
        set_fallback_execution_timer_config(Some(timer));
        let seen = stamp(&settings.path);
        let current = Arc::new(RwLock::new(compile(&settings)?));
        let watching = watch(settings.clone(), Arc::clone(&current), seen, reloaded);
        let watching = tokio::spawn(watching);
        Ok(Self { settings, current, last_us: AtomicU64::new(0), watching })
    }

    /// Headers that the policy sees.
    pub fn headers(&self) -> &[String] {
        &self.settings.headers
    }

    /// Decides. A policy that was slow the last time does not hold up the event loop.
    pub async fn decide(&self, input: serde_json::Value) -> (Decision, Duration) {
        let policy = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        let is_heavy = u128::from(self.last_us.load(Ordering::Relaxed)) > HEAVY.as_micros();
        let began = Instant::now();
        let decision = if is_heavy {
            let work = tokio::task::spawn_blocking(move || evaluate(&policy, input));
            work.await.unwrap_or_else(|gone| failed(gone.to_string()))
        } else {
            evaluate(&policy, input)
        };
        let took = began.elapsed();
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.last_us.store(took_us, Ordering::Relaxed);
        (decision, took)
    }
}

/// Reads and compiles a policy, and asks it once, so that what cannot work is found at the start.
///
/// # Errors
/// What is wrong with it.
pub fn check(settings: &PolicySettings) -> Result<(), PolicyError> {
    compile(settings).map(drop)
}

fn evaluate(policy: &CompiledPolicy, input: serde_json::Value) -> Decision {
    match policy.eval_with_input(Value::from(input)) {
        Ok(value) => judge(&value),
        Err(error) => failed(error.to_string()),
    }
}

fn failed(error: String) -> Decision {
    let reason = "the policy could not decide".to_owned();
    Decision { is_allowed: false, reason, error: Some(error) }
}

fn judge(value: &Value) -> Decision {
    let said = |is_allowed: bool, reason: Option<&str>| {
        let reason = reason.unwrap_or(if is_allowed { "allowed" } else { "not allowed" });
        let mut end = reason.len().min(REASON_BYTES_MAX);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        Decision { is_allowed, reason: reason[..end].to_owned(), error: None }
    };
    match value {
        Value::Bool(is_allowed) => said(*is_allowed, None),
        Value::Object(_) => {
            let reason = value["reason"].as_string().ok().map(ToString::to_string);
            said(matches!(value["allow"], Value::Bool(true)), reason.as_deref())
        }
        _ => said(false, None),
    }
}

fn compile(settings: &PolicySettings) -> Result<CompiledPolicy, PolicyError> {
    let mut engine = Engine::new();
    engine.set_rego_v0(false);
    time::add(&mut engine)?;
    let wrong = |error| PolicyError::Compile(format!("{error}"));
    let mut n_policies = 0;
    for path in files(&settings.path)? {
        let read = |source| PolicyError::File { path: path.clone(), source };
        if std::fs::metadata(&path).map_err(read)?.len() > FILE_BYTES_MAX {
            return Err(PolicyError::TooLarge { path });
        }
        let text = std::fs::read_to_string(&path).map_err(read)?;
        if path.extension().is_some_and(|ending| ending == "rego") {
            let name = path.display().to_string();
            engine.add_policy(name, text).map_err(wrong)?;
            n_policies += 1;
        } else {
            let data = serde_json::from_str(&text)
                .map_err(|error| PolicyError::Compile(format!("`{}`: {error}", path.display())))?;
            let below = path.parent().and_then(|it| it.strip_prefix(&settings.path).ok());
            engine.add_data(Value::from(placed(below, data))).map_err(wrong)?;
        }
    }
    if n_policies == 0 {
        return Err(PolicyError::Empty { path: settings.path.clone() });
    }
    let query = settings.query.as_str().into();
    engine.compile_with_entrypoint(&query).map_err(wrong)
}

/// Data under the names of the directories that it lies in, as in a bundle of OPA.
fn placed(below: Option<&Path>, data: serde_json::Value) -> serde_json::Value {
    let names: Vec<_> = below.into_iter().flat_map(Path::components).collect();
    names
        .into_iter()
        .rev()
        .fold(data, |data, name| serde_json::json!({ name.as_os_str().to_string_lossy(): data }))
}

/// The files of a policy, in order.
fn files(path: &Path) -> Result<Vec<PathBuf>, PolicyError> {
    let mut found = Vec::new();
    collect(path, 0, &mut found)?;
    found.sort();
    Ok(found)
}

fn collect(path: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), PolicyError> {
    let read = |source| PolicyError::File { path: path.to_path_buf(), source };
    if !std::fs::metadata(path).map_err(read)?.is_dir() {
        found.push(path.to_path_buf());
        return Ok(());
    }
    for entry in std::fs::read_dir(path).map_err(read)? {
        let entry = entry.map_err(read)?.path();
        let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // A mounted ConfigMap has its files twice: once behind `..data`.
        let is_policy = name.ends_with(".rego") && !name.ends_with("_test.rego");
        if name.starts_with('.') || !(entry.is_dir() || is_policy || name == "data.json") {
            continue;
        }
        if found.len() >= FILES_MAX || depth > DEPTH_MAX {
            return Err(PolicyError::TooLarge { path: path.to_path_buf() });
        }
        collect(&entry, depth + 1, found)?;
    }
    Ok(())
}

/// What changes when a file does.
fn stamp(path: &Path) -> Vec<(PathBuf, u64, Option<SystemTime>)> {
    let of = |path: PathBuf| {
        let meta = std::fs::metadata(&path).ok();
        let length = meta.as_ref().map_or(0, std::fs::Metadata::len);
        (path, length, meta.and_then(|meta| meta.modified().ok()))
    };
    files(path).unwrap_or_default().into_iter().map(of).collect()
}

async fn watch(
    settings: PolicySettings,
    current: Arc<RwLock<CompiledPolicy>>,
    mut seen: Vec<(PathBuf, u64, Option<SystemTime>)>,
    reloaded: impl Fn(Result<(), PolicyError>) + Send + 'static,
) {
    loop {
        tokio::time::sleep(RELOAD_PERIOD).await;
        let path = settings.path.clone();
        let Ok(now) = tokio::task::spawn_blocking(move || stamp(&path)).await else { return };
        if now == seen {
            continue;
        }
        seen = now;
        let again = settings.clone();
        let Ok(compiled) = tokio::task::spawn_blocking(move || compile(&again)).await else {
            return;
        };
        reloaded(compiled.map(|compiled| {
            *current.write().unwrap_or_else(PoisonError::into_inner) = compiled;
        }));
    }
}

#[cfg(test)]
mod tests;
