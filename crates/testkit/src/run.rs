//! A program under test: started, watched, and gone with everything it started.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read, Seek},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    process::{Marker, signal},
    wait::{wait_for, wait_for_some},
};

/// How long a program may take to do what a test waits for.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running program.
#[derive(Debug)]
pub struct Run {
    child: Child,
    marker: Marker,
    stdout: File,
    stderr: File,
    directory: TempDir,
}

/// How a program ended, and what it wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code, or 128 + n if signal n ended it.
    pub code: i32,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl Run {
    /// Starts a program. Its output goes to files, so that it never waits for the test.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start<A: AsRef<OsStr>>(program: &Path, args: impl IntoIterator<Item = A>) -> Self {
        Self::start_with(program, args, |_| {})
    }

    /// The same, with more said about the command.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_with<A: AsRef<OsStr>>(
        program: &Path,
        args: impl IntoIterator<Item = A>,
        more: impl FnOnce(&mut Command),
    ) -> Self {
        let directory = TempDir::new().expect("a temporary directory can be made");
        let file = |name| File::create_new(directory.path().join(name)).expect("it is new");
        let (stdout, stderr) = (file("stdout"), file("stderr"));
        let marker = Marker::default();
        let mut command = Command::new(program);
        let (variable, value) = marker.variable();
        command.args(args).env(variable, value).stdin(Stdio::null());
        command.stdout(stdout).stderr(stderr);
        more(&mut command);
        let child = command.spawn().expect("the program under test starts");
        let read = |name| File::open(directory.path().join(name)).expect("it was just made");
        Self { stdout: read("stdout"), stderr: read("stderr"), child, marker, directory }
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid is positive")
    }

    /// A directory of its own, removed with it.
    pub fn directory(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// Whether it has ended.
    ///
    /// # Panics
    /// Never: it is our child.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_some()
    }

    /// Everything that it started and that still lives, itself included.
    pub fn processes(&self) -> Vec<i32> {
        self.marker.processes()
    }

    /// The mark of everything that it started, to look for after it has ended.
    pub fn marker(&self) -> Marker {
        self.marker.clone()
    }

    /// Sends it a signal, by number.
    pub fn signal(&self, number: i32) {
        signal(self.pid(), number);
    }

    /// What it has written to stdout so far.
    ///
    /// # Panics
    /// When that cannot be read.
    pub fn stdout(&self) -> String {
        read(&self.stdout).expect("its stdout is a file")
    }

    /// What it has written to stderr so far.
    ///
    /// # Panics
    /// When that cannot be read.
    pub fn stderr(&self) -> String {
        read(&self.stderr).expect("its stderr is a file")
    }

    /// Waits until it has written a line to stdout that holds `text`, and returns the first.
    ///
    /// # Panics
    /// When it does not within 20 s.
    #[track_caller]
    pub fn line(&self, text: &str) -> String {
        wait_for_some(&format!("a line with {text:?} in:\n{}", self.stdout()), PATIENCE, || {
            let stdout = self.stdout();
            // A line that is not ended may still grow.
            let whole = stdout.rsplit_once('\n')?.0;
            whole.lines().find(|line| line.contains(text)).map(str::to_owned)
        })
    }

    /// Waits until it has ended by itself, or by a signal that it was sent.
    ///
    /// # Panics
    /// When it does not end within `limit`.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) -> Ended {
        let status = wait_for_some("the program to end", limit, || {
            self.child.try_wait().expect("it is our child")
        });
        Ended { code: code(status), stdout: self.stdout(), stderr: self.stderr() }
    }

    /// Waits until nothing that it started is left.
    ///
    /// # Panics
    /// When something is left after `limit`.
    #[track_caller]
    pub fn wait_for_nothing_left(&self, limit: Duration) {
        wait_for("everything to be gone", limit, || self.processes().is_empty());
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.marker.kill_all();
        // A program that writes its title over its environment has lost the mark.
        let _ = self.child.kill();
        // Already reaped is as good.
        let _ = self.child.wait();
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

fn read(mut file: &File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
