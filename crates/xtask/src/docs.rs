//! `cargo xtask docs`: the pages under `docs/reference/`, rendered from the code that they
//! describe, and the gallery of the examples.
//!
//! One row per page in [`pages`]; every renderer of a reference page is a pure function of its
//! crate, the gallery is one of what is committed below `examples/`, and this file only writes and
//! compares. It deliberately keeps no page that a person wrote: those are elsewhere in `docs/`.
//!
//! Invariant: what `--check` calls fresh, a run would not change.

mod cli;
mod gallery;

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::{Verdict, tree};

/// Directory of the reference pages: nothing else is in it.
const DIRECTORY: &str = "docs/reference";

/// Every generated file: its path and its text.
fn pages(root: &Path) -> Result<Vec<(String, String)>> {
    let reference = [
        ("cli.md", cli::page(vec![plimsoll::command(), plimsoll::run_only_command()])),
        ("endpoints.md", contract::reference::endpoints()),
        ("environment.md", contract::reference::environment()),
        ("exit-codes.md", contract::reference::exit_codes()),
        ("logs.md", contract::reference::logs()),
        ("manifest.md", manifest::reference_markdown()),
        ("metrics.md", contract::reference::metrics()),
        ("plimsoll.schema.json", schema()),
    ];
    let reference = reference.into_iter().map(|(name, text)| (format!("{DIRECTORY}/{name}"), text));
    Ok(reference.chain([(gallery::PAGE.to_owned(), gallery::page(root)?)]).collect())
}

/// The JSON Schema of the manifest, for editors.
fn schema() -> String {
    format!("{:#}\n", manifest::json_schema())
}

/// Writes the pages, or with `check` names those that a run would change.
pub(crate) fn command(check: bool) -> Result<Verdict> {
    let root = tree::root();
    let pages = pages(&root)?;
    let stale = differing(&root, &pages)?;
    if stale.is_empty() {
        println!("docs: {} pages are fresh", pages.len());
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
    for (path, text) in pages {
        std::fs::write(root.join(&path), text).with_context(|| format!("cannot write `{path}`"))?;
    }
    println!("docs: wrote {}", stale.join(", "));
    Ok(Verdict::Yes)
}

/// Paths of the generated files that are missing, differ, or are generated no more.
pub(crate) fn stale(root: &Path) -> Result<Vec<String>> {
    differing(root, &pages(root)?)
}

fn differing(root: &Path, pages: &[(String, String)]) -> Result<Vec<String>> {
    let is_stale = |(path, text): &&(String, String)| {
        std::fs::read_to_string(root.join(path)).ok().as_ref() != Some(text)
    };
    let mut stale: Vec<_> = pages.iter().filter(is_stale).map(|(path, _)| path.clone()).collect();
    let Ok(entries) = std::fs::read_dir(root.join(DIRECTORY)) else { return Ok(stale) };
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list `{DIRECTORY}`"))?;
        let path = format!("{DIRECTORY}/{}", entry.file_name().to_string_lossy());
        if !pages.iter().any(|(page, _)| *page == path) {
            stale.push(path);
        }
    }
    Ok(stale)
}
