//! Tells the board how publishing is: once a second, and at once when it stops or starts to work.
//!
//! It deliberately changes nothing. Invariant: `/health` and the spool agree within a second.

use std::{sync::Arc, time::Duration};

use contract::bodies::Status;

use super::{Publisher, State, settings::OnFull, spool_thread::now_us};
use crate::{
    board::{Board, Moment},
    metrics::publish::lag,
};

/// How often the board learns of the lag.
const INTERVAL: Duration = Duration::from_secs(1);

/// How durable publish is, as `/health` says it.
#[derive(Clone, Debug, PartialEq)]
pub struct PublishState {
    /// Whether messages are accepted.
    pub status: Status,
    /// Whether a failure makes the service unready.
    pub gates_ready: bool,
    /// Age of the oldest message that the broker does not have.
    pub lag: Duration,
    /// Messages that the broker does not have.
    pub pending: u64,
    /// What is wrong.
    pub output: Option<String>,
}

impl PublishState {
    /// Whether the service is unready because of it.
    #[must_use]
    pub fn is_unready(&self) -> bool {
        self.gates_ready && self.status == Status::Fail
    }
}

/// Tells the board until the engine ends.
pub async fn report(publisher: Publisher, board: Arc<Board>) {
    let mut state = publisher.state();
    let on_full = publisher.settings().on_full;
    loop {
        let told = state.borrow_and_update().clone();
        let publish = of(&told, on_full);
        board.update(Moment::now(), |snapshot| snapshot.publish = Some(publish));
        let was_well = told.is_well();
        let turned = async { state.wait_for(|state| state.is_well() != was_well).await.map(drop) };
        // A thread that has ended changes nothing any more, but the time goes on.
        if let Ok(Err(_)) = tokio::time::timeout(INTERVAL, turned).await {
            tokio::time::sleep(INTERVAL).await;
        }
    }
}

fn of(state: &State, on_full: OnFull) -> PublishState {
    let gates_ready = on_full == OnFull::Unready;
    let bad = if gates_ready { Status::Fail } else { Status::Warn };
    let (status, output) = match state {
        State::Opening => (Status::Warn, Some("the spool is being opened".to_owned())),
        State::Closed(words) => (bad, Some(format!("the spool cannot be opened: {words}"))),
        State::Open(stats) => match (&stats.broken, stats.is_full) {
            (Some(words), _) => (bad, Some(format!("the spool cannot be written: {words}"))),
            (None, true) => (bad, Some("the spool is full".to_owned())),
            (None, false) => (Status::Pass, None),
        },
    };
    let (lag, pending) = match state {
        State::Open(stats) => (lag(stats, now_us()), stats.pending),
        State::Opening | State::Closed(_) => (Duration::ZERO, 0),
    };
    PublishState { status, gates_ready, lag, pending, output }
}
