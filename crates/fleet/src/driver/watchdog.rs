//! A small process that ends everything when `plimsoll up` itself is killed.
//!
//! A signal that cannot be caught leaves no chance to clean up, and `PR_SET_PDEATHSIG` needs
//! unsafe code between fork and exec and follows the thread, not the process. A shell that waits
//! for the end of a pipe needs neither, and works on every Unix.

use std::io;
use std::path::Path;
use std::process::Stdio;

use tokio::process::{Child, Command};

const SCRIPT: &str = include_str!("watchdog.sh");

/// The running watchdog; what it reads ends with this value, or with the process that holds it.
#[derive(Debug)]
pub struct Watchdog {
    child: Child,
}

impl Watchdog {
    /// Watches over the processes noted in `directory`.
    ///
    /// # Errors
    /// When `sh` cannot be started.
    pub fn start(directory: &Path) -> io::Result<Self> {
        let child = Command::new("sh")
            .args(["-c", SCRIPT, "plimsoll-watchdog"])
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Its own group: Ctrl-C on the terminal is not for it.
            .process_group(0)
            .spawn()?;
        Ok(Self { child })
    }

    /// Lets it go; everything has been ended already, so it finds nothing to do.
    pub async fn end(mut self) {
        drop(self.child.stdin.take());
        let limit = std::time::Duration::from_secs(1);
        if tokio::time::timeout(limit, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}
