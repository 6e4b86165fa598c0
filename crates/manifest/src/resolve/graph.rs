//! The order in which everything starts, the ports and the routes: rules about all services.

use std::collections::{BTreeMap, BTreeSet};

use super::Resolver;
use crate::{
    diagnostics::{Code, Problem},
    names::{ResourceName, ServiceName},
    plan::{Item, Kind, Resource, Service, UseTarget},
    span::Span,
    units::Port,
};

/// First port given to a web service that names none.
const WEB_PORT: u16 = 8080;

/// First port given to a site that names none.
const SITE_PORT: u16 = 4173;

impl Resolver<'_> {
    /// Every resource and service after everything it uses.
    pub(super) fn start_order(
        &mut self,
        services: &BTreeMap<ServiceName, Service>,
        resources: &BTreeMap<ResourceName, Resource>,
    ) -> Vec<Item> {
        let mut waits: BTreeMap<Item, BTreeSet<Item>> = BTreeMap::new();
        for name in resources.keys() {
            waits.insert(Item::Resource(name.clone()), BTreeSet::new());
        }
        for (name, service) in services {
            let used = service.uses.values().map(|used| item(&used.target)).collect();
            waits.insert(Item::Service(name.clone()), used);
        }
        let mut order = Vec::new();
        while let Some(next) = waits.iter().find(|(_, on)| on.is_empty()).map(|(i, _)| i.clone()) {
            waits.remove(&next);
            waits.values_mut().for_each(|on| {
                on.remove(&next);
            });
            order.push(next);
        }
        if !waits.is_empty() {
            self.tell_cycles(waits);
        }
        order
    }

    /// What is left waits for each other, or for something that does.
    fn tell_cycles(&mut self, mut waits: BTreeMap<Item, BTreeSet<Item>>) {
        while let Some(first) = waits.keys().next().cloned() {
            let mut path: Vec<Item> = vec![first];
            let cycle = loop {
                let last = path.last().expect("the path begins with one item");
                let Some(next) = waits.get(last).and_then(|on| on.iter().next()).cloned() else {
                    break Vec::new();
                };
                if let Some(start) = path.iter().position(|item| *item == next) {
                    break path.split_off(start);
                }
                path.push(next);
            };
            for item in cycle.iter().chain(&path) {
                waits.remove(item);
            }
            // What waited for the cycle only is no cycle of its own.
            let gone: BTreeSet<Item> = cycle.iter().chain(&path).cloned().collect();
            waits.values_mut().for_each(|on| on.retain(|item| !gone.contains(item)));
            waits.retain(|_, on| !on.is_empty());
            if !cycle.is_empty() {
                self.tell_cycle(&cycle);
            }
        }
    }

    fn tell_cycle(&mut self, cycle: &[Item]) {
        let names: Vec<String> = cycle.iter().map(|item| format!("`{}`", item.name())).collect();
        let first = names.first().cloned().unwrap_or_default();
        let message = format!("{} -> {first} use each other in a circle", names.join(" -> "));
        let mut problem = Problem::error(Code::Cycle, message);
        for (index, item) in cycle.iter().enumerate() {
            let next = &cycle[(index + 1) % cycle.len()];
            if let Some(span) = self.use_span(item.name(), next.name()) {
                problem = problem.at(span, format!("`{}` uses `{}`", item.name(), next.name()));
            }
        }
        let help = "take one out of `uses`; an address alone can be read by \
                    `${services.<name>.public_url}`";
        self.tell(problem.help(help));
    }

    fn use_span(&self, service: &str, used: &str) -> Option<Span> {
        let raw = self.merged.services.0.get(service)?.field.value()?;
        let entry = raw.uses.value()?.iter().find(|entry| entry.value.name.value == used)?;
        Some(entry.value.name.span)
    }

    /// The port of each service: the written one, else the next that is free.
    pub(super) fn ports(&mut self) -> BTreeMap<ServiceName, Port> {
        let mut taken: BTreeMap<Port, (ServiceName, Span)> = BTreeMap::new();
        let mut ports = BTreeMap::new();
        let merged = self.merged;
        for (name, _, raw) in merged.services.iter() {
            let Some(port) = raw.value.port.get() else { continue };
            if let Some((other, span)) = taken.get(&port.value) {
                let message = format!(
                    "service `{name}` uses port {}, already taken by `{other}`",
                    port.value
                );
                let problem = Problem::error(Code::PortTaken, message)
                    .at(port.span, "")
                    .at(*span, "taken here")
                    .help("give one of them another port");
                self.tell(problem);
            } else {
                taken.insert(port.value, (name.clone(), port.span));
            }
            ports.insert(name.clone(), port.value);
        }
        for (name, _, raw) in merged.services.iter() {
            let first = match super::service::kind(&raw.value) {
                Kind::Web => WEB_PORT,
                Kind::Static => SITE_PORT,
                Kind::Worker | Kind::Cron | Kind::Job => continue,
            };
            if ports.contains_key(name) {
                continue;
            }
            let is_free = |port: &Port| !taken.contains_key(port);
            let free = (first..=u16::MAX).filter_map(Port::new).find(is_free);
            if let Some(port) = free {
                taken.insert(port, (name.clone(), raw.span));
                ports.insert(name.clone(), port);
            }
        }
        ports
    }

    /// No two services answer for the same host and path.
    pub(super) fn check_routes(&mut self, services: &BTreeMap<ServiceName, Service>) {
        let mut taken: BTreeMap<String, (&ServiceName, Span)> = BTreeMap::new();
        let merged = self.merged;
        for (name, service) in services {
            let row = merged.services.0.get(name);
            let raw = row.and_then(|row| row.field.value()).and_then(|raw| raw.route.get());
            let Some(raw) = raw else { continue };
            // An unreadable route is not in the plan, so that places are found by position only
            // when all were read.
            let spans: Vec<Span> = raw.value.0.iter().map(|route| route.span).collect();
            for (index, route) in service.route.iter().enumerate() {
                let span = spans.get(index).copied().unwrap_or(raw.span);
                if let Some((other, first)) = taken.get(&route.to_string()) {
                    let message =
                        format!("service `{name}` has route `{route}`, already taken by `{other}`");
                    let problem = Problem::error(Code::RouteTaken, message)
                        .at(span, "")
                        .at(*first, "taken here")
                        .help("give one of them another host or a longer path");
                    self.problems.push(problem);
                } else {
                    taken.insert(route.to_string(), (name, span));
                }
            }
        }
    }
}

fn item(target: &UseTarget) -> Item {
    match target {
        UseTarget::Resource(name) => Item::Resource(name.clone()),
        UseTarget::Service(name) => Item::Service(name.clone()),
    }
}
