//! Documents and their sentences, as rows.
//!
//! Invariant: a document that is `queued` or `processing` has a job that is not dead; every other
//! document has none, or a dead one that keeps the error.

use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use crate::blobs::{Blobs, Complete};
use crate::queue;
use crate::sentences::Sentence;
use crate::store::{Kind, Store, Transaction, now_ms, placeholders};
use crate::words::words;

/// Rows of one INSERT: below the limit of parameters of both databases.
const INSERT_ROWS_MAX: usize = 200;

const COLUMNS: &str = "id, name, media_type, bytes, status, pages_done, pages_total, n_sentences, \
    note, created_ms, updated_ms";

/// What has become of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waits for a worker.
    Queued,
    /// Is being read.
    Processing,
    /// Can be found.
    Ready,
    /// Has pages that only character recognition can read, and there was none.
    NeedsOcr,
    /// Cannot be read; `note` says why.
    Failed,
}

/// All of them, in the order in which a document passes through.
pub const STATUSES: [Status; 5] =
    [Status::Queued, Status::Processing, Status::Ready, Status::NeedsOcr, Status::Failed];

impl Status {
    /// The name in the database and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Processing => "processing",
            Self::Ready => "ready",
            Self::NeedsOcr => "needs_ocr",
            Self::Failed => "failed",
        }
    }

    /// The status of that name.
    pub fn named(name: &str) -> Option<Self> {
        STATUSES.into_iter().find(|status| status.name() == name)
    }
}

/// One document, as the API shows it.
#[derive(Debug, Clone, Serialize)]
pub struct Document {
    /// SHA-256 of the bytes, in hexadecimal.
    pub id: String,
    /// The file name it came with.
    pub name: String,
    /// What it is, recognised from its bytes.
    pub media_type: String,
    /// Its size.
    pub bytes: i64,
    /// What has become of it.
    pub status: Status,
    /// Pages read so far.
    pub pages_done: i64,
    /// Pages to read; 0 while nobody has looked.
    pub pages_total: i64,
    /// Sentences that can be found.
    pub sentences: i64,
    /// What a reader should know: why it failed, what is missing. Empty when all is well.
    pub note: String,
    /// Arrival, milliseconds since 1970.
    pub created_ms: i64,
    /// Last change, milliseconds since 1970.
    pub updated_ms: i64,
}

impl Document {
    fn from_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get(0)?,
            name: row.try_get(1)?,
            media_type: row.try_get(2)?,
            bytes: row.try_get(3)?,
            // The table allows these five names only.
            status: Status::named(row.try_get(4)?).unwrap_or(Status::Failed),
            pages_done: row.try_get(5)?,
            pages_total: row.try_get(6)?,
            sentences: row.try_get(7)?,
            note: row.try_get(8)?,
            created_ms: row.try_get(9)?,
            updated_ms: row.try_get(10)?,
        })
    }
}

/// Where a page of the list ended: documents after this one come next.
#[derive(Debug, Clone)]
pub struct Cursor {
    /// Arrival of the last document shown.
    pub created_ms: i64,
    /// Its id.
    pub id: String,
}

/// A sentence as the reading view shows it.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// Counted from 0 through the whole document.
    pub position: i64,
    /// Counted from 1.
    pub page: i64,
    /// Sentences of one paragraph share it.
    pub block: i64,
    /// The sentence.
    pub text: String,
}

