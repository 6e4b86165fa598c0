//! A real Vault for one test: unsealed, in memory, on a port of its own.
//!
//! It deliberately knows little of Vault's HTTP API: a test says what it wants asked.

use std::{path::Path, time::Duration};

use crate::{
    cache::{VAULT, tool_cache},
    http::{Response, request},
    run::Run,
    wait::wait_for_some,
};

/// How long it may take to answer the first time.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A running Vault; it ends when dropped.
#[derive(Debug)]
pub struct Vault {
    _run: Run,
    port: u16,
    token: String,
    unseal: String,
}

impl Vault {
    /// Starts it and waits until it answers; `None`, said aloud, where it was not built: that takes
    /// a quarter of an hour.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
    pub fn start() -> Option<Self> {
        let program = tool_cache().join(VAULT).join("vault");
        if !program.is_file() {
            eprintln!("SKIPPED: `{}` is missing: run `cargo xtask tools`", program.display());
            return None;
        }
        // It ends with its stdin, which `Run` closes at once; `sleep` keeps it open.
        let script = format!("sleep 600 | exec {}", program.display());
        let run = Run::start(Path::new("/bin/sh"), ["-c", &script]);
        let line = wait_for_some("Vault to start", START_LIMIT, || {
            run.stdout().lines().find(|line| line.starts_with('{')).map(str::to_owned)
        });
        let field = |name: &str| {
            let rest = line.split(&format!("\"{name}\":\"")).nth(1).unwrap_or_default();
            rest.split('"').next().unwrap_or_default().to_owned()
        };
        let address = field("address");
        let port = address.rsplit(':').next().and_then(|port| port.parse().ok());
        let port = port.expect("it says where it listens");
        Some(Self { _run: run, port, token: field("token"), unseal: field("unseal") })
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A token that may do everything.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Writes to a path of its API and expects success; gives the answer's body.
    ///
    /// # Panics
    /// When it refuses.
    #[track_caller]
    pub fn write(&self, path: &str, json: &str) -> String {
        let answer = self.ask("PUT", path, json);
        assert!((200..300).contains(&answer.status), "{path}: {}", answer.text());
        answer.text()
    }

    /// Whether a write is taken.
    #[must_use]
    pub fn try_write(&self, path: &str, json: &str) -> bool {
        (200..300).contains(&self.ask("PUT", path, json).status)
    }

    /// Reads a path of its API.
    #[must_use]
    pub fn read(&self, path: &str) -> String {
        self.ask("GET", path, "").text()
    }

    /// Seals it: it answers 503 to everything until [`Vault::unseal`].
    pub fn seal(&self) {
        self.write("sys/seal", "{}");
    }

    /// Unseals it.
    pub fn unseal(&self) {
        self.write("sys/unseal", &format!("{{\"key\":\"{}\"}}", self.unseal));
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Response {
        let text = format!(
            "{method} /v1/{path} HTTP/1.1\r\nHost: localhost\r\nX-Vault-Token: {}\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.token,
            body.len()
        );
        request(self.port, &text).expect("Vault answers")
    }
}
