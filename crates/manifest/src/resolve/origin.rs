//! Where a value of the plan came from.

use std::fmt;

use serde::Serialize;

use super::Resolver;
use crate::{merge::Field, names::EnvName, span::Span};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Origin {
    /// Nobody wrote it: an opinion of ours.
    Default,
    /// It follows from something else.
    Derived {
        /// From what.
        from: String,
    },
    /// It was written.
    Line {
        /// The line, from 1.
        line: u32,
    },
    /// It was written in an environment's overlay.
    Overlay {
        /// The environment.
        environment: EnvName,
        /// The line, from 1.
        line: u32,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::Derived { from } => write!(f, "from {from}"),
            Origin::Line { line } => write!(f, "line {line}"),
            Origin::Overlay { environment, line } => {
                write!(f, "overlay of {environment}, line {line}")
            }
        }
    }
}

impl Resolver<'_> {
    /// Where something was written.
    pub(super) fn written(&self, span: Span) -> Origin {
        let line = self.manifest.lines.line(span.start);
        let is_overlay = self.environment.raw.as_ref().is_some_and(|raw| {
            let raw = &raw.value;
            let overlays = [
                raw.services.get().map(|field| field.span),
                raw.resources.get().map(|field| field.span),
                raw.owners.get().map(|field| field.span),
                raw.observability.get().map(|field| field.span),
                raw.policies.get().map(|field| field.span),
            ];
            overlays.into_iter().flatten().any(|overlay| overlay.holds(span))
        });
        if is_overlay {
            Origin::Overlay { environment: self.environment.name.clone(), line }
        } else {
            Origin::Line { line }
        }
    }

    pub(super) fn note(&mut self, at: &str, key: &str, origin: Origin) {
        let path = join(at, key);
        self.origins.insert(path, origin);
    }

    /// The value that was written, or a default.
    pub(super) fn or<T: Clone>(
        &mut self,
        at: &str,
        key: &str,
        field: &Field<T>,
        default: impl FnOnce() -> T,
    ) -> T {
        self.opt(at, key, field).unwrap_or_else(default)
    }

    /// The value that was written, if one was.
    pub(super) fn opt<T: Clone>(&mut self, at: &str, key: &str, field: &Field<T>) -> Option<T> {
        let origin = match field {
            Field::Set(spanned) => self.written(spanned.span),
            Field::Absent | Field::Null(_) => Origin::Default,
        };
        self.note(at, key, origin);
        field.value().cloned()
    }

    /// The values of a list, without their places.
    pub(super) fn list<T: Clone>(
        &mut self,
        at: &str,
        key: &str,
        field: &Field<Vec<crate::span::Spanned<T>>>,
        default: impl FnOnce() -> Vec<T>,
    ) -> Vec<T> {
        match self.opt(at, key, field) {
            Some(list) => list.into_iter().map(|item| item.value).collect(),
            None => default(),
        }
    }
}

pub(super) fn join(at: &str, key: &str) -> String {
    if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") }
}
