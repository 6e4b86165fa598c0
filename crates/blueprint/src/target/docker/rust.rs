//! Rust: the programs that the services start, built for release, and what they link.

use std::collections::BTreeSet;

use askama::Template;
use manifest::plan::Command;

use super::recipe::{Base, Recipe, headers, libraries};
use super::{native, written};
use crate::detect::Toolchain;
use crate::image::{self, BIN, Family};
use crate::platform::Platform;

#[derive(Template)]
#[template(path = "docker/rust.stages", escape = "none")]
struct Stages {
    rust: String,
    headers: String,
    packages: String,
    programs: String,
    binaries: String,
    libraries: String,
}

/// How the images of a family are made.
pub(super) fn recipe(platform: &Platform, family: &Family<'_>, toolchain: &Toolchain) -> Recipe {
    let rust = platform.pinned(&format!("rust:{}-bookworm", toolchain.version));
    let programs = programs(platform, family);
    let bins: String = programs.iter().map(|name| format!(" --bin {name}")).collect();
    let binaries: Vec<String> =
        programs.iter().map(|name| format!("        target/release/{name}")).collect();
    let stages = written(&Stages {
        rust: rust.clone(),
        headers: headers(&native::headers(family)),
        packages: bins.clone(),
        programs: bins,
        binaries: format!(" \\\n{}", binaries.join(" \\\n")),
        libraries: libraries("/tree"),
    });
    Recipe {
        stages,
        base: Base::Libraries,
        toolchain: rust,
        copies: vec!["COPY --from=tree /tree/ /".to_owned()],
        env: Vec::new(),
        workdir: family.workdir(),
        secret: Some(("cargo", "$HOME/.cargo/credentials.toml")),
    }
}

/// The programs that a family's services start or migrate with.
fn programs(platform: &Platform, family: &Family<'_>) -> BTreeSet<String> {
    let mut programs = BTreeSet::new();
    let mut add = |words: &[manifest::template::Template]| {
        let first = words.first().and_then(manifest::template::Template::as_literal);
        if let Some(name) = first.as_deref().and_then(|word| word.strip_prefix(BIN)) {
            programs.insert(name.trim_start_matches('/').to_owned());
        }
    };
    for service in &family.services {
        add(&image::run(platform, service).unwrap_or_default());
        let migrate = service.migrate.as_ref();
        let commands: [Option<&Command>; 3] = [
            migrate.map(|migrate| &migrate.run),
            migrate.and_then(|migrate| migrate.check.as_ref()),
            migrate.and_then(|migrate| migrate.contract.as_ref()),
        ];
        for command in commands.into_iter().flatten() {
            add(&image::command(platform, service, command));
        }
    }
    if programs.is_empty() {
        let toolchain = family.toolchain();
        programs.extend(toolchain.map(|toolchain| image::program(toolchain, family.owner)));
    }
    programs
}
