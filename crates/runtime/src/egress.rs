//! Calls that the application makes to declared dependencies, through us.

mod fields;
mod read;
mod settings;

pub use read::{parse, url_variable};
pub use settings::{
    Breaker, Bulkhead, DEPENDENCIES_MAX, Dependency, EgressError, EgressSettings, Retries,
};
