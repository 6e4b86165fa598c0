//! Containers that do one thing before the others start.

use manifest::plan::{Command, Service};

use super::hardening::{self, Share};
use super::stack::{Stack, escaped, migration_name};
use super::{develop, network, service};
use crate::address::Place;
use crate::environment::{self, Environment};
use crate::image;
use crate::node::{Map, Node};

/// What brings a service's schema forward; the services that need it wait until it has.
pub(super) fn migration(stack: &Stack<'_>, owner: &Service) -> Option<(String, Node)> {
    let migrate = owner.migrate.as_ref()?;
    let because = format!("services.{}.migrate", owner.name);
    let environment = Environment::for_migration(stack.plan, owner, Place::Compose);
    let container = service::image_of(stack, owner, Map::new());
    let command = match stack.is_dev && develop::has_own_stage(owner) {
        true => develop::command(owner, &migrate.run),
        false => in_image(stack, owner, &migrate.run),
    };
    let container = container.with("command", command);
    let mut container = service::common(stack, owner, container, &environment);
    if !stack.is_dev {
        container.put("networks", Node::list(network::used(stack, owner)));
    }
    let mut container = container
        .with_any("depends_on", service::written(service::resources(stack, owner)))
        .with("restart", "no");
    if !stack.is_dev {
        let limits = &owner.limits;
        let share = Share { cpu: limits.cpu, memory: limits.memory, pids: limits.pids };
        container = service::hardened(stack, owner, container)
            .with("deploy", share.deploy())
            .with("logging", hardening::logging(stack.plan));
    }
    Some((migration_name(stack.plan, &owner.name), Node::from(container).because(because)))
}

/// A command as the image has it.
fn in_image(stack: &Stack<'_>, service: &Service, command: &Command) -> Node {
    let words = image::command(stack.platform, service, command);
    Node::row(words.iter().map(|word| {
        escaped(&environment::filled(stack.plan, Place::Compose, word).unwrap_or_default())
    }))
}
