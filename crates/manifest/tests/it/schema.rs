//! The JSON Schema and the reference page.

use manifest::{json_schema, parse, reference_markdown};
use serde_json::{Value, json};

use super::{DISCOVERY, EVERY_KIND};

/// The keywords that our schema uses, and no others.
fn is_valid(value: &Value, schema: &Value, root: &Value) -> bool {
    let Some(schema) = schema.as_object() else { return schema != &Value::Bool(false) };
    schema.iter().all(|(keyword, argument)| match keyword.as_str() {
        "$ref" => {
            let pointer = argument.as_str().and_then(|target| target.strip_prefix('#'));
            root.pointer(pointer.unwrap_or("/")).is_some_and(|target| is_valid(value, target, root))
        }
        "type" => match argument {
            Value::Array(types) => types.iter().any(|word| has_type(value, word)),
            word => has_type(value, word),
        },
        "anyOf" => list(argument).iter().any(|schema| is_valid(value, schema, root)),
        "oneOf" => list(argument).iter().filter(|s| is_valid(value, s, root)).count() == 1,
        "const" => value == argument,
        "items" => list(value).iter().all(|item| is_valid(item, argument, root)),
        "minimum" => value.as_f64().is_none_or(|n| n >= argument.as_f64().unwrap_or(n)),
        "maximum" => value.as_f64().is_none_or(|n| n <= argument.as_f64().unwrap_or(n)),
        "minItems" | "minProperties" | "maxProperties" | "pattern" => true,
        "required" => list(argument).iter().all(|key| {
            value.as_object().is_none_or(|map| map.contains_key(key.as_str().unwrap_or("")))
        }),
        "properties" => value.as_object().into_iter().flatten().all(|(key, value)| {
            argument.get(key).is_none_or(|schema| is_valid(value, schema, root))
        }),
        "additionalProperties" => value.as_object().into_iter().flatten().all(|(key, value)| {
            let is_known = schema.get("properties").is_some_and(|known| known.get(key).is_some());
            is_known || key.starts_with("x-") || is_valid(value, argument, root)
        }),
        "$schema" | "$defs" | "format" | "title" | "description" | "examples" | "x-default"
        | "patternProperties" => true,
        unknown => unreachable!("the schema uses `{unknown}`, which this test does not know"),
    })
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn has_type(value: &Value, word: &Value) -> bool {
    match word.as_str().unwrap_or("") {
        "null" => value.is_null(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => unreachable!("JSON has no type `{other}`"),
    }
}

fn data(yaml: &str) -> Value {
    serde_saphyr::from_str(yaml).expect("the text is YAML")
}

#[test]
fn what_parse_takes_is_valid_under_the_schema() {
    let schema = json_schema();
    for text in [DISCOVERY, EVERY_KIND] {
        assert!(is_valid(&data(text), &schema, &schema));
    }
}

#[test]
fn what_parse_refuses_for_its_keys_or_shapes_the_schema_refuses() {
    let schema = json_schema();
    for (pointer, value) in [
        ("/services/backend/prot", json!(1)),
        ("/services/backend/port", json!("x")),
        ("/services/backend/uses", json!("db")),
        ("/services/backend/secrets", json!({"A": "b"})),
        ("/services/backend/scale", json!({"minimum": 1})),
        ("/services/backend/restart", json!("sometimes")),
        ("/resources/db/type", json!("oracle")),
        ("/environments/dev/target", json!("k8s")),
        ("/service", json!({})),
        ("/app", json!(null)),
    ] {
        let mut data = data(DISCOVERY);
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let map = data.pointer_mut(parent).and_then(Value::as_object_mut).unwrap();
        map.insert(key.to_owned(), value);
        assert!(parse(data.to_string()).is_err(), "parse takes {pointer}");
        if pointer != "/app" {
            assert!(!is_valid(&data, &schema, &schema), "the schema takes {pointer}");
        }
    }
}

#[test]
fn every_key_of_the_schema_has_a_meaning_and_a_default() {
    fn walk(value: &Value) {
        if let Some(properties) = value.get("properties").and_then(Value::as_object) {
            for (key, value) in properties {
                for keyword in ["description", "x-default"] {
                    let words = value.get(keyword).and_then(Value::as_str).unwrap_or("");
                    assert!(!words.is_empty(), "`{key}` has no {keyword}");
                }
            }
        }
        value.as_object().into_iter().flatten().for_each(|(_, value)| walk(value));
    }
    walk(&json_schema());
}

#[test]
fn the_reference_page_has_every_key_and_links_only_to_its_sections() {
    let page = reference_markdown();
    for key in ["`package_manager`", "`drain`", "`cloudnative-pg`", "`keep_releases`", "`cycle`"] {
        assert!(page.contains(key), "{key} is not on the page");
    }
    let heading = |line: &str| Some(line.strip_prefix("## ")?.to_lowercase().replace(' ', "-"));
    let sections: Vec<String> = page.lines().filter_map(heading).collect();
    for (at, _) in page.match_indices("](#") {
        let target = page[at + 3..].split(')').next().unwrap();
        assert!(sections.iter().any(|section| section == target), "no section `{target}`");
    }
}

#[test]
fn the_schema_names_its_draft() {
    assert_eq!(json_schema()["$schema"], "https://json-schema.org/draft/2020-12/schema");
}
