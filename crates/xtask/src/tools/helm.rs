//! Helm, built from its Go modules: no registry that tests may ask has a package of today's.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::verifiers::go_install;

/// Where it goes: a name for its version.
pub(super) fn directory() -> String {
    testkit::HELM.to_owned()
}

/// Builds it, and tells it its version, as its own build does.
pub(super) fn install(into: &Path) -> Result<()> {
    let version = testkit::HELM.strip_prefix("helm-").context("the name has the version")?;
    let flags = format!("-X helm.sh/helm/v3/internal/version.version=v{version}");
    go_install(&format!("helm.sh/helm/v3/cmd/helm@v{version}"), &flags, into)
}
