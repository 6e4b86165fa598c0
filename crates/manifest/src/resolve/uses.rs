//! What a service uses, and the variables that this brings.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Resolver,
    origin::{Origin, join},
    service::kind,
};
use crate::{
    diagnostics::{Code, Problem},
    literal,
    names::{EnvVar, ResourceName, ServiceName, shortened},
    plan::{Gate, Kind, ResourceType, Severity, Target, Use, UseTarget},
    raw::service::{RawService, RawUse},
    span::Spanned,
    suggest,
    template::{Part, ServiceOutput, Template},
};

/// Which addresses a text may hold.
pub(super) enum Edges<'a> {
    /// Those of what the service uses.
    Service { service: &'a ServiceName, uses: &'a BTreeSet<UseTarget> },
    /// All: the text is not part of a service.
    Any,
}

impl Resolver<'_> {
    /// What the entries of `uses` name; unknown names are told.
    pub(super) fn targets(&mut self, raw: &RawService) -> Vec<(UseTarget, Spanned<RawUse>)> {
        let mut found: Vec<(UseTarget, Spanned<RawUse>)> = Vec::new();
        for entry in raw.uses.value().cloned().unwrap_or_default() {
            let name = &entry.value.name;
            let Some(target) = self.target(&name.value) else {
                let services = self.merged.services.iter().map(|(name, ..)| name.as_str());
                let resources = self.merged.resources.iter().map(|(name, ..)| name.as_str());
                let known: Vec<&str> = resources.chain(services).collect();
                let help = suggest::help(&name.value, known);
                let name_shown = shortened(&name.value);
                let message = format!("there is no resource or service `{name_shown}`");
                let problem = Problem::error(Code::UnknownResource, message);
                self.tell(problem.at(name.span, "").help(help));
                continue;
            };
            if let Some((_, first)) = found.iter().find(|(known, _)| *known == target) {
                let message = format!("`{}` is used twice", name.value);
                let problem = Problem::error(Code::NameTaken, message)
                    .at(name.span, "again here")
                    .at(first.value.name.span, "first here")
                    .help("keep one of them");
                self.tell(problem);
                continue;
            }
            found.push((target, entry));
        }
        found
    }

    fn target(&self, name: &str) -> Option<UseTarget> {
        if let Some((name, ..)) = self.merged.resources.iter().find(|(n, ..)| n.as_str() == name) {
            return Some(UseTarget::Resource(name.clone()));
        }
        let (name, ..) = self.merged.services.iter().find(|(n, ..)| n.as_str() == name)?;
        Some(UseTarget::Service(name.clone()))
    }

    /// The edges of a service with the variables they bring.
    pub(super) fn uses(
        &mut self,
        at: &str,
        targets: Vec<(UseTarget, Spanned<RawUse>)>,
    ) -> BTreeMap<String, Use> {
        let types: Vec<ResourceType> =
            targets.iter().filter_map(|(target, _)| self.type_of(target)).collect();
        let is_only = |kind| types.iter().filter(|other| **other == kind).count() == 1;
        let mut uses = BTreeMap::new();
        let mut taken: BTreeMap<EnvVar, Spanned<RawUse>> = BTreeMap::new();
        for (target, entry) in targets {
            let detail = &entry.value.detail;
            let brought = match &target {
                UseTarget::Service(name) => self.has_address(name).then(|| service_variable(name)),
                UseTarget::Resource(name) => match self.type_of(&target) {
                    Some(kind) => Some(resource_variable(name, kind, is_only(kind))),
                    None => continue,
                },
            };
            let env = match brought {
                None => {
                    self.refuse_alias(&entry);
                    BTreeMap::new()
                }
                Some((variable, value)) => {
                    let variable = detail.alias.value().cloned().or(variable.parse().ok());
                    let Some(variable) = variable else { continue };
                    if let Some(first) = taken.get(&variable) {
                        self.tell(variable_taken_twice(&variable, &entry, first));
                    }
                    taken.insert(variable.clone(), entry.clone());
                    BTreeMap::from([(variable, value)])
                }
            };
            let name = entry.value.name.value.clone();
            let origin = self.written(entry.span);
            self.note(&join(at, "uses"), &name, origin);
            let severity = detail.severity.value().copied().unwrap_or(Severity::Hard);
            let gate = match detail.gate.value() {
                Some(gates) => gates.iter().map(|gate| gate.value).collect(),
                None => match severity {
                    Severity::Hard => vec![Gate::Start, Gate::Ready],
                    Severity::Soft => Vec::new(),
                },
            };
            uses.insert(name, Use { target, env, severity, gate });
        }
        uses
    }

    /// Whether others can reach a service; using one that they cannot only sets the order.
    pub(super) fn has_address(&self, name: &ServiceName) -> bool {
        let row = self.merged.services.iter().find(|(known, ..)| *known == name);
        row.is_some_and(|(_, _, raw)| matches!(kind(&raw.value), Kind::Web | Kind::Static))
    }

    fn refuse_alias(&mut self, entry: &Spanned<RawUse>) {
        let Some(variable) = entry.value.detail.alias.value() else { return };
        let name = &entry.value.name;
        let message = format!("`{}` has no address to put into `{variable}`", name.value);
        let help = format!("give `{}` a `port`, or leave out `as`", name.value);
        self.tell(Problem::error(Code::NotApplicable, message).at(entry.span, "").help(help));
    }

    fn type_of(&self, target: &UseTarget) -> Option<ResourceType> {
        let UseTarget::Resource(name) = target else { return None };
        let row = self.merged.resources.0.get(name)?;
        row.field.value()?.kind.value().copied()
    }

    /// What `uses` brings, under what `env` says.
    pub(super) fn env(
        &mut self,
        at: &str,
        raw: &RawService,
        uses: &BTreeMap<String, Use>,
        edges: &Edges<'_>,
    ) -> BTreeMap<EnvVar, Template> {
        let mut env = BTreeMap::new();
        for (name, used) in uses {
            for (variable, value) in &used.env {
                let origin = Origin::Derived { from: format!("uses: {name}") };
                self.note(&join(at, "env"), variable.as_str(), origin);
                env.insert(variable.clone(), value.clone());
            }
        }
        for (variable, key, value) in
            raw.env.value().into_iter().flat_map(crate::merge::Table::iter)
        {
            let origin = self.written(key);
            self.note(&join(at, "env"), variable.as_str(), origin);
            let text = Spanned::new(value.value.0.clone(), value.span);
            self.tell_secret(variable, &text);
            env.insert(variable.clone(), self.template(&text, edges));
        }
        for secret in raw.secrets.value().into_iter().flat_map(|names| &names.0) {
            let taken = env.keys().find(|variable| variable.as_str() == secret.value.as_str());
            if let Some(variable) = taken {
                let message =
                    format!("`{variable}` is in `secrets`, and set from `env` or `uses` as well");
                let problem = Problem::error(Code::VariableTaken, message).at(secret.span, "");
                self.problems.push(problem.help("keep one of them"));
            }
        }
        env
    }

    /// A secret in the open is refused; where everything is local, as it may be made up, told.
    fn tell_secret(&mut self, variable: &EnvVar, text: &Spanned<String>) {
        let message = if literal::has_password(&text.value) {
            format!("the URL in `{variable}` holds a password, in a file that everybody reads")
        } else if literal::is_secret(variable.as_str(), &text.value) {
            format!("`{variable}` holds a secret, in a file that everybody reads")
        } else {
            return;
        };
        let raw = self.environment.raw.as_ref().map(|raw| &raw.value);
        let target = raw.and_then(|raw| raw.target.value().copied());
        let problem = match target.unwrap_or(Target::Local) {
            Target::Local => Problem::warning(Code::SecretLiteral, message),
            _ => Problem::error(Code::SecretLiteral, message),
        };
        let help = format!(
            "keep it in a secret provider, and write `${{secret:NAME}}` in its place, or list \
             `{variable}` in `secrets` instead of `env`"
        );
        self.tell(problem.at(text.span, "").help(help));
    }
}

fn variable_taken_twice(
    variable: &EnvVar,
    entry: &Spanned<RawUse>,
    first: &Spanned<RawUse>,
) -> Problem {
    let message = format!("two entries of `uses` bring the variable `{variable}`");
    Problem::error(Code::VariableTaken, message)
        .at(entry.span, "")
        .at(first.span, "first here")
        .help("rename one of them: `- <name>: {as: OTHER_URL}`")
}

fn service_variable(name: &ServiceName) -> (String, Template) {
    let part = Part::Service { service: name.clone(), output: ServiceOutput::Url };
    (format!("{}_URL", name.upper()), Template(vec![part]))
}

fn resource_variable(name: &ResourceName, kind: ResourceType, is_only: bool) -> (String, Template) {
    let (output, suffix) = kind.main_output();
    let variable = match kind.variable() {
        Some(variable) if is_only => variable.to_owned(),
        Some(_) | None => format!("{}_{suffix}", name.upper()),
    };
    (variable, Template(vec![Part::Resource { resource: name.clone(), output }]))
}
