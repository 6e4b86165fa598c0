//! From a service of a plan to the environment of the `plimsoll run` in front of it.
//!
//! The same everywhere: `plimsoll up` on a developer's machine, a Compose file, a chart. Only
//! addresses differ, and who knows them gives them: `fill` turns a template into a text, or says
//! that there is none. It deliberately knows no place, port or secret of its own.
//!
//! Invariant: what is set here has the name and the form that `contract::env_vars` says.

mod calls;
mod probes;

use std::collections::BTreeMap;

use contract::env_vars;
use manifest::Plan;
use manifest::plan::Service;
use manifest::template::Template;

pub use calls::{Calls, Locate, called};
pub use probes::probes;

/// Turns a template into a text; absent where a part of it has no value in this place.
pub type Fill<'a> = dyn FnMut(&Template) -> Option<String> + 'a;

/// Settings that follow from the manifest alone, by the name of their variable.
#[must_use]
pub fn settings(plan: &Plan, service: &Service) -> BTreeMap<&'static str, String> {
    let mut settings = BTreeMap::new();
    let mut set = |var: &env_vars::Var, value: String| settings.insert(var.name, value);
    set(&env_vars::SERVICE, service.name.to_string());
    set(&env_vars::ENV, plan.environment.name.to_string());
    if let Some(path) = service.health.ready.as_ref().filter(|_| service.port.is_some()) {
        set(&env_vars::READY_HTTP, path.to_string());
    }
    if let Some(path) = service.health.live.as_ref().filter(|_| service.port.is_some()) {
        set(&env_vars::LIVE_HTTP, path.to_string());
    }
    if let Some(metrics) = &service.metrics {
        let path = &metrics.path;
        let url = |port| format!("http://127.0.0.1:{port}{path}");
        set(&env_vars::APP_METRICS, metrics.port.as_ref().map_or_else(|| path.to_string(), url));
    }
    set(&env_vars::START_TIMEOUT, format!("{}ms", service.health.start_timeout.0));
    set(&env_vars::STOP_GRACE, format!("{}ms", service.stop.grace.0));
    set(&env_vars::STOP_SIGNAL, service.stop.signal.to_string());
    settings
}
