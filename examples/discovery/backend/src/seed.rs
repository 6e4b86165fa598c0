//! Fills an empty installation with the documents of a directory.

use std::path::Path;

use tokio::fs;

use crate::blobs::Blobs;
use crate::documents::{self, AddError};
use crate::extract::media_type;
use crate::store::Store;
use crate::upload::file_name;

/// Files beyond this are not looked at.
const FILES_MAX: usize = 1_000;

/// What came of each file, in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seeded {
    /// Added now.
    Added(String),
    /// Its bytes were there already.
    Known(String),
    /// Nothing that can be read.
    Skipped(String),
}

/// Adds every readable file of `directory`, as if it were uploaded. Safe to repeat.
pub async fn seed(store: &Store, blobs: &Blobs, directory: &Path) -> Result<Vec<Seeded>, AddError> {
    let mut entries = fs::read_dir(directory).await?;
    let mut paths = Vec::new();
    while let Some(entry) = entries.next_entry().await?
        && paths.len() < FILES_MAX
    {
        let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
        if entry.file_type().await?.is_file() && !is_hidden {
            paths.push(entry.path());
        }
    }
    paths.sort();
    let mut all = Vec::new();
    for path in paths {
        let name = file_name(&path.to_string_lossy());
        let bytes = fs::read(&path).await?;
        let mut incoming = blobs.create()?;
        incoming.write(&bytes).await?;
        let complete = incoming.finish().await?;
        let is_script = path.extension().is_some_and(|extension| extension == "py");
        all.push(match media_type(&complete.head) {
            Some(media_type) if !bytes.is_empty() && !is_script => {
                let added = documents::add(store, blobs, complete, &name, media_type).await?;
                if added.1 { Seeded::Added(name) } else { Seeded::Known(name) }
            }
            _ => Seeded::Skipped(name),
        });
    }
    Ok(all)
}
