//! Whom a server runs as that refuses to run as root, and where such an account can reach.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::Path;

use nix::unistd::{User, geteuid};

use crate::driver::Account;

/// The account that servers run as: `None` when we are not root and run them as ourselves.
///
/// # Errors
/// When we are root and no other account exists.
pub(super) fn for_servers() -> Result<Option<Account>, ()> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let account = |name: &str| {
        let user = User::from_name(name).ok().flatten()?;
        Some(Account { name: name.to_owned(), uid: user.uid.as_raw(), gid: user.gid.as_raw() })
    };
    account("postgres").or_else(|| account("nobody")).map(Some).ok_or(())
}

/// Whether an account may pass through every directory on the way to `path`.
pub(super) fn can_reach(account: &Account, path: &Path) -> bool {
    path.ancestors().filter(|at| at.is_dir()).all(|at| {
        fs::metadata(at).is_ok_and(|meta| {
            let shift = match (meta.uid() == account.uid, meta.gid() == account.gid) {
                (true, _) => 6,
                (false, true) => 3,
                (false, false) => 0,
            };
            meta.mode() >> shift & 1 == 1
        })
    })
}

/// Makes a directory that belongs to an account, or takes the one that is there if it is theirs or
/// ours. Others may write where it is made: a link, or somebody else's directory, is refused.
pub(super) fn make_directory(account: Option<&Account>, path: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let meta = fs::symlink_metadata(path)?;
            let is_theirs = account.is_some_and(|account| meta.uid() == account.uid);
            if !meta.is_dir() || !(is_theirs || meta.uid() == geteuid().as_raw()) {
                return Err(io::Error::other("it is not a directory of ours"));
            }
        }
        result => result?,
    }
    give(account, path)
}

/// Gives a file or directory to an account.
pub(super) fn give(account: Option<&Account>, path: &Path) -> io::Result<()> {
    account.map_or(Ok(()), |account| chown(path, Some(account.uid), Some(account.gid)))
}
