//! What a value of the plan is, and where it came from.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::{
    names::shortened,
    resolve::{Origin, Resolution},
    suggest,
};

/// A value of the plan with its origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The path that was asked for.
    pub path: String,
    /// The value, as in the plan's JSON.
    pub value: Value,
    /// Where it came from.
    pub origin: Origin,
    /// Where parts of it came from that have an origin of their own, by path.
    pub parts: BTreeMap<String, Origin>,
}

/// There is no such path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is nothing at `{path}`")]
pub struct UnknownPath {
    /// The path up to and including the first word that names nothing.
    pub path: String,
    /// What to ask for instead.
    pub help: String,
    /// The words that would have led on.
    pub children: Vec<String>,
}

/// Explains the value at a path such as `services.backend.limits`. The empty path is the plan.
///
/// # Errors
/// The first word that names nothing, with those that would.
pub fn explain(resolution: &Resolution, path: &str) -> Result<Explanation, UnknownPath> {
    let whole = serde_json::to_value(&resolution.plan)
        .expect("a plan has text keys and no value that JSON lacks");
    let mut value = &whole;
    let mut rest = path;
    while !rest.is_empty() {
        match step(value, rest) {
            Some((child, after)) => (value, rest) = (child, after),
            None => return Err(unknown(value, path, rest)),
        }
    }
    Ok(Explanation {
        path: path.to_owned(),
        value: value.clone(),
        origin: origin(&resolution.origins, path),
        parts: parts(&resolution.origins, path),
    })
}

/// One word further: keys may hold dots, so that the longest key that fits is taken.
fn step<'a, 'b>(value: &'a Value, path: &'b str) -> Option<(&'a Value, &'b str)> {
    let ends = path.match_indices('.').map(|(dot, _)| dot).chain([path.len()]);
    let mut found = None;
    for end in ends {
        let (word, after) = path.split_at(end);
        let child = match value {
            Value::Object(map) => map.get(word),
            Value::Array(items) => word.parse::<usize>().ok().and_then(|index| items.get(index)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        };
        if let Some(child) = child {
            found = Some((child, after.strip_prefix('.').unwrap_or(after)));
        }
    }
    found
}

fn unknown(value: &Value, path: &str, rest: &str) -> UnknownPath {
    let children: Vec<String> = match value {
        Value::Object(map) => map.keys().cloned().collect(),
        Value::Array(items) => (0..items.len()).map(|index| index.to_string()).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    let word = rest.split('.').next().unwrap_or(rest);
    let known = path.len() - rest.len() + word.len();
    let help = if children.is_empty() {
        "the value before it has no parts".to_owned()
    } else {
        suggest::help(word, children.iter().map(String::as_str))
    };
    UnknownPath { path: shortened(&path[..known]), help, children }
}

/// The origin of a path, or of the nearest thing that holds it.
fn origin(origins: &BTreeMap<String, Origin>, path: &str) -> Origin {
    let mut path = path;
    loop {
        if let Some(origin) = origins.get(path) {
            return origin.clone();
        }
        match path.rfind('.') {
            Some(dot) => path = &path[..dot],
            None => return Origin::Derived { from: "the manifest".to_owned() },
        }
    }
}

fn parts(origins: &BTreeMap<String, Origin>, path: &str) -> BTreeMap<String, Origin> {
    let below = if path.is_empty() { String::new() } else { format!("{path}.") };
    origins
        .range(below.clone()..)
        .take_while(|(part, _)| part.starts_with(&below))
        .map(|(part, origin)| (part.clone(), origin.clone()))
        .collect()
}
