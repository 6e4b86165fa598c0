//! Rule: `unsafe` stands in at most one file, of `runtime`, and each block says why it is sound.

use proc_macro2::Span;
use syn::visit::{self, Visit};

use super::Finding;
use crate::tree::Tree;

/// The crate that may.
const CRATE: &str = "crates/runtime/src/";

/// How the paragraph begins that a block needs, and how many lines above it may be.
const REASON: &str = "// SAFETY:";
const REASON_LINES_MAX: usize = 8;

/// Finds `unsafe` where it may not be, or without a reason.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut home: Option<&str> = None;
    for (path, ast) in &tree.rust {
        let mut uses = Uses(Vec::new());
        uses.visit_file(ast);
        let Some(first) = uses.0.first() else { continue };
        let line = first.start().line;
        if !path.starts_with(CRATE) {
            let help = format!("ask a maintained crate to do it, or move it to {CRATE}");
            findings.push(Finding::new(path, line, "`unsafe` outside of `runtime`", help));
            continue;
        }
        if let Some(home) = home {
            let message = format!("`unsafe` in a second file; the first is `{home}`");
            findings.push(Finding::new(path, line, message, "move it there"));
            continue;
        }
        home = Some(path);
        let text = tree.text(path).unwrap_or_default();
        findings.extend(uses.0.iter().filter(|span| !has_reason(text, span)).map(|span| {
            let help = format!("say above it why it is sound: `{REASON} ...`");
            Finding::new(path, span.start().line, "`unsafe` without a reason", help)
        }));
    }
    findings
}

fn has_reason(text: &str, span: &Span) -> bool {
    let line = span.start().line;
    let above = line.saturating_sub(REASON_LINES_MAX + 1);
    text.lines().take(line).skip(above).any(|line| line.trim_start().starts_with(REASON))
}

struct Uses(Vec<Span>);

impl Visit<'_> for Uses {
    fn visit_expr_unsafe(&mut self, block: &syn::ExprUnsafe) {
        self.0.push(block.unsafe_token.span);
        visit::visit_expr_unsafe(self, block);
    }

    fn visit_item_impl(&mut self, item: &syn::ItemImpl) {
        self.0.extend(item.unsafety.map(|token| token.span));
        visit::visit_item_impl(self, item);
    }

    fn visit_item_foreign_mod(&mut self, item: &syn::ItemForeignMod) {
        self.0.extend(item.unsafety.map(|token| token.span));
        visit::visit_item_foreign_mod(self, item);
    }

    fn visit_signature(&mut self, signature: &syn::Signature) {
        if let syn::Safety::Unsafe(token) = &signature.safety {
            self.0.push(token.span);
        }
        visit::visit_signature(self, signature);
    }
}

#[cfg(test)]
mod tests {
    use crate::tidy::synthetic::{messages, tree};

    const SOUND: &str = "fn f() {\n    // SAFETY: nothing is done.\n    unsafe {}\n}\n";

    #[test]
    fn unsafe_outside_of_runtime_is_found() {
        assert_eq!(
            messages(super::check(&tree(&[("crates/fleet/src/a.rs", SOUND)]))),
            ["crates/fleet/src/a.rs:3: `unsafe` outside of `runtime`"]
        );
    }

    #[test]
    fn unsafe_in_a_second_file_is_found() {
        let files = [("crates/runtime/src/a.rs", SOUND), ("crates/runtime/src/b.rs", SOUND)];
        assert_eq!(
            messages(super::check(&tree(&files))),
            ["crates/runtime/src/b.rs:3: `unsafe` in a second file; the first is \
              `crates/runtime/src/a.rs`"]
        );
    }

    #[test]
    fn unsafe_without_a_reason_is_found() {
        assert_eq!(
            messages(super::check(&tree(&[("crates/runtime/src/a.rs", "unsafe fn f() {}\n")]))),
            ["crates/runtime/src/a.rs:1: `unsafe` without a reason"]
        );
    }
}
