//! A Docker engine with BuildKit, and Compose, of Debian 13: Debian 12 has neither `buildx` nor
//! Compose 2.
//!
//! Its programs need nothing but the C library of Debian 12, so they are taken out of their
//! packages and installed nowhere. It deliberately brings no `runc`, which needs a newer one: that
//! is the machine's.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::run;

/// The release of Debian that they come from.
const SUITE: &str = "trixie";
const PACKAGES: &[&str] =
    &["containerd", "docker-buildx", "docker-cli", "docker-compose", "docker.io"];

/// Each program's place in its package, and in our directory.
const PROGRAMS: &[(&str, &str)] = &[
    ("usr/bin/containerd", "bin"),
    ("usr/bin/containerd-shim-runc-v2", "bin"),
    ("usr/bin/docker", "bin"),
    ("usr/sbin/docker-proxy", "bin"),
    ("usr/sbin/dockerd", "bin"),
    ("usr/libexec/docker/cli-plugins/docker-buildx", "cli-plugins"),
    ("usr/libexec/docker/cli-plugins/docker-compose", "cli-plugins"),
];

/// Where they go: a name for their release.
pub(super) fn directory() -> String {
    testkit::DOCKER_ENGINE.to_owned()
}

/// Fetches the packages with an apt that knows of nothing but them, and takes the programs.
pub(super) fn install(into: &Path) -> Result<()> {
    let work = tempfile::tempdir()?;
    let at = |name: &str| work.path().join(name).display().to_string();
    for directory in ["state/lists/partial", "cache/archives/partial", "root"] {
        fs::create_dir_all(work.path().join(directory))?;
    }
    fs::write(at("status"), "")?;
    fs::write(at("sources.list"), format!("deb {} {SUITE} main\n", mirror()?))?;
    let options = [
        format!("Dir::State={}", at("state")),
        format!("Dir::State::status={}", at("status")),
        format!("Dir::Cache={}", at("cache")),
        format!("Dir::Etc::sourcelist={}", at("sources.list")),
        "Dir::Etc::sourceparts=-".to_owned(),
        "Dir::Etc::preferencesparts=-".to_owned(),
        "Acquire::Languages=none".to_owned(),
        "APT::Sandbox::User=root".to_owned(),
    ];
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.arg("--quiet").current_dir(work.path());
        for option in &options {
            apt.args(["--option", option]);
        }
        apt
    };
    run(apt().arg("update"))?;
    run(apt().arg("download").args(PACKAGES))?;
    let root = work.path().join("root");
    for entry in fs::read_dir(work.path())? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg-deb").arg("--extract").arg(&file).arg(&root))?;
        }
    }
    for (program, place) in PROGRAMS {
        let from = root.join(program);
        let to = into.join(place);
        fs::create_dir_all(&to)?;
        let name = from.file_name().context("a program has a name")?;
        fs::copy(&from, to.join(name))
            .with_context(|| format!("cannot take `{program}` out of its package"))?;
    }
    Ok(())
}

/// The mirror of Debian that this machine's apt uses.
pub(super) fn mirror() -> Result<String> {
    let output = Command::new("apt-get")
        .args(["indextargets", "--format", "$(CREATED_BY) $(ORIGIN) $(LABEL) $(REPO_URI)"])
        .output()
        .context("cannot start `apt-get`")?;
    let targets = String::from_utf8_lossy(&output.stdout).into_owned();
    let mirror = targets.lines().find_map(|line| line.strip_prefix("Packages Debian Debian "));
    let mirror =
        mirror.context("apt knows no mirror of Debian here (or needs `apt-get update`)")?;
    Ok(mirror.trim().to_owned())
}
