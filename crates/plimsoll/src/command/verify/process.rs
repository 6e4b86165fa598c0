//! One program, run to its end within its time, with no more of its words kept than can be shown.
//!
//! Each runs in a process group of its own, which is killed when the run is given up: a program
//! that starts others leaves none of them behind. Nothing is asked of a terminal.

use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::tool::Tool;

/// Most that is kept of what a program says, in bytes; a chart of many services has some 300 kB.
const OUTPUT_BYTES_MAX: usize = 16 << 20;

/// One run of a program.
pub(super) struct Call {
    pub tool: &'static Tool,
    pub args: Vec<OsString>,
    pub env: Vec<(&'static str, OsString)>,
    /// Not to be run to its end, but until it says this on stdout: of a server.
    pub until: Option<&'static str>,
}

impl Call {
    pub(super) fn new<A: Into<OsString>>(
        tool: &'static Tool,
        args: impl IntoIterator<Item = A>,
    ) -> Self {
        let args = args.into_iter().map(Into::into).collect();
        Self { tool, args, env: Vec::new(), until: None }
    }
}

/// How a program ended.
pub(super) struct Ended {
    /// Its exit code; absent when a signal ended it.
    pub code: Option<i32>,
    /// Whether it said what it was run for, and was ended by us.
    pub has_said: bool,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    pub(super) fn is_success(&self) -> bool {
        self.has_said || self.code == Some(0)
    }
}

/// Runs a program in the current directory of `command`, and feeds it `stdin`.
///
/// # Errors
/// It told nothing: why, in words.
pub(super) async fn run(
    mut command: Command,
    call: &Call,
    stdin: String,
    limit: Duration,
) -> Result<Ended, String> {
    let name = call.tool.name;
    command.args(&call.args).envs(call.env.iter().map(|(name, value)| (name, value)));
    command.process_group(0).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().map_err(|error| format!("cannot start `{name}`: {error}"))?;
    let group = Group(child.id());
    let ended = tokio::time::timeout(limit, finish(child, &group, call.until, stdin)).await;
    drop(group);
    match ended {
        Err(_) => Err(format!("`{name}` did not end within {} s", limit.as_secs())),
        Ok(Err(error)) => Err(format!("`{name}` was lost: {error}")),
        Ok(Ok(Ended { code: None, has_said: false, .. })) => {
            Err(format!("`{name}` was ended by a signal"))
        }
        Ok(Ok(ended)) => Ok(ended),
    }
}

async fn finish(
    mut child: Child,
    group: &Group,
    until: Option<&'static str>,
    stdin: String,
) -> std::io::Result<Ended> {
    let mut input = child.stdin.take();
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let feed = async move {
        if let Some(input) = &mut input {
            // A program that has seen enough closes its end; its exit code tells the rest.
            let _ = input.write_all(stdin.as_bytes()).await;
        }
        drop(input);
    };
    let hear = async {
        let heard = read(out, until).await;
        if heard.1 {
            group.kill();
        }
        heard
    };
    let ((), (stdout, has_said), (stderr, _)) = tokio::join!(feed, hear, read(err, None));
    let status = child.wait().await?;
    let text = |bytes: Vec<u8>| {
        let plain = anstream::adapter::strip_bytes(&bytes).into_vec();
        String::from_utf8_lossy(&plain).into_owned()
    };
    Ok(Ended { code: status.code(), has_said, stdout: text(stdout), stderr: text(stderr) })
}

/// Reads to the end, or until these words; what is too much is read and forgotten.
async fn read(from: Option<impl AsyncRead + Unpin>, until: Option<&str>) -> (Vec<u8>, bool) {
    let mut kept = Vec::new();
    let Some(mut from) = from else { return (kept, false) };
    let mut buffer = vec![0; 64 << 10];
    while let Ok(n_read @ 1..) = from.read(&mut buffer).await {
        let room = OUTPUT_BYTES_MAX.saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..n_read.min(room)]);
        if until.is_some_and(|until| String::from_utf8_lossy(&kept).contains(until)) {
            return (kept, true);
        }
    }
    (kept, false)
}

/// The processes of one run; whatever is left of them ends with this.
struct Group(Option<u32>);

impl Group {
    fn kill(&self) {
        if let Some(pid) = self.0.and_then(|pid| i32::try_from(pid).ok()) {
            // Nobody left is what is hoped for.
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}
