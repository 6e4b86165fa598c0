//! The spans that wait to be exported.
//!
//! It deliberately wakes the exporting task twice for a batch, not once for a span: when the first
//! comes, and when there are enough. Invariant: it never holds more than `queue_max`; what does not
//! fit is dropped and counted, and whoever pushes never waits.

use std::sync::{Mutex, MutexGuard, PoisonError};

use opentelemetry_sdk::trace::SpanData;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{Notify, watch};

use super::settings::Batch;

/// What became of spans.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// The collector has them.
    pub exported: Counter,
    /// The queue was full.
    pub dropped: Counter,
    /// The collector did not take them.
    pub failed: Counter,
}

/// The queue between spans and the exporting task.
#[derive(Debug)]
pub(super) struct Queue {
    batch: Batch,
    counters: Counters,
    spans: Mutex<Vec<SpanData>>,
    /// The first span came.
    begun: Notify,
    /// There are enough for a batch, or somebody wants them gone.
    full: Notify,
    /// How many flushes were asked for, and how many were done.
    asked: watch::Sender<u64>,
    done: watch::Sender<u64>,
}

impl Queue {
    pub(super) fn new(batch: Batch, counters: Counters) -> Self {
        Self {
            batch,
            counters,
            spans: Mutex::default(),
            begun: Notify::new(),
            full: Notify::new(),
            asked: watch::Sender::new(0),
            done: watch::Sender::new(0),
        }
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Takes a span that has ended.
    pub(super) fn push(&self, span: SpanData) {
        let mut spans = self.spans();
        if spans.len() >= self.batch.queue_max {
            drop(spans);
            self.counters.dropped.inc();
            return;
        }
        spans.push(span);
        let n_spans = spans.len();
        drop(spans);
        if n_spans == 1 {
            self.begun.notify_one();
        }
        if n_spans == self.batch.batch_max {
            self.full.notify_one();
        }
    }

    /// Asks for everything to be exported, and waits until it was tried.
    pub(super) async fn flush(&self) {
        let mut turn = 0;
        self.asked.send_modify(|asked| {
            *asked += 1;
            turn = *asked;
        });
        self.begun.notify_one();
        self.full.notify_one();
        // The sender lives as long as we do.
        let _ = self.done.subscribe().wait_for(|done| *done >= turn).await;
    }

    /// Waits until there is something worth exporting. The number is for [`Queue::did`].
    pub(super) async fn wait(&self) -> u64 {
        loop {
            let asked = *self.asked.borrow();
            if asked > *self.done.borrow() {
                return asked;
            }
            let n_spans = self.spans().len();
            if n_spans >= self.batch.batch_max {
                return asked;
            }
            if n_spans == 0 {
                self.begun.notified().await;
                continue;
            }
            if tokio::time::timeout(self.batch.delay, self.full.notified()).await.is_err() {
                return asked;
            }
        }
    }

    /// The oldest spans, as many as go together.
    pub(super) fn take(&self) -> Vec<SpanData> {
        let mut spans = self.spans();
        if spans.len() <= self.batch.batch_max {
            return std::mem::take(&mut *spans);
        }
        let rest = spans.split_off(self.batch.batch_max);
        std::mem::replace(&mut *spans, rest)
    }

    /// What was asked for before [`Queue::wait`] returned this number has been tried.
    pub(super) fn did(&self, turn: u64) {
        self.done.send_modify(|done| *done = turn);
    }

    fn spans(&self) -> MutexGuard<'_, Vec<SpanData>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
