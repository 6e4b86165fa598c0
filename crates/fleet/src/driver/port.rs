//! Whether a TCP port on loopback is free, and who holds it when it is not.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};

/// Whether a listener could be opened on `127.0.0.1:port` now.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Name and id of the process that listens on a port, as `` `nginx` (pid 12)``; `None` where that
/// cannot be seen (another user's process, or no `/proc`).
pub fn holder_of(port: u16) -> Option<String> {
    let inode = listening_inode(port)?;
    let link = format!("socket:[{inode}]");
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(fds) = fs::read_dir(entry.path().join("fd")) else { continue };
        let holds = |fd: fs::DirEntry| {
            fs::read_link(fd.path()).is_ok_and(|to| to.as_os_str() == link.as_str())
        };
        if fds.flatten().any(holds) {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            return Some(format!("`{}` (pid {pid})", name.trim_end()));
        }
    }
    None
}

/// The inode of the socket that listens on a port.
fn listening_inode(port: u16) -> Option<String> {
    const LISTEN: &str = "0A";
    let suffix = format!(":{port:04X}");
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| {
        let table = fs::read_to_string(table).ok()?;
        table.lines().skip(1).find_map(|row| {
            let fields: Vec<_> = row.split_whitespace().collect();
            let is_it = fields.get(1)?.ends_with(&suffix) && *fields.get(3)? == LISTEN;
            is_it.then(|| fields.get(9).map(|inode| (*inode).to_owned()))?
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_listened_on_is_not_free_and_has_a_holder() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(!is_free(port));
        let me = format!("(pid {})", std::process::id());
        assert!(holder_of(port).unwrap().ends_with(&me));
        drop(listener);
        assert!(is_free(port));
    }
}
