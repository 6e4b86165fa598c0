//! Rule: at most 100 columns.
//!
//! rustfmt breaks code but neither comments nor strings, and leaves a whole expression as it is
//! around a string that is too long. A line with a string or an address may be longer.
//! [`wrap`] breaks the paragraphs of comments for `cargo xtask tidy --fix`.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};

use super::Finding;
use crate::tree::Tree;

/// Most characters of a line.
const COLUMNS_MAX: usize = 100;

/// Finds lines that are too long.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts().filter(|(path, _)| path.ends_with(".rs")) {
        let long: Vec<_> = (1..).zip(text.lines()).filter(|(_, line)| is_long(line)).collect();
        if long.is_empty() {
            continue;
        }
        let strings = string_lines(text);
        for (number, line) in long {
            if !(line.contains('"') || line.contains("://") || strings.contains(&number)) {
                let n_columns = line.chars().count();
                findings.push(Finding::new(
                    path,
                    number,
                    format!("{n_columns} columns, more than {COLUMNS_MAX}"),
                    "break the line; `cargo xtask tidy --fix` breaks comments",
                ));
            }
        }
    }
    findings
}

fn is_long(line: &str) -> bool {
    line.chars().count() > COLUMNS_MAX
}

/// Lines inside a string that goes over several.
pub(super) fn string_lines(text: &str) -> BTreeSet<usize> {
    let mut lines = BTreeSet::new();
    collect(text.parse().unwrap_or_default(), &mut lines);
    lines
}

fn collect(tokens: TokenStream, lines: &mut BTreeSet<usize>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => collect(group.stream(), lines),
            TokenTree::Literal(literal) => {
                let (first, last) = (literal.span().start().line, literal.span().end().line);
                // A comment of documentation is a literal too, of one line.
                if first < last {
                    lines.extend(first..=last);
                }
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
    }
}

/// The text with every paragraph of a comment broken that has a line too long.
pub(super) fn wrap(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    let mut wrapped = String::with_capacity(text.len());
    let mut index = 0;
    let mut is_code = false;
    while let Some(line) = lines.get(index) {
        is_code ^= is_fence(line);
        let Some(mark) = comment_mark(line).filter(|_| !is_code) else {
            wrapped.push_str(line);
            wrapped.push('\n');
            index += 1;
            continue;
        };
        let n_lines = lines[index..]
            .iter()
            .enumerate()
            .take_while(|(at, line)| {
                comment_mark(line) == Some(mark) && (*at == 0 || !is_item(line))
            })
            .count();
        let paragraph = &lines[index..index + n_lines];
        index += n_lines;
        if paragraph.iter().any(|line| is_long(line)) {
            let words = paragraph.iter().flat_map(|line| line[mark.len()..].split_whitespace());
            fill(&mut wrapped, mark, words);
        } else {
            wrapped.extend(paragraph.iter().flat_map(|line| [*line, "\n"]));
        }
    }
    wrapped
}

/// Blanks and slashes of a line that is a comment of plain words; `None` for anything else.
fn comment_mark(line: &str) -> Option<&str> {
    let n_blanks = line.len() - line.trim_start().len();
    let slashes =
        ["//!", "///", "//"].into_iter().find(|mark| line[n_blanks..].starts_with(mark))?;
    let (mark, words) = line.split_at(n_blanks + slashes.len());
    let is_plain = words.starts_with(' ') && !words.starts_with("  ") && !is_item(line);
    let is_markup = ["|", "#", "```", ">"].iter().any(|begin| words.trim().starts_with(begin));
    (is_plain && !is_markup && !words.trim().is_empty()).then_some(mark)
}

/// Whether a block of code in a comment begins or ends here.
fn is_fence(line: &str) -> bool {
    line.trim_start().trim_start_matches(['/', '!']).trim_start().starts_with("```")
}

/// Whether a comment begins an item of a list, which stays on lines of its own.
fn is_item(line: &str) -> bool {
    let words = line.trim_start().trim_start_matches(['/', '!']).trim_start();
    let number = words.trim_start_matches(|c: char| c.is_ascii_digit());
    ["* ", "- "].iter().any(|begin| words.starts_with(begin))
        || (number.len() < words.len() && number.starts_with(". "))
}

fn fill<'a>(wrapped: &mut String, mark: &str, words: impl Iterator<Item = &'a str>) {
    let mut n_columns = 0;
    for word in words {
        let n_letters = word.chars().count();
        if n_columns > 0 && n_columns + 1 + n_letters > COLUMNS_MAX {
            wrapped.push('\n');
            n_columns = 0;
        }
        if n_columns == 0 {
            wrapped.push_str(mark);
            n_columns = mark.chars().count();
        }
        wrapped.push(' ');
        wrapped.push_str(word);
        n_columns += 1 + n_letters;
    }
    wrapped.push('\n');
}

#[cfg(test)]
mod tests {
    use super::wrap;
    use crate::tidy::synthetic::{messages, tree};

    #[test]
    fn a_comment_of_101_columns_is_found() {
        let text =
            format!("// {}\n// {}\n// \"{}\"\n", "a".repeat(97), "a".repeat(98), "b".repeat(99));
        assert_eq!(
            messages(super::check(&tree(&[("a.rs", &text)]))),
            ["a.rs:2: 101 columns, more than 100"]
        );
    }

    #[test]
    fn a_line_inside_a_string_may_be_longer() {
        let text = format!("const A: &str = \"\n{}\n\";\n", "a".repeat(120));
        assert!(super::check(&tree(&[("a.rs", &text)])).is_empty());
    }

    #[test]
    fn a_paragraph_is_broken_and_keeps_its_words() {
        let long = "word ".repeat(30);
        let text = format!("    /// {}\n    /// more.\n    fn f() {{}}\n", long.trim());
        let wrapped = wrap(&text);
        assert!(wrapped.lines().all(|line| line.len() <= 100), "{wrapped}");
        assert_eq!(wrapped.matches("word").count(), 30);
        assert!(wrapped.ends_with("word more.\n    fn f() {}\n"), "{wrapped}");
        assert_eq!(wrap(&wrapped), wrapped);
    }

    #[test]
    fn lists_tables_and_code_stay_as_they_are() {
        let long = "x ".repeat(60);
        for begin in ["//!  ", "//! | ", "//! ```\n//! ", "// ", "let s = \"// "] {
            let text = format!("//! * one\n//! 2. two\n{begin}{}\n", long.trim());
            let is_prose = begin == "// ";
            assert_eq!(wrap(&text) != text, is_prose, "{begin}");
            assert!(wrap(&text).starts_with("//! * one\n//! 2. two\n"));
        }
    }
}
