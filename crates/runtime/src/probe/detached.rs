//! Calls that may block for ever (a name server, a network disk), one at a time.
//!
//! The kernel cannot cancel them, so a caller that gives up leaves the call to its thread, and the
//! next caller waits for that same call. Invariant: at most one thread is stuck per probe.

use tokio::task::JoinHandle;

/// The one call of its kind that may be running.
#[derive(Debug)]
pub(super) struct Detached<T> {
    running: Option<JoinHandle<T>>,
}

impl<T: Send + 'static> Detached<T> {
    pub(super) fn new() -> Self {
        Self { running: None }
    }

    /// Runs `call`, or waits for the one that is still running; none if it panicked. May be dropped
    /// at any point.
    pub(super) async fn run(&mut self, call: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let running = self.running.get_or_insert_with(|| tokio::task::spawn_blocking(call));
        let result = running.await;
        self.running = None;
        result.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_stuck_call_is_not_started_again() {
        let (unblock, blocked) = mpsc::channel();
        let mut detached = Detached::new();
        let first = detached.run(move || blocked.recv().is_ok());
        assert!(tokio::time::timeout(Duration::from_millis(10), first).await.is_err());
        unblock.send(()).expect("the call still waits");
        let second = detached.run(|| panic!("started although another runs"));
        assert_eq!(second.await, Some(true));
    }
}
