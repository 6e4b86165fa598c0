//! Compose files: a whole platform on one host, one file per environment.
//!
//! A developer's file publishes ports on loopback, follows the sources and offers mocks. All others
//! publish nothing but the edge, and hold every container to limits, a read-only root, no
//! capabilities and networks that only declared edges share. It deliberately uses no anchors and
//! no `extends`: each file is read on its own, at night.
//!
//! Invariant: a secret is a file below `secrets/<environment>/`, never a value.

mod develop;
mod front;
mod hardening;
mod mock;
mod network;
mod one_shot;
mod ports;
mod resource;
mod secret;
mod service;
mod stack;

use std::collections::BTreeSet;

use manifest::Plan;
use manifest::plan::{ResourceSpec, Target};

use super::Edge;
use crate::artifact::Files;
use crate::platform::Platform;

pub(super) use mock::redirections;
pub(super) use ports::{Published, published};
pub(super) use resource::file_systems;
pub(super) use secret::{Maker, Secret, key as secret_file, secrets};
pub(super) use service::{COLLECTOR, collector};
pub(super) use stack::{migration_name, origin, version_variable};

/// Writes the files.
pub(super) fn render(platform: &Platform, files: &mut Files<'_>) {
    for plan in platform.plans() {
        let stack = stack::Stack::of(platform, plan);
        let files = &mut files.of(&plan.environment.name);
        files.yaml(file_name(platform, plan), &stack.file());
        front::render(&stack, files);
    }
    mock::answers(platform, files);
}

/// What `uses` of a resource brings.
pub(super) fn edge(resource: &ResourceSpec) -> Edge {
    resource::edge(resource)
}

/// The file of an environment: `compose.dev.yaml` for the developer's, `compose.prod.yaml` for
/// `production`, the environment's name for all others.
pub(super) fn file_name(platform: &Platform, plan: &Plan) -> String {
    let name = &plan.environment.name;
    let names: BTreeSet<&str> =
        platform.plans().iter().map(|plan| plan.environment.name.as_str()).collect();
    let is_first_local = platform.local().is_some_and(|local| local.environment.name == *name);
    let short = match name.as_str() {
        _ if is_first_local && !names.contains("dev") => "dev",
        "production" if !names.contains("prod") => "prod",
        whole => whole,
    };
    format!("compose.{short}.yaml")
}

/// Whether a file is for a developer's machine.
pub(super) fn is_dev(plan: &Plan) -> bool {
    plan.environment.target == Target::Local
}

#[cfg(test)]
mod tests;
