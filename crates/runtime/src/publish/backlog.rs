//! What waits to be delivered: the way out of the spool.
//!
//! It deliberately remembers nothing of what it gave; whoever takes records knows which are in
//! flight. Invariant: records come in the order of acceptance, each once until
//! [`Backlog::rewind`].

use tokio::sync::watch;

use super::{Publisher, Record, Rejected, State, broken, spool_thread::Command};

/// What waits to be delivered, in the order of acceptance.
#[derive(Debug)]
pub struct Backlog {
    publisher: Publisher,
    state: watch::Receiver<State>,
    is_begun: bool,
}

impl Backlog {
    pub(super) fn new(publisher: Publisher) -> Self {
        let state = publisher.state();
        Self { publisher, state, is_begun: false }
    }

    /// The next records, at least one: at most `records_max`, and about `bytes_max`. Waits until
    /// there are some. Each comes once; what is not acknowledged comes again after a restart.
    ///
    /// # Errors
    /// When the spool is closed, or its disk fails.
    pub async fn next(
        &mut self,
        records_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<Record>, Rejected> {
        if !self.is_begun {
            self.publisher.ask(Command::Rewind).await?;
            self.is_begun = true;
        }
        loop {
            let read = self.publisher.ask(|answer| Command::Read(records_max, bytes_max, answer));
            let (records, last_seq) = read.await?.map_err(|error| broken(&error))?;
            if !records.is_empty() {
                return Ok(records);
            }
            let is_news = |state: &State| match state {
                State::Open(stats) => stats.last_seq > last_seq,
                State::Opening | State::Closed(_) => false,
            };
            let changed = self.state.wait_for(is_news).await.map(drop);
            changed.map_err(|_| self.publisher.why_closed())?;
        }
    }

    /// A record was delivered, in any order. Never waits.
    pub fn ack(&self, seq: u64) {
        self.publisher.shared.acks.add(seq);
        // A thread with a full queue looks by itself.
        let _ = self.publisher.shared.commands.try_send(Command::Wake);
    }

    /// A record is refused for good: it becomes a dead letter in the spool's `dlq`, and is done.
    ///
    /// # Errors
    /// When there are too many, or the disk fails; then it still waits.
    pub async fn dead(&self, seq: u64, error: &str) -> Result<(), Rejected> {
        let error = error.to_owned();
        self.publisher
            .ask(|answer| Command::Bury(seq, error, answer))
            .await?
            .map_err(|error| broken(&error))
    }

    /// Has [`Backlog::next`] begin with the oldest record again, as after a restart.
    pub fn rewind(&mut self) {
        self.is_begun = false;
    }

    /// Where messages go in.
    #[must_use]
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }
}
