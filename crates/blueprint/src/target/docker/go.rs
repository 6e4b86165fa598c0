//! Go: static programs, which need nothing of the image that they stand in.

use askama::Template;
use manifest::plan::Command;

use super::recipe::{self, Base, Recipe, headers, libraries};
use super::{native, written};
use crate::detect::Toolchain;
use crate::image::Family;
use crate::platform::Platform;

#[derive(Template)]
#[template(path = "docker/go.stages", escape = "none")]
struct Stages {
    go: String,
    env: String,
    headers: String,
    files: &'static str,
    workdir: String,
    build: String,
    tree: String,
}

/// How the images of a family are made.
pub(super) fn recipe(platform: &Platform, family: &Family<'_>, toolchain: &Toolchain) -> Recipe {
    let go = platform.pinned(&format!("golang:{}-bookworm", toolchain.version));
    let headers_wanted = native::headers(family);
    let has_c = !headers_wanted.is_empty();
    let is_sum_known = toolchain.markers.is_empty() || toolchain.markers.contains_key("go.sum");
    let cgo = if has_c { "1" } else { "0" };
    let tree = match has_c {
        false => "RUN mkdir /empty".to_owned(),
        true => format!(
            "SHELL [\"/bin/bash\", \"-o\", \"pipefail\", \"-c\"]\nRUN mkdir /empty && \\\n    {}",
            libraries("/tree")
        ),
    };
    let stages = written(&Stages {
        go: go.clone(),
        env: recipe::env(&[("CGO_ENABLED", cgo.to_owned())]) + "\n",
        headers: headers(&headers_wanted),
        files: if is_sum_known { "go.mod go.sum" } else { "go.mod" },
        workdir: family.workdir(),
        build: build(family),
        tree,
    });
    Recipe {
        stages,
        base: if has_c { Base::Libraries } else { Base::Nothing },
        toolchain: go,
        copies: vec!["COPY --from=tree /tree/ /".to_owned()],
        env: Vec::new(),
        workdir: "/".to_owned(),
        secret: Some(("netrc", "$HOME/.netrc")),
    }
}

/// Builds what `build` of a service builds, under that name; else every program of the module.
fn build(family: &Family<'_>) -> String {
    let go_build = "go build -trimpath -ldflags='-s -w'";
    let mut lines = Vec::new();
    for service in &family.services {
        let Some(Command::Exec(words)) = &service.build else { continue };
        let words: Vec<String> =
            words.iter().filter_map(|word| Some(word.as_literal()?.into_owned())).collect();
        let at = words.iter().position(|word| word == "-o");
        let (Some(output), Some(package)) = (at.and_then(|at| words.get(at + 1)), words.last())
        else {
            continue;
        };
        let name = output.rsplit('/').next().unwrap_or_default();
        let package = if package == output { "." } else { package };
        lines.push(format!("{go_build} -o /tree/usr/local/bin/{name} {package}"));
    }
    if lines.is_empty() {
        lines.push(format!(
            "mkdir -p /tree/usr/local/bin && \\\n    {go_build} -o /tree/usr/local/bin/ ./..."
        ));
    }
    lines.join(" && \\\n    ")
}
