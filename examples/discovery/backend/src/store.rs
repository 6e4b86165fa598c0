//! The database: SQLite in a file, or Postgres. One pool, one SQL text for both wherever possible.
//!
//! The two differ in three places only, each beside its twin: the connection's settings (here),
//! the lock in [`crate::queue`] and the matching in [`crate::search`].
//!
//! Invariant: a transaction from [`Store::begin`] may write; on SQLite it holds the write lock
//! from its first statement (`BEGIN IMMEDIATE`), so that it cannot fail half-way with "busy".

use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::{Migrate, Migration, MigrationType, Migrator};
use sqlx::{Any, AnyConnection, AnyPool, AssertSqlSafe, ConnectOptions, Executor, SqlSafeStr};

/// A transaction on either database.
pub type Transaction = sqlx::Transaction<'static, Any>;

const CONNECTIONS_MAX: u32 = 8;
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

const SQLITE_SETTINGS: &str = "PRAGMA busy_timeout = 15000; PRAGMA journal_mode = WAL; \
    PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON";
const POSTGRES_SETTINGS: &str = "SET statement_timeout = '20s'; SET lock_timeout = '5s'";

/// One change of the schema, in the words of each database.
struct Change {
    version: i64,
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

/// Every change of the schema. Only ever appended to.
const CHANGES: [Change; 1] = [Change {
    version: 1,
    name: "documents",
    sqlite: include_str!("../migrations/sqlite/0001_documents.sql"),
    postgres: include_str!("../migrations/postgres/0001_documents.sql"),
}];

/// Which database this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One file, with FTS5.
    Sqlite,
    /// A server, with `tsvector`.
    Postgres,
}

/// An open database.
#[derive(Debug, Clone)]
pub struct Store {
    /// Which one.
    pub kind: Kind,
    /// Its connections.
    pub pool: AnyPool,
}

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Neither SQLite nor Postgres.
    #[error(
        "`DATABASE_URL` is not usable: {0}\nhelp: DATABASE_URL=postgres://user@host/name, or \
         leave it out to use SQLite"
    )]
    UrlUnusable(String),
    /// The directory for the SQLite file cannot be made.
    #[error("cannot create `{path}`: {source}")]
    DirectoryNotMade {
        /// The directory.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A migration failed; nothing of it was kept.
    #[error("cannot migrate the database: {0}")]
    NotMigrated(#[from] sqlx::migrate::MigrateError),
    /// The program is newer than the schema.
    #[error(
        "the database is at version {found}, this program needs {wanted}\nhelp: backend migrate"
    )]
    SchemaTooOld {
        /// The newest migration applied.
        found: i64,
        /// The newest migration known.
        wanted: i64,
    },
    /// The database cannot be reached, or refused a statement.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
}

impl Store {
    /// Opens the database of `url`, or the SQLite file in `data_dir`. Connects on first use.
    pub fn open(url: Option<&str>, data_dir: &Path) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let url = match url {
            Some(url) => url.to_owned(),
            None => sqlite_url(data_dir)?,
        };
        let kind = match url.split(':').next() {
            Some("sqlite") => Kind::Sqlite,
            Some("postgres" | "postgresql") => Kind::Postgres,
            _ => return Err(StoreError::UrlUnusable("it names an unknown database".into())),
        };
        let options = AnyConnectOptions::from_str(&url)
            .map_err(|error| StoreError::UrlUnusable(error.to_string()))?
            .disable_statement_logging();
        let pool = AnyPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .after_connect(move |connection, _| Box::pin(prepare(connection, kind)))
            .connect_lazy_with(options);
        Ok(Self { kind, pool })
    }

    /// Applies every migration that is missing; says which version the schema has now.
    pub async fn migrate(&self) -> Result<i64, StoreError> {
        Migrator::with_migrations(migrations(self.kind)).run(&self.pool).await?;
        Ok(version_wanted())
    }

    /// Fails unless the schema is at least as new as this program.
    pub async fn check_schema(&self) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await?;
        let wanted = version_wanted();
        // A database without the table of migrations is at version 0.
        let applied =
            connection.list_applied_migrations("_sqlx_migrations").await.unwrap_or_default();
        let found = applied.iter().map(|migration| migration.version).max().unwrap_or(0);
        if found < wanted { Err(StoreError::SchemaTooOld { found, wanted }) } else { Ok(()) }
    }

    /// Starts a transaction that may write. Dropping it undoes it.
    pub async fn begin(&self) -> Result<Transaction, sqlx::Error> {
        match self.kind {
            Kind::Sqlite => self.pool.begin_with("BEGIN IMMEDIATE").await,
            Kind::Postgres => self.pool.begin().await,
        }
    }
}

/// Milliseconds since 1970. Leases are much longer than the clocks of two hosts differ.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// `$1, $2, $3`: `n` placeholders, counted from `first`.
pub fn placeholders(first: usize, n: usize) -> String {
    (first..first + n).map(|index| format!("${index}")).collect::<Vec<_>>().join(", ")
}

async fn prepare(connection: &mut AnyConnection, kind: Kind) -> Result<(), sqlx::Error> {
    let settings = match kind {
        Kind::Sqlite => SQLITE_SETTINGS,
        Kind::Postgres => POSTGRES_SETTINGS,
    };
    for statement in settings.split(';') {
        connection.execute(AssertSqlSafe(statement)).await?;
    }
    Ok(())
}

fn migrations(kind: Kind) -> Vec<Migration> {
    let migration = |change: &Change| {
        let sql = match kind {
            Kind::Sqlite => change.sqlite,
            Kind::Postgres => change.postgres,
        };
        let (version, name, sql) = (change.version, change.name.into(), sql.into_sql_str());
        Migration::new(version, name, MigrationType::Simple, sql, false)
    };
    CHANGES.iter().map(migration).collect()
}

fn version_wanted() -> i64 {
    CHANGES.iter().map(|change| change.version).max().unwrap_or(0)
}

fn sqlite_url(data_dir: &Path) -> Result<String, StoreError> {
    std::fs::create_dir_all(data_dir).map_err(|source| StoreError::DirectoryNotMade {
        path: data_dir.display().to_string(),
        source,
    })?;
    let path = data_dir.join("discovery.db").display().to_string();
    let path = path.replace('%', "%25").replace('?', "%3F").replace('#', "%23");
    Ok(format!("sqlite://{path}?mode=rwc"))
}
