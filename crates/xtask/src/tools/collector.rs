//! The OpenTelemetry Collector, built from Go modules, for tests of traces.
//!
//! No package brings it alone. It deliberately has one receiver and one exporter: what is not in it
//! is not built.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

/// Its program and its pinned modules.
const SOURCE: &str = "crates/testkit/otelcol";

/// Where it goes: a name for this version.
pub(super) fn directory() -> String {
    testkit::COLLECTOR.to_owned()
}

/// Builds it.
pub(super) fn install(into: &Path) -> Result<()> {
    super::run(
        Command::new("go")
            .args(["build", "-trimpath", "-ldflags", "-s -w", "-o"])
            .arg(into.join("otelcol"))
            .arg(".")
            .current_dir(SOURCE),
    )
}
