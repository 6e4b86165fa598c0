//! Which port of a developer's machine leads where. No two are the same.
//!
//! Everything listens on loopback only. A service has its own port, a server its usual one; where
//! that is taken, the next free one.

use std::collections::{BTreeMap, BTreeSet};

use manifest::Plan;
use manifest::plan::{Kind, Service};

use super::resource::server_ports;
use super::stack::Stack;
use crate::address::port;
use crate::node::Node;

/// One published port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::target) struct Published {
    /// The service or resource.
    pub(in crate::target) name: String,
    /// What answers there, for people.
    pub(in crate::target) what: String,
    /// On the developer's machine.
    pub(in crate::target) host: u16,
    /// In the container.
    pub(in crate::target) container: u16,
    /// The place of the manifest that it comes from.
    pub(in crate::target) because: String,
}

/// All of them: services, resources, then the admin listeners.
pub(in crate::target) fn published(plan: &Plan) -> Vec<Published> {
    let mut taken = BTreeSet::new();
    // Below these, all ports from a wanted one on are taken: nobody looks at them again.
    let mut next: BTreeMap<u16, u16> = BTreeMap::new();
    let mut all = Vec::new();
    let mut publish = |name: &str, what: String, (host, container): (u16, u16), because: String| {
        let from = next.get(&host).copied().unwrap_or(host);
        let free = (from..u16::MAX).find(|port| taken.insert(*port)).unwrap_or(host);
        next.insert(host, free);
        let host = free;
        all.push(Published { name: name.to_owned(), what, host, container, because });
    };
    for service in plan.services.values() {
        if let Some(port) = service.port {
            let because = format!("services.{}.port", service.name);
            let what = format!("{} `{}`", service.kind, service.name);
            publish(service.name.as_str(), what, (port.get(), port.get()), because);
        }
    }
    for resource in plan.resources.values() {
        for (what, host, container) in server_ports(&resource.spec) {
            let because = format!("resources.{}", resource.name);
            let what = format!("{what} `{}`", resource.name);
            publish(resource.name.as_str(), what, (host, container), because);
        }
    }
    for service in plan.services.values().filter(|service| service.kind != Kind::Cron) {
        let because = format!("services.{}", service.name);
        let what = format!("`/health/detailed` and `/metrics` of `{}`", service.name);
        publish(service.name.as_str(), what, (port::ADMIN, port::ADMIN), because);
    }
    all
}

/// `ports` of a service; nothing outside a developer's machine.
pub(super) fn of_service(stack: &Stack<'_>, service: &Service) -> Vec<Node> {
    of(stack, service.name.as_str())
}

/// `ports` of what has this name.
pub(super) fn of(stack: &Stack<'_>, name: &str) -> Vec<Node> {
    let own = stack.published.iter().filter(|published| published.name == name);
    let node = |published: &Published| {
        let text = format!("127.0.0.1:{}:{}", published.host, published.container);
        Node::from(text).because(&published.because)
    };
    own.map(node).collect()
}

/// The port of a developer's machine that leads to a server's.
pub(super) fn host_of(stack: &Stack<'_>, name: &str, container: u16) -> u16 {
    let is_it = |one: &&Published| one.name == name && one.container == container;
    stack.published.iter().find(is_it).map_or(container, |published| published.host)
}
