//! The Python packages that tests run: the pinned list of the tests, for one interpreter.
//!
//! A plain directory for `PYTHONPATH`, not a virtual environment: one of those cannot be moved. It
//! deliberately builds nothing: every package must come as a wheel.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

/// The pinned packages.
const REQUIREMENTS: &str = "crates/plimsoll/tests/frameworks/requirements.txt";

/// Where they go: a name for this list of packages.
pub(super) fn directory() -> String {
    testkit::PYTHON_PACKAGES.to_owned()
}

/// Installs them with the interpreter that tests use.
pub(super) fn install(into: &Path) -> Result<()> {
    super::run(
        Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--only-binary=:all:", "--no-warn-conflicts"])
            .args(["--root-user-action=ignore", "--requirement", REQUIREMENTS, "--target"])
            .arg(into),
    )
}
