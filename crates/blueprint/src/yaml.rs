//! A tree as YAML that every reader understands alike.
//!
//! Readers of YAML 1.1 (PyYAML, and so Ansible) and of 1.2 differ in what `no`, `22:30` and `1e3`
//! are: every text that either of them would take for something else is quoted. It deliberately
//! uses no anchors, tags or folded lines.
//!
//! Invariant: what is written parses to the same tree, under both versions.

use std::fmt::Write as _;

use crate::artifact::Trace;
use crate::node::{Map, Node};

/// Written text, with the lines that places of the manifest brought.
pub(crate) fn write(node: &Node) -> (String, Vec<Trace>) {
    let mut writer = Writer { text: String::new(), line: 1, traces: Vec::new() };
    writer.top(node);
    (writer.text, writer.traces)
}

struct Writer {
    text: String,
    /// The line that is being written, from 1.
    line: u32,
    traces: Vec<Trace>,
}

impl Writer {
    fn end_line(&mut self) {
        self.text.push('\n');
        self.line += 1;
    }

    fn indent(&mut self, depth: usize) {
        for _ in 0..depth {
            self.text.push_str("  ");
        }
    }

    fn top(&mut self, node: &Node) {
        match self.remarks(node, 0) {
            Node::Map(map) if !map.is_empty() => self.map(map, 0, false),
            Node::List(values) if !values.is_empty() => self.list(values, 0),
            other => {
                self.inline(other, 0);
                self.end_line();
            }
        }
    }

    /// Writes the comments of a node, notes its places, and gives what is left.
    fn remarks<'a>(&mut self, node: &'a Node, depth: usize) -> &'a Node {
        match node {
            Node::Commented(comment, inner) => {
                for line in comment.lines() {
                    self.indent(depth);
                    self.text.push('#');
                    if !line.is_empty() {
                        self.text.push(' ');
                        self.text.push_str(line);
                    }
                    self.end_line();
                }
                self.remarks(inner, depth)
            }
            Node::Because(path, inner) => {
                let inner = self.remarks(inner, depth);
                self.traces.push(Trace { line: self.line, because: path.clone() });
                inner
            }
            plain => plain,
        }
    }

    /// The entries of a map. The first one may stand behind the dash of a list.
    fn map(&mut self, map: &Map, depth: usize, is_behind_dash: bool) {
        for (index, entry) in map.0.iter().enumerate() {
            let is_inline = is_behind_dash && index == 0;
            if entry.is_apart && index > 0 {
                self.end_line();
            }
            let value = if is_inline {
                self.place_only(&entry.value)
            } else {
                let value = self.remarks(&entry.value, depth);
                self.indent(depth);
                value
            };
            self.text.push_str(&scalar(&entry.key));
            self.text.push(':');
            match value {
                Node::Map(map) if !map.is_empty() => {
                    self.end_line();
                    self.map(map, depth + 1, false);
                }
                Node::List(values) if !values.is_empty() => {
                    self.end_line();
                    self.list(values, depth + 1);
                }
                other => {
                    self.text.push(' ');
                    self.inline(other, depth + 1);
                    self.end_line();
                }
            }
        }
    }

    fn list(&mut self, values: &[Node], depth: usize) {
        for value in values {
            // A comment in front of the first key belongs above the dash.
            if let Node::Map(Map(entries)) = without_remarks(value)
                && let Some(first) = entries.first()
                && let Some(comment) = comment_of(&first.value)
            {
                self.remarks(&Node::Null.comment(comment), depth);
            }
            let value = self.remarks(value, depth);
            self.indent(depth);
            self.text.push_str("- ");
            match value {
                Node::Map(map) if !map.is_empty() => self.map(map, depth + 1, true),
                Node::List(values) if !values.is_empty() => {
                    self.text.pop();
                    self.end_line();
                    self.list(values, depth + 1);
                }
                other => {
                    self.inline(other, depth + 1);
                    self.end_line();
                }
            }
        }
    }

    /// The places of a node whose comment was written already.
    fn place_only<'a>(&mut self, node: &'a Node) -> &'a Node {
        match node {
            Node::Commented(_, inner) => self.place_only(inner),
            Node::Because(path, inner) => {
                self.traces.push(Trace { line: self.line, because: path.clone() });
                self.place_only(inner)
            }
            plain => plain,
        }
    }

    /// What stands in the line of its key or dash; a text of several lines goes on below.
    fn inline(&mut self, node: &Node, depth: usize) {
        match node {
            Node::Null => self.text.push_str("null"),
            Node::Bool(value) => self.text.push_str(if *value { "true" } else { "false" }),
            Node::Int(value) => {
                // Writing to a `String` cannot fail.
                let _ = write!(self.text, "{value}");
            }
            Node::Text(text) if is_block(text) => self.block(text, depth),
            Node::Text(text) => self.text.push_str(&scalar(text)),
            Node::Row(values) | Node::List(values) => {
                self.text.push('[');
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        self.text.push_str(", ");
                    }
                    match self.place_only(value) {
                        // Commas and brackets end a plain text here.
                        Node::Text(text) => self.text.push_str(&quoted(text)),
                        other => self.inline(other, depth),
                    }
                }
                self.text.push(']');
            }
            Node::Map(_) => self.text.push_str("{}"),
            Node::Commented(_, inner) => self.inline(inner, depth),
            Node::Because(path, inner) => {
                self.traces.push(Trace { line: self.line, because: path.clone() });
                self.inline(inner, depth);
            }
        }
    }

    fn block(&mut self, text: &str, depth: usize) {
        self.text.push_str(if text.ends_with('\n') { "|" } else { "|-" });
        for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
            self.end_line();
            if !line.is_empty() {
                self.indent(depth);
                self.text.push_str(line);
            }
        }
    }
}

