//! The programs that `plimsoll verify` hands artifacts to, as `cargo xtask tools` installs them.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::cache::{DOCKER_ENGINE, HELM, VERIFIERS, tool_cache};
use crate::kubernetes::CUSTOM_RESOURCES;

/// Lays out schemas of Kubernetes.
const SCHEMAS: &str = include_str!("../verifiers/schemas.py");

/// Where the programs are: prepared directories, and what of them is a directory of programs.
const PLACES: [(&str, &str); 3] = [
    (VERIFIERS, "bin"),
    (HELM, ""),
    // With the engine of the tests comes the program that reads bake files.
    (DOCKER_ENGINE, "cli-plugins"),
];

/// Where programs and schemas are.
#[derive(Debug)]
pub struct Verifiers {
    /// The value of `PATH`: the prepared programs, and then those of the machine.
    pub path: OsString,
    /// Schemas as `--schemas` takes them; gone when this is dropped.
    pub schemas: Option<TempDir>,
    /// What is not installed, in words.
    pub missing: Vec<String>,
}

impl Verifiers {
    /// Looks for everything that `cargo xtask tools --for test` installs.
    ///
    /// # Panics
    /// On CI, when anything is missing: there a test may not be skipped.
    #[must_use]
    pub fn find(kubernetes_version: &str) -> Self {
        let mut missing = Vec::new();
        let mut path = Vec::new();
        for (prepared, programs) in PLACES {
            let directory = tool_cache().join(prepared).join(programs);
            if directory.is_dir() {
                path.push(directory);
            } else {
                missing.push(format!("`{prepared}` is not installed"));
            }
        }
        path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        let definitions = definitions();
        if definitions.is_empty() {
            missing.push(format!("`{CUSTOM_RESOURCES}` are not installed"));
        }
        let schemas = schemas(kubernetes_version, &definitions);
        let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
        assert!(!is_ci || missing.is_empty(), "`cargo xtask tools --for test`: {missing:?}");
        let path = std::env::join_paths(path).expect("no directory has a colon");
        Self { path, schemas, missing }
    }
}

/// Definitions of kinds that are not of Kubernetes itself.
fn definitions() -> Vec<PathBuf> {
    let entries = fs::read_dir(tool_cache().join(CUSTOM_RESOURCES)).into_iter().flatten().flatten();
    let all = entries.map(|entry| entry.path());
    all.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")).collect()
}

fn schemas(version: &str, definitions: &[PathBuf]) -> Option<TempDir> {
    let packages = tool_cache().join(VERIFIERS).join("python");
    if !packages.is_dir() {
        return None;
    }
    let into = TempDir::new().expect("a temporary directory can be made");
    let output = Command::new("python3")
        .args(["-c", SCHEMAS])
        .arg(into.path())
        .arg(version)
        .args(definitions)
        .env("PYTHONPATH", packages)
        .output()
        .expect("python3 starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "schemas cannot be laid out: {said}");
    Some(into)
}
