//! Stand-ins for the images that Dockerfiles and Compose files name, where no registry is.
//!
//! `cargo xtask tools` makes them of Debian's packages, by `crates/testkit/docker/Dockerfile`; a
//! test loads them and calls them by the names that its files use. They deliberately hold no more
//! of what they stand in for than our files rely on.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;

use crate::cache::{BASE_IMAGES, tool_cache};
use crate::docker::{Docker, done, skip};

/// Each stage of that file, and how the names begin that it stands in for.
pub const STAND_INS: &[(&str, &str)] = &[
    ("caddy", "caddy:"),
    ("debian", "debian:bookworm"),
    ("distroless-cc", "gcr.io/distroless/cc-debian12:"),
    ("distroless-static", "gcr.io/distroless/static-debian12:"),
    ("postgres", "postgres:"),
    ("rust", "rust:"),
];

impl Docker {
    /// Loads them all; false where that cannot be, which is said aloud, and which is a failure
    /// where CI runs.
    ///
    /// # Panics
    /// When `CI` is `true` and they cannot be loaded.
    pub fn load_stand_ins(&self) -> bool {
        let archive = tool_cache().join(BASE_IMAGES).join("images.tar");
        if !archive.is_file() {
            skip("no base images: run `cargo xtask tools --for test` as root");
            return false;
        }
        if self.done(&["info", "--format", "{{.Driver}}"]) == "vfs" {
            skip("no overlay file system for the engine: a copy of each layer is too much");
            return false;
        }
        self.done(&["load", "--quiet", "--input", &archive.display().to_string()]);
        true
    }

    /// Gives one the name of what it stands in for, with the files of a directory added.
    ///
    /// # Panics
    /// When none can stand in for it.
    pub fn stand_in(&self, name: &str, files: Option<&Path>) {
        let found = STAND_INS.iter().find(|(_, beginning)| name.starts_with(beginning));
        assert!(found.is_some(), "nothing stands in for `{name}`");
        let Some((stage, _)) = found else { return };
        let stage = format!("plimsoll/{stage}");
        match files {
            Some(files) => self.image(name, &stage, files),
            None => drop(self.done(&["tag", &stage, name])),
        }
    }

    /// An image of the files of a directory, upon another or upon `scratch`.
    ///
    /// # Panics
    /// When it cannot be built.
    pub fn image(&self, name: &str, base: &str, files: &Path) {
        let dockerfile = self.directory().join("Dockerfile");
        fs::write(&dockerfile, format!("FROM {base}\nCOPY . /\n")).expect("the directory is ours");
        let dockerfile = File::open(dockerfile).expect("it was just written");
        let mut build = self.command();
        build.args(["buildx", "build", "--quiet", "--tag", name, "--file", "-"]).arg(files);
        done(build.stdin(Stdio::from(dockerfile)));
    }
}
