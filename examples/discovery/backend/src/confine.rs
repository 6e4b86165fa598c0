//! Runs a program on hostile input: with limits of memory, time, file size and output, and a
//! deadline after which it is killed.
//!
//! The limits are set by the program itself before it becomes the other one (`worker confined`),
//! so that nothing unsafe is needed between fork and exec.
//!
//! Invariant: no child outlives the future of [`run`], however that ends.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::timeout;

/// Address space of a confined program.
pub const MEMORY_BYTES_MAX: u64 = 1 << 30;
/// The largest file that a confined program may write.
pub const FILE_BYTES_MAX: u64 = 256 << 20;
/// Standard output beyond this is an error.
pub const OUTPUT_BYTES_MAX: u64 = 8 << 20;
/// The end of standard error that is kept for messages.
const ERROR_BYTES_MAX: u64 = 2_000;

/// How a confined program failed.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// It did not start.
    #[error("cannot start `{program}`: {source}")]
    NotStarted {
        /// The program.
        program: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It ran into its deadline, or into its limit of processor time.
    #[error("`{program}` took longer than {seconds} s")]
    TooSlow {
        /// The program.
        program: String,
        /// The deadline.
        seconds: u64,
    },
    /// It wrote more than [`OUTPUT_BYTES_MAX`].
    #[error("`{program}` wrote too much")]
    TooMuchOutput {
        /// The program.
        program: String,
    },
    /// It ended with an error or was ended by a signal.
    #[error("`{program}` failed ({status}): {message}")]
    Failed {
        /// The program.
        program: String,
        /// Exit code or signal.
        status: std::process::ExitStatus,
        /// The end of its standard error.
        message: String,
    },
}

/// Runs `program` through `worker confined` and returns its standard output.
pub async fn run(
    worker: &Path,
    program: &Path,
    arguments: &[&str],
    directory: &Path,
    deadline: Duration,
) -> Result<Vec<u8>, ConfineError> {
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut child = Command::new(worker)
        .arg("confined")
        .arg(deadline.as_secs().max(1).to_string())
        .arg(program)
        .args(arguments)
        .current_dir(directory)
        .env("OMP_THREAD_LIMIT", "1")
        .env("TMPDIR", directory)
        .env_remove("DATABASE_URL")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| ConfineError::NotStarted { program: name.clone(), source })?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let all = async {
        let read = tokio::join!(head(stdout, OUTPUT_BYTES_MAX + 1), head(stderr, ERROR_BYTES_MAX));
        (read, child.wait().await)
    };
    let seconds = deadline.as_secs();
    let Ok(((output, message), status)) = timeout(deadline, all).await else {
        return Err(ConfineError::TooSlow { program: name, seconds });
    };
    let status =
        status.map_err(|source| ConfineError::NotStarted { program: name.clone(), source })?;
    if output.len() as u64 > OUTPUT_BYTES_MAX {
        return Err(ConfineError::TooMuchOutput { program: name });
    }
    if !status.success() {
        let message = String::from_utf8_lossy(&message).trim().replace('\n', "; ");
        return Err(ConfineError::Failed { program: name, status, message });
    }
    Ok(output)
}

/// The first `limit` bytes; the rest is read and forgotten, so that the writer is never stuck.
async fn head(stream: Option<impl AsyncRead + Unpin>, limit: u64) -> Vec<u8> {
    let mut kept = Vec::new();
    let Some(mut stream) = stream else { return kept };
    // A pipe that breaks has ended: what was read is what there is.
    let _ = (&mut stream).take(limit).read_to_end(&mut kept).await;
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    kept
}

/// `worker confined <seconds> <program> <arguments>`: sets the limits, then becomes the program.
/// Returns only if that fails.
pub fn become_program(seconds: u64, program: &Path, arguments: &[String]) -> std::io::Error {
    let limits = [
        (Resource::As, MEMORY_BYTES_MAX),
        (Resource::Cpu, seconds),
        (Resource::Fsize, FILE_BYTES_MAX),
        (Resource::Core, 0),
    ];
    for (resource, limit) in limits {
        if let Err(error) =
            setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })
        {
            return error.into();
        }
    }
    std::process::Command::new(program).args(arguments).exec()
}

/// Looks a program up in `PATH`.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file())
}
