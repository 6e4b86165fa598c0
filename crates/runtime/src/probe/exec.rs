//! Probe: a command exits with 0.
//!
//! The engine itself is the parent and waits for it. It deliberately uses no shell. Invariant: a
//! command that runs past its timeout is killed together with its process group.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::tcp::reason;

/// Most bytes of the command's stderr that are kept.
const STDERR_BYTES_MAX: usize = 4 * 1024;
/// How long stderr is read on after the command ended, as someone else may hold it open.
const STDERR_WAIT: Duration = Duration::from_millis(20);

/// Runs the command once. May be dropped at any point.
pub(super) async fn check(command: &[String]) -> Result<(), String> {
    let program = &command[0];
    let mut child = Command::new(program)
        .args(&command[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("`{program}`: {}", reason(&error)))?;
    let mut group = Group(child.id());
    let stderr = child.stderr.take();
    let mut said = Vec::new();
    let mut reading = Box::pin(read_some(stderr, &mut said));
    let status = tokio::select! {
        status = child.wait() => Some(status),
        () = &mut reading => None,
    };
    let status = match status {
        Some(status) => {
            // What was said is only a detail.
            let _ = tokio::time::timeout(STDERR_WAIT, &mut reading).await;
            status
        }
        None => child.wait().await,
    };
    group.0 = None;
    drop(reading);
    let status = status.map_err(|error| format!("`{program}`: {}", reason(&error)))?;
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&said);
    let last_line = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    let colon = if last_line.is_empty() { "" } else { ": " };
    Err(format!("`{program}`: {}{colon}{last_line}", in_words(status)))
}

/// The process group of a command that was not waited for.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        let leader = self.0.and_then(|pid| i32::try_from(pid).ok());
        if let Some(leader) = leader {
            // The leader was not reaped, so the number is still its own; tokio reaps it later.
            let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
        }
    }
}

/// Reads to the end, keeping the last bytes.
async fn read_some(stderr: Option<impl AsyncRead + Unpin>, said: &mut Vec<u8>) {
    let Some(mut stderr) = stderr else { return };
    let mut chunk = [0; 1024];
    while let Ok(count @ 1..) = stderr.read(&mut chunk).await {
        said.extend_from_slice(&chunk[..count]);
        let surplus = said.len().saturating_sub(STDERR_BYTES_MAX);
        said.drain(..surplus);
    }
}

fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => match Signal::try_from(signal) {
            Ok(signal) => format!("killed by {signal}"),
            Err(_) => format!("killed by signal {signal}"),
        },
        (None, None) => "ended".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(script: &str) -> Result<(), String> {
        check(&["sh".into(), "-c".into(), script.into()]).await
    }

    #[tokio::test]
    async fn exit_0_passes() {
        assert_eq!(shell("exit 0").await, Ok(()));
    }

    #[tokio::test]
    async fn another_exit_says_its_code_and_its_last_words() {
        let failed = shell("echo first >&2; echo cannot reach it >&2; echo; exit 3").await;
        assert_eq!(failed, Err("`sh`: exit 3: cannot reach it".into()));
        assert_eq!(shell("kill -9 $$").await, Err("`sh`: killed by SIGKILL".into()));
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let missing = check(&["/nonexistent/probe".into()]).await;
        assert_eq!(missing, Err("`/nonexistent/probe`: no such file or directory".into()));
    }

    #[tokio::test]
    async fn much_output_does_not_block_the_command() {
        let failed = shell("head -c 1000000 /dev/zero | tr '\\0' x >&2; echo >&2 end; exit 1");
        assert!(failed.await.expect_err("exit 1").ends_with("end"));
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_killed_with_its_children() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("pid");
        let script = format!("sleep 300 & echo $! > {}; wait", file.display());
        let mut running = Box::pin(shell(&script));
        let grandchild = loop {
            let _ = tokio::time::timeout(Duration::from_millis(5), &mut running).await;
            let written = std::fs::read_to_string(&file).unwrap_or_default();
            if let Ok(pid) = written.trim().parse::<i32>() {
                break Pid::from_raw(pid);
            }
        };
        drop(running);
        // It is gone, or a zombie until whoever inherits it reaps it.
        loop {
            let stat = std::fs::read_to_string(format!("/proc/{grandchild}/stat"));
            match stat {
                Ok(stat) if !stat.contains(") Z ") => tokio::task::yield_now().await,
                _ => break,
            }
        }
    }
}
