//! A tree of texts into typed keys, collecting every problem on the way.
//!
//! `None` means that the problem has been told to the reader. The JSON Schema comes from the same
//! impls as the decoding, so that the two cannot disagree about which keys there are.
//! Deliberately no meaning across keys: that is `resolve`.

use std::{borrow::Cow, collections::BTreeMap, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::{
    diagnostics::{Code, Problem},
    merge::{Field, Loose, Row, Table},
    names::{Malformed, looks_like_secret_value, shortened},
    span::{Span, Spanned},
    suggest,
    syntax::{Node, Shape},
};

/// What decoding found out besides the value.
#[derive(Default)]
pub(crate) struct Reader {
    pub(crate) problems: Vec<Problem>,
}

/// A type of the language.
pub(crate) trait Decode: Sized {
    /// What was expected, with an article: `a port`.
    const NOUN: &'static str;

    fn decode(node: &Node, reader: &mut Reader) -> Option<Self>;
}

/// The short form of a map: a single value that stands for it.
pub(crate) trait Short: Sized {
    /// `None` when the node is not the short form.
    fn short(node: &Node, reader: &mut Reader) -> Option<Option<Self>>;

    /// The schema of the short form.
    fn short_schema(generator: &mut SchemaGenerator) -> Schema;
}

impl Reader {
    /// Tells that something else was expected here.
    pub(crate) fn wrong_shape(&mut self, node: &Node, noun: &str, help: &str) {
        let message = format!("expected {noun}, found {}", node.shape.noun());
        self.problems.push(Problem::error(Code::WrongShape, message).at(node.span, "").help(help));
    }

    /// Tells that a text is not a value of its type.
    pub(crate) fn malformed(&mut self, span: Span, malformed: &Malformed) {
        let problem = Problem::error(Code::InvalidValue, malformed.message.clone());
        self.problems.push(problem.at(span, "").help(malformed.help.clone()));
    }

    /// Tells that a key does not exist.
    pub(crate) fn unknown_key(&mut self, key: &Spanned<String>, map: &str, known: &[&str]) {
        let name = shortened(&key.value);
        let shown = if looks_like_secret_value(&key.value) { "this" } else { &format!("`{name}`") };
        let message = format!("{shown} is not a key of {map}");
        let help = suggest::help(&key.value, known.iter().copied());
        self.problems
            .push(Problem::error(Code::UnknownKey, message).at(key.span, "unknown key").help(help));
    }

    /// Tells that a key was there before.
    pub(crate) fn duplicate_key(&mut self, key: &Spanned<String>, first: Span) {
        let message = format!("the key `{}` appears twice", shortened(&key.value));
        self.problems.push(
            Problem::error(Code::DuplicateKey, message)
                .at(key.span, "again here")
                .at(first, "first here")
                .help("keep one of them"),
        );
    }

    /// The entries of a map; keys starting `x-` left out, repeated ones told.
    pub(crate) fn entries<'a>(
        &mut self,
        node: &'a Node,
        noun: &str,
    ) -> Option<Vec<(&'a Spanned<String>, &'a Node)>> {
        let Shape::Map(entries) = &node.shape else {
            self.wrong_shape(node, noun, "write keys and values: `{key: value}`");
            return None;
        };
        let mut first: BTreeMap<&str, Span> = BTreeMap::new();
        let mut kept = Vec::new();
        for (key, value) in entries {
            if let Some(span) = first.get(key.value.as_str()) {
                self.duplicate_key(key, *span);
            } else {
                first.insert(&key.value, key.span);
                if !key.value.starts_with("x-") {
                    kept.push((key, value));
                }
            }
        }
        Some(kept)
    }

    /// A text, or the problem told.
    pub(crate) fn text<'a>(&mut self, node: &'a Node, noun: &str) -> Option<&'a str> {
        match &node.shape {
            Shape::Text(text) => Some(text),
            Shape::Null | Shape::List(_) | Shape::Map(_) => {
                self.wrong_shape(node, noun, "write a single value");
                None
            }
        }
    }

    /// A text as a value of a type that checks itself.
    pub(crate) fn parsed<T: FromStr<Err = Malformed>>(
        &mut self,
        node: &Node,
        noun: &str,
    ) -> Option<T> {
        let text = self.text(node, noun)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(malformed) => {
                self.malformed(node.span, &malformed);
                None
            }
        }
    }
}