fn without_remarks(node: &Node) -> &Node {
    match node {
        Node::Commented(_, inner) | Node::Because(_, inner) => without_remarks(inner),
        plain => plain,
    }
}

fn comment_of(node: &Node) -> Option<&str> {
    match node {
        Node::Commented(comment, _) => Some(comment),
        Node::Because(_, inner) => comment_of(inner),
        _ => None,
    }
}

/// Whether a text is written line by line: several lines that survive it.
fn is_block(text: &str) -> bool {
    let body = text.strip_suffix('\n').unwrap_or(text);
    let is_kept = |line: &str| {
        line.chars().all(|c| c == '\t' || !is_escaped(c)) && !line.ends_with([' ', '\t'])
    };
    body.contains('\n')
        && !body.ends_with('\n')
        && !body.starts_with([' ', '\t', '\n'])
        && body.split('\n').all(is_kept)
}

/// A text as one scalar: plain where no reader can misunderstand it, otherwise in quotes.
fn scalar(text: &str) -> String {
    if is_plain(text) {
        text.to_owned()
    } else if is_readable_in_single_quotes(text) {
        format!("'{text}'")
    } else {
        quoted(text)
    }
}

/// Whether double quotes would need escapes (JSON in a variable), and single ones none.
fn is_readable_in_single_quotes(text: &str) -> bool {
    text.contains('"') && !text.contains('\'') && !text.chars().any(is_escaped)
}

/// Words that some reader takes for a truth value, nothing, a number or a merge.
const TAKEN: &[&str] =
    &["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf", ".nan", ".inf"];

fn is_plain(text: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_alphanumeric() || "_-./:=+@%,~^()$<>*;&'! ".contains(c);
    let begins = |c: char| c.is_ascii_alphanumeric() || "/_.$(".contains(c);
    let Some(first) = text.chars().next() else { return false };
    begins(first)
        && text.chars().all(is_inner)
        && !text.ends_with([':', ' '])
        && !text.contains(": ")
        && !text.contains(" #")
        && !TAKEN.contains(&text.to_ascii_lowercase().as_str())
        && !is_number_like(text)
}

