//! The programs that `plimsoll verify` hands artifacts to: wheels, packages of npm, and what only
//! comes as Go modules, pinned, with one directory of programs that can stand on a `PATH`.
//!
//! Helm has an entry of its own, since other tests need it too. It deliberately runs no package's
//! own installer.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

/// The pinned packages.
const SOURCE: &str = "crates/testkit/verifiers";

/// Go programs: the package with its version, and what tells it that version.
const GO: &[(&str, &str)] = &[
    (
        "github.com/editorconfig-checker/editorconfig-checker/v3/cmd/editorconfig-checker@v3.8.0",
        "-X main.version=3.8.0",
    ),
    ("github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0", "-X main.version=v0.8.0"),
    (
        "github.com/zricethezav/gitleaks/v8@v8.30.1",
        "-X github.com/zricethezav/gitleaks/v8/version.Version=8.30.1",
    ),
];

/// Programs that are whole in a package, by their places.
const WHOLE: &[(&str, &str)] = &[
    ("caddy", "../python/bin/caddy"),
    ("docker-compose", "../python/bin/docker-compose"),
    ("hadolint", "../python/bin/hadolint"),
    ("markdownlint-cli2", "../node/node_modules/.bin/markdownlint-cli2"),
    ("shellcheck", "../python/bin/shellcheck"),
];

/// Programs that are started by another, which is told where they are.
const STARTED: &[(&str, &str)] = &[
    ("check-jsonschema", "PYTHONPATH=\"$here/python\" exec python3 -m check_jsonschema \"$@\""),
    ("pre-commit", "PYTHONPATH=\"$here/python\" exec python3 -m pre_commit \"$@\""),
    ("wiremock", "exec java -jar \"$here\"/node/node_modules/wiremock/build/*.jar \"$@\""),
    ("yamllint", "PYTHONPATH=\"$here/python\" exec python3 -m yamllint \"$@\""),
];

/// Where they go: a name for these versions.
pub(super) fn directory() -> String {
    testkit::VERIFIERS.to_owned()
}

/// Installs them.
pub(super) fn install(into: &Path) -> Result<()> {
    super::run(
        Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--only-binary=:all:", "--no-warn-conflicts"])
            .args(["--root-user-action=ignore", "--requirement"])
            .arg(format!("{SOURCE}/requirements.txt"))
            .arg("--target")
            .arg(into.join("python")),
    )?;
    let node = into.join("node");
    fs::create_dir(&node)?;
    for file in ["package.json", "package-lock.json"] {
        fs::copy(Path::new(SOURCE).join(file), node.join(file))
            .with_context(|| format!("cannot copy `{SOURCE}/{file}`"))?;
    }
    super::run(
        Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
            .current_dir(&node),
    )?;
    let bin = into.join("bin");
    fs::create_dir(&bin)?;
    for (package, version) in GO {
        go_install(package, version, &bin)?;
    }
    for (name, place) in WHOLE {
        symlink(place, bin.join(name)).with_context(|| format!("cannot link `{name}`"))?;
    }
    for (name, command) in STARTED {
        let script = bin.join(name);
        fs::write(&script, format!("#!/bin/sh\nhere=\"$(dirname \"$0\")/..\"\n{command}\n"))
            .and_then(|()| fs::set_permissions(&script, fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("cannot write `{name}`"))?;
    }
    Ok(())
}

/// Builds a Go program at its version into a directory.
pub(super) fn go_install(package: &str, flags: &str, bin: &Path) -> Result<()> {
    super::run(
        Command::new("go")
            .args(["install", "-trimpath", "-ldflags", &format!("-s -w {flags}"), package])
            .env("CGO_ENABLED", "0")
            .env("GOBIN", bin)
            // Not a program of the module that this is started in.
            .current_dir(bin),
    )
}
