//! The audit index: the records of every replica's spool, found by time, principal, securable, trace,
//! operation and decision.
//!
//! It lives in a SQLite file of its own (`audit.db`), or beside the state when that is in PostgreSQL.
//! Each replica's records come in by [`AuditIndex::insert`], in order and exactly once: the position in
//! the spool moves in the same transaction as the records go in. Several replicas may write at once,
//! each its own records.

mod query;
mod retention;
mod rows;

use std::path::Path;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

pub use query::{AuditCursor, AuditEntry, AuditPage, AuditQuery, MalformedCursor};
pub use retention::{ChainRow, Removal};
pub use rows::{IndexRow, RowBody};

#[derive(Debug, thiserror::Error)]
pub enum AuditIndexError {
    #[error("the audit index cannot be opened: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("the audit index cannot be opened: {0}")]
    Io(#[from] std::io::Error),
    #[error("the audit index failed: {0}")]
    Database(#[from] sqlx::Error),
    #[error("the audit index already has other records of replica `{replica}` after {after}")]
    Moved { replica: String, after: u64 },
    #[error("the audit index holds a malformed position for replica `{0}`")]
    MalformedPosition(String),
}

/// How far a replica's chain is in the index: its last record here, and that record's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexPosition {
    pub seq: u64,
    pub hash: [u8; 32],
}

/// Where the index is kept.
#[derive(Debug, Clone)]
pub enum AuditIndexLocation<'a> {
    Sqlite(&'a Path),
    Postgres(&'a str),
}

#[derive(Debug, Clone)]
pub struct AuditIndex {
    database: Database,
}

#[derive(Debug, Clone)]
enum Database {
    /// SQLite takes one writer; readers have connections of their own and never wait for it.
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
    },
    Postgres(PgPool),
}

/// Runs the same statements on whichever database it is.
macro_rules! on {
    ($database:expr, $side:ident, $pool:ident => $body:expr) => {
        match $database {
            Database::Sqlite { $side: $pool, .. } => $body,
            Database::Postgres($pool) => $body,
        }
    };
}
use on;

impl AuditIndex {
    pub async fn open(location: AuditIndexLocation<'_>) -> Result<Self, AuditIndexError> {
        let database = match location {
            AuditIndexLocation::Sqlite(path) => open_sqlite(path).await?,
            AuditIndexLocation::Postgres(url) => {
                let pool = PgPoolOptions::new()
                    .max_connections(4)
                    .acquire_timeout(Duration::from_secs(10))
                    .connect(url)
                    .await?;
                migrator(sqlx::migrate!("migrations/audit_postgres")).run(&pool).await?;
                Database::Postgres(pool)
            }
        };
        Ok(Self { database })
    }

    /// How far the replica's chain is in the index; `genesis` if it is new.
    pub async fn position(
        &self,
        replica: &str,
        genesis: IndexPosition,
    ) -> Result<IndexPosition, AuditIndexError> {
        let found: Option<(i64, Vec<u8>)> = on!(&self.database, writer, pool => {
            sqlx::query("INSERT INTO audit_positions (replica, seq, hash) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
                .bind(replica)
                .bind(signed(genesis.seq))
                .bind(genesis.hash.to_vec())
                .execute(pool)
                .await?;
            sqlx::query_as("SELECT seq, hash FROM audit_positions WHERE replica = $1")
                .bind(replica)
                .fetch_optional(pool)
                .await?
        });
        let malformed = || AuditIndexError::MalformedPosition(replica.to_owned());
        let (seq, hash) = found.ok_or_else(malformed)?;
        Ok(IndexPosition {
            seq: u64::try_from(seq).map_err(|_| malformed())?,
            hash: hash.try_into().map_err(|_| malformed())?,
        })
    }

    /// Inserts a replica's records that lie between two positions, and moves its position on.
    ///
    /// Nothing is inserted and the answer is [`AuditIndexError::Moved`] if the index is not at `after`:
    /// the records were inserted before, or another process claims to be the replica.
    pub async fn insert(
        &self,
        replica: &str,
        after: IndexPosition,
        last: IndexPosition,
        records: &[IndexRow],
    ) -> Result<(), AuditIndexError> {
        let batch = rows::Batch::of(replica, records);
        let source = match self.database {
            Database::Sqlite { .. } => rows::SQLITE_SOURCE,
            Database::Postgres(_) => rows::POSTGRES_SOURCE,
        };
        on!(&self.database, writer, pool => {
            let mut transaction = pool.begin().await?;
            let moved = sqlx::query(
                "UPDATE audit_positions SET seq = $1, hash = $2 WHERE replica = $3 AND seq = $4 AND hash = $5",
            )
            .bind(signed(last.seq))
            .bind(last.hash.to_vec())
            .bind(replica)
            .bind(signed(after.seq))
            .bind(after.hash.to_vec())
            .execute(&mut *transaction)
            .await?;
            if moved.rows_affected() != 1 {
                return Err(AuditIndexError::Moved { replica: replica.to_owned(), after: after.seq });
            }
            for (insert, rows) in batch.inserts(source) {
                sqlx::query(insert).bind(rows).execute(&mut *transaction).await?;
            }
            transaction.commit().await?;
        });
        Ok(())
    }

    pub async fn close(&self) {
        match &self.database {
            Database::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Database::Postgres(pool) => pool.close().await,
        }
    }
}

async fn open_sqlite(path: &Path) -> Result<Database, AuditIndexError> {
    // Made beforehand so that it, and the files SQLite puts beside it, are their owner's alone.
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        // A commit that a power cut takes back is shipped again: the spool is the truth.
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(Duration::from_secs(10));
    let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
    migrator(sqlx::migrate!("migrations/audit_sqlite")).run(&writer).await?;
    let readers = SqlitePoolOptions::new().max_connections(4).connect_with(options.read_only(true)).await?;
    Ok(Database::Sqlite { writer, readers })
}

/// Keeps its own table of applied migrations, as the state's are in the same PostgreSQL database.
fn migrator(mut migrator: Migrator) -> Migrator {
    migrator.dangerous_set_table_name("audit_migrations");
    migrator
}

/// Sequence numbers start at one and never come near what `i64` cannot hold.
fn signed(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