/// Adds a document and its job. The same bytes give the same document: `false` if it was there.
///
/// The file takes its place inside the transaction, so that a delete of the same document at the
/// same time either comes before all of it, or after.
pub async fn add(
    store: &Store,
    blobs: &Blobs,
    complete: Complete,
    name: &str,
    media_type: &str,
) -> Result<(Document, bool), AddError> {
    let id = complete.id.clone();
    let now = now_ms();
    let mut transaction = store.begin().await?;
    let inserted = sqlx::query(
        "INSERT INTO documents (id, name, media_type, bytes, status, created_ms, updated_ms) \
         VALUES ($1, $2, $3, $4, 'queued', $5, $5) ON CONFLICT (id) DO NOTHING",
    )
    .bind(id.as_str())
    .bind(name)
    .bind(media_type)
    .bind(i64::try_from(complete.n_bytes).unwrap_or(i64::MAX))
    .bind(now)
    .execute(&mut *transaction)
    .await?
    .rows_affected();
    if inserted == 1 {
        queue::add(&mut transaction, &id, now).await?;
    }
    blobs.keep(complete).await?;
    let document = find(&mut transaction, &id).await?.ok_or(sqlx::Error::RowNotFound)?;
    transaction.commit().await?;
    Ok((document, inserted == 1))
}

/// Why a document could not be added.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// The database refused.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// The file could not be kept.
    #[error("cannot keep the file: {0}")]
    File(#[from] std::io::Error),
}

/// The document of that id.
pub async fn get(store: &Store, id: &str) -> Result<Option<Document>, sqlx::Error> {
    let mut connection = store.pool.acquire().await?;
    find(&mut connection, id).await
}

async fn find(
    connection: &mut sqlx::AnyConnection,
    id: &str,
) -> Result<Option<Document>, sqlx::Error> {
    let sql = format!("SELECT {COLUMNS} FROM documents WHERE id = $1");
    let row = sqlx::query(AssertSqlSafe(sql)).bind(id).fetch_optional(connection).await?;
    row.as_ref().map(Document::from_row).transpose()
}

/// Documents, newest first, after `cursor`, of one status if given.
pub async fn list(
    store: &Store,
    status: Option<Status>,
    cursor: Option<&Cursor>,
    limit: i64,
) -> Result<Vec<Document>, sqlx::Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM documents WHERE (status = $1 OR $1 = '') \
         AND (created_ms < $2 OR (created_ms = $2 AND id < $3)) \
         ORDER BY created_ms DESC, id DESC LIMIT $4"
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(status.map_or("", Status::name))
        .bind(cursor.map_or(i64::MAX, |cursor| cursor.created_ms))
        .bind(cursor.map_or("", |cursor| cursor.id.as_str()))
        .bind(limit)
        .fetch_all(&store.pool)
        .await?;
    rows.iter().map(Document::from_row).collect()
}

/// Removes a document with everything that belongs to it. `false` if there was none.
pub async fn delete(store: &Store, blobs: &Blobs, id: &str) -> Result<bool, AddError> {
    let mut transaction = store.begin().await?;
    // The job first, as in `queue`: a worker that claims it locks the two rows in this order.
    sqlx::query("DELETE FROM jobs WHERE document_id = $1")
        .bind(id)
        .execute(&mut *transaction)
        .await?;
    let n_deleted = sqlx::query("DELETE FROM documents WHERE id = $1")
        .bind(id)
        .execute(&mut *transaction)
        .await?
        .rows_affected();
    if n_deleted == 1 {
        blobs.remove(id).await?;
    }
    transaction.commit().await?;
    Ok(n_deleted == 1)
}

/// The sentences of a document from `position` on.
pub async fn lines(
    store: &Store,
    id: &str,
    position: i64,
    limit: i64,
) -> Result<Vec<Line>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT position, page, block, text FROM sentences \
         WHERE document_id = $1 AND position >= $2 ORDER BY position LIMIT $3",
    )
    .bind(id)
    .bind(position)
    .bind(limit)
    .fetch_all(&store.pool)
    .await?;
    let line = |row: &AnyRow| {
        Ok(Line {
            position: row.try_get(0)?,
            page: row.try_get(1)?,
            block: row.try_get(2)?,
            text: row.try_get(3)?,
        })
    };
    rows.iter().map(line).collect()
}

