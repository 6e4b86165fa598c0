//! A real Kubernetes API server for tests, built from its Go modules with etcd in the same program.
//!
//! It is a test's tool and is never shipped. It deliberately has no kubelet, no scheduler and no
//! client: `testkit::Kubernetes` talks to it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

/// Its program and its pinned modules.
const SOURCE: &str = "crates/testkit/kubernetes";

/// Where it goes: a name for this version.
pub(super) fn directory() -> String {
    testkit::KUBERNETES.to_owned()
}

/// Builds it with Go.
pub(super) fn install(into: &Path) -> Result<()> {
    super::run(
        Command::new("go")
            .args(["build", "-trimpath", "-ldflags", &flags()?, "-o"])
            .arg(into.join("kubernetes"))
            .arg(".")
            .env("CGO_ENABLED", "0")
            .current_dir(SOURCE),
    )
}

/// Leaves out what only debuggers read, and tells the server its version, as its own build does.
fn flags() -> Result<String> {
    let version = testkit::KUBERNETES.trim_start_matches("kubernetes-");
    let mut numbers = version.split('.');
    let mut next = || numbers.next().context("a version has three numbers");
    let (major, minor) = (next()?, next()?);
    let values = [
        format!("gitVersion=v{version}"),
        format!("gitMajor={major}"),
        format!("gitMinor={minor}"),
        "gitTreeState=clean".to_owned(),
    ];
    let set = values.map(|value| format!(" -X k8s.io/component-base/version.{value}"));
    Ok(format!("-s -w{}", set.concat()))
}
