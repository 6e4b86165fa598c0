//! A real Vault for tests, built from its Go modules: the core, HTTP, KV, and three ways to log in.
//!
//! The program with all of its plug-ins is ten times as long to build. It is a test's tool and is
//! never shipped. The build takes a quarter of an hour on two cores, once.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

/// What is built, with its versions pinned.
const SOURCE: &str = "crates/testkit/vault";

/// Where it goes: a name for this version.
pub(super) fn directory() -> String {
    testkit::VAULT.to_owned()
}

/// Builds it with Go.
pub(super) fn install(into: &Path) -> Result<()> {
    super::run(
        Command::new("go")
            .args(["build", "-trimpath", "-ldflags", "-s -w", "-o"])
            .arg(into.join("vault"))
            .arg(".")
            .current_dir(SOURCE),
    )
}
