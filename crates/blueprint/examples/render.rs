//! Renders a manifest into a directory: what the real tools are tried on while targets are
//! written. Deliberately without lock, ownership or patches; `plimsoll render` has those.
//!
//! `cargo run -p blueprint --example render -- examples/discovery/plimsoll.yaml /tmp/out [TARGET]`
#![expect(clippy::disallowed_methods, reason = "an example reads and writes; the crate does not")]

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::Path;

use blueprint::detect::{MARKERS, join, upwards};
use blueprint::{Platform, Repository};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (path, out, only) = match arguments.as_slice() {
        [path, out] => (Path::new(path), Path::new(out), None),
        [path, out, only] => (Path::new(path), Path::new(out), Some(only.as_str())),
        _ => return Err("usage: render <manifest> <directory> [target]".into()),
    };
    let text = fs::read_to_string(path)?;
    let root = path.parent().unwrap_or(Path::new("."));
    let manifest = manifest::parse(&text).map_err(|problems| format!("{problems:#?}"))?;
    let mut environments: Vec<&str> =
        manifest.environments().into_iter().map(|name| name.as_str()).collect();
    let local = manifest.local_environment();
    if !environments.contains(&local) {
        environments.insert(0, local);
    }
    let mut plans = Vec::new();
    for environment in environments {
        let resolution = manifest::resolve(&manifest, environment)
            .map_err(|problems| format!("{problems:#?}"))?;
        plans.push(resolution.plan);
    }
    let released = plans.last().ok_or("a manifest has an environment")?;
    let directories: BTreeSet<String> =
        released.services.values().flat_map(|service| upwards(service.path.as_str())).collect();
    let mut repository = Repository::new();
    for directory in directories {
        for name in MARKERS {
            let marker = join(&directory, name);
            if let Ok(text) = fs::read_to_string(root.join(&marker)) {
                repository.insert(marker, text);
            }
        }
    }
    let sources =
        blueprint::detect(released, &repository).map_err(|problems| format!("{problems:#?}"))?;
    let mut artifacts = blueprint::render(&Platform::new(plans, sources, Default::default()));
    artifacts.retain(|_, artifact| only.is_none_or(|only| artifact.target == only));
    for (path, artifact) in artifacts.iter() {
        let file = out.join(path);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&file, &artifact.text)?;
        if artifact.is_executable {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
        }
        println!("{path}");
    }
    Ok(())
}
