//! Rule: nothing is called `utils`, `helpers`, `common`, `misc` or `manager`: such a name says
//! where things were put, not what they are.

use syn::visit::{self, Visit};

use super::Finding;
use crate::tree::Tree;

/// Words that no file, directory, module or type has in its name.
const EMPTY_WORDS: &[&str] =
    &["util", "utils", "helper", "helpers", "common", "misc", "manager", "managers"];

const HELP: &str = "name the thing it holds: `backoff`, `redact`, `suggest`";

/// Finds names that say nothing.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for path in tree.files.keys() {
        let empty = path.split(['/', '.', '_', '-']).find(|word| EMPTY_WORDS.contains(word));
        if let Some(word) = empty {
            findings.push(Finding::new(path, 1, format!("`{word}` in a path says nothing"), HELP));
        }
    }
    for (path, ast) in &tree.rust {
        Idents { path, findings: &mut findings }.visit_file(ast);
    }
    findings
}

struct Idents<'a> {
    path: &'a str,
    findings: &'a mut Vec<Finding>,
}

impl Idents<'_> {
    fn judge(&mut self, ident: &syn::Ident) {
        let name = ident.to_string();
        if words(&name).iter().any(|word| EMPTY_WORDS.contains(&word.as_str())) {
            let line = ident.span().start().line;
            let message = format!("the name `{name}` says nothing");
            self.findings.push(Finding::new(self.path, line, message, HELP));
        }
    }
}

impl Visit<'_> for Idents<'_> {
    fn visit_item_mod(&mut self, item: &syn::ItemMod) {
        self.judge(&item.ident);
        visit::visit_item_mod(self, item);
    }

    fn visit_item_struct(&mut self, item: &syn::ItemStruct) {
        self.judge(&item.ident);
    }

    fn visit_item_enum(&mut self, item: &syn::ItemEnum) {
        self.judge(&item.ident);
    }

    fn visit_item_trait(&mut self, item: &syn::ItemTrait) {
        self.judge(&item.ident);
        visit::visit_item_trait(self, item);
    }
}

/// The words of a name in `snake_case` or `CamelCase`, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for letter in name.chars() {
        if letter == '_' || letter.is_uppercase() {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| letter != '_') {
            word.extend(letter.to_lowercase());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use crate::tidy::synthetic::{messages, tree};

    #[test]
    fn empty_names_of_files_modules_and_types_are_found() {
        let tree = tree(&[
            ("crates/a/src/io_utils.rs", "//! Doc.\n"),
            ("crates/a/src/b.rs", "mod helpers {}\nstruct ProcessManager;\nstruct Commonly;\n"),
        ]);
        assert_eq!(
            messages(super::check(&tree)),
            [
                "crates/a/src/io_utils.rs:1: `utils` in a path says nothing",
                "crates/a/src/b.rs:1: the name `helpers` says nothing",
                "crates/a/src/b.rs:2: the name `ProcessManager` says nothing",
            ]
        );
    }
}
