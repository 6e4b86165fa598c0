//! What is true of one call, recorded when it is over.
//!
//! It holds the call's place in the bulkhead, its span and its admission by the breaker, so that
//! whatever ends the call (the last byte, an error, a caller that leaves) gives all three back. It
//! deliberately decides nothing. Invariant: every call is counted once.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::OwnedSemaphorePermit;

use super::breaker::{self, Ticket};
use super::dependency::Dependency;
use crate::telemetry::Span;

/// How a call ended: the label `outcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An answer below 400.
    Success,
    /// An answer from 400 to 499.
    ClientError,
    /// An answer from 500 on.
    ServerError,
    /// It took too long.
    Timeout,
    /// No connection could be made.
    Unreachable,
    /// The connection broke off.
    Broken,
    /// The breaker refused it.
    BreakerOpen,
    /// The bulkhead refused it.
    BulkheadFull,
    /// The application left before the end.
    Cancelled,
    /// The application's request cannot be sent.
    Rejected,
}

impl Outcome {
    /// The outcome as one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::ClientError => "client_error",
            Self::ServerError => "server_error",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Broken => "broken",
            Self::BreakerOpen => "breaker_open",
            Self::BulkheadFull => "bulkhead_full",
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
        }
    }

    fn of_status(status: u16) -> Self {
        match status {
            ..400 => Self::Success,
            400..500 => Self::ClientError,
            _ => Self::ServerError,
        }
    }
}

/// A call under way.
#[derive(Debug)]
pub(super) struct Flight {
    dependency: Arc<Dependency>,
    began: Instant,
    outcome: Outcome,
    status: Option<u16>,
    pub(super) span: Span,
    pub(super) permit: Option<OwnedSemaphorePermit>,
    pub(super) admission: Option<Admission>,
}

impl Flight {
    pub(super) fn begin(dependency: Arc<Dependency>, span: Span) -> Self {
        Self {
            dependency,
            began: Instant::now(),
            outcome: Outcome::Cancelled,
            status: None,
            span,
            permit: None,
            admission: None,
        }
    }

    /// It ends as said here, unless it goes on.
    pub(super) fn ends(&mut self, outcome: Outcome) {
        self.outcome = outcome;
    }

    /// The head of an answer came that goes to the application.
    pub(super) fn answered(&mut self, status: u16) {
        self.status = Some(status);
        self.span.set("http.response.status_code", status);
    }

    /// The answer was passed on whole.
    pub(super) fn completed(&mut self) {
        self.outcome = Outcome::of_status(self.status.unwrap_or_default());
        if let Some(admission) = self.admission.take() {
            admission.succeeded();
        }
    }

    /// The answer broke off.
    pub(super) fn broke(&mut self, outcome: Outcome) {
        self.outcome = outcome;
        if let Some(admission) = self.admission.take() {
            admission.failed();
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        match (self.outcome, self.status) {
            (Outcome::Success, _) => {}
            (Outcome::ClientError | Outcome::ServerError, Some(status)) => {
                self.span.fail(&status.to_string());
            }
            (outcome, _) => self.span.fail(outcome.word()),
        }
        self.dependency.ended(self.outcome, self.began.elapsed());
    }
}

/// A call that the breaker admitted; without a word it counts as abandoned.
#[derive(Debug)]
pub(super) struct Admission {
    dependency: Arc<Dependency>,
    ticket: Option<Ticket>,
}

impl Admission {
    pub(super) fn new(dependency: Arc<Dependency>, ticket: Ticket) -> Self {
        Self { dependency, ticket: Some(ticket) }
    }

    pub(super) fn succeeded(mut self) {
        self.tell(breaker::Event::Succeeded);
    }

    pub(super) fn failed(mut self) {
        self.tell(breaker::Event::Failed);
    }

    fn tell(&mut self, event: impl FnOnce(Ticket) -> breaker::Event) {
        if let Some(ticket) = self.ticket.take() {
            self.dependency.tell(event(ticket));
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.tell(breaker::Event::Abandoned);
    }
}
