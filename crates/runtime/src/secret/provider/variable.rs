//! Secrets that stand in a variable of our own environment.
//!
//! It deliberately resolves no reference that stands there: that would be a value that names
//! another, or itself.

use zeroize::Zeroizing;

use super::Place;
use crate::secret::{fault::Fault, syntax, value::Fetched};

/// Variables whose names begin alike.
#[derive(Debug)]
pub(in crate::secret) struct Variables {
    prefix: String,
}

impl Variables {
    pub(super) fn new(prefix: String) -> Self {
        Self { prefix }
    }

    pub(super) fn fetch(&self, place: &Place) -> Result<Fetched, Fault> {
        use std::os::unix::ffi::OsStringExt;
        let name = format!("{}{}", self.prefix, place.path);
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(Fault::config("it is not the name of a variable"));
        }
        let value = std::env::var_os(&name);
        let value = value.filter(|value| !value.to_str().is_some_and(syntax::mentions));
        let value =
            value.ok_or_else(|| Fault::missing(format!("the variable `{name}` is not set")))?;
        Fetched::text(&Zeroizing::new(value.into_vec()))
    }
}
