//! The queue of documents to read: crash-safe, in the same database as the documents.
//!
//! ```text
//!            claim                      finish
//! waiting ----------> running -------------------------> (row removed)
//!    ^                 |  |  lease over: claimed again by anyone
//!    |    fail, retry  |  |
//!    +-----------------+  +-- fail, no attempt left ---> dead (keeps the error)
//! ```
//!
//! Invariant: at most one lease token is valid for a document, and only its holder can change the
//! job or the document. A worker that lost its lease changes nothing any more.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Row};

use crate::documents::{Status, set_sentences, set_status};
use crate::sentences::Sentence;
use crate::store::{Kind, Store, Transaction, now_ms};

/// After this many attempts a job is dead.
pub const ATTEMPTS_MAX: i64 = 5;
/// The first pause before another attempt; each one doubles it.
pub const BACKOFF_FIRST: Duration = Duration::from_secs(2);
/// The longest pause before another attempt.
pub const BACKOFF_MAX: Duration = Duration::from_secs(300);

/// A document that this worker, and no other, may read until the lease ends.
#[derive(Debug, Clone)]
pub struct Job {
    /// The document.
    pub document_id: String,
    /// How often it was tried, this attempt included.
    pub attempts: i64,
    token: String,
}

/// Jobs by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Depth {
    /// Not begun, or waiting for another attempt.
    pub waiting: i64,
    /// Being read, or left behind by a worker that died.
    pub running: i64,
    /// Given up.
    pub dead: i64,
}

/// What a finished job leaves behind.
#[derive(Debug, Clone)]
pub struct Reading {
    /// What can be found.
    pub sentences: Vec<Sentence>,
    /// How many pages the document has.
    pub n_pages: usize,
    /// `Ready`, or `NeedsOcr` when pages are left for character recognition.
    pub status: Status,
    /// What a reader should know; empty when all is well.
    pub note: String,
}

/// Adds a job for a document, due at once; a job that exists starts afresh.
pub async fn add(
    transaction: &mut Transaction,
    document_id: &str,
    now: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO jobs (document_id, state, due_ms) VALUES ($1, 'waiting', $2) \
         ON CONFLICT (document_id) DO UPDATE SET state = 'waiting', attempts = 0, \
         due_ms = excluded.due_ms, lease_token = '', error = ''",
    )
    .bind(document_id)
    .bind(now)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Takes the job that has been due longest, if there is one. While a job runs, `due_ms` is the end
/// of its lease: a lease that ran out makes it due again.
pub async fn claim(
    store: &Store,
    worker: &str,
    now: i64,
    lease: Duration,
) -> Result<Option<Job>, sqlx::Error> {
    // SQLite has one writer at a time; Postgres steps over rows that another worker is taking.
    let lock = match store.kind {
        Kind::Sqlite => "",
        Kind::Postgres => "FOR UPDATE SKIP LOCKED",
    };
    let sql = format!(
        "UPDATE jobs SET state = 'running', attempts = attempts + 1, due_ms = $2, \
         lease_token = $3 WHERE document_id = (SELECT document_id FROM jobs \
         WHERE state <> 'dead' AND due_ms <= $1 ORDER BY due_ms, document_id LIMIT 1 {lock}) \
         RETURNING document_id, attempts"
    );
    let token = format!("{worker}-{:016x}", rand_u64());
    let mut transaction = store.begin().await?;
    let row = sqlx::query(AssertSqlSafe(sql))
        .bind(now)
        .bind(now + millis(lease))
        .bind(token.as_str())
        .fetch_optional(&mut *transaction)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let job = Job { document_id: row.try_get(0)?, attempts: row.try_get(1)?, token };
    set_status(&mut transaction, &job.document_id, Status::Processing, "").await?;
    transaction.commit().await?;
    Ok(Some(job))
}

