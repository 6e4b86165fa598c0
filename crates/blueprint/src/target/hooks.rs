//! hooks.

use manifest::plan::ResourceSpec;

use super::Edge;
use crate::artifact::Files;
use crate::platform::Platform;

/// Writes the files.
pub(super) fn render(_platform: &Platform, _files: &mut Files<'_>) {}

/// What `uses` of a resource brings.
pub(super) fn edge(_: &ResourceSpec) -> Edge {
    Edge::NotApplicable("")
}
