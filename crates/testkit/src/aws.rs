//! AWS for one test: Secrets Manager, the Parameter Store, IAM and STS by moto, on loopback.
//!
//! moto checks signatures with AWS's own library and policies as IAM does. The metadata service of
//! EC2 and the endpoint of ECS are small and ours (`aws/server.py`). It deliberately says nothing
//! of values: the script and the test agree on them.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    cache::python_path, certificate::Certificate, http::get, run::Run, wait::wait_for_some,
};

/// What runs.
const SERVER: &str = include_str!("../aws/server.py");
/// How long it may take: it loads much of AWS's library.
const START_LIMIT: Duration = Duration::from_secs(240);

/// A running AWS; it ends when dropped.
#[derive(Debug)]
pub struct Aws {
    line: String,
    certificate: Certificate,
    _run: Run,
    _directory: TempDir,
}

impl Aws {
    /// Starts it and waits until it says where it is.
    ///
    /// # Panics
    /// When the Python packages are not installed (`cargo xtask tools --for test`).
    #[must_use]
    pub fn start() -> Self {
        let directory = TempDir::new().expect("a temporary directory can be made");
        let script = directory.path().join("server.py");
        std::fs::write(&script, SERVER).expect("it can be written");
        // It ends with its stdin, which `Run` closes at once; `sleep` keeps it open.
        let names = ["sts.amazonaws.com", "sts.eu-west-1.amazonaws.com"];
        let certificate = Certificate::of(&names);
        let (cert, key) = (certificate.certificate(), certificate.key());
        let (script, cert, key) = (script.display(), cert.display(), key.display());
        let command = format!("sleep 600 | exec python3 '{script}' '{cert}' '{key}'");
        let run = Run::start_with(Path::new("/bin/sh"), ["-c", &command], |command| {
            command.env("PYTHONPATH", python_path()).env("AWS_EC2_METADATA_DISABLED", "true");
        });
        let line = wait_for_some("AWS to start", START_LIMIT, || {
            run.stdout().lines().find(|line| line.starts_with('{')).map(str::to_owned)
        });
        Self { line, certificate, _run: run, _directory: directory }
    }

    /// What it said at its start: `endpoint`, `identity`, `arn`, `key_id`, `key`, `role`,
    /// `denied_id` or `denied_key`.
    ///
    /// # Panics
    /// When it said no such thing.
    #[must_use]
    pub fn said(&self, name: &str) -> &str {
        let rest = self.line.split(&format!("\"{name}\": \"")).nth(1);
        rest.and_then(|rest| rest.split('"').next()).expect("it says that")
    }

    /// The authority that vouches for its STS.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.certificate.authority()
    }

    /// Which paths its sources of roles were asked for.
    #[must_use]
    pub fn asked(&self) -> String {
        let port = self.said("identity").rsplit(':').next().and_then(|port| port.parse().ok());
        get(port.expect("it has a port"), "/asked").expect("it answers").text()
    }
}
