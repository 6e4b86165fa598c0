//! The reference page of the manifest, from its JSON Schema.

use serde_json::{Map, Value};

use crate::{
    diagnostics::Code,
    plan::ResourceType,
    schema::{DEFAULT_IN_WORDS, json_schema},
};

/// The reference page of the manifest in Markdown: every key with its type, default and meaning.
#[must_use]
pub fn reference_markdown() -> String {
    let schema = json_schema();
    let empty = Map::new();
    let defs = schema.get("$defs").and_then(Value::as_object).unwrap_or(&empty);
    let mut page = String::from(
        "# Manifest reference\n\n\
         Generated from the types that read `plimsoll.yaml`; do not edit.\n\
         Keys starting `x-` are ignored everywhere.\n\
         `null` is the same as leaving a key out, and deletes it in an overlay.\n",
    );
    section(&mut page, "The manifest", &schema, defs);
    let mut scalars = Vec::new();
    for name in in_reading_order(&schema, defs) {
        let definition = &defs[&name];
        match form(definition) {
            Form::Map => section(&mut page, &title(&name), definition, defs),
            Form::Words => words(&mut page, &name, definition),
            Form::Prose => {
                let prose = by_sentence(text(definition, "description"));
                page.push_str(&format!("\n## {}\n\n{prose}\n", title(&name)));
            }
            Form::Scalar => scalars.push(definition),
        }
    }
    values(&mut page, &scalars);
    resource_types(&mut page);
    problem_codes(&mut page);
    page
}

/// How a definition is shown.
enum Form {
    Map,
    Words,
    Prose,
    Scalar,
}

fn form(definition: &Value) -> Form {
    if definition.get("properties").is_some() {
        Form::Map
    } else if definition.get("oneOf").is_some() {
        Form::Words
    } else if definition.get("description").is_some() {
        Form::Prose
    } else {
        Form::Scalar
    }
}

/// The definitions, each once, as a reader of the page meets them.
fn in_reading_order(schema: &Value, defs: &Map<String, Value>) -> Vec<String> {
    let mut order: Vec<String> = Vec::new();
    let mut open = references(schema);
    open.reverse();
    while let Some(name) = open.pop() {
        let Some(definition) = defs.get(&name) else { continue };
        if !order.contains(&name) {
            open.extend(references(definition).into_iter().rev());
            order.push(name);
        }
    }
    order
}

/// Names of the definitions that a schema refers to.
fn references(schema: &Value) -> Vec<String> {
    match schema {
        Value::Object(map) => {
            let own =
                map.get("$ref").and_then(Value::as_str).map(|target| name_of(target).to_owned());
            let inner = map.iter().filter(|(key, _)| *key != "$defs");
            own.into_iter().chain(inner.flat_map(|(_, value)| references(value))).collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

fn name_of(reference: &str) -> &str {
    reference.rsplit('/').next().unwrap_or("")
}

/// `RawUseDetail` is `Use detail`.
fn title(name: &str) -> String {
    let mut words = String::new();
    for (index, c) in name.strip_prefix("Raw").unwrap_or(name).chars().enumerate() {
        if c.is_uppercase() && index > 0 {
            words.push(' ');
            words.extend(c.to_lowercase());
        } else {
            words.push(c);
        }
    }
    words
}

fn anchor(title: &str) -> String {
    title.to_lowercase().replace(' ', "-")
}

fn text<'a>(schema: &'a Value, key: &str) -> &'a str {
    schema.get(key).and_then(Value::as_str).unwrap_or("")
}

/// One sentence per line.
fn by_sentence(paragraph: &str) -> String {
    paragraph.replace(". ", ".\n")
}

/// A text within a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn section(page: &mut String, title: &str, schema: &Value, defs: &Map<String, Value>) {
    page.push_str(&format!("\n## {title}\n\n{}\n\n", by_sentence(text(schema, "description"))));
    page.push_str("| key | type | default | meaning |\n| --- | --- | --- | --- |\n");
    let properties = schema.get("properties").and_then(Value::as_object);
    for (key, value) in properties.into_iter().flatten() {
        let default = cell(text(value, DEFAULT_IN_WORDS));
        let meaning = cell(text(value, "description"));
        let kind = type_words(value, defs);
        page.push_str(&format!("| `{key}` | {kind} | {default} | {meaning} |\n"));
    }
}

fn words(page: &mut String, name: &str, schema: &Value) {
    page.push_str(&format!("\n## {}\n\n| value | meaning |\n| --- | --- |\n", title(name)));
    for word in schema.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
        let meaning = cell(text(word, "description"));
        page.push_str(&format!("| `{}` | {meaning} |\n", text(word, "const")));
    }
}

fn values(page: &mut String, scalars: &[&Value]) {
    page.push_str("\n## Values\n\n| value | example |\n| --- | --- |\n");
    for scalar in scalars {
        let example = scalar.pointer("/examples/0").and_then(Value::as_str);
        if let Some(example) = example {
            page.push_str(&format!("| {} | `{example}` |\n", text(scalar, "title")));
        }
    }
}

/// What each resource type brings, and who can provide it.
fn resource_types(page: &mut String) {
    page.push_str(
        "\n## What resources bring\n\n\
         The variable is the one that `uses` brings; `<NAME>` is the resource's name.\n\
         A service that uses two of one type gets `<NAME>_…` for both.\n\n\
         | type | variable | outputs of `${resources.<name>.…}` | `via` |\n\
         | --- | --- | --- | --- |\n",
    );
    for kind in ResourceType::ALL {
        let (_, suffix) = kind.main_output();
        let variable = kind.variable().map_or(format!("<NAME>_{suffix}"), str::to_owned);
        let outputs = quoted(kind.outputs().iter().map(|output| output.as_str()));
        let providers = quoted(kind.providers().iter().copied());
        page.push_str(&format!("| `{kind}` | `{variable}` | {outputs} | {providers} |\n"));
    }
}

fn quoted<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

fn problem_codes(page: &mut String) {
    page.push_str("\n## Problem codes\n\n| code | meaning |\n| --- | --- |\n");
    for (code, meaning) in Code::ALL {
        page.push_str(&format!("| `{}` | {} |\n", code.as_str(), cell(meaning.trim())));
    }
}

/// A schema's type in words, with links to the sections of what it is made of.
fn type_words(schema: &Value, defs: &Map<String, Value>) -> String {
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        let name = name_of(target);
        let title = title(name);
        return match defs.get(name).map(form) {
            Some(Form::Map | Form::Words | Form::Prose) => {
                format!("[{}](#{})", title.to_lowercase(), anchor(&title))
            }
            Some(Form::Scalar) | None => format!("[{}](#values)", title.to_lowercase()),
        };
    }
    if let Some(any) = schema.get("anyOf").and_then(Value::as_array) {
        let others = any.iter().filter(|schema| text(schema, "type") != "null");
        let mut words: Vec<String> = others.map(|schema| type_words(schema, defs)).collect();
        words.dedup();
        return words.join(" or ");
    }
    let inner = |key: &str| schema.get(key).filter(|inner| inner.is_object());
    match (text(schema, "type"), inner("items"), inner("additionalProperties")) {
        ("array", Some(items), _) => format!("list of {}", type_words(items, defs)),
        ("object", _, Some(values)) => format!("map to {}", type_words(values, defs)),
        ("object", ..) => "map".to_owned(),
        ("string", ..) => "text".to_owned(),
        ("integer", ..) => "number".to_owned(),
        ("boolean", ..) => "`true` or `false`".to_owned(),
        (other, ..) => other.to_owned(),
    }
}
