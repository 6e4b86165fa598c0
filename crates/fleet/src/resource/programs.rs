//! Where server programs are, and how to get them when they are nowhere.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Finds a program in the directories of a `PATH`.
pub(super) fn in_path(program: &str, path: &str) -> Option<PathBuf> {
    std::env::split_paths(path)
        .map(|directory| directory.join(program))
        .find(|file| is_program(file))
}

/// Directories of Postgres servers, newest major version first.
///
/// Debian keeps them out of `PATH`, one directory a version; Homebrew keeps each version apart too.
pub(super) fn postgres_directories(path: &str) -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    let roots = ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt"];
    for root in roots.map(Path::new) {
        let Ok(entries) = std::fs::read_dir(root) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let version = name.strip_prefix("postgresql@").unwrap_or(&name).parse();
            let bin = entry.path().join("bin");
            if let Ok(version) = version
                && is_program(&bin.join("initdb"))
                && is_program(&bin.join("postgres"))
            {
                found.push((version, bin));
            }
        }
    }
    found.sort_by(|a, b| b.cmp(a));
    let in_path = in_path("initdb", path).and_then(|file| Some(file.parent()?.to_owned()));
    let in_path = in_path.filter(|bin| is_program(&bin.join("postgres")));
    let mut directories: Vec<_> = found.into_iter().map(|(_, bin)| bin).collect();
    if let Some(bin) = in_path.filter(|bin| !directories.contains(bin)) {
        directories.insert(0, bin);
    }
    directories
}

/// The command that installs a Debian package, or the Homebrew formula where that is the custom.
pub(super) fn install(debian: &str, brew: &str) -> String {
    match cfg!(target_os = "macos") {
        true => format!("brew install {brew}"),
        false => format!("sudo apt-get install {debian}"),
    }
}

fn is_program(file: &Path) -> bool {
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
