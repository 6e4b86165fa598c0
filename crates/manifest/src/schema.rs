//! The JSON Schema of the manifest, from the types that decode it.

use schemars::{Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::raw::environment::RawManifest;

/// The keyword under which a default is kept in words: it often depends on other keys.
pub(crate) const DEFAULT_IN_WORDS: &str = "x-default";

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
