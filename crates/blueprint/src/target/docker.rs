//! Dockerfiles: one per family of services, with what the build may not see and a file for bake.
//!
//! Dependencies are a stage of their own, made from the lock file alone; the last stage is
//! distroless: no shell, no package manager, a user without rights, `plimsoll-run` in front. What
//! a language needs is its file below; the last stage is the same for all. They build with the
//! front end of Docker 20.10: no here-documents, no `COPY --link`, no front end to download.
//!
//! Invariant: no secret is in an image; a build gets them by `--mount=type=secret` only.

mod bake;
mod go;
mod ignore;
mod java;
mod last;
mod native;
mod nginx;
mod node;
mod python;
mod recipe;
mod rust;

use askama::Template;
use manifest::plan::{Language, ResourceSpec};

use self::last::Last;
use self::recipe::Recipe;
use super::Edge;
use crate::artifact::Files;
use crate::image::Family;
use crate::platform::Platform;

/// The image that `plimsoll-run` is copied from.
const PLIMSOLL: &str = concat!("ghcr.io/plimsoll/plimsoll-run:", env!("CARGO_PKG_VERSION"));

/// What native packages come from, and what an image with a shell is made from.
const DEBIAN: &str = "debian:bookworm-slim";

/// Writes the files.
pub(super) fn render(platform: &Platform, files: &mut Files<'_>) {
    let families = Family::all(platform);
    for family in &families {
        let path = family.path();
        files.text(path.clone(), &dockerfile(platform, family));
        files.text(format!("{path}.dockerignore"), &ignore::text(platform, family, &families));
        for (name, text) in last::site_configs(family) {
            files.text(crate::detect::join(&family.context, &name), &squeeze(&text));
        }
    }
    files.json("docker-bake.json", &bake::tree(platform, &families));
}

/// What `uses` of a resource brings.
pub(super) fn edge(resource: &ResourceSpec) -> Edge {
    match resource {
        ResourceSpec::Volume(_) => Edge::Written,
        ResourceSpec::Postgres(_)
        | ResourceSpec::Redis(_)
        | ResourceSpec::Kafka(_)
        | ResourceSpec::Bucket(_)
        | ResourceSpec::Queue(_)
        | ResourceSpec::Http(_) => Edge::NotApplicable(
            "an image is the same in every environment; addresses come when it starts",
        ),
        ResourceSpec::Image(_) => Edge::NotApplicable("its image is somebody else's"),
    }
}

#[derive(Template)]
#[template(path = "docker/Dockerfile", escape = "none")]
struct Dockerfile<'a> {
    images: String,
    first: String,
    path: String,
    context: &'a str,
    secrets: String,
    plimsoll: String,
    stages: String,
    finals: String,
}

fn dockerfile(platform: &Platform, family: &Family<'_>) -> String {
    let recipe = recipe(platform, family);
    let native = native::stages(platform, family);
    let lasts: Vec<String> = family
        .services
        .iter()
        .flat_map(|service| Last::all(platform, family, &recipe, &native, service))
        .map(|last| written(&last))
        .collect();
    let mut names: Vec<String> =
        family.services.iter().map(|service| format!("`{}`", service.name)).collect();
    names.rotate_right(1);
    let sites = last::sites(platform, family, &recipe);
    let more = native.text.iter().chain(&sites).map(|stage| stage.trim_end());
    let stages = [recipe.stages.trim_end()].into_iter().chain(more);
    let stages: Vec<&str> = stages.filter(|text| !text.is_empty()).collect();
    let secrets = recipe
        .secret
        .map(|(id, file)| format!("# Private registries: add --secret id={id},src={file}\n"));
    let text = written(&Dockerfile {
        images: names.join(", "),
        first: crate::image::stage(family.owner),
        path: family.path(),
        context: &family.context,
        secrets: secrets.unwrap_or_default(),
        plimsoll: platform.pinned(PLIMSOLL),
        stages: stages.join("\n\n"),
        finals: lasts.join("\n\n"),
    });
    squeeze(&text)
}

fn recipe(platform: &Platform, family: &Family<'_>) -> Recipe {
    let Some(toolchain) = family.toolchain() else {
        return Recipe::files();
    };
    match toolchain.language {
        Language::Python => python::recipe(platform, family, toolchain),
        Language::Node => node::recipe(platform, family, toolchain),
        Language::Rust => rust::recipe(platform, family, toolchain),
        Language::Go => go::recipe(platform, family, toolchain),
        Language::Java => java::recipe(platform, family, toolchain),
    }
}

/// What a template of ours gives; it cannot fail, since a `String` takes everything.
fn written(template: &impl Template) -> String {
    template.render().expect("writing to a string cannot fail")
}

/// At most one empty line in a row: a part that is empty leaves none behind.
fn squeeze(text: &str) -> String {
    let mut squeezed = String::with_capacity(text.len());
    let mut was_empty = true;
    for line in text.lines() {
        let is_empty = line.trim().is_empty();
        if !(is_empty && was_empty) {
            squeezed.push_str(line);
            squeezed.push('\n');
        }
        was_empty = is_empty;
    }
    squeezed
}

#[cfg(test)]
mod tests;
