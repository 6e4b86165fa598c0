//! A manifest and an environment's name into a plan: overlays merged, `from` inherited, defaults
//! filled in, names checked, placeholders read, everything ordered.
//!
//! A rule that finds a problem tells it and goes on with a stand-in, so that all problems are found
//! in one pass; the stand-ins never leave, since there is no plan when there is an error.
//! Invariant: every value of the plan has an origin that `explain` can show.

mod environment;
mod graph;
mod observability;
mod origin;
mod placeholder;
mod provider;
mod resource;
mod scaling;
mod service;
mod slo;
mod uses;
mod words;

use std::collections::BTreeMap;

use serde::Serialize;

pub use self::origin::Origin;
use crate::{
    diagnostics::{Code, Level, Problem, Problems},
    manifest::Manifest,
    merge::{Field, Merge, Row, Table},
    names::{EnvName, ResourceName, ServiceName},
    plan::{Environment, Plan},
    raw::{
        environment::{RawEnvironment, RawOwners},
        observability::{RawObservability, RawPolicies},
        resource::RawResource,
        service::RawService,
    },
    span::{Span, Spanned},
    suggest,
};

/// A plan, where its values came from, and what is odd about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Resolution {
    /// The plan.
    pub plan: Plan,
    /// Problems that do not prevent it.
    pub warnings: Problems,
    /// Where each value came from, by path. Values below a path have its origin unless they have
    /// their own.
    pub origins: BTreeMap<String, Origin>,
}

/// Resolves a manifest for one environment.
///
/// # Errors
/// All problems of what the manifest means in this environment.
pub fn resolve(manifest: &Manifest, environment: &str) -> Result<Resolution, Problems> {
    let Some(chosen) = environment::choose(manifest, environment) else {
        let written = manifest.environments().into_iter().map(EnvName::as_str);
        let mut known: Vec<&str> = written.collect();
        if !known.contains(&manifest.local_environment()) {
            known.push(manifest.local_environment());
        }
        let message = format!("there is no environment `{}`", crate::names::shortened(environment));
        let help = suggest::help(environment, known);
        let problem = Problem::error(Code::UnknownEnvironment, message).help(help);
        return Err(Problems::new(vec![problem], &manifest.lines));
    };
    let mut problems = Vec::new();
    let merged = Merged::new(manifest, chosen.raw.as_ref(), &chosen.name, &mut problems);
    let mut resolver = Resolver {
        manifest,
        merged: &merged,
        environment: &chosen,
        problems,
        origins: BTreeMap::new(),
    };
    let plan = resolver.plan();
    let problems = resolver.problems;
    if problems.iter().any(|problem| problem.level == Level::Error) {
        return Err(Problems::new(problems, &manifest.lines));
    }
    let origins = resolver.origins;
    Ok(Resolution { plan, warnings: Problems::new(problems, &manifest.lines), origins })
}

/// The environment that was asked for.
struct Chosen {
    name: EnvName,
    /// Absent for the built-in one.
    raw: Option<Spanned<RawEnvironment>>,
    is_production: bool,
}

/// The manifest with the overlays of one environment.
struct Merged {
    services: Table<ServiceName, RawService>,
    resources: Table<ResourceName, RawResource>,
    owners: RawOwners,
    observability: RawObservability,
    policies: RawPolicies,
}

impl Merged {
    fn new(
        manifest: &Manifest,
        overlay: Option<&Spanned<RawEnvironment>>,
        name: &EnvName,
        problems: &mut Vec<Problem>,
    ) -> Merged {
        let raw = &manifest.raw;
        let mut merged = Merged {
            services: raw.services.value().cloned().unwrap_or_default(),
            resources: raw.resources.value().cloned().unwrap_or_default(),
            owners: raw.owners.value().cloned().unwrap_or_default(),
            observability: raw.observability.value().cloned().unwrap_or_default(),
            policies: raw.policies.value().cloned().unwrap_or_default(),
        };
        if let Some(Spanned { value: over, .. }) = overlay {
            let mut services = over.services.value().cloned().unwrap_or_default();
            let mut resources = over.resources.value().cloned().unwrap_or_default();
            known_only(
                &merged.services,
                &mut services,
                "service",
                name,
                Code::UnknownService,
                problems,
            );
            known_only(
                &merged.resources,
                &mut resources,
                "resource",
                name,
                Code::UnknownResource,
                problems,
            );
            merged.services.merge(&services);
            merged.resources.merge(&resources);
            merge_some(&mut merged.owners, &over.owners);
            merge_some(&mut merged.observability, &over.observability);
            merge_some(&mut merged.policies, &over.policies);
        }
        merged.inherit(problems);
        merged
    }