/// Extends the lease. `false` means that the job is not ours any more: stop at once.
pub async fn extend(
    store: &Store,
    job: &Job,
    now: i64,
    lease: Duration,
) -> Result<bool, sqlx::Error> {
    let result = sqlx::query(
        "UPDATE jobs SET due_ms = $3 \
         WHERE document_id = $1 AND lease_token = $2 AND state = 'running'",
    )
    .bind(job.document_id.as_str())
    .bind(job.token.as_str())
    .bind(now + millis(lease))
    .execute(&store.pool)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Keeps what was read and removes the job, all or nothing. `false` if the lease was lost.
pub async fn finish(store: &Store, job: &Job, reading: &Reading) -> Result<bool, sqlx::Error> {
    let id = job.document_id.as_str();
    let mut transaction = store.begin().await?;
    let result = sqlx::query("DELETE FROM jobs WHERE document_id = $1 AND lease_token = $2")
        .bind(id)
        .bind(job.token.as_str())
        .execute(&mut *transaction)
        .await?;
    if result.rows_affected() == 0 {
        return Ok(false);
    }
    set_sentences(&mut transaction, store.kind, id, &reading.sentences, reading.n_pages).await?;
    set_status(&mut transaction, id, reading.status, &reading.note).await?;
    transaction.commit().await?;
    Ok(true)
}

/// Puts a job back for another attempt later, or gives it up. `false` if the lease was lost.
pub async fn fail(
    store: &Store,
    job: &Job,
    error: &str,
    can_retry: bool,
    now: i64,
) -> Result<bool, sqlx::Error> {
    let is_dead = !can_retry || job.attempts >= ATTEMPTS_MAX;
    let (state, status) =
        if is_dead { ("dead", Status::Failed) } else { ("waiting", Status::Queued) };
    update(store, job, state, error, status, now + millis(backoff(job.attempts))).await
}

/// Gives a job back untouched, due at once: the worker is stopping.
pub async fn release(store: &Store, job: &Job, now: i64) -> Result<bool, sqlx::Error> {
    let job = Job { attempts: job.attempts - 1, ..job.clone() };
    update(store, &job, "waiting", "", Status::Queued, now).await
}

/// Queues every document of a status again; says how many.
pub async fn requeue(store: &Store, status: Status) -> Result<usize, sqlx::Error> {
    let rows = sqlx::query("SELECT id FROM documents WHERE status = $1")
        .bind(status.name())
        .fetch_all(&store.pool)
        .await?;
    let mut n_queued = 0;
    for row in rows {
        n_queued += usize::from(requeue_one(store, row.try_get(0)?, status).await?);
    }
    Ok(n_queued)
}

/// Queues one document again, if it (still) has that status.
pub async fn requeue_one(store: &Store, id: &str, status: Status) -> Result<bool, sqlx::Error> {
    // The job first, then the document, as everywhere: two orders would be a deadlock.
    let mut transaction = store.begin().await?;
    match add(&mut transaction, id, now_ms()).await {
        Err(sqlx::Error::Database(error)) if error.is_foreign_key_violation() => return Ok(false),
        other => other?,
    }
    let result = sqlx::query(
        "UPDATE documents SET status = 'queued', note = '', updated_ms = $3 \
         WHERE id = $1 AND status = $2",
    )
    .bind(id)
    .bind(status.name())
    .bind(now_ms())
    .execute(&mut *transaction)
    .await?;
    if result.rows_affected() == 0 {
        return Ok(false);
    }
    transaction.commit().await?;
    Ok(true)
}

/// How many jobs there are in each state.
pub async fn depth(store: &Store) -> Result<Depth, sqlx::Error> {
    let rows = sqlx::query("SELECT state, COUNT(*) FROM jobs GROUP BY state")
        .fetch_all(&store.pool)
        .await?;
    let mut depth = Depth::default();
    for row in rows {
        match row.try_get(0)? {
            "waiting" => depth.waiting = row.try_get(1)?,
            "running" => depth.running = row.try_get(1)?,
            _ => depth.dead = row.try_get(1)?,
        }
    }
    Ok(depth)
}

async fn update(
    store: &Store,
    job: &Job,
    state: &str,
    error: &str,
    status: Status,
    due_ms: i64,
) -> Result<bool, sqlx::Error> {
    let mut transaction = store.begin().await?;
    let result = sqlx::query(
        "UPDATE jobs SET state = $3, error = $4, due_ms = $5, attempts = $6, lease_token = '' \
         WHERE document_id = $1 AND lease_token = $2",
    )
    .bind(job.document_id.as_str())
    .bind(job.token.as_str())
    .bind(state)
    .bind(error)
    .bind(due_ms)
    .bind(job.attempts)
    .execute(&mut *transaction)
    .await?;
    if result.rows_affected() == 0 {
        return Ok(false);
    }
    set_status(&mut transaction, &job.document_id, status, error).await?;
    transaction.commit().await?;
    Ok(true)
}

fn backoff(attempts: i64) -> Duration {
    let doublings = u32::try_from(attempts.clamp(1, 20) - 1).unwrap_or(0);
    BACKOFF_FIRST.saturating_mul(1 << doublings).min(BACKOFF_MAX)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 2)
}

/// Random enough to tell two leases apart: the standard library seeds each hasher differently.
fn rand_u64() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(now_ms())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit() {
        let seconds: Vec<u64> = [1, 2, 3, 10, i64::MAX].map(|n| backoff(n).as_secs()).into();
        assert_eq!(seconds, [2, 4, 8, 300, 300]);
    }
}
