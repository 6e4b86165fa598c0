//! The platform machine: what must run, in which order, and what happens when something fails.

use serde::{Deserialize, Serialize};

/// Where one item (a service or a resource) stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not run by `up` (a schedule that only the cluster keeps, or something external).
    Skipped,
    /// Waits until everything in its `uses` is ready.
    Waiting,
    /// Its build command runs.
    Building,
    /// Its migration runs.
    Migrating,
    /// Its process was started and has not yet said that it is ready.
    Starting,
    /// Serves.
    Ready,
    /// Was ready and no longer is; its process runs.
    Unready,
    /// A job that ended with success.
    Done,
    /// Failed; starts again after a pause.
    Backoff,
    /// Failed too often in a short time; starts again after long pauses.
    CrashLooping,
    /// Was told to stop and has not yet ended.
    Stopping,
    /// Does not run.
    Stopped,
    /// Failed and is not started again (its first start, or a job).
    Failed,
}