    /// Carries out every `from`.
    fn inherit(&mut self, problems: &mut Vec<Problem>) {
        let children: Vec<(ServiceName, Spanned<ServiceName>)> = self
            .services
            .iter()
            .filter_map(|(name, _, raw)| Some((name.clone(), raw.value.from.get()?.clone())))
            .collect();
        for (child, from) in children {
            let Some(parent) = self.services.0.get(&from.value).and_then(|row| row.field.value())
            else {
                problems.push(unknown_service(&self.services, &from));
                continue;
            };
            if let Some(further) = parent.from.get() {
                let message = format!(
                    "service `{child}` is `from` `{}`, which is itself `from` `{}`",
                    from.value, further.value
                );
                problems.push(
                    Problem::error(Code::FromChain, message)
                        .at(from.span, "")
                        .at(further.span, "this one is `from` another already")
                        .help(format!("write `from: {}`", further.value)),
                );
                continue;
            }
            let parent = parent.clone();
            if let Some(Row { field: Field::Set(child), .. }) = self.services.0.get_mut(&child) {
                inherit_from(&mut child.value, &parent);
            }
        }
    }
}

/// What makes the image and its configuration is shared; edges, ports and promises are not.
fn inherit_from(child: &mut RawService, parent: &RawService) {
    fn inherit<T: Clone>(child: &mut Field<T>, parent: &Field<T>) {
        if matches!(child, Field::Absent) {
            child.clone_from(parent);
        }
    }
    inherit(&mut child.path, &parent.path);
    inherit(&mut child.language, &parent.language);
    inherit(&mut child.package_manager, &parent.package_manager);
    inherit(&mut child.system, &parent.system);
    inherit(&mut child.build, &parent.build);
    inherit(&mut child.secrets, &parent.secrets);
    inherit(&mut child.watch, &parent.watch);
    inherit(&mut child.security, &parent.security);
    let mut env = parent.env.clone();
    env.merge(&child.env);
    child.env = env;
}

fn merge_some<T: Merge>(base: &mut T, over: &Field<T>) {
    if let Some(over) = over.value() {
        base.merge(over);
    }
}

/// An overlay changes what is there; a new name in it is a mistyped one, and is taken out.
fn known_only<K: Ord + AsRef<str>, V>(
    base: &Table<K, V>,
    over: &mut Table<K, V>,
    what: &str,
    environment: &EnvName,
    code: Code,
    problems: &mut Vec<Problem>,
) {
    over.0.retain(|name, row| {
        if base.0.contains_key(name) {
            return true;
        }
        let name = name.as_ref();
        let message =
            format!("environment `{environment}` changes {what} `{name}`, which does not exist");
        let help = suggest::help(name, base.0.keys().map(AsRef::as_ref));
        problems.push(Problem::error(code, message).at(row.key, "").help(help));
        false
    });
}

fn unknown_service<V>(services: &Table<ServiceName, V>, name: &Spanned<ServiceName>) -> Problem {
    let known = services.0.keys().map(ServiceName::as_str);
    Problem::error(Code::UnknownService, format!("there is no service `{}`", name.value))
        .at(name.span, "")
        .help(suggest::help(name.value.as_str(), known))
}

/// What the rules share.
struct Resolver<'a> {
    manifest: &'a Manifest,
    merged: &'a Merged,
    environment: &'a Chosen,
    problems: Vec<Problem>,
    origins: BTreeMap<String, Origin>,
}

impl Resolver<'_> {
    fn plan(&mut self) -> Plan {
        let raw = &self.manifest.raw;
        let environment: Environment = self.environment();
        let app = self.or("", "app", &raw.app, || {
            "app".parse().expect("a word of lower-case letters is a name")
        });
        let owners = self.owners("owners", &self.merged.owners.clone(), None);
        self.check_names();
        let resources = self.resources(&environment);
        let services = self.services(&environment, &owners);
        let start_order = self.start_order(&services, &resources);
        let observability = self.observability(&environment, &owners, &app);
        Plan {
            image: self.image_repository(&raw.image),
            promotion: self.manifest.environments().into_iter().cloned().collect(),
            policies: self.policies(),
            app,
            environment,
            owners,
            services,
            resources,
            start_order,
            observability,
        }
    }

    /// `uses: [x]` must mean one thing, and host names must not collide.
    fn check_names(&mut self) {
        let services = self.merged.services.iter().map(|(name, key, _)| (name.as_str(), key));
        let resources = self.merged.resources.iter().map(|(name, key, _)| (name.as_str(), key));
        let mut all: Vec<(&str, Span)> = services.chain(resources).collect();
        all.sort_by_key(|(_, key)| key.start);
        let mut seen: BTreeMap<String, (&str, Span)> = BTreeMap::new();
        for (name, key) in all {
            let host_name = name.replace('_', "-");
            if let Some((other, first)) = seen.get(&host_name) {
                let message = format!("`{name}` and `{other}` are the same name in the network");
                self.problems.push(
                    Problem::error(Code::NameTaken, message)
                        .at(key, "again here")
                        .at(*first, "first here")
                        .help("rename one of them"),
                );
            } else {
                seen.insert(host_name, (name, key));
            }
        }
    }

    fn tell(&mut self, problem: Problem) {
        self.problems.push(problem);
    }
}
