//! One file: all of a plan's containers, and what they share.

use std::collections::BTreeMap;

use manifest::Plan;
use manifest::names::{ResourceName, ServiceName};
use manifest::plan::{Item, Service};

use super::ports::Published;
use super::resource::{self, Fragment};
use super::{front, is_dev, mock, network, one_shot, ports, secret, service};
use crate::node::{Map, Node};
use crate::platform::Platform;

/// A platform in one environment, on one host.
pub(super) struct Stack<'a> {
    pub(super) platform: &'a Platform,
    pub(super) plan: &'a Plan,
    /// Whether it is for a developer's machine.
    pub(super) is_dev: bool,
    /// The ports of a developer's machine; none elsewhere.
    pub(super) published: Vec<Published>,
    /// Addresses that a developer may replace, the longest first, with the variables that do.
    pub(super) redirected: Vec<(String, String)>,
    /// What runs beside the services, by resource.
    pub(super) fragments: BTreeMap<ResourceName, Fragment>,
}

impl<'a> Stack<'a> {
    pub(super) fn of(platform: &'a Platform, plan: &'a Plan) -> Stack<'a> {
        let is_dev = is_dev(plan);
        let (published, redirected) = match is_dev {
            true => (ports::published(plan), mock::redirected(plan)),
            false => Default::default(),
        };
        let fragments = BTreeMap::new();
        let mut stack = Stack { platform, plan, is_dev, published, redirected, fragments };
        for resource in plan.resources.values() {
            if let Some(fragment) = resource::fragment(&stack, resource) {
                stack.fragments.insert(resource.name.clone(), fragment);
            }
        }
        stack
    }

    /// The whole file.
    pub(super) fn file(&self) -> Node {
        let name = format!("{}-{}", self.plan.app, self.plan.environment.name);
        let name = Node::from(name).comment(self.heading());
        let mut file = Map::new().with("name", name).apart("services", self.services());
        let mut volumes = self.shared(|fragment| &fragment.volumes);
        volumes.0.extend(front::volumes(self).into_iter().collect::<Map>().0);
        let parts = [
            ("networks", network::declared(self)),
            ("volumes", volumes),
            ("configs", self.shared(|fragment| &fragment.configs)),
            ("secrets", secret::declared(self.plan)),
        ];
        for (key, part) in parts {
            if !part.is_empty() {
                file = file.apart(key, part);
            }
        }
        file.into()
    }

    fn heading(&self) -> String {
        let file = super::file_name(self.platform, self.plan);
        let environment = &self.plan.environment.name;
        if self.is_dev {
            return format!(
                "Written by `plimsoll render` from plimsoll.yaml: environment `{environment}`.\n\
                 docker compose -f {file} up --build --watch"
            );
        }
        let variable = version_variable(self.plan);
        format!(
            "Written by `plimsoll render` from plimsoll.yaml: environment `{environment}`.\n\
             {variable}=1.4.0-3f2a9c1 docker compose -f {file} up -d --wait"
        )
    }

    /// Containers in the order in which they start.
    fn services(&self) -> Map {
        let mut services = Map::new();
        if let Some(edge) = front::container(self) {
            services = services.apart(front::name(self.plan), edge);
        }
        for item in &self.plan.start_order {
            for (name, container) in self.containers(item) {
                services = services.apart(name, container);
            }
        }
        services
    }

    fn containers(&self, item: &Item) -> Vec<(String, Node)> {
        match item {
            Item::Resource(name) => {
                let fragment = self.fragments.get(name);
                let mut containers = fragment.map(|f| f.containers.clone()).unwrap_or_default();
                if let Some(resource) = self.plan.resources.get(name) {
                    containers.extend(mock::optional(self, resource));
                }
                containers
            }
            Item::Service(name) => {
                let Some(service) = self.plan.services.get(name) else { return Vec::new() };
                let mut containers = Vec::new();
                containers.extend(one_shot::migration(self, service));
                containers.push((name.dns(), service::container(self, service)));
                containers
            }
        }
    }

    fn shared(&self, part: impl Fn(&Fragment) -> &Vec<(String, Node)>) -> Map {
        let all = self.fragments.values().flat_map(|fragment| part(fragment).iter().cloned());
        all.collect()
    }
}

/// The service whose sources and image a service shares: itself, unless it is `from` another.
pub(in crate::target) fn origin<'a>(plan: &'a Plan, service: &'a Service) -> &'a Service {
    service.from.as_ref().and_then(|from| plan.services.get(from)).unwrap_or(service)
}

/// The variable that says which release runs: one per environment, so that a value for one is
/// never taken for another.
pub(in crate::target) fn version_variable(plan: &Plan) -> String {
    let name = plan.environment.name.as_str().to_ascii_uppercase().replace('-', "_");
    format!("{name}_VERSION")
}

/// The container that brings a service's schema forward.
pub(in crate::target) fn migration_name(plan: &Plan, service: &ServiceName) -> String {
    companion(plan, &service.dns(), "migrate")
}

/// A name for a container beside another one, which nothing in the plan has.
pub(super) fn companion(plan: &Plan, name: &str, word: &str) -> String {
    let mut companion = format!("{name}-{word}");
    // Asked for every pair of services with one schema: no name is made anew for it.
    let is_it = |name: &str, companion: &str| {
        let dashed = name.bytes().map(|byte| if byte == b'_' { b'-' } else { byte });
        name.len() == companion.len() && dashed.eq(companion.bytes())
    };
    let is_taken = |companion: &str| {
        plan.services.keys().any(|name| is_it(name.as_str(), companion))
            || plan.resources.keys().any(|name| is_it(name.as_str(), companion))
    };
    while is_taken(&companion) {
        companion.push_str("-once");
    }
    companion
}

/// A text in which Compose finds nothing to fill in.
pub(super) fn escaped(text: &str) -> String {
    text.replace('$', "$$")
}
