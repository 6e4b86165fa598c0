//! What a build may not see: secrets, what it makes itself, and what would only make it start anew.

use manifest::plan::Language;

use crate::image::Family;
use crate::platform::Platform;

/// For every image. `.env.example` has names only, and programs read it to know them.
///
/// A pattern without `**/` is for the directory that is built from alone: what stands later wins.
const ALWAYS: &[&str] = &[
    "# Never in an image: history, secrets, and what others generate.",
    "**/.env",
    "**/.env.*",
    "!**/.env.example",
    "**/.git",
    ".github",
    "**/.plimsoll",
    "**/.plimsoll-staged-*",
    "**/.terraform",
    "**/*.tfstate",
    "**/*.tfstate.*",
    "**/*.key",
    "**/*.pem",
    "**/.DS_Store",
    "**/node_modules",
];

/// What no image is made of, and people often change.
const CHANGED: &[&str] = &[
    "# A change of these must not build anything anew.",
    "**/Dockerfile*",
    "**/.dockerignore",
    ".editorconfig",
    ".pre-commit-config.yaml",
    "Makefile",
    "compose*.yaml",
    "docker-bake.json",
    "plimsoll.lock",
    "plimsoll.yaml",
];

/// What a language's tools make.
const fn made(language: Language) -> &'static [&'static str] {
    match language {
        Language::Python => &[
            "**/__pycache__",
            "**/*.pyc",
            "**/.coverage",
            "**/.mypy_cache",
            "**/.pytest_cache",
            "**/.ruff_cache",
            "**/.venv",
            "**/venv",
        ],
        Language::Node => &["**/.next", "**/.turbo", "**/coverage", "**/npm-debug.log*"],
        Language::Rust => &["**/target"],
        Language::Go => &["bin", "**/*.test"],
        Language::Java => &["**/.gradle", "**/build", "**/target", "**/*.class"],
    }
}

/// What a family's Dockerfile may not see.
pub(super) fn text(platform: &Platform, family: &Family<'_>, families: &[Family<'_>]) -> String {
    let mut lines: Vec<String> =
        vec!["# Written by `plimsoll render` from plimsoll.yaml.".to_owned()];
    lines.extend(ALWAYS.iter().map(|line| (*line).to_owned()));
    lines.extend(secrets(platform, &family.context));
    lines.push(String::new());
    lines.extend(CHANGED.iter().map(|line| (*line).to_owned()));
    if let Some(toolchain) = family.toolchain() {
        lines.extend([String::new(), "# Made again in the image.".to_owned()]);
        lines.extend(made(toolchain.language).iter().map(|line| (*line).to_owned()));
    }
    let mut others: Vec<String> = families
        .iter()
        .filter(|other| other.owner.name != family.owner.name)
        .filter_map(|other| nested(&family.context, &other.context))
        .filter(|other| !is_at_or_below(&family.below(), other))
        .collect();
    others.sort_unstable();
    others.dedup();
    if !others.is_empty() {
        lines.extend([String::new(), "# Sources of other images.".to_owned()]);
        lines.extend(others);
    }
    lines.join("\n")
}

/// Where values of secrets are: the directory that `secrets/README.md` tells of, if images are
/// built from around it, and the values of each environment wherever another manifest keeps them.
/// Not every directory of that name: a package of the application may be called so.
fn secrets(platform: &Platform, context: &str) -> Vec<String> {
    let own = (context == ".").then(|| "secrets".to_owned());
    let environments = platform.plans().iter().map(|plan| &plan.environment.name);
    own.into_iter().chain(environments.map(|name| format!("**/secrets/{name}"))).collect()
}

/// A context below another, seen from there.
fn nested(outer: &str, inner: &str) -> Option<String> {
    if outer == inner || inner == "." {
        return None;
    }
    if outer == "." {
        return Some(inner.to_owned());
    }
    Some(inner.strip_prefix(outer)?.strip_prefix('/')?.to_owned())
}

fn is_at_or_below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests;
