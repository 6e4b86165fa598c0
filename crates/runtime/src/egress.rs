//! Calls that the application makes to declared dependencies, through us.
//!
//! ```text
//! app -- http://127.0.0.1:9460/out/<name>/.. --> bulkhead --> breaker --> tries --> dependency
//! ```
//!
//! The application calls `/out/<name>/path` on an admin listener, or a listener of the dependency's
//! own (`<NAME>_EGRESS_URL` says which), as if it were the dependency; it gets its answers, or one
//! of ours with the header `plimsoll-egress`. Only declared origins are reached, only from this
//! host, and bodies stream both ways. It deliberately speaks HTTP/1.1 to the application, follows
//! no redirect and passes no upgrade on.
//!
//! Invariant: every call ends within its timeout, is counted once, and gives back its place.

pub mod answer;
mod body;
pub mod breaker;
mod budget;
mod call;
mod dependency;
mod fields;
mod flight;
mod read;
mod serve;
mod settings;
mod target;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use body::ResponseBody;
pub use breaker::State;
pub use flight::Outcome;
pub use read::{parse, url_variable};
pub use serve::{Listening, listen};
pub use settings::{
    Breaker, Bulkhead, DEPENDENCIES_MAX, Dependency, EgressError, EgressSettings, Retries,
};

use crate::board::Board;
use crate::logs::Sink;
use crate::metrics::Metrics;
use crate::outbound::OutboundError;
use crate::secret;
use crate::telemetry::Tracer;

/// What calls are made with.
#[derive(Clone, Debug)]
pub struct EgressParts {
    /// Where breakers are shown.
    pub board: Arc<Board>,
    /// Where calls are measured.
    pub metrics: Arc<Metrics>,
    /// Where lines go.
    pub sink: Sink,
    /// Where spans go.
    pub tracer: Tracer,
}

/// The declared dependencies.
#[derive(Debug)]
pub struct Egress {
    dependencies: BTreeMap<String, Arc<dependency::Dependency>>,
    /// Connections of applications that call; the admin endpoints keep theirs.
    room: Arc<tokio::sync::Semaphore>,
}

impl Egress {
    /// The dependencies of these settings. Those whose header fields hold references wait for
    /// [`Egress::resolve`].
    ///
    /// # Errors
    /// When the environment names a proxy that is none.
    pub fn new(settings: &EgressSettings, parts: &EgressParts) -> Result<Self, OutboundError> {
        let mut dependencies = BTreeMap::new();
        for (name, declared) in settings {
            let dependency = dependency::Dependency::new(name, declared, parts)?;
            if declared.headers.values().all(|value| !secret::has_reference(value.reveal())) {
                let plain = |(name, value): (&String, &crate::outbound::Hidden)| {
                    (name.clone(), value.reveal().to_owned())
                };
                dependency.set_fields(declared.headers.iter().map(plain));
            }
            dependencies.insert(name.clone(), Arc::new(dependency));
        }
        let room = Arc::new(tokio::sync::Semaphore::new(serve::CONNECTIONS_MAX));
        Ok(Self { dependencies, room })
    }

    /// Resolves the references in header fields by `fill`; a dependency keeps what it had when one
    /// of its references cannot be resolved. Returns what went wrong, by dependency.
    pub async fn resolve<F>(&self, fill: impl Fn(String) -> F) -> Vec<(String, String)>
    where
        F: Future<Output = Result<String, String>>,
    {
        let mut problems = Vec::new();
        'dependencies: for (name, dependency) in &self.dependencies {
            let mut resolved = Vec::new();
            for (field, value) in &dependency.settings.headers {
                match fill(value.reveal().to_owned()).await {
                    Ok(value) => resolved.push((field.clone(), value)),
                    Err(problem) => {
                        problems.push((name.clone(), problem));
                        continue 'dependencies;
                    }
                }
            }
            dependency.set_fields(resolved);
        }
        problems
    }
}

#[cfg(test)]
mod tests;
