//! What a build may not see: secrets, what it makes itself, and what would only make it start anew.

use manifest::plan::Language;

use crate::image::Family;

/// For every image. `.env.example` has names only.
const ALWAYS: &[&str] = &[
    "# Never in an image: history, secrets, and what others generate.",
    ".git",
    ".github",
    ".plimsoll",
    "**/.env",
    "**/.env.*",
    "**/*.key",
    "**/*.pem",
    "**/.DS_Store",
    "",
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
        Language::Node => {
            &["**/.next", "**/.turbo", "**/coverage", "**/node_modules", "**/npm-debug.log*"]
        }
        Language::Rust => &["**/target"],
        Language::Go => &["bin", "**/*.test"],
        Language::Java => &["**/.gradle", "**/build", "**/target", "**/*.class"],
    }
}

/// What a family's Dockerfile may not see.
pub(super) fn text(family: &Family<'_>, families: &[Family<'_>]) -> String {
    let mut lines: Vec<String> =
        vec!["# Written by `plimsoll render` from plimsoll.yaml.".to_owned()];
    lines.extend(ALWAYS.iter().map(|line| (*line).to_owned()));
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
