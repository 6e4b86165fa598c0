//! What the machine tells the user. All its wording is here.

use std::fmt;

use super::{Millis, TaskKind};

/// Something a person who watches the platform wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// It serves for the first time since it was started.
    Ready {
        /// Milliseconds since its start.
        after_ms: Millis,
    },
    /// It serves again.
    ReadyAgain,
    /// It no longer serves.
    Unready {
        /// What it lacks.
        reason: String,
    },
    /// A job ended with success.
    Done {
        /// Milliseconds since its start.
        after_ms: Millis,
    },
    /// It ended as it was asked to.
    Stopped,
    /// It failed and stays down.
    Failed {
        /// What happened.
        reason: String,
    },
    /// It failed and starts again after a pause.
    WillRestart {
        /// What happened.
        reason: String,
        /// The pause, milliseconds.
        pause_ms: Millis,
    },
    /// It keeps failing.
    CrashLooping {
        /// What happened last.
        reason: String,
        /// How often lately.
        n_failures: usize,
        /// The pause, milliseconds.
        pause_ms: Millis,
    },
    /// Its files changed.
    Changed,
    /// A build or a migration runs.
    TaskStarted {
        /// Which of the two.
        kind: TaskKind,
    },
    /// A build or a migration succeeded.
    TaskDone {
        /// Which of the two.
        kind: TaskKind,
    },
    /// A build or a migration failed.
    TaskFailed {
        /// Which of the two.
        kind: TaskKind,
        /// What happened.
        reason: String,
        /// Whether the process from before still runs.
        keeps_serving: bool,
    },
    /// It did not end in time and is killed.
    StopTimedOut {
        /// The limit, milliseconds.
        limit_ms: Millis,
    },
    /// It did not end even when killed.
    WouldNotDie,
}

impl Report {
    /// Whether it is bad news.
    pub fn is_failure(&self) -> bool {
        use Report::{CrashLooping, Failed, StopTimedOut, TaskFailed, WillRestart, WouldNotDie};
        matches!(
            self,
            Failed { .. }
                | WillRestart { .. }
                | CrashLooping { .. }
                | TaskFailed { .. }
                | StopTimedOut { .. }
                | WouldNotDie
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready { after_ms } => write!(f, "ready after {}", Seconds(*after_ms)),
            Self::ReadyAgain => f.write_str("ready again"),
            Self::Unready { reason } => write!(f, "not ready: {reason}"),
            Self::Done { after_ms } => write!(f, "done after {}", Seconds(*after_ms)),
            Self::Stopped => f.write_str("stopped"),
            Self::Failed { reason } => write!(f, "failed: {reason}"),
            Self::WillRestart { reason, pause_ms } => {
                write!(f, "failed: {reason}; starts again in {}", Seconds(*pause_ms))
            }
            Self::CrashLooping { reason, n_failures, pause_ms } => write!(
                f,
                "crash loop: {reason}; {n_failures} failures lately, tries again in {}",
                Seconds(*pause_ms)
            ),
            Self::Changed => f.write_str("starts anew"),
            Self::TaskStarted { kind } => write!(f, "{kind} runs"),
            Self::TaskDone { kind } => write!(f, "{kind} done"),
            Self::TaskFailed { kind, reason, keeps_serving } => {
                write!(f, "{kind} failed: {reason}")?;
                if *keeps_serving {
                    f.write_str("; the process from before keeps serving")?;
                }
                Ok(())
            }
            Self::StopTimedOut { limit_ms } => {
                write!(f, "did not end within {}, is killed", Seconds(*limit_ms))
            }
            Self::WouldNotDie => f.write_str("did not end even when killed; given up"),
        }
    }
}

/// Milliseconds, shown as seconds with one decimal.
struct Seconds(Millis);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} s", self.0 / 1000, self.0 % 1000 / 100)
    }
}
