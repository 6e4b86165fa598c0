//! A tree that a program parses, in the order in which a person reads it.
//!
//! One tree for YAML and JSON: maps keep the order in which they were written, a comment stands
//! above what it explains, and what exists because of one place of the manifest says so, which is
//! how `explain` knows the line. It deliberately knows no format; `yaml` and `json` do.
//!
//! Invariant: there are no floats, so that the same plan gives the same bytes.

/// A value, or one with a remark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// Nothing.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A number.
    Int(i64),
    /// A text; of several lines, if it has line feeds.
    Text(String),
    /// Values below each other.
    List(Vec<Node>),
    /// Short values in one line.
    Row(Vec<Node>),
    /// Keys with values.
    Map(Map),
    /// A value with the comment above it.
    Commented(String, Box<Node>),
    /// A value that exists because of this place in the manifest.
    Because(String, Box<Node>),
}

impl Node {
    /// The value with a comment above it; several lines are several comments.
    pub(crate) fn comment(self, comment: impl Into<String>) -> Node {
        Node::Commented(comment.into(), Box::new(self))
    }

    /// The value, which exists because of a place in the manifest: `services.api.uses.db`.
    pub(crate) fn because(self, path: impl Into<String>) -> Node {
        Node::Because(path.into(), Box::new(self))
    }

    /// Values in one line.
    pub(crate) fn row<T: Into<Node>>(values: impl IntoIterator<Item = T>) -> Node {
        Node::Row(values.into_iter().map(Into::into).collect())
    }

    /// Values below each other.
    pub(crate) fn list<T: Into<Node>>(values: impl IntoIterator<Item = T>) -> Node {
        Node::List(values.into_iter().map(Into::into).collect())
    }
}

/// Keys with values, in the order of writing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Map(pub(crate) Vec<Entry>);

/// One key of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) value: Node,
    /// Whether an empty line precedes it.
    pub(crate) is_apart: bool,
}

impl Map {
    /// No keys.
    pub(crate) fn new() -> Map {
        Map::default()
    }

    /// One key more.
    pub(crate) fn with(mut self, key: impl Into<String>, value: impl Into<Node>) -> Map {
        self.put(key, value);
        self
    }

    /// One key more, if there is a value.
    pub(crate) fn with_some(
        mut self,
        key: impl Into<String>,
        value: Option<impl Into<Node>>,
    ) -> Map {
        if let Some(value) = value {
            self.put(key, value);
        }
        self
    }

    /// One key more, unless its list or map is empty.
    pub(crate) fn with_any(mut self, key: impl Into<String>, value: impl Into<Node>) -> Map {
        let value = value.into();
        if !value.is_empty() {
            self.put(key, value);
        }
        self
    }

    /// One key more, with an empty line before it.
    pub(crate) fn apart(mut self, key: impl Into<String>, value: impl Into<Node>) -> Map {
        let (key, value) = (key.into(), value.into());
        self.0.push(Entry { key, value, is_apart: true });
        self
    }

    /// Adds a key.
    pub(crate) fn put(&mut self, key: impl Into<String>, value: impl Into<Node>) {
        let (key, value) = (key.into(), value.into());
        debug_assert!(self.0.iter().all(|entry| entry.key != key), "`{key}` stands twice");
        self.0.push(Entry { key, value, is_apart: false });
    }

    /// Whether there is no key.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Node {
    /// Whether it is a list or map without anything in it.
    fn is_empty(&self) -> bool {
        match self {
            Node::List(values) | Node::Row(values) => values.is_empty(),
            Node::Map(map) => map.is_empty(),
            Node::Commented(_, node) | Node::Because(_, node) => node.is_empty(),
            Node::Null | Node::Bool(_) | Node::Int(_) | Node::Text(_) => false,
        }
    }
}

impl From<Map> for Node {
    fn from(map: Map) -> Node {
        Node::Map(map)
    }
}

impl From<&str> for Node {
    fn from(text: &str) -> Node {
        Node::Text(text.to_owned())
    }
}

impl From<String> for Node {
    fn from(text: String) -> Node {
        Node::Text(text)
    }
}

impl From<&String> for Node {
    fn from(text: &String) -> Node {
        Node::Text(text.clone())
    }
}

impl From<bool> for Node {
    fn from(value: bool) -> Node {
        Node::Bool(value)
    }
}

impl From<i64> for Node {
    fn from(value: i64) -> Node {
        Node::Int(value)
    }
}

impl From<u32> for Node {
    fn from(value: u32) -> Node {
        Node::Int(value.into())
    }
}

impl From<u16> for Node {
    fn from(value: u16) -> Node {
        Node::Int(value.into())
    }
}

impl<T: Into<Node>> From<Vec<T>> for Node {
    fn from(values: Vec<T>) -> Node {
        Node::list(values)
    }
}

impl<K: Into<String>, V: Into<Node>> FromIterator<(K, V)> for Map {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Map {
        let mut map = Map::new();
        for (key, value) in entries {
            map.put(key, value);
        }
        map
    }
}