/// How many documents there are of each status, in the order of [`STATUSES`].
pub async fn count(store: &Store) -> Result<Vec<(Status, i64)>, sqlx::Error> {
    let rows = sqlx::query("SELECT status, COUNT(*) FROM documents GROUP BY status")
        .fetch_all(&store.pool)
        .await?;
    let of = |status: Status| {
        let row = rows.iter().find(|row| row.try_get::<&str, _>(0).ok() == Some(status.name()));
        row.map_or(Ok(0), |row| row.try_get(1)).map(|n| (status, n))
    };
    STATUSES.into_iter().map(of).collect()
}

/// Notes how far a worker has come.
pub async fn set_progress(
    store: &Store,
    id: &str,
    pages_done: usize,
    pages_total: usize,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE documents SET pages_done = $2, pages_total = $3, updated_ms = $4 \
         WHERE id = $1 AND status = 'processing'",
    )
    .bind(id)
    .bind(i64::try_from(pages_done).unwrap_or(i64::MAX))
    .bind(i64::try_from(pages_total).unwrap_or(i64::MAX))
    .bind(now_ms())
    .execute(&store.pool)
    .await?;
    Ok(())
}

/// Changes a document's status and note.
pub async fn set_status(
    transaction: &mut Transaction,
    id: &str,
    status: Status,
    note: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE documents SET status = $2, note = $3, updated_ms = $4 WHERE id = $1")
        .bind(id)
        .bind(status.name())
        .bind(note)
        .bind(now_ms())
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// Replaces the sentences of a document, and with them what can be found.
pub async fn set_sentences(
    transaction: &mut Transaction,
    kind: Kind,
    id: &str,
    sentences: &[Sentence],
    n_pages: usize,
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM sentences WHERE document_id = $1")
        .bind(id)
        .execute(&mut **transaction)
        .await?;
    for (chunk_index, chunk) in sentences.chunks(INSERT_ROWS_MAX).enumerate() {
        let sql = insert_sentences(kind, chunk.len());
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(id);
        for (index, sentence) in chunk.iter().enumerate() {
            let position = chunk_index * INSERT_ROWS_MAX + index;
            query = query
                .bind(i64::try_from(position).unwrap_or(i64::MAX))
                .bind(i64::try_from(sentence.page).unwrap_or(i64::MAX))
                .bind(i64::try_from(sentence.block).unwrap_or(i64::MAX))
                .bind(sentence.text.as_str())
                .bind(index_words(kind, &sentence.text));
        }
        query.execute(&mut **transaction).await?;
    }
    sqlx::query(
        "UPDATE documents SET n_sentences = $2, pages_done = $3, pages_total = $3 WHERE id = $1",
    )
    .bind(id)
    .bind(i64::try_from(sentences.len()).unwrap_or(i64::MAX))
    .bind(i64::try_from(n_pages).unwrap_or(i64::MAX))
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

fn insert_sentences(kind: Kind, n_rows: usize) -> String {
    let words_type = match kind {
        Kind::Sqlite => "TEXT",
        Kind::Postgres => "TSVECTOR",
    };
    let row = |index: usize| {
        let first = 2 + index * 5;
        format!("($1, {}, CAST(${} AS {words_type}))", placeholders(first, 4), first + 4)
    };
    let rows = (0..n_rows).map(row).collect::<Vec<_>>().join(", ");
    format!("INSERT INTO sentences (document_id, position, page, block, text, words) VALUES {rows}")
}

/// The words of a sentence in the form its index wants.
fn index_words(kind: Kind, text: &str) -> String {
    let words = words(text).into_iter().map(|word| word.folded);
    match kind {
        Kind::Sqlite => words.collect::<Vec<_>>().join(" "),
        Kind::Postgres => {
            let lexeme = |(index, word): (usize, String)| format!("'{word}':{}", index + 1);
            words.enumerate().map(lexeme).collect::<Vec<_>>().join(" ")
        }
    }
}
