//! Which files belong to which service, as a plan says.

use std::path::{Path, PathBuf};

use manifest::Plan;

use super::canonical;

/// What is watched for one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Whose it is.
    pub service: String,
    /// Its directory first, then others that the manifest names.
    pub paths: Vec<PathBuf>,
    /// Patterns below its directory that are not sources, in the form of `.gitignore`.
    pub ignore: Vec<String>,
}

impl Root {
    pub(super) fn canonical(mut self) -> Self {
        for path in &mut self.paths {
            *path = canonical(path);
        }
        self
    }
}

/// What to watch for a plan whose manifest is in `directory`.
pub fn roots(plan: &Plan, directory: &Path) -> Vec<Root> {
    let watched = plan.services.values().filter(|service| service.watch.enabled);
    watched
        .map(|service| {
            let own = directory.join(service.path.as_str());
            let others = service.watch.paths.iter().map(|path| directory.join(path.as_str()));
            let mut ignore = service.watch.ignore.clone();
            // A build writes the site; watching it would build for ever.
            if let (Some(site), Some(_)) = (&service.site, &service.build) {
                ignore.push(format!("/{}/", site.dir.as_str()));
            }
            let paths = std::iter::once(own).chain(others).collect();
            Root { service: service.name.as_str().to_owned(), paths, ignore }
        })
        .collect()
}
