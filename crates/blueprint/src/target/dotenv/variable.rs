//! The variables of all services in all environments, told once each.

use std::collections::{BTreeMap, BTreeSet};

use contract::env_vars;
use manifest::Plan;
use manifest::plan::{ResourceSpec, Service, UseTarget};
use manifest::template::Part;

use crate::address::Place;
use crate::environment::{Environment, Var};
use crate::platform::Platform;
use crate::text::Mark;

/// Where `plimsoll run` takes the calls of an application.
const LOOPBACK: &str = "http://127.0.0.1:";

/// The variables of one service.
pub(super) struct Group {
    pub(super) service: String,
    pub(super) variables: Vec<Variable>,
}

/// One variable.
pub(super) struct Variable {
    pub(super) mark: Vec<Mark>,
    pub(super) name: String,
    /// Sentences for people.
    pub(super) about: String,
    /// In quotes, as a shell and Compose read it.
    pub(super) value: String,
    /// Whether an earlier service has it as well, so that this one is only told.
    pub(super) is_repeated: bool,
}

/// Of every service its own, and those of `plimsoll run`, which all have.
pub(super) fn all(platform: &Platform) -> (Vec<Group>, Vec<Variable>) {
    let mut services: BTreeMap<&str, BTreeMap<String, Found<'_>>> = BTreeMap::new();
    let mut ours: BTreeMap<String, Vec<Mark>> = BTreeMap::new();
    let mut marked = BTreeSet::new();
    for plan in platform.plans() {
        for service in plan.services.values() {
            let environment = Environment::of(plan, service, Place::Compose);
            let known = services.entry(service.name.as_str()).or_default();
            for (name, var) in environment.vars {
                if var.is_ours {
                    let marks = ours.entry(name.clone()).or_default();
                    if marked.insert((name, var.because.clone())) {
                        marks.push(Mark(var.because));
                    }
                    continue;
                }
                let found = known.entry(name).or_insert_with(|| Found::new(plan, service, var));
                found.environments.insert(plan.environment.name.as_str());
            }
        }
    }
    let mut told = BTreeSet::new();
    let groups = services.into_iter().filter(|(_, found)| !found.is_empty());
    let groups = groups.map(|(service, found)| {
        let variables = found
            .into_iter()
            .map(|(name, found)| {
                let is_repeated = !told.insert(name.clone());
                found.variable(platform, name, is_repeated)
            })
            .collect();
        Group { service: service.to_owned(), variables }
    });
    (groups.collect(), ours.into_iter().map(|(name, marks)| of_ours(name, marks)).collect())
}

/// A variable of a service, in the first environment that has it.
struct Found<'a> {
    plan: &'a Plan,
    service: &'a Service,
    var: Var,
    environments: BTreeSet<&'a str>,
}

impl<'a> Found<'a> {
    fn new(plan: &'a Plan, service: &'a Service, var: Var) -> Found<'a> {
        Found { plan, service, var, environments: BTreeSet::new() }
    }

    fn variable(self, platform: &Platform, name: String, is_repeated: bool) -> Variable {
        let mut about = self.meaning(&name);
        let is_secret = self.var.value.contains("${secret:");
        about.push_str(match is_secret {
            true => " Required, secret.",
            false if self.var.because.contains(".env.") => " Set by the manifest, not secret.",
            false if self.var.because.ends_with(".run") => {
                " Not secret; `env` of the service sets another."
            }
            false => " Required, not secret.",
        });
        if self.environments.len() < platform.plans().len() {
            let names: Vec<&str> = self.environments.iter().copied().collect();
            about.push_str(&format!(" Only in {}.", names.join(", ")));
        }
        about.push_str(&format!(" From `{}`.", self.var.because));
        let value = quoted(&self.var.value);
        Variable { mark: vec![Mark(self.var.because)], name, about, value, is_repeated }
    }

    /// What it says: which output of what.
    fn meaning(&self, name: &str) -> String {
        let template = self.service.env.iter().find(|(key, _)| key.as_str() == name);
        match template.map(|(_, template)| template.0.as_slice()) {
            Some([Part::Resource { resource, .. }]) if self.var.value.starts_with(LOOPBACK) => {
                format!(
                    "Where calls to `{resource}` go: `plimsoll run` makes them, with the limits \
                     of the manifest."
                )
            }
            Some([Part::Resource { resource, output }]) => {
                let kind = self.plan.resources.get(resource).map(|found| found.spec.kind());
                let kind = kind.map_or_else(String::new, |kind| format!("{kind} "));
                let output = output.as_str();
                format!("{} of the {kind}`{resource}`.", upper_first(output))
            }
            Some([Part::Service { service, output }]) => {
                format!("{} of the service `{service}`.", upper_first(output.as_str()))
            }
            Some([Part::Secret { name }]) => format!("The secret `{name}`."),
            Some(_) => "The application's own.".to_owned(),
            None if self.var.because.ends_with(".run") => {
                "What its program is told, since its command does not say it.".to_owned()
            }
            None => self.credential().unwrap_or_else(|| format!("The secret `{name}`.")),
        }
    }

    /// What a client of a server beside logs in with.
    fn credential(&self) -> Option<String> {
        let used =
            self.var.because.strip_prefix(&format!("services.{}.uses.", self.service.name))?;
        let UseTarget::Resource(resource) = &self.service.uses.get(used)?.target else {
            return None;
        };
        let kind = match self.plan.resources.get(resource)?.spec {
            ResourceSpec::Bucket(_) => "bucket",
            ResourceSpec::Queue(_) => "queue",
            _ => "resource",
        };
        Some(format!("What clients of the {kind} `{resource}` log in with."))
    }
}

fn of_ours(name: String, mark: Vec<Mark>) -> Variable {
    let known = env_vars::ALL.iter().find(|var| var.name == name);
    let (about, value) = known.map_or_else(Default::default, |var| {
        let about = format!("{}. Default: {}.", upper_first(var.meaning), var.default);
        (about, format!("  # {}", var.form))
    });
    Variable { mark, name, about, value, is_repeated: true }
}

fn upper_first(text: &str) -> String {
    let text = match text {
        "url" => "URL",
        "public_url" => "public URL",
        other => other,
    };
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// A value as Compose and a shell read it: in single quotes, where neither changes anything. What
/// cannot stand there is in double quotes, with the escapes of Compose.
fn quoted(value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    if value.chars().all(is_plain) {
        return value.to_owned();
    }
    if !value.contains(['\'', '\\', '\n', '\r']) {
        return format!("'{value}'");
    }
    let mut quoted = String::from("\"");
    for c in value.chars() {
        match c {
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '"' | '\\' | '$' => quoted.extend(['\\', c]),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests;
