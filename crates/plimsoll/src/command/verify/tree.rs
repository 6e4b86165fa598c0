//! The rendered files as they are in the directory: those that the lock names, with their texts.
//!
//! Files that the user has ejected are not ours to judge. Files that the flags leave out are still
//! there for those that need them: a Compose file needs its variables.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One file.
pub(super) struct File {
    /// The target that wrote it.
    pub target: String,
    pub text: String,
    /// Whether the flags mean it.
    pub is_meant: bool,
}

/// Every file, by its path below the directory.
pub(super) struct Tree {
    pub root: PathBuf,
    pub files: BTreeMap<String, File>,
    /// Those that the lock names and the directory does not have.
    pub missing: Vec<String>,
    /// How many the user has made their own.
    pub n_ejected: usize,
}

impl Tree {
    /// The files that are meant, by path.
    pub(super) fn meant(&self) -> impl Iterator<Item = (&str, &File)> {
        self.files
            .iter()
            .filter(|(_, file)| file.is_meant)
            .map(|(path, file)| (path.as_str(), file))
    }

    /// The paths of the files that are meant and fit.
    pub(super) fn paths(&self, fits: impl Fn(&str) -> bool) -> Vec<String> {
        self.meant().filter(|(path, _)| fits(path)).map(|(path, _)| path.to_owned()).collect()
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    pub(super) fn text(&self, path: &str) -> &str {
        self.files.get(path).map_or("", |file| file.text.as_str())
    }

    /// The directories of charts that any file that is meant belongs to.
    pub(super) fn charts(&self) -> Vec<String> {
        let charts = self.files.keys().filter_map(|path| path.strip_suffix("/Chart.yaml"));
        charts
            .filter(|chart| self.meant().any(|(path, _)| is_below(path, chart)))
            .map(str::to_owned)
            .collect()
    }

    /// Whether a file is a template of a chart, which is not what its name says.
    pub(super) fn is_template(&self, path: &str) -> bool {
        path.split_once("/templates/")
            .is_some_and(|(chart, _)| self.has(&format!("{chart}/Chart.yaml")))
    }
}

/// Whether a path is that of a file in a directory, at whatever depth.
pub(super) fn is_below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

/// The last part of a path.
pub(super) fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Whether the name of a file ends so.
pub(super) fn has_extension(path: &str, extensions: &[&str]) -> bool {
    let extension = Path::new(path).extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| extensions.contains(&extension))
}
