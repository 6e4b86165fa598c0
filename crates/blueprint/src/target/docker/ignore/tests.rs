//! Which files a build sees, by the rules of the builder that reads a `.dockerignore`.

use std::collections::BTreeMap;

use crate::detect::Repository;
use crate::{Pins, Platform, detect, render};

const MANIFEST: &str = "
plimsoll: 1
app: shop
image: ghcr.io/acme/shop
owners: {team: trade}
services:
  api: {path: backend, run: uvicorn app.main:app, port: 8080}
  web: {path: frontend, build: npm run build, static: {dir: dist}, port: 8081}
environments:
  dev: {target: local}
  production: {target: host, hosts: [a], domain: shop.example}
";

/// The patterns of an ignore file of a platform whose API is built from the root.
fn patterns(path: &str) -> Vec<String> {
    let manifest = manifest::parse(MANIFEST).unwrap();
    let plans: Vec<_> = ["dev", "production"]
        .iter()
        .map(|name| manifest::resolve(&manifest, name).unwrap().plan)
        .collect();
    let files = ["uv.lock", "frontend/package.json", "frontend/package-lock.json"];
    let repository: Repository =
        files.iter().map(|path| ((*path).to_owned(), String::new())).collect::<BTreeMap<_, _>>();
    let sources = detect(plans.last().unwrap(), &repository).unwrap();
    let artifacts = render(&Platform::new(plans, sources, Pins::new()));
    let text = &artifacts.get(path).unwrap().text;
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(str::to_owned).collect()
}

/// Whether a build sees a file: the last pattern decides that matches it or a directory above.
fn is_seen(patterns: &[String], path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let mut is_seen = true;
    for pattern in patterns {
        let (pattern, is_exception) = match pattern.strip_prefix('!') {
            Some(pattern) => (pattern, true),
            None => (pattern.as_str(), false),
        };
        let pattern: Vec<&str> = pattern.split('/').collect();
        if (1..=parts.len()).any(|n_parts| is_match(&pattern, &parts[..n_parts])) {
            is_seen = is_exception;
        }
    }
    is_seen
}

fn is_match(pattern: &[&str], parts: &[&str]) -> bool {
    match (pattern, parts) {
        ([], []) => true,
        (["**", rest @ ..], _) => (0..=parts.len()).any(|n| is_match(rest, &parts[n..])),
        ([first, rest @ ..], [part, parts @ ..]) => {
            is_name(first.as_bytes(), part.as_bytes()) && is_match(rest, parts)
        }
        _ => false,
    }
}

fn is_name(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=name.len()).any(|n| is_name(rest, &name[n..])),
        ([first, rest @ ..], [c, name @ ..]) => first == c && is_name(rest, name),
        _ => false,
    }
}

#[test]
fn no_value_of_a_secret_is_seen_by_a_build() {
    let patterns = patterns("Dockerfile.dockerignore");
    for hidden in [
        "secrets/dev/database-password",
        "secrets/production/stripe-key",
        "secrets/stray",
        "other/secrets/dev/token",
        ".env",
        ".env.local",
        "backend/.env",
        "backend/.env.production",
        ".plimsoll/state.json",
        "backend/.plimsoll/logs/api",
        ".plimsoll-staged-a1B2",
        "secrets/dev/.plimsoll-staged-a1B2",
        "secrets/dev/.env.example",
        "backend/.plimsoll-staged-a1B2",
        ".git/config",
        "vendored/.git/config",
        "deploy/terraform/terraform.tfstate",
        "deploy/terraform/terraform.tfstate.backup",
        "backend/tls/server.key",
        "frontend/node_modules/react/index.js",
        "node_modules/x.js",
        "frontend/src/main.tsx",
    ] {
        assert!(!is_seen(&patterns, hidden), "{hidden} is in the image");
    }
}

#[test]
fn what_an_image_is_made_of_is_seen_by_its_build() {
    let patterns = patterns("Dockerfile.dockerignore");
    for seen in [
        "uv.lock",
        "backend/app/main.py",
        "backend/app/secrets/__init__.py",
        "backend/app/environment.py",
        "backend/.env.example",
        ".env.example",
        "backend/alembic.ini",
        "deploy/seed.py",
    ] {
        assert!(is_seen(&patterns, seen), "{seen} is missing in the image");
    }
}

#[test]
fn a_directory_that_is_built_from_alone_may_have_a_package_called_secrets() {
    let patterns = patterns("frontend/Dockerfile.dockerignore");
    assert!(is_seen(&patterns, "secrets/index.ts"));
    assert!(!is_seen(&patterns, "secrets/production/token"));
    assert!(!is_seen(&patterns, ".env"));
}
