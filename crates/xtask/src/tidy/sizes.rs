//! Rule: at most 500 lines a file and 70 a function.
//!
//! Modules of tests do not count for the file; a file that is a table says so in the first line of
//! its documentation (`//! Table: ...`) and may be longer. Functions count everywhere, from brace
//! to brace, but for the lines of text in strings: an expected page is data.

use std::collections::BTreeSet;

use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};

use super::Finding;
use super::line_width::string_lines;
use crate::tree::Tree;

/// Most lines of a file, without its tests.
const FILE_LINES_MAX: usize = 500;

/// Most lines of a function's body.
const FUNCTION_LINES_MAX: usize = 70;

/// How the files end that people write and read as code.
const CODE: &[&str] = &[".rs", ".js", ".mjs", ".ts", ".py", ".sh", ".css", ".html"];

/// First line of a file that is a table.
const TABLE: &str = "//! Table:";

/// Finds files and functions that are too long.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts().filter(|(path, _)| CODE.iter().any(|end| path.ends_with(end)))
    {
        let ast = tree.rust.get(path);
        let n_lines = text.lines().count() - ast.map_or(0, test_lines);
        let is_exempt = is_test_file(path) || text.starts_with(TABLE);
        if n_lines > FILE_LINES_MAX && !is_exempt {
            findings.push(Finding::new(
                path,
                FILE_LINES_MAX + 1,
                format!("{n_lines} lines without tests, more than {FILE_LINES_MAX}"),
                "split it by what it holds; a table says so at its top: `//! Table: ...`",
            ));
        }
        if let Some(ast) = ast {
            let strings = string_lines(text);
            let mut functions = Functions { path, strings, findings: &mut findings };
            functions.visit_file(ast);
        }
    }
    findings
}

/// Whether the whole file is tests.
fn is_test_file(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// Lines of the modules that are only compiled for tests.
fn test_lines(file: &syn::File) -> usize {
    let modules = file.items.iter().filter_map(|item| match item {
        syn::Item::Mod(module) if module.attrs.iter().any(is_cfg_test) => Some(module.span()),
        _ => None,
    });
    modules.map(|span| span.end().line - span.start().line + 1).sum()
}

fn is_cfg_test(attribute: &syn::Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
}

struct Functions<'a> {
    path: &'a str,
    /// Lines that are text.
    strings: BTreeSet<usize>,
    findings: &'a mut Vec<Finding>,
}

impl Functions<'_> {
    fn measure(&mut self, name: &syn::Ident, body: &syn::Block) {
        let (first, last) = (body.span().start().line, body.span().end().line);
        let n_lines = (first + 1..last).filter(|line| !self.strings.contains(line)).count();
        if n_lines > FUNCTION_LINES_MAX {
            self.findings.push(Finding::new(
                self.path,
                name.span().start().line,
                format!("`{name}` has {n_lines} lines, more than {FUNCTION_LINES_MAX}"),
                "let it decide, and move what it computes into functions below it",
            ));
        }
    }
}

impl Visit<'_> for Functions<'_> {
    fn visit_item_fn(&mut self, function: &syn::ItemFn) {
        self.measure(&function.sig.ident, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &syn::ImplItemFn) {
        self.measure(&function.sig.ident, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &syn::TraitItemFn) {
        if let Some(body) = &function.default {
            self.measure(&function.sig.ident, body);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

#[cfg(test)]
mod tests {
    use crate::tidy::synthetic::{messages, tree};

    fn found(path: &str, text: &str) -> Vec<String> {
        messages(super::check(&tree(&[(path, text)])))
    }

    #[test]
    fn a_file_of_501_lines_is_found_and_one_of_500_is_not() {
        assert_eq!(found("a.rs", &"\n".repeat(500)), Vec::<String>::new());
        assert_eq!(
            found("a.rs", &"\n".repeat(501)),
            ["a.rs:501: 501 lines without tests, more than 500"]
        );
        assert_eq!(found("web/a.js", &"\n".repeat(501)).len(), 1);
    }

    #[test]
    fn tests_and_tables_may_be_longer() {
        let tests =
            format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", "\n".repeat(490), "\n".repeat(90));
        assert_eq!(found("a.rs", &tests), Vec::<String>::new());
        let other = tests.replace("cfg(test)", "cfg(unix)");
        assert_eq!(found("a.rs", &other).len(), 1);
        let table = format!("//! Table: colours.\n{}", "\n".repeat(600));
        assert_eq!(found("a.rs", &table), Vec::<String>::new());
        assert_eq!(found("crates/a/tests/it/main.rs", &"\n".repeat(600)), Vec::<String>::new());
    }

    #[test]
    fn text_in_a_function_does_not_count() {
        let text = format!("fn f() {{\n    g(\"\n{}\");\n}}\n", "a\n".repeat(90));
        assert_eq!(found("a.rs", &text), Vec::<String>::new());
    }

    #[test]
    fn a_function_of_71_lines_is_found_wherever_it_is() {
        let body = |n_lines| format!("{{\n{}}}", "    ;\n".repeat(n_lines));
        assert_eq!(found("a.rs", &format!("fn f() {}", body(70))), Vec::<String>::new());
        let text = format!(
            "fn f() {0}\nstruct S;\nimpl S {{\n fn g() {0}\n}}\ntrait T {{\n fn h() {0}\n}}",
            body(71)
        );
        assert_eq!(found("a.rs", &text).len(), 3);
        assert!(found("a.rs", &text)[0].starts_with("a.rs:1: `f` has 71 lines"));
    }
}
