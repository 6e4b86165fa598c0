//! Secrets as files: which ones an environment needs, who makes each, and where it is mounted.
//!
//! Invariant: only names. A file is called as the secret is, below `secrets/<environment>/`.

use std::collections::{BTreeMap, BTreeSet};

use manifest::Plan;
use manifest::names::SecretName;
use manifest::plan::{ResourceSpec, Service};
use manifest::template::Output;

use super::resource;
use crate::address::{self, Place};
use crate::environment::Environment;
use crate::node::{Map, Node};

/// Where containers see secrets.
pub(super) const MOUNT: &str = "/run/secrets";

/// Who makes a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::target) enum Maker {
    /// We do: it is the password of a server that starts with it.
    Us,
    /// Somebody else gave it to us: a provider, an operator.
    Others,
}

/// A secret of one environment.
#[derive(Clone, Debug)]
pub(in crate::target) struct Secret {
    pub(in crate::target) maker: Maker,
    /// What it opens, for people.
    pub(in crate::target) about: String,
    /// The services that read it.
    pub(in crate::target) services: BTreeSet<String>,
    /// The place of the manifest that asks for it first.
    pub(in crate::target) because: String,
}

/// Every secret that a plan needs on one host.
pub(in crate::target) fn secrets(plan: &Plan) -> BTreeMap<SecretName, Secret> {
    let mut secrets: BTreeMap<SecretName, Secret> = BTreeMap::new();
    let owned = of_resources(plan);
    for (name, (about, maker, because)) in &owned {
        if *maker == Maker::Us {
            let services = BTreeSet::new();
            let (about, because) = (about.clone(), because.clone());
            secrets.insert(name.clone(), Secret { maker: *maker, about, services, because });
        }
    }
    for service in plan.services.values() {
        let environment = Environment::of(plan, service, Place::Compose);
        for name in &environment.secrets {
            let because = reason(&environment, service, name);
            let secret = secrets.entry(name.clone()).or_insert_with(|| {
                let known = owned.get(name).map(|(about, ..)| about.clone());
                let about = known.unwrap_or_else(|| format!("asked for by `{because}`"));
                let services = BTreeSet::new();
                Secret { maker: Maker::Others, about, services, because }
            });
            secret.services.insert(service.name.to_string());
        }
    }
    secrets
}

/// Secrets that are outputs of resources: what they open, who makes them, and the place.
fn of_resources(plan: &Plan) -> BTreeMap<SecretName, (String, Maker, String)> {
    let mut all = BTreeMap::new();
    for resource in plan.resources.values() {
        let name = &resource.name;
        let because = format!("resources.{name}");
        let kind = resource.spec.kind();
        let is_ours = resource::is_beside(&resource.spec);
        let maker = if is_ours { Maker::Us } else { Maker::Others };
        for output in kind.outputs() {
            let secret = address::secret_name(name, *output);
            let has_password =
                matches!(resource.spec, ResourceSpec::Postgres(_) | ResourceSpec::Redis(_));
            let maker = match output {
                Output::Password if has_password => maker,
                _ => Maker::Others,
            };
            let about = format!("{} of the {kind} `{name}`", output.as_str());
            all.insert(secret, (about, maker, because.clone()));
        }
        for (variable, template) in address::credentials(resource, Place::Compose) {
            for secret in template.secrets() {
                let about = format!("`{variable}` of the {kind} `{name}`");
                all.insert(secret.clone(), (about, maker, because.clone()));
            }
        }
    }
    all
}

/// The place of the manifest that makes a service ask for a secret.
fn reason(environment: &Environment, service: &Service, name: &SecretName) -> String {
    let placeholder = format!("${{secret:{name}}}");
    let var = environment.vars.values().find(|var| var.value.contains(&placeholder));
    var.map_or_else(|| format!("services.{}", service.name), |var| var.because.clone())
}

/// `secrets` of the file.
pub(super) fn declared(plan: &Plan) -> Map {
    let environment = &plan.environment.name;
    let declared = |(name, secret): (SecretName, Secret)| {
        let file = Map::new().with("file", format!("./secrets/{environment}/{}", key(&name)));
        (key(&name), Node::from(file).because(secret.because))
    };
    secrets(plan).into_iter().map(declared).collect()
}

/// `secrets` of one container.
pub(super) fn mounted(environment: &Environment) -> Vec<Node> {
    let mut mounted = Vec::new();
    for name in &environment.secrets {
        let placeholder = format!("${{secret:{name}}}");
        let var = environment.vars.values().find(|var| var.value.contains(&placeholder));
        let node = mount(name);
        mounted.push(match var {
            Some(var) => node.because(&var.because),
            None => node,
        });
    }
    mounted
}

/// One secret of a container: by its key, and by its name where that is another.
pub(super) fn mount(name: &SecretName) -> Node {
    let key = key(name);
    if key == name.as_str() {
        return Node::from(key);
    }
    Map::new().with("source", key).with("target", format!("{MOUNT}/{name}")).into()
}

/// The path at which a container sees a secret.
pub(super) fn path(name: &SecretName) -> String {
    format!("{MOUNT}/{name}")
}

/// A secret's name as a key and file name, where a slash has another meaning.
pub(in crate::target) fn key(name: &SecretName) -> String {
    name.as_str().replace('/', "-")
}
