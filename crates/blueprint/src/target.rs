//! The table of targets: what can be rendered, and by what. One target is one file below.

mod argocd;
mod compose;
mod docker;
mod dotenv;
mod helm;
mod hooks;
mod makefile;

use manifest::plan::ResourceSpec;

use crate::artifact::{Artifacts, Files};
use crate::platform::Platform;

/// A family of files that are written together.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What `--only` takes.
    pub name: &'static str,
    /// What it writes, without a full stop.
    pub help: &'static str,
    render: fn(&Platform, &mut Files<'_>),
    edge: fn(&ResourceSpec) -> Edge,
}

/// What `uses` of a resource brings to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// Lines in its files.
    Written,
    /// Nothing, because of this.
    NotApplicable(&'static str),
}

impl Target {
    /// What `uses` of a resource brings to this target.
    #[must_use]
    pub fn edge(&self, resource: &ResourceSpec) -> Edge {
        (self.edge)(resource)
    }
}

macro_rules! targets {
    ($($module:ident: $help:literal,)*) => {
        /// Every target, in the order in which a person meets them.
        pub const TARGETS: &[Target] = &[$(Target {
            name: stringify!($module),
            help: $help,
            render: $module::render,
            edge: $module::edge,
        },)*];
    };
}

targets! {
    docker: "Dockerfiles, `.dockerignore` files and the bake file that builds all images",
    compose: "Compose files: `compose.dev.yaml`, `compose.prod.yaml` and one per environment",
    dotenv: "`.env.example` with every variable, and the secrets that each environment needs",
    makefile: "`Makefile`, the port table",
    hooks: "pre-commit hooks and `.editorconfig`",
    helm: "the Helm chart with values per environment",
    argocd: "Argo CD project and applications",
}

/// Renders every target.
#[must_use]
pub fn render(platform: &Platform) -> Artifacts {
    let mut artifacts = Artifacts::default();
    for target in TARGETS {
        (target.render)(platform, &mut Files::new(&mut artifacts, target.name));
    }
    artifacts
}
