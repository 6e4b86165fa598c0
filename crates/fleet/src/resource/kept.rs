//! What is remembered of a local server between two starts: its port, its password, its place.
//!
//! *Invariant: the file is readable by its owner only, and never half-written.*

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::driver::is_free;

/// Bytes of chance in a password.
const PASSWORD_BYTES: usize = 24;

/// What is remembered of a local server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) port: u16,
    pub(super) password: String,
    /// Where its data is.
    pub(super) directory: PathBuf,
}

/// Reads what is remembered of `name`, or decides it for the first time.
pub(super) fn recall(data: &Path, name: &str, directory: &Path) -> io::Result<Kept> {
    let file = data.join(format!("{name}.json"));
    let before = match fs::read(&file) {
        Ok(text) => serde_json::from_slice::<Kept>(&text).ok(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let mut kept = match &before {
        Some(kept) => kept.clone(),
        None => Kept { port: 0, password: password()?, directory: directory.to_owned() },
    };
    kept.directory = directory.to_owned();
    if kept.port == 0 || !is_free(kept.port) {
        kept.port = free_port()?;
    }
    if before.as_ref() != Some(&kept) {
        write_private(&file, &serde_json::to_vec_pretty(&kept)?)?;
    }
    Ok(kept)
}

/// Where the data of `name` was kept before.
pub(super) fn directory_of(data: &Path, name: &str) -> Option<PathBuf> {
    let text = fs::read(data.join(format!("{name}.json"))).ok()?;
    Some(serde_json::from_slice::<Kept>(&text).ok()?.directory)
}

/// Writes a file that only its owner reads, whole or not at all.
pub(super) fn write_private(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = file.with_extension("new");
    let _ = fs::remove_file(&new);
    let mut writer = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    writer.write_all(bytes)?;
    writer.sync_all()?;
    fs::rename(&new, file)
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn password() -> io::Result<String> {
    let mut bytes = [0; PASSWORD_BYTES];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_port_and_a_password_stay_the_same_and_are_private() {
        let data = tempfile::tempdir().unwrap();
        let first = recall(data.path(), "db", Path::new("/x")).unwrap();
        assert_eq!(recall(data.path(), "db", Path::new("/x")).unwrap(), first);
        assert_eq!(first.password.len(), 2 * PASSWORD_BYTES);
        let mode = fs::metadata(data.path().join("db.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_port_that_somebody_took_is_replaced_and_the_password_stays() {
        let data = tempfile::tempdir().unwrap();
        let first = recall(data.path(), "db", Path::new("/x")).unwrap();
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, first.port)).unwrap();
        let second = recall(data.path(), "db", Path::new("/x")).unwrap();
        assert_ne!(second.port, first.port);
        assert_eq!(second.password, first.password);
    }
}
