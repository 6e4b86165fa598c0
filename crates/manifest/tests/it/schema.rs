//! The JSON Schema and the reference page.
