//! One Dockerfile per toolchain, as a person reads it.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};

use crate::detect::Repository;
use crate::{Artifacts, Platform, Pins, detect, render};

fn rendered(services: &str, files: &[(&str, &str)]) -> Artifacts {
    let text = format!(
        "plimsoll: 1\napp: shop\nimage: ghcr.io/acme/shop\nowners: {{team: trade}}\n\
         services:\n{services}\nresources:\n  files: {{type: volume}}\n\
         environments: {{production: {{target: host, hosts: [a], domain: shop.example}}}}\n"
    );
    let manifest = manifest::parse(&text).unwrap();
    let plan = manifest::resolve(&manifest, "production").unwrap().plan;
    let repository: Repository = files
        .iter()
        .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
        .collect::<BTreeMap<_, _>>();
    let sources = detect(&plan, &repository).unwrap();
    render(&Platform::new(vec![plan], sources, Pins::new()))
}

fn check(services: &str, files: &[(&str, &str)], path: &str, wanted: &Expect) {
    let artifacts = rendered(services, files);
    wanted.assert_eq(&artifacts.get(path).unwrap().text);
}

/// The first stages, up to the last ones, which are the same for all.
fn check_stages(services: &str, files: &[(&str, &str)], wanted: &Expect) {
    let artifacts = rendered(services, files);
    let text = &artifacts.get("a/Dockerfile").unwrap().text;
    let (_, stages) = text.split_once("AS plimsoll\n\n").unwrap();
    let (stages, _) = stages.split_once("COPY --from=plimsoll /plimsoll-run /usr/local/bin/plimsoll-run\nENV").unwrap();
    wanted.assert_eq(stages);
}

#[test]
fn a_poetry_project_with_a_worker_that_shares_its_stages() {
    let services = "
  api:
    path: a
    language: python@3.12
    package_manager: poetry
    system: [tesseract-ocr, libpdfium, libpq-dev]
    run: poetry run uvicorn app.main:app
    port: 8080
    uses: [files]
    gpu: {count: 1, cuda: '12.6'}
  worker: {from: api, run: celery -A app.tasks worker}";
    let files = &[];
    check(services, files, "a/Dockerfile", &expect![[]]);
}

#[test]
fn pip_tools() {
    let services = "
  a: {path: a, language: python@3.12, package_manager: pip-tools, run: python -m app}";
    let files = &[("a/requirements.in", r#"flask"#), ("a/requirements.txt", r#"flask==3 --hash=sha256:aa"#)];
    check_stages(services, files, &expect![[]]);
}

#[test]
fn uv() {
    let services = "
  a: {path: a, language: python, package_manager: uv, run: uv run app}";
    let files = &[];
    check_stages(services, files, &expect![[]]);
}

#[test]
fn pdm() {
    let services = "
  a: {path: a, language: python, package_manager: pdm, run: app}";
    let files = &[];
    check_stages(services, files, &expect![[]]);
}

#[test]
fn a_pnpm_server() {
    let services = "
  a: {path: a, port: 3000}";
    let files = &[("a/pnpm-lock.yaml", r#""#), ("a/package.json", r#"{"packageManager": "pnpm@10.2.0", "scripts": {"build": "tsc", "start": "node dist/main.js"}}"#)];
    check_stages(services, files, &expect![[]]);
}

#[test]
fn an_npm_workspace() {
    let services = "
  a: {path: a, port: 3000, run: npm run serve}";
    let files = &[("a/package-lock.json", r#""#), ("a/package.json", r#"{"workspaces": ["packages/*"], "scripts": {"serve": "tsx src/main.ts --port 1"}}"#)];
    check_stages(services, files, &expect![[]]);
}

#[test]
fn a_classic_yarn_site() {
    let services = "
  a: {path: a, language: node@22, package_manager: yarn, build: yarn build, static: dist, port: 3000}";
    let files = &[];
    check_stages(services, files, &expect![[]]);
}

#[test]
fn a_next_server_of_modern_yarn() {
    let services = "
  a: {path: a, port: 3000}";
    let files = &[("a/yarn.lock", r#""#), ("a/.yarnrc.yml", r#"yarnPath: .yarn/releases/yarn-4.cjs"#), ("a/next.config.js", r#""#), ("a/package.json", r#"{"dependencies": {"next": "15"}}"#)];
    check_stages(services, files, &expect![[]]);
}

#[test]
fn rust_programs() {
    let services = "
  a: {path: a, language: rust, run: cargo run --bin api -- --verbose, migrate: ./target/debug/migrate up}";
    let files = &[];
    check_stages(services, files, &expect![[]]);
}

#[test]
fn go_programs() {
    let services = "
  a: {path: a, run: go run ./cmd/api, port: 80}";
    let files = &[("a/go.mod", r#"module example.com/shop

go 1.24
"#), ("a/go.sum", r#""#)];
    check_stages(services, files, &expect![[]]);
}

#[test]
fn a_maven_jar() {
    let services = "
  a: {path: a, language: java@21, package_manager: maven, run: java -Xss1m -jar target/shop-1.0.jar --fast, port: 8080}";
    let files = &[];
    check_stages(services, files, &expect![[]]);
}

#[test]
fn a_gradle_jar() {
    let services = "
  a: {path: a, port: 8080, run: ./gradlew bootRun}";
    let files = &[("a/build.gradle.kts", r#""#), ("a/gradlew", r#""#)];
    check_stages(services, files, &expect![[]]);
}