impl<T: Decode> Field<T> {
    /// A value that may be `null`.
    pub(crate) fn decode(node: &Node, reader: &mut Reader) -> Field<T> {
        if node.shape == Shape::Null {
            return Field::Null(node.span);
        }
        match T::decode(node, reader) {
            Some(value) => Field::Set(Spanned::new(value, node.span)),
            None => Field::Absent,
        }
    }
}

impl<T: Decode> Decode for Vec<Spanned<T>> {
    const NOUN: &'static str = "a list";

    fn decode(node: &Node, reader: &mut Reader) -> Option<Self> {
        let Shape::List(items) = &node.shape else {
            reader.wrong_shape(node, Self::NOUN, "put it in brackets: `[a, b]`");
            return None;
        };
        let decode = |item: &Node| Some(Spanned::new(T::decode(item, reader)?, item.span));
        Some(items.iter().filter_map(decode).collect())
    }
}

impl<K: Decode + Ord, V: Decode> Decode for Table<K, V> {
    const NOUN: &'static str = "a map";

    fn decode(node: &Node, reader: &mut Reader) -> Option<Self> {
        let mut rows = BTreeMap::new();
        for (key, value) in reader.entries(node, Self::NOUN)? {
            let key_node = Node { span: key.span, shape: Shape::Text(key.value.clone()) };
            let name = K::decode(&key_node, reader);
            let field = Field::decode(value, reader);
            if let Some(name) = name {
                rows.insert(name, Row { key: key.span, field });
            }
        }
        Some(Table(rows))
    }
}

impl<T: Decode + Short> Decode for Loose<T> {
    const NOUN: &'static str = T::NOUN;

    fn decode(node: &Node, reader: &mut Reader) -> Option<Self> {
        match T::short(node, reader) {
            Some(value) => Some(Loose { is_short: true, value: value? }),
            None => Some(Loose { is_short: false, value: T::decode(node, reader)? }),
        }
    }
}

/// One value, or a list of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OneOrMany<T>(pub(crate) Vec<Spanned<T>>);

impl<T: Decode> Decode for OneOrMany<T> {
    const NOUN: &'static str = T::NOUN;

    fn decode(node: &Node, reader: &mut Reader) -> Option<Self> {
        match &node.shape {
            Shape::List(_) => Vec::decode(node, reader).map(OneOrMany),
            Shape::Null | Shape::Text(_) | Shape::Map(_) => {
                Some(OneOrMany(vec![Spanned::new(T::decode(node, reader)?, node.span)]))
            }
        }
    }
}

impl<T: Clone> crate::merge::Merge for OneOrMany<T> {
    fn merge(&mut self, over: &OneOrMany<T>) {
        self.clone_from(over);
    }
}

impl<T: JsonSchema> JsonSchema for Field<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
}

impl<T: JsonSchema> JsonSchema for Spanned<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
}

impl<K, V: JsonSchema> JsonSchema for Table<K, V> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("TableOf{}", V::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<V>();
        let value = json_schema!({"anyOf": [value, {"type": "null"}]});
        json_schema!({"type": "object", "additionalProperties": value})
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({"anyOf": [one, {"type": "array", "items": one}]})
    }
}

impl<T: JsonSchema + Short> JsonSchema for Loose<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Loose{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let short = T::short_schema(generator);
        let long = generator.subschema_for::<T>();
        json_schema!({"anyOf": [short, long]})
    }
}
