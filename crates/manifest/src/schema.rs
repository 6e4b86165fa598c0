//! The JSON Schema of the manifest, from the types that decode it, and the reference page from
//! the schema.

use schemars::{Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::{diagnostics::Code, raw::environment::RawManifest};

/// The keyword under which a default is kept in words: it often depends on other keys.
const DEFAULT_IN_WORDS: &str = "x-default";

/// The JSON Schema (draft 2020-12) of `plimsoll.yaml`, for editors.
///
/// It knows keys, shapes and words; rules across keys are `resolve`'s.
#[must_use]
pub fn json_schema() -> Value {
    let generator = SchemaGenerator::new(SchemaSettings::draft2020_12());
    let mut schema = generator.into_root_schema_for::<RawManifest>().to_value();
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".to_owned(), json!("plimsoll.yaml"));
        root.insert("required".to_owned(), json!(["plimsoll", "app", "services"]));
    }
    schema
}

/// A map of the language.
pub(crate) fn object<const N: usize>(doc: &str, keys: [(&str, Schema, &str, &str); N]) -> Schema {
    let mut properties = Map::new();
    for (key, schema, meaning, default) in keys {
        let (meaning, default) = (sentence(meaning), default);
        let value = json!({
            "description": meaning,
            DEFAULT_IN_WORDS: default,
            "anyOf": [schema, {"type": "null"}],
        });
        properties.insert(key.to_owned(), value);
    }
    let mut schema = Map::new();
    schema.insert("description".to_owned(), json!(sentence(doc)));
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("properties".to_owned(), Value::Object(properties));
    schema.insert("patternProperties".to_owned(), json!({"^x-": true}));
    schema.insert("additionalProperties".to_owned(), json!(false));
    Schema::from(schema)
}

/// Doc comment lines as one paragraph.
fn sentence(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The reference page of the manifest in Markdown: every key with its type, default and meaning.
#[must_use]
pub fn reference_markdown() -> String {
    let schema = json_schema();
    let mut page = String::from(
        "# Manifest reference\n\n\
         Generated from the types that read `plimsoll.yaml`; do not edit.\n\
         Keys starting `x-` are ignored everywhere.\n\
         `null` is the same as leaving a key out, and deletes it in an overlay.\n",
    );
    let empty = Map::new();
    let defs = schema.get("$defs").and_then(Value::as_object).unwrap_or(&empty);
    section(&mut page, "The manifest", "manifest", &schema);
    let mut seen = vec![String::new()];
    let mut open = references(&schema, defs);
    while let Some(name) = open.pop() {
        if seen.contains(&name) {
            continue;
        }
        if let Some(definition) = defs.get(&name) {
            if definition.get("properties").is_some() {
                section(&mut page, &title(&name), &anchor(&name), definition);
            } else {
                value_section(&mut page, &name, definition);
            }
            open.extend(references(definition, defs));
        }
        seen.push(name);
    }
    problem_codes(&mut page);
    page
}

/// Names of the definitions that a schema refers to, last first, so that they pop in order.
fn references(schema: &Value, defs: &Map<String, Value>) -> Vec<String> {
    fn walk(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(target)) = map.get("$ref") {
                    found.push(target.rsplit('/').next().unwrap_or("").to_owned());
                }
                map.iter().filter(|(key, _)| *key != "$defs").for_each(|(_, v)| walk(v, found));
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut found = Vec::new();
    walk(schema, &mut found);
    found.retain(|name| defs.contains_key(name));
    found.reverse();
    found
}

fn title(name: &str) -> String {
    let name = name.strip_prefix("Raw").unwrap_or(name);
    let mut words = String::new();
    for (index, c) in name.chars().enumerate() {
        if c.is_uppercase() && index > 0 {
            words.push(' ');
            words.extend(c.to_lowercase());
        } else {
            words.push(c);
        }
    }
    words
}

fn anchor(name: &str) -> String {
    title(name).to_lowercase().replace(' ', "-")
}

fn text<'a>(schema: &'a Value, key: &str) -> &'a str {
    schema.get(key).and_then(Value::as_str).unwrap_or("")
}

fn section(page: &mut String, title: &str, _anchor: &str, schema: &Value) {
    page.push_str(&format!("\n## {title}\n\n{}\n\n", by_sentence(text(schema, "description"))));
    page.push_str("| key | type | default | meaning |\n| --- | --- | --- | --- |\n");
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    for (key, value) in properties {
        page.push_str(&format!(
            "| `{key}` | {} | {} | {} |\n",
            type_words(value),
            text(value, DEFAULT_IN_WORDS).replace('|', "\\|"),
            text(value, "description").replace('|', "\\|"),
        ));
    }
}

fn value_section(page: &mut String, name: &str, schema: &Value) {
    let Some(words) = schema.get("oneOf").and_then(Value::as_array) else {
        if !text(schema, "description").is_empty() {
            let description = by_sentence(text(schema, "description"));
            page.push_str(&format!("\n## {}\n\n{description}\n", title(name)));
        }
        return;
    };
    page.push_str(&format!("\n## {}\n\n| value | meaning |\n| --- | --- |\n", title(name)));
    for word in words {
        page.push_str(&format!("| `{}` | {} |\n", text(word, "const"), text(word, "description")));
    }
}

fn problem_codes(page: &mut String) {
    page.push_str("\n## Problem codes\n\n| code | meaning |\n| --- | --- |\n");
    for (code, meaning) in Code::ALL {
        page.push_str(&format!("| `{}` | {} |\n", code.as_str(), meaning.trim()));
    }
}

/// One sentence per line.
fn by_sentence(paragraph: &str) -> String {
    paragraph.replace(". ", ".\n")
}

/// A schema's type in words, with links to the sections of what it is made of.
fn type_words(schema: &Value) -> String {
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        let name = target.rsplit('/').next().unwrap_or("");
        return format!("[{}](#{})", title(name).to_lowercase(), anchor(name));
    }
    if let Some(any) = schema.get("anyOf").and_then(Value::as_array) {
        let is_null = |s: &&Value| text(s, "type") == "null";
        let mut words: Vec<String> = any.iter().filter(|s| !is_null(s)).map(type_words).collect();
        words.dedup();
        return words.join(" or ");
    }
    match text(schema, "type") {
        "array" => format!("list of {}", schema.get("items").map_or_else(String::new, type_words)),
        "object" => match schema.get("additionalProperties") {
            Some(value @ Value::Object(_)) => format!("map to {}", type_words(value)),
            _ => "map".to_owned(),
        },
        "string" => "text".to_owned(),
        "integer" => "number".to_owned(),
        "boolean" => "`true` or `false`".to_owned(),
        other => other.to_owned(),
    }
}
