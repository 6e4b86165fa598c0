//! The main job on real input: `examples/discovery` under `plimsoll up`, from upload to search,
//! in a browser, and while its database goes away and comes back.
//!
//! The example is served from a directory of links with free ports, so that a platform that
//! somebody runs from the example itself, and its data, are left alone.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use testkit::{Run, free_port, get, request, wait_for};

use crate::run_harness::SIGINT;
use crate::up_harness::{PATIENCE, Platform, has, has_postgres, project};

/// Each sample and a word that only it holds; the scans need Tesseract.
const SAMPLES: [(&str, &str, bool); 4] = [
    ("load-line-survey.pdf", "freeboard", false),
    ("lettre-de-saint-malo.txt", "goelette", false),
    ("lighthouse-log-scan.pdf", "kittiwake", true),
    ("harbour-notice.png", "kingfisher", true),
];

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/discovery").canonicalize().unwrap()
}

/// The example with other ports, and the port of its backend.
fn linked() -> (tempfile::TempDir, u16) {
    let (backend, frontend, metrics) = (free_port(), free_port(), free_port());
    let manifest = fs::read_to_string(example().join("plimsoll.yaml")).unwrap();
    let moved = manifest
        .replace("port: 8080", &format!("port: {backend}"))
        .replace("port: 4173", &format!("port: {frontend}"))
        .replace("9464", &metrics.to_string());
    assert_eq!(moved.matches(&metrics.to_string()).count(), 2, "the worker's port has moved");
    let heartbeat = format!("/tmp/discovery-{metrics}.heartbeat");
    let directory = project(&moved.replace("/tmp/discovery-worker.heartbeat", &heartbeat));
    for name in ["backend", "frontend", "samples", "target"] {
        symlink(example().join(name), directory.path().join(name)).unwrap();
    }
    (directory, backend)
}

/// Builds the example as `up` does, so that what follows measures no compiler.
fn build() {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--locked", "--bins"]).current_dir(example().join("backend"));
    // What cargo tells this test about itself would have other crates built anew.
    let told = std::env::vars_os().map(|(name, _)| name);
    for name in told.filter(|name| name.to_string_lossy().starts_with("CARGO_")) {
        if name != "CARGO_HOME" {
            build.env_remove(name);
        }
    }
    assert!(build.status().unwrap().success(), "the example does not build");
}

fn upload(edge_port: u16, name: &str) -> u16 {
    let sample = format!("file=@{}", example().join("samples").join(name).display());
    let url = format!("http://localhost:{edge_port}/v1/documents");
    let answer = Command::new("curl")
        .args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}"])
        .args(["--form", &sample, &url])
        .output()
        .unwrap();
    String::from_utf8(answer.stdout).unwrap().parse().unwrap()
}

/// Names of the documents in which a word is found, asked at the host of the API.
fn found(edge_port: u16, word: &str) -> Vec<String> {
    let text = format!(
        "GET /v1/search?q={word} HTTP/1.1\r\nHost: api.localhost\r\nConnection: close\r\n\r\n"
    );
    let Ok(answer) = request(edge_port, &text) else { return Vec::new() };
    let Ok(page) = serde_json::from_slice::<Value>(&answer.body) else { return Vec::new() };
    let hits = page["hits"].as_array().into_iter().flatten();
    hits.filter_map(|hit| hit["name"].as_str().map(str::to_owned)).collect()
}

fn status(port: u16, path: &str) -> u16 {
    get(port, path).map_or(0, |answer| answer.status)
}

/// The page in a headless browser; screenshots land under the target directory.
fn browse(edge_port: u16) {
    let e2e = example().join("e2e");
    if !e2e.join("node_modules/playwright-core").is_dir() {
        let installed = Command::new("npm").args(["ci", "--silent"]).current_dir(&e2e).status();
        assert!(installed.unwrap().success(), "`npm ci` failed in examples/discovery/e2e");
    }
    let shots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("discovery-shots");
    let seen = Command::new("node")
        .args(["run.mjs", &format!("http://localhost:{edge_port}")])
        .arg(&shots)
        .current_dir(&e2e)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&seen.stdout);
    assert!(seen.status.success(), "{said}{}", String::from_utf8_lossy(&seen.stderr));
    let picture = fs::metadata(shots.join("4-results.png")).unwrap();
    assert!(picture.len() > 10_000, "the screenshot of the results is empty");
}

#[test]
fn the_reference_platform_serves_from_upload_to_search_and_survives_its_database() {
    if !has_postgres() || !has("curl") {
        return;
    }
    build();
    let (directory, backend) = linked();
    let mut platform = Platform::start_in(directory, &["--no-watch"]);
    platform.until_running();
    let edge = platform.edge_port;

    if has("chromium") && has("node") && has("npm") && has("tesseract") && has("pdftoppm") {
        browse(edge);
    }
    for (name, word, needs_ocr) in SAMPLES {
        if needs_ocr && !(has("tesseract") && has("pdftoppm")) {
            continue;
        }
        assert!([200, 201, 202].contains(&upload(edge, name)), "{name} is not taken");
        wait_for(&format!("`{word}` to be found"), PATIENCE, || found(edge, word) == [name]);
    }
    check_outage(&platform, backend);
    platform.run.signal(SIGINT);
    assert_eq!(platform.run.wait(PATIENCE).code, 0, "{}", platform.run.stderr());
    platform.run.wait_for_nothing_left(PATIENCE);
}

/// The database stops and comes back; the backend says so and is never called dead.
fn check_outage(platform: &Platform, backend: u16) {
    let ready = get(backend, "/ready").unwrap();
    let body: Value = serde_json::from_slice(&ready.body).unwrap();
    assert_eq!((ready.status, &body["checks"]["db"]), (200, &Value::from("pass")));
    assert_eq!(platform.command(&["stop", "db"]).code, 0);
    wait_for("unready without its database", PATIENCE, || status(backend, "/ready") == 503);
    assert_eq!(status(backend, "/live"), 200);
    assert_eq!(platform.command(&["start", "db"]).code, 0);
    wait_for("ready with its database", PATIENCE, || status(backend, "/ready") == 200);
}

#[test]
fn the_reference_manifest_resolves_for_every_environment() {
    for environment in ["dev", "staging", "production"] {
        let directory = example().display().to_string();
        let args = ["plan".to_owned(), directory, "--env".into(), environment.to_owned()];
        let ended = Run::start(&crate::up_harness::binary(), args).wait(PATIENCE);
        assert_eq!(ended.code, 0, "{environment}");
    }
}
