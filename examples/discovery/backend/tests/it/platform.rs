//! A platform for one test: its own directory and database, a backend on a port of its own, and
//! as many workers as the test asks for. Everything ends with the test.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::postgres::Cluster;

/// Every wait of the tests ends after this.
const WAIT_MAX: Duration = Duration::from_secs(90);

pub struct Platform {
    pub base: String,
    directory: TempDir,
    database_url: String,
    backend: Process,
    _cluster: Option<Arc<Cluster>>,
}

/// A child process and where it listens.
pub struct Process {
    pub child: Child,
    pub address: String,
}

impl Platform {
    pub fn sqlite() -> Self {
        Self::start(String::new(), None)
    }

    pub fn postgres(cluster: Arc<Cluster>) -> Self {
        Self::start(cluster.create_database(), Some(cluster))
    }

    fn start(database_url: String, cluster: Option<Arc<Cluster>>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path();
        let migrated = program("backend", data, &database_url).arg("migrate").output().unwrap();
        assert!(migrated.status.success(), "{migrated:?}");
        let backend = Process::start(program("backend", data, &database_url));
        let base = format!("http://{}", backend.address);
        Self { base, directory, database_url, backend, _cluster: cluster }
    }

    pub fn data_dir(&self) -> &Path {
        self.directory.path()
    }

    /// `backend` or `worker` on this platform's data, not started yet.
    pub fn program(&self, name: &str) -> Command {
        program(name, self.data_dir(), &self.database_url)
    }

    pub fn worker(&self) -> Process {
        Process::start(self.program("worker"))
    }

    pub fn backend(&mut self) -> &mut Process {
        &mut self.backend
    }

    /// The status and the JSON of the answer (`Null` if it is none).
    pub fn get(&self, path: &str) -> (u16, Value) {
        answer(agent().get(format!("{}{path}", self.base)).call())
    }

    pub fn post(&self, path: &str, body: &[u8]) -> (u16, Value) {
        answer(agent().post(format!("{}{path}", self.base)).send(body))
    }

    pub fn delete(&self, path: &str) -> u16 {
        answer(agent().delete(format!("{}{path}", self.base)).call()).0
    }

    /// Uploads bytes that must be taken; returns the document's id.
    pub fn upload(&self, name: &str, body: &[u8]) -> String {
        let (status, document) = self.post(&format!("/v1/documents?name={}", encode(name)), body);
        assert!(status == 200 || status == 201, "{status} {document}");
        document["id"].as_str().unwrap().to_owned()
    }

    pub fn document(&self, id: &str) -> Value {
        let (status, document) = self.get(&format!("/v1/documents/{id}"));
        assert_eq!(status, 200, "{document}");
        document
    }

    /// Waits until the document is neither queued nor processing; returns it.
    pub fn settled(&self, id: &str) -> Value {
        let is_busy =
            |document: &Value| matches!(document["status"].as_str(), Some("queued" | "processing"));
        until("the document is read", || !is_busy(&self.document(id)));
        self.document(id)
    }

    pub fn search(&self, query: &str) -> Value {
        let (status, found) = self.get(&format!("/v1/search?q={}", encode(query)));
        assert_eq!(status, 200, "`{query}`: {found}");
        found
    }

    /// The names of the documents found.
    pub fn names(&self, query: &str) -> Vec<String> {
        let found = self.search(query);
        let hits = found["hits"].as_array().unwrap();
        hits.iter().map(|hit| hit["name"].as_str().unwrap().to_owned()).collect()
    }
}

impl Process {
    /// Starts a program and waits until its log says where it listens.
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "{command:?} ended: {:?}", child.wait());
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if let Some(address) = event["address"].as_str() {
                break address.to_owned();
            }
        };
        // Whatever else it says must not block it.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::stderr()));
        Self { child, address }
    }

    pub fn metrics(&self) -> String {
        let url = format!("http://{}/metrics", self.address);
        agent().get(url).call().unwrap().body_mut().read_to_string().unwrap()
    }

    /// The value of one sample of its metrics.
    pub fn metric(&self, sample: &str) -> f64 {
        let text = self.metrics();
        let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no `{sample}` in\n{text}")).parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(WAIT_MAX))
        .build();
    config.into()
}

fn answer(result: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> (u16, Value) {
    let mut response = result.unwrap();
    let text = response.body_mut().read_to_string().unwrap();
    (response.status().as_u16(), serde_json::from_str(&text).unwrap_or_default())
}

pub fn sample(name: &str) -> Vec<u8> {
    std::fs::read(samples().join(name)).unwrap()
}

pub fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples")
}

pub fn has_ocr() -> bool {
    let is_there = ["tesseract", "pdftoppm"]
        .iter()
        .all(|name| discovery::confine::find_program(name).is_some());
    if !is_there {
        eprintln!("SKIPPED: tesseract-ocr and poppler-utils are not installed");
    }
    is_there
}

/// Percent-encodes everything but letters and digits.
pub fn encode(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// Looks again and again, up to a limit.
pub fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT_MAX;
    while !is_true() {
        assert!(Instant::now() < deadline, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn signal(child: &Child, name: &str) {
    let signal = match name {
        "TERM" => rustix::process::Signal::TERM,
        "INT" => rustix::process::Signal::INT,
        _ => rustix::process::Signal::KILL,
    };
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

fn program(name: &str, data: &Path, database_url: &str) -> Command {
    let program = match name {
        "backend" => env!("CARGO_BIN_EXE_backend"),
        _ => env!("CARGO_BIN_EXE_worker"),
    };
    let mut command = Command::new(program);
    command
        .current_dir(data)
        .env("DATA_DIR", data)
        .env("DATABASE_URL", database_url)
        .env("PORT", "0")
        .env_remove("METRICS_PORT")
        .env_remove("LOG_LEVEL");
    command
}
