//! Brings a schema to this version, all of it or nothing, and tells a schema that is newer from one that is
//! somebody else's.
//!
//! Migrations only add, so a program works at a schema that a newer one has brought further: a replica of the
//! version before can start in the midst of an upgrade. A migration after which it could not work has a name
//! that ends in `_incompatible`, and is refused here.

use std::path::PathBuf;

use sqlx::migrate::{Migrate, Migrator};
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor, Row};

use super::{BUSY_TIMEOUT_PRAGMA, OpenError, create_private, options, sqlite_url};

/// How long SQLite waits for another process that migrates.
const MIGRATION_TIMEOUT_PRAGMA: &str = "PRAGMA busy_timeout = 300000";
/// The last word of the name of a migration beside which no older program works.
const INCOMPATIBLE: &str = "incompatible";

/// One set of tables, with migrations of its own.
#[derive(Debug)]
pub struct Schema {
    pub name: &'static str,
    pub place: Place,
    pub migrations: Migrator,
}

#[derive(Debug)]
pub enum Place {
    Sqlite(PathBuf),
    Postgres(String),
}

/// How far a schema is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SchemaState {
    pub schema: &'static str,
    /// The last migration that it has; nothing if it is empty.
    pub version: Option<i64>,
    /// The last migration that this program knows.
    pub known: i64,
    /// What it lacks.
    pub pending: Vec<String>,
    /// What it has that this program does not know, and can work beside.
    pub newer: Vec<String>,
}

/// Why a schema is not one that this program can use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    #[error(
        "migration {0} was applied, which this version does not know and cannot work beside; start the newer \
         version, or restore the backup made before the upgrade"
    )]
    Incompatible(String),
    #[error(
        "migration {0} was applied, which is not one of this program's; is it another program's database?"
    )]
    Foreign(String),
    #[error("migration {0} was applied with another content than this program's; is it a build of its own?")]
    Changed(String),
}

struct Applied {
    version: i64,
    description: String,
    checksum: Vec<u8>,
}

impl Schema {
    /// How far it is; changes nothing, and makes no file.
    pub async fn state(&self) -> Result<SchemaState, OpenError> {
        sqlx::any::install_default_drivers();
        let applied = match &self.place {
            Place::Sqlite(file) if !file.exists() => Vec::new(),
            place => {
                let mut connection = place.connect().await?;
                let applied = applied(&mut connection, &self.migrations).await;
                connection.close().await?;
                applied?
            }
        };
        Ok(judge(self.name, &self.migrations, &applied)?)
    }

    /// Brings it to this version, and says how far it was before.
    pub async fn migrate(&self) -> Result<SchemaState, OpenError> {
        sqlx::any::install_default_drivers();
        if let Place::Sqlite(file) = &self.place {
            create_private(file)
                .map_err(|error| OpenError::File { path: file.display().to_string(), error })?;
        }
        let mut connection = self.place.connect().await?;
        let done = run(&mut connection, self.name, &self.migrations).await;
        connection.close().await?;
        done
    }
}

impl Place {
    pub(super) async fn connect(&self) -> Result<AnyConnection, OpenError> {
        let url = match self {
            Self::Sqlite(file) => sqlite_url(file)?,
            Self::Postgres(url) => url.clone(),
        };
        let mut connection = AnyConnection::connect_with(&options(&url)?).await?;
        if matches!(self, Self::Sqlite(_)) {
            connection.execute(BUSY_TIMEOUT_PRAGMA).await?;
        }
        Ok(connection)
    }
}

/// All that is pending in one transaction: what fails leaves the schema as it was. Of several that migrate at
/// once the others wait: on PostgreSQL for the lock that the versions before took too, on SQLite for the one
/// writer.
pub(super) async fn run(
    connection: &mut AnyConnection,
    name: &'static str,
    migrations: &Migrator,
) -> Result<SchemaState, OpenError> {
    let sqlite = connection.backend_name() == "SQLite";
    if sqlite {
        connection.execute(MIGRATION_TIMEOUT_PRAGMA).await?;
    } else {
        connection.lock().await?;
    }
    let done = run_locked(connection, name, migrations, sqlite).await;
    if sqlite {
        connection.execute(BUSY_TIMEOUT_PRAGMA).await?;
    } else {
        connection.unlock().await?;
    }
    done
}

async fn run_locked(
    connection: &mut AnyConnection,
    name: &'static str,
    migrations: &Migrator,
    sqlite: bool,
) -> Result<SchemaState, OpenError> {
    let begin = if sqlite { "BEGIN IMMEDIATE" } else { "BEGIN" };
    let mut transaction = connection.begin_with(begin).await?;
    let before = judge(name, migrations, &applied(&mut transaction, migrations).await?)?;
    if !before.pending.is_empty() {
        // The lock is held, and what is newer was judged.
        let unchecked = Migrator {
            migrations: migrations.migrations.clone(),
            table_name: migrations.table_name.clone(),
            locking: false,
            ..Migrator::DEFAULT
        };
        unchecked.run_direct(None, &mut *transaction, false).await?;
    }
    transaction.commit().await?;
    Ok(before)
}

async fn applied(connection: &mut AnyConnection, migrations: &Migrator) -> Result<Vec<Applied>, OpenError> {
    let table = &migrations.table_name;
    let there = if connection.backend_name() == "SQLite" {
        "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = $1"
    } else {
        "SELECT COUNT(*) FROM information_schema.tables \
         WHERE table_schema = current_schema() AND table_name = $1"
    };
    let there: i64 = sqlx::query_scalar(there).bind(table.as_ref()).fetch_one(&mut *connection).await?;
    if there == 0 {
        return Ok(Vec::new());
    }
    let rows = format!("SELECT version, description, checksum FROM {table} ORDER BY version");
    let rows = sqlx::query(AssertSqlSafe(rows)).fetch_all(connection).await?;
    let read = |row: &sqlx::any::AnyRow| {
        Ok(Applied { version: row.try_get(0)?, description: row.try_get(1)?, checksum: row.try_get(2)? })
    };
    rows.iter().map(read).collect()
}

fn judge(name: &'static str, migrations: &Migrator, applied: &[Applied]) -> Result<SchemaState, Mismatch> {
    let known = migrations.iter().map(|one| one.version).max().unwrap_or(0);
    let mut newer = Vec::new();
    for one in applied {
        let called = called(one.version, &one.description);
        match migrations.iter().find(|ours| ours.version == one.version) {
            Some(ours) if *ours.checksum == *one.checksum => {}
            Some(_) => return Err(Mismatch::Changed(called)),
            None if one.version < known => return Err(Mismatch::Foreign(called)),
            None if one.description.split(' ').next_back() == Some(INCOMPATIBLE) => {
                return Err(Mismatch::Incompatible(called));
            }
            None => newer.push(called),
        }
    }
    let has = |version| applied.iter().any(|one| one.version == version);
    let pending: Vec<String> = migrations
        .iter()
        .filter(|one| !has(one.version))
        .map(|one| called(one.version, &one.description))
        .collect();
    // A newer program has all of ours: with one of them lacking, it is not ours that went on.
    match newer.first() {
        Some(foreign) if !pending.is_empty() => Err(Mismatch::Foreign(foreign.clone())),
        _ => {
            let version = applied.iter().map(|one| one.version).max();
            Ok(SchemaState { schema: name, version, known, pending, newer })
        }
    }
}

fn called(version: i64, description: &str) -> String {
    format!("{version:04} {description}")
}
