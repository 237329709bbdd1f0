//! The audit index: the records of every replica's spool, found by time, principal, securable, trace,
//! operation and decision.
//!
//! A record is one row; the traces and securables it names are rows of their own, from which *who saw
//! this trace* is answered without touching the records. What reviews ask for (when was this grant last
//! used, from where does this person call, who read how often) is counted as records come in, in the same
//! transaction.
//!
//! It lives in a SQLite file of its own (`audit.db`), or beside the state when that is in PostgreSQL.
//! Each replica's records come in by [`AuditIndex::insert`], in order and exactly once: the position in
//! the spool moves in the same transaction as the records go in. Several replicas may write at once,
//! each its own records.

mod chain;
mod columns;
mod misfit;
mod partitions;
mod query;
mod retention;
mod review;
mod rows;
mod shadowed;
mod sightings;
mod subjects;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;

use crate::database::{Place, Schema};

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

pub use chain::{ChainRow, Stretch};
pub use misfit::Tally;
pub use query::{AuditCursor, AuditEntry, AuditPage, AuditQuery, MalformedCursor, Order};
pub use retention::Removal;
pub use review::{DayCount, FirstAddress, GrantUse};
pub use rows::{IndexRow, RowBody};
pub use shadowed::Shadowed;
pub use sightings::{Level, Reader, ReadersOf};
pub use subjects::Subject;

/// Bits of a record's id that hold its seq; those above hold its replica's number.
const SEQ_BITS: u32 = 40;

