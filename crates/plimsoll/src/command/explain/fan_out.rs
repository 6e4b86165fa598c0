//! Which lines of which files a place of the manifest brings; for an edge, why others have none.
//!
//! Where files cannot be rendered (a damaged lock, sources that say nothing) the value is explained
//! all the same, and the reason is told.

use std::io::Write;
use std::path::Path;

use blueprint::target::Edge;
use blueprint::{Artifacts, TARGETS};
use manifest::Plan;
use manifest::plan::UseTarget;
use serde::Serialize;
use serde_json::Value;

use crate::rendering::{self, Loaded, Purpose};
use crate::report;
use crate::table::Table;

/// What one target has of a place.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    target: &'static str,
    /// `compose.dev.yaml:12`; absent where there is none.
    at: Option<String>,
    /// Why there is none.
    reason: Option<&'static str>,
}

/// The lines of a place, by target.
pub(super) fn lines(plan: &Plan, path: &str, dir: Option<&Path>) -> anyhow::Result<Vec<Line>> {
    let rendering = match rendering::load(dir, Purpose::Look) {
        Ok(Loaded::Rendering(rendering)) => rendering,
        Ok(Loaded::Problems) => return Ok(Vec::new()),
        Err(error) => {
            report::show(&error.context("which files this brings is not known"));
            return Ok(Vec::new());
        }
    };
    let mut lines = Vec::new();
    for target in TARGETS {
        let here = of_target(&rendering.artifacts, target.name, path);
        if here.is_empty()
            && let Some(reason) = reason(plan, path, target)
        {
            lines.push(Line { target: target.name, at: None, reason: Some(reason) });
        }
        lines.extend(here);
    }
    Ok(lines)
}

fn of_target(artifacts: &Artifacts, target: &'static str, path: &str) -> Vec<Line> {
    let found =
        artifacts.because(path).into_iter().filter(|(_, artifact, _)| artifact.target == target);
    let mut places: Vec<(String, u32)> =
        found.map(|(file, _, line)| (file.to_owned(), line)).collect();
    places.sort();
    places.dedup();
    places
        .into_iter()
        .map(|(file, line)| Line { target, at: Some(format!("{file}:{line}")), reason: None })
        .collect()
}

/// Why a target has nothing of an edge: `services.<name>.uses.<name>`.
fn reason(plan: &Plan, path: &str, target: &blueprint::Target) -> Option<&'static str> {
    let (service, used) = path.strip_prefix("services.")?.split_once(".uses.")?;
    let edge = plan.services.get(service)?.uses.get(used)?;
    let UseTarget::Resource(resource) = &edge.target else { return None };
    match target.edge(&plan.resources.get(resource)?.spec) {
        Edge::Written => None,
        Edge::NotApplicable(reason) => Some(reason),
    }
}

/// Two columns below the value.
pub(super) fn write(out: &mut impl Write, lines: &[Line]) -> anyhow::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let mut table = Table::new(["TARGET", "BRINGS"]);
    for line in lines {
        let brings = match (&line.at, line.reason) {
            (Some(at), _) => at.clone(),
            (None, reason) => format!("not applicable: {}", reason.unwrap_or_default()),
        };
        table.push([line.target.to_owned(), brings]);
    }
    Ok(table.write(out)?)
}

/// The explanation as JSON, with the lines.
pub(super) fn document(explanation: &impl Serialize, lines: &[Line]) -> anyhow::Result<Value> {
    let mut document = serde_json::to_value(explanation)?;
    if let Value::Object(map) = &mut document {
        map.insert("brings".to_owned(), serde_json::to_value(lines)?);
    }
    Ok(document)
}
