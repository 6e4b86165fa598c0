//! `plimsoll schema`: the JSON Schema of the manifest, for editors and other tools.

use clap::Args;

use crate::exit::Exit;
use crate::screen;

const EXAMPLE: &str = "\
Example:
  plimsoll schema > plimsoll.schema.json
  then, as the first line of plimsoll.yaml:
  # yaml-language-server: $schema=plimsoll.schema.json";

/// Print the JSON Schema of the manifest
#[derive(Debug, Args)]
#[command(before_help = EXAMPLE)]
pub struct SchemaArgs {}

/// Prints the schema.
///
/// # Errors
/// When stdout cannot be written.
pub fn schema() -> anyhow::Result<Exit> {
    screen::write_json(&manifest::json_schema())?;
    Ok(Exit::Yes)
}