/// Whether some reader may take it for a number, a date or a time: it begins like one, and has no
/// letter that numbers do not have.
fn is_number_like(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && text.chars().all(|c| c.is_ascii_hexdigit() || "xXoOtTzZ_.:-+ ".contains(c))
}

fn is_escaped(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{FEFF}')
}

/// A text in double quotes.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if is_escaped(c) => {
                // Writing to a `String` cannot fail.
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use expect_test::expect;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tree_reads_like_a_person_wrote_it() {
        let service = Map::new()
            .with("image", "ghcr.io/acme/shop/api:1.2.0")
            .with("command", Node::row(["plimsoll", "probe", "ready"]))
            .with("read_only", true)
            .with("script", "set -eu\necho \"$HOME\"\n")
            .with(
                "ports",
                Node::list([Node::from("127.0.0.1:8080:8080").because("services.api.port")]),
            )
            .with("environment", Map::new().with("A", "on").with("B", "1e3").with("C", ""))
            .with("empty", Map::new());
        let first = Map::new().with("name", Node::from("x").comment("why")).with("value", 3u32);
        let tree = Map::new()
            .with("name", Node::from("shop").comment("Written from the manifest."))
            .apart("services", Map::new().with("api", service))
            .with("list", Node::list([first]));
        let (text, traces) = write(&tree.into());
        expect![[r#"
            # Written from the manifest.
            name: shop

            services:
              api:
                image: ghcr.io/acme/shop/api:1.2.0
                command: ["plimsoll", "probe", "ready"]
                read_only: true
                script: |
                  set -eu
                  echo "$HOME"
                ports:
                  - "127.0.0.1:8080:8080"
                environment:
                  A: "on"
                  B: "1e3"
                  C: ""
                empty: {}
            list:
              # why
              - name: x
                value: 3
        "#]]
        .assert_eq(&text);
        assert_eq!(traces, [Trace { line: 13, because: "services.api.port".to_owned() }]);
    }

    #[test]
    fn what_a_reader_of_either_version_would_change_is_quoted() {
        for text in [
            "no",
            "Off",
            "22:30",
            "1.10",
            "0o7",
            "1_000",
            "2024-01-01",
            "~",
            "",
            ".5",
            "a: b",
            "- a",
            "a #b",
            " a",
            "a ",
            "*a",
            "&a",
            "!a",
            "{a}",
            "[a]",
            "%a",
            "@a",
            "`a`",
            "=",
            "<<",
            "null",
            "0x1F",
            "1e3",
            "a:",
            "é: x",
            "12",
            "+1",
            "-1",
            "::",
        ] {
            assert!(scalar(text).starts_with('"'), "{text:?}");
        }
        for text in
            ["500m", "30s", "/live", "postgres:16.3-alpine", "$(HOME)/x", "a-b_c.d", "GET", "x=1"]
        {
            assert_eq!(scalar(text), text);
        }
    }

    #[derive(serde::Deserialize)]
    struct Read {
        list: Vec<String>,
        #[serde(flatten)]
        rest: BTreeMap<String, String>,
    }

    fn check_read_back(texts: Vec<String>) -> Result<(), TestCaseError> {
        let named =
            texts.iter().enumerate().map(|(index, text)| (format!("k{index}"), text.clone()));
        let named: BTreeMap<String, String> = named.collect();
        let map: Map = named.clone().into_iter().collect();
        let (text, _) = write(&map.with("list", Node::list(texts.clone())).into());
        let read: Read = serde_saphyr::from_str(&text)
            .map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(read.rest, named);
        prop_assert_eq!(read.list, texts);
        Ok(())
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            texts in proptest::collection::vec(any::<String>(), 1..6),
            odd in "[ -~\n\t]{0,40}",
        ) {
            check_read_back(texts.into_iter().chain([odd]).collect())?;
        }
    }
}