#[derive(Debug, thiserror::Error)]
pub enum AuditIndexError {
    #[error("the audit index cannot be opened: {0}")]
    Open(#[from] crate::database::OpenError),
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
    /// The names of the replicas by number, which never change.
    replicas: Arc<RwLock<HashMap<i64, String>>>,
    /// Months whose partitions are known to be there.
    partitions: Arc<partitions::Known>,
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

/// Moves a replica's position and answers its number, or nothing if it is not where it should be.
macro_rules! move_on {
    ($replica:expr, $after:expr, $last:expr) => {
        sqlx::query_scalar(
            "UPDATE audit_positions SET seq = $1, hash = $2 WHERE replica = $3 AND seq = $4 AND hash = $5 RETURNING number",
        )
        .bind(signed($last.seq))
        .bind($last.hash.to_vec())
        .bind($replica)
        .bind(signed($after.seq))
        .bind($after.hash.to_vec())
    };
}

impl AuditIndex {
    /// The tables of the index, and where they are.
    pub fn schema(location: &AuditIndexLocation<'_>) -> Schema {
        let (place, migrations) = match location {
            AuditIndexLocation::Sqlite(path) => {
                (Place::Sqlite(path.to_path_buf()), sqlx::migrate!("migrations/audit_sqlite"))
            }
            AuditIndexLocation::Postgres(url) => {
                (Place::Postgres((*url).to_owned()), sqlx::migrate!("migrations/audit_postgres"))
            }
        };
        Schema { name: "audit", place, migrations: migrator(migrations) }
    }

    pub async fn open(location: AuditIndexLocation<'_>) -> Result<Self, AuditIndexError> {
        Self::schema(&location).migrate().await?;
        let database = match location {
            AuditIndexLocation::Sqlite(path) => open_sqlite(path).await?,
            AuditIndexLocation::Postgres(url) => {
                let pool = PgPoolOptions::new()
                    .max_connections(4)
                    .acquire_timeout(Duration::from_secs(10))
                    .connect(url)
                    .await?;
                Database::Postgres(pool)
            }
        };
        Ok(Self { database, replicas: Arc::default(), partitions: Arc::default() })
    }

    /// How far the replica's chain is in the index; `genesis` if it is new.
    pub async fn position(
        &self,
        replica: &str,
        genesis: IndexPosition,
    ) -> Result<IndexPosition, AuditIndexError> {
        let new = match &self.database {
            Database::Sqlite { .. } => NEW_IN_SQLITE,
            Database::Postgres(_) => NEW_IN_POSTGRES,
        };
        on!(&self.database, writer, pool => {
            sqlx::query(new)
                .bind(replica)
                .bind(signed(genesis.seq))
                .bind(genesis.hash.to_vec())
                .execute(pool)
                .await?;
        });
        let found = self.known_position(replica).await?;
        found.ok_or_else(|| AuditIndexError::MalformedPosition(replica.to_owned()))
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
        let moved = || AuditIndexError::Moved { replica: replica.to_owned(), after: after.seq };
        match &self.database {
            Database::Sqlite { writer, .. } => {
                let mut transaction = writer.begin().await?;
                let number: Option<i64> =
                    move_on!(replica, after, last).fetch_optional(&mut *transaction).await?;
                let batch = rows::Batch::of(number.ok_or_else(moved)?, records);
                for (table, conflict) in batch.tables() {
                    table.insert_sqlite(&mut transaction, conflict).await?;
                }
                transaction.commit().await?;
            }
            Database::Postgres(pool) => {
                // Before the transaction: whoever makes a partition waits for those that insert.
                self.partitions.make(pool, rows::days(records)).await;
                let mut transaction = pool.begin().await?;
                let number: Option<i64> =
                    move_on!(replica, after, last).fetch_optional(&mut *transaction).await?;
                let batch = rows::Batch::of(number.ok_or_else(moved)?, records);
                for (table, conflict) in batch.tables() {
                    table.insert_postgres(&mut transaction, conflict).await?;
                }
                transaction.commit().await?;
            }
        }
        Ok(())
    }

    /// The name of the replica whose record has this id.
    async fn replica_of(&self, id: i64) -> Result<String, AuditIndexError> {
        let number = id >> SEQ_BITS;
        if let Some(name) = self.replicas.read().get(&number) {
            return Ok(name.clone());
        }
        let all: Vec<(i64, String)> = on!(&self.database, readers, pool => {
            sqlx::query_as("SELECT number, replica FROM audit_positions").fetch_all(pool).await?
        });
        let mut replicas = self.replicas.write();
        replicas.extend(all);
        let unknown = || AuditIndexError::MalformedPosition(format!("number {number}"));
        replicas.get(&number).cloned().ok_or_else(unknown)
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
        .busy_timeout(Duration::from_secs(10))
        // What is erased leaves no bytes in the file.
        .pragma("secure_delete", "ON");
    let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
    let readers = SqlitePoolOptions::new().max_connections(4).connect_with(options.read_only(true)).await?;
    Ok(Database::Sqlite { writer, readers })
}

/// Keeps its own table of applied migrations, as the state's are in the same PostgreSQL database.
fn migrator(mut migrator: Migrator) -> Migrator {
    migrator.dangerous_set_table_name("audit_migrations");
    migrator
}

/// Names a replica that is new. It gets the next number; SQLite has no sequences, and one writer.
const NEW_IN_SQLITE: &str = "INSERT INTO audit_positions (replica, seq, hash, number) \
     SELECT $1, $2, $3, COALESCE(MAX(number), 0) + 1 FROM audit_positions WHERE true ON CONFLICT DO NOTHING";
/// Every start asks for this: looked for first, as a conflict would use a number up.
const NEW_IN_POSTGRES: &str = "INSERT INTO audit_positions (replica, seq, hash) SELECT $1, $2, $3 \
     WHERE NOT EXISTS (SELECT 1 FROM audit_positions WHERE replica = $1) ON CONFLICT DO NOTHING";

/// A record's place in one integer.
fn record_id(number: i64, seq: u64) -> i64 {
    (number << SEQ_BITS) | signed(seq)
}

fn seq_of(id: i64) -> u64 {
    u64::try_from(id & ((1 << SEQ_BITS) - 1)).unwrap_or_default()
}

/// Sequence numbers start at one and never come near what `i64` cannot hold.
fn signed(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
