//! A tree as JSON, indented by two. Comments are left out: JSON has none.

use crate::artifact::Trace;
use crate::node::Node;

/// Written text, with the lines that places of the manifest brought.
pub(crate) fn write(node: &Node) -> (String, Vec<Trace>) {
    let mut writer = Writer { text: String::new(), line: 1, traces: Vec::new() };
    writer.node(node, 0);
    writer.end_line(0);
    (writer.text, writer.traces)
}

struct Writer {
    text: String,
    /// The line that is being written, from 1.
    line: u32,
    traces: Vec<Trace>,
}

impl Writer {
    fn end_line(&mut self, depth: usize) {
        self.text.push('\n');
        self.line += 1;
        for _ in 0..depth {
            self.text.push_str("  ");
        }
    }

    fn node(&mut self, node: &Node, depth: usize) {
        match node {
            Node::Null => self.text.push_str("null"),
            Node::Bool(value) => self.text.push_str(if *value { "true" } else { "false" }),
            Node::Int(value) => self.text.push_str(&value.to_string()),
            Node::Text(text) => self.text.push_str(&quoted(text)),
            Node::Row(values) => {
                self.text.push('[');
                for (index, value) in values.iter().enumerate() {
                    self.text.push_str(if index == 0 { "" } else { ", " });
                    self.node(value, depth);
                }
                self.text.push(']');
            }
            Node::List(values) => self.between('[', ']', values, depth, |writer, value| {
                writer.node(value, depth + 1);
            }),
            Node::Map(map) => self.between('{', '}', &map.0, depth, |writer, entry| {
                writer.text.push_str(&quoted(&entry.key));
                writer.text.push_str(": ");
                writer.node(&entry.value, depth + 1);
            }),
            Node::Commented(_, inner) => self.node(inner, depth),
            Node::Because(path, inner) => {
                self.traces.push(Trace { line: self.line, because: path.clone() });
                self.node(inner, depth);
            }
        }
    }

    fn between<T>(
        &mut self,
        open: char,
        close: char,
        parts: &[T],
        depth: usize,
        mut write: impl FnMut(&mut Self, &T),
    ) {
        self.text.push(open);
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                self.text.push(',');
            }
            self.end_line(depth + 1);
            write(self, part);
        }
        if !parts.is_empty() {
            self.end_line(depth);
        }
        self.text.push(close);
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::node::Map;

    #[test]
    fn a_tree_is_json_in_its_own_order() {
        let group = Map::new().with("targets", Node::row(["api", "web"]).because("services"));
        let tree =
            Map::new().with("b", group).with("a", Node::list([1u32, 2])).with("c", Map::new());
        let (text, traces) = write(&tree.into());
        expect![[r#"
            {
              "b": {
                "targets": ["api", "web"]
              },
              "a": [
                1,
                2
              ],
              "c": {}
            }
        "#]]
        .assert_eq(&text);
        assert_eq!(traces, [Trace { line: 3, because: "services".to_owned() }]);
    }
}
