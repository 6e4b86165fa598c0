//! `cargo xtask docs`: the pages under `docs/reference/`, rendered from the code that they
//! describe.
//!
//! One row per page in [`pages`]; every renderer is a pure function of its crate, this file only
//! writes and compares. It deliberately keeps no page that a person wrote: those are elsewhere in
//! `docs/`.
//!
//! Invariant: what `--check` calls fresh, a run would not change.

mod cli;

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::{Verdict, tree};

/// Directory of the generated pages.
const DIRECTORY: &str = "docs/reference";

/// Every generated file: its name in [`DIRECTORY`] and its text.
fn pages() -> Vec<(&'static str, String)> {
    vec![
        ("cli.md", cli::page(vec![plimsoll::command(), plimsoll::run_only_command()])),
        ("endpoints.md", contract::reference::endpoints()),
        ("environment.md", contract::reference::environment()),
        ("exit-codes.md", contract::reference::exit_codes()),
        ("logs.md", contract::reference::logs()),
        ("manifest.md", manifest::reference_markdown()),
        ("metrics.md", contract::reference::metrics()),
        ("plimsoll.schema.json", schema()),
    ]
}

/// The JSON Schema of the manifest, for editors.
fn schema() -> String {
    format!("{:#}\n", manifest::json_schema())
}

/// Writes the pages, or with `check` names those that a run would change.
pub(crate) fn command(check: bool) -> Result<Verdict> {
    let root = tree::root();
    let stale = stale(&root)?;
    if stale.is_empty() {
        println!("docs: {} pages of {DIRECTORY} are fresh", pages().len());
        return Ok(Verdict::Yes);
    }
    if check {
        for path in &stale {
            eprintln!("{path} is stale\n    help: cargo xtask docs");
        }
        return Ok(Verdict::No);
    }
    let directory = root.join(DIRECTORY);
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot create `{DIRECTORY}`"))?;
    for (name, text) in pages() {
        std::fs::write(directory.join(name), text)
            .with_context(|| format!("cannot write `{DIRECTORY}/{name}`"))?;
    }
    println!("docs: wrote {}", stale.join(", "));
    Ok(Verdict::Yes)
}

/// Paths of the generated files that are missing, differ, or are generated no more.
pub(crate) fn stale(root: &Path) -> Result<Vec<String>> {
    let directory = root.join(DIRECTORY);
    let pages = pages();
    let mut stale: Vec<_> = pages
        .iter()
        .filter(|(name, text)| {
            std::fs::read_to_string(directory.join(name)).ok().as_ref() != Some(text)
        })
        .map(|(name, _)| format!("{DIRECTORY}/{name}"))
        .collect();
    let Ok(entries) = std::fs::read_dir(&directory) else { return Ok(stale) };
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list `{DIRECTORY}`"))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !pages.iter().any(|(page, _)| *page == name) {
            stale.push(format!("{DIRECTORY}/{name}"));
        }
    }
    Ok(stale)
}
