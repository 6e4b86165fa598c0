//! Rule: every path that the pages name exists.
//!
//! A path is what stands between backticks, or is the target of a link, and starts with a file or
//! directory of the root. A name with a placeholder (`<service>`, `*`, `$HOME`) is no path.

use super::Finding;
use crate::tree::Tree;

/// Pages at the root that name paths; those under `docs/` do too.
const PAGES: &[&str] = &["ARCHITECTURE.md", "CONVENTIONS.md", "README.md"];

/// The page whose rows quote the users, who name paths of their own.
const COVERAGE: &str = "docs/coverage.md";

/// Characters of a path; anything else makes it an example or a command.
const PATH_MARKS: &str = "/._-";

/// Finds paths that lead nowhere.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_page =
        |path: &str| PAGES.contains(&path) || (path.starts_with("docs/") && path.ends_with(".md"));
    for (page, text) in tree.texts().filter(|(path, _)| is_page(path)) {
        let mut is_code = false;
        for (index, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                is_code = !is_code;
            }
            if is_code {
                continue;
            }
            let line = if page == COVERAGE { without_requirement(line) } else { line };
            let named = quoted(line).filter_map(|token| dead_path(tree, token));
            let linked = links(line).filter_map(|target| dead_link(tree, page, target));
            for path in named.chain(linked) {
                findings.push(Finding::new(
                    page,
                    index + 1,
                    format!("`{path}` does not exist"),
                    "name what is there, or create it",
                ));
            }
        }
    }
    findings
}

/// A row of [`COVERAGE`] without its first two cells: the id and the users' words.
fn without_requirement(line: &str) -> &str {
    line.strip_prefix('|').map_or(line, |row| row.splitn(3, '|').nth(2).unwrap_or_default())
}

/// What stands between backticks.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Targets of the links of a line.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ', '#']).next())
}

/// The path that a quoted token names, when nothing is there.
fn dead_path(tree: &Tree, token: &str) -> Option<String> {
    let is_path = token.chars().all(|c| c.is_ascii_alphanumeric() || PATH_MARKS.contains(c));
    let token = token.trim_start_matches("./");
    let (first, rest) = token.split_once('/').unwrap_or((token, ""));
    let is_ours = !rest.is_empty() && tree.top_level().contains(first);
    let is_root_page = token.ends_with(".md") && rest.is_empty();
    (is_path && (is_ours || is_root_page) && !exists_somewhere(tree, token))
        .then(|| token.to_owned())
}

/// Whether the path exists from the root, or, for a page's bare name, next to other pages.
fn exists_somewhere(tree: &Tree, path: &str) -> bool {
    tree.exists(path) || (!path.contains('/') && tree.exists(&format!("docs/{path}")))
}

/// The path that a link leads to, when nothing is there.
fn dead_link(tree: &Tree, page: &str, target: &str) -> Option<String> {
    if target.is_empty() || target.contains(':') || target.starts_with('/') {
        return None;
    }
    let mut parts: Vec<_> = page.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let path = parts.join("/");
    (!tree.exists(&path)).then_some(path)
}

#[cfg(test)]
mod tests {
    use crate::tidy::synthetic::{messages, tree};

    fn found(page: &str, text: &str) -> Vec<String> {
        messages(super::check(&tree(&[
            (page, text),
            ("crates/a/src/lib.rs", ""),
            ("docs/b.md", ""),
        ])))
    }

    #[test]
    fn a_path_that_leads_nowhere_is_found() {
        assert_eq!(
            found("ARCHITECTURE.md", "See `crates/a` and `crates/a/src/wire.rs`.\n`GONE.md`\n"),
            [
                "ARCHITECTURE.md:1: `crates/a/src/wire.rs` does not exist",
                "ARCHITECTURE.md:2: `GONE.md` does not exist",
            ]
        );
    }

    #[test]
    fn a_link_is_followed_from_its_page() {
        assert_eq!(
            found(
                "docs/c.md",
                "[b](b.md#top) [a](../crates/a) [x](x.md) [web](https://a.example)\n"
            ),
            ["docs/c.md:1: `docs/x.md` does not exist"]
        );
    }

    #[test]
    fn a_row_of_the_coverage_is_checked_where_it_speaks_of_us() {
        let row = "| DR-1 | `docs/RUNBOOK.md` is there | `crates/gone` | `crates/a` | open |\n";
        assert_eq!(
            found("docs/coverage.md", row),
            ["docs/coverage.md:1: `crates/gone` does not exist"]
        );
    }

    #[test]
    fn examples_commands_and_blocks_of_code_name_no_paths() {
        let text = "`crates/<name>` `crates/*` `ls crates/x` `text/plain` `/ready` `b.md`\n\
                    ```\n`crates/gone`\n```\n";
        assert_eq!(found("README.md", text), Vec::<String>::new());
    }
}
