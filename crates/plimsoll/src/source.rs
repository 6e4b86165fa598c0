//! The text of a manifest, from its file to a plan; its problems, with carets, to stderr.
//!
//! It deliberately reads one file and nothing else. Invariant: at most as many bytes are read as
//! a manifest may have, so that a wrong path to something huge is an error and not a wait.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use anyhow::Context;
use manifest::{Manifest, Plan, Problems, Resolution, TEXT_BYTES_MAX};

use crate::platform::Platform;
use crate::screen;

/// A manifest as it stands in its file.
pub(crate) struct Source {
    name: String,
    bytes: Vec<u8>,
}

/// Every environment in the order of promotion; a built-in local one first, if there is no other.
fn environments(manifest: &Manifest) -> Vec<String> {
    let mut names: Vec<String> =
        manifest.environments().into_iter().map(ToString::to_string).collect();
    let local = manifest.local_environment();
    if !names.iter().any(|name| name == local) {
        names.insert(0, local.to_owned());
    }
    names
}

/// A plan, or everything that is wrong.
pub(crate) type Resolved = Result<Resolution, Problems>;

impl Source {
    /// Reads the manifest of a platform.
    pub(crate) fn read(platform: &Platform) -> anyhow::Result<Self> {
        Self::read_file(&platform.manifest)
    }

    fn read_file(path: &Path) -> anyhow::Result<Self> {
        let mut bytes = Vec::new();
        let limit = u64::try_from(TEXT_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
        File::open(path)
            .and_then(|file| file.take(limit).read_to_end(&mut bytes))
            .with_context(|| format!("cannot read `{}`", path.display()))?;
        Ok(Self { name: path.display().to_string(), bytes })
    }

    /// Resolves it for an environment; for the local one unless another is named.
    pub(crate) fn resolve(&self, environment: Option<&str>) -> Resolved {
        let manifest = manifest::parse(&self.bytes)?;
        let environment = environment.unwrap_or_else(|| manifest.local_environment()).to_owned();
        manifest::resolve(&manifest, &environment)
    }

    /// Resolves it for every environment, in the order of promotion; problems are shown. Absent
    /// when an environment cannot be resolved.
    pub(crate) fn resolve_all(&self) -> anyhow::Result<Option<Vec<Plan>>> {
        let manifest = match manifest::parse(&self.bytes) {
            Ok(manifest) => manifest,
            Err(problems) => {
                self.show(&problems)?;
                return Ok(None);
            }
        };
        let mut plans = Vec::new();
        let mut shown = BTreeSet::new();
        for environment in environments(&manifest) {
            match manifest::resolve(&manifest, &environment) {
                Ok(resolution) => {
                    // Most warnings are the same in every environment.
                    if shown.insert(self.told(&resolution.warnings)) {
                        self.show(&resolution.warnings)?;
                    }
                    plans.push(resolution.plan);
                }
                Err(problems) => {
                    self.show(&problems)?;
                    writeln!(screen::words(), "in environment `{environment}`")?;
                    return Ok(None);
                }
            }
        }
        Ok(Some(plans))
    }

    fn told(&self, problems: &Problems) -> String {
        problems.render(&self.name, &String::from_utf8_lossy(&self.bytes), false)
    }

    /// Shows problems on stderr, each with its line.
    pub(crate) fn show(&self, problems: &Problems) -> anyhow::Result<()> {
        let text = String::from_utf8_lossy(&self.bytes);
        let mut out = screen::words();
        write!(out, "{}", problems.render(&self.name, &text, true))?;
        Ok(out.flush()?)
    }
}
