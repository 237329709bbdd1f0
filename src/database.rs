//! Connections to SQLite or PostgreSQL behind one type, for each of the databases that Tracegate keeps.
//!
//! SQLite has one writer by nature: all writes go through a pool of one connection, where they wait in
//! line instead of failing with `database is locked`, and reads run beside them (WAL). On PostgreSQL the
//! two pools are one.

mod migrate;
pub mod rows;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::Migrator;
use sqlx::{Any, AnyPool, ConnectOptions, Connection, Executor, Transaction};

pub use migrate::{Mismatch, Place, Schema, SchemaState};

/// How long a call waits for a connection before it is told that the database cannot be reached.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long SQLite waits for a writer in another process (the `tracegate` command beside a server).
const BUSY_TIMEOUT_PRAGMA: &str = "PRAGMA busy_timeout = 5000";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Sqlite,
    Postgres,
}

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("`database.url` is not a database URL")]
    Url,
    #[error("`{path}` cannot be created: {error}")]
    File { path: String, error: std::io::Error },
    #[error(transparent)]
    Connect(#[from] sqlx::Error),
    #[error(transparent)]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
}

#[derive(Debug, Clone)]
pub struct Database {
    pub dialect: Dialect,
    pub reader: AnyPool,
    pub writer: AnyPool,
}

impl Database {
    /// Opens PostgreSQL and brings it to this version.
    pub async fn open_postgres(url: &str, connections: u32, migrations: Migrator) -> Result<Self, OpenError> {
        sqlx::any::install_default_drivers();
        let pool = AnyPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options(url)?)
            .await?;
        // A connection that goes back to no pool: what fails leaves no lock on it.
        let mut connection = pool.acquire().await?.detach();
        let done = migrate::run(&mut connection, "", &migrations).await;
        connection.close().await?;
        done?;
        Ok(Self { dialect: Dialect::Postgres, reader: pool.clone(), writer: pool })
    }

    /// Opens a SQLite file, makes it when it is new, and brings it to this version. `pragmas` are set on
    /// every connection.
    pub async fn open_sqlite(
        file: &Path,
        connections: u32,
        pragmas: &[&'static str],
        migrations: Migrator,
    ) -> Result<Self, OpenError> {
        sqlx::any::install_default_drivers();
        let unusable = |error| OpenError::File { path: file.display().to_string(), error };
        create_private(file).map_err(unusable)?;
        let url = sqlite_url(file)?;
        let with = |more: &[&'static str]| [pragmas, more].concat();
        let writer =
            sqlite_pool(&url, 1, with(&["PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL"])).await?;
        migrate::run(&mut *writer.acquire().await?, "", &migrations).await?;
        let reader = sqlite_pool(&url, connections, with(&["PRAGMA query_only = ON"])).await?;
        Ok(Self { dialect: Dialect::Sqlite, reader, writer })
    }

    /// A transaction that may write. On SQLite it takes the write lock at once: a transaction that first
    /// reads and then finds another process writing could only fail.
    pub async fn begin_write(&self) -> Result<Transaction<'static, Any>, sqlx::Error> {
        match self.dialect {
            Dialect::Sqlite => self.writer.begin_with("BEGIN IMMEDIATE").await,
            Dialect::Postgres => self.writer.begin().await,
        }
    }

    /// A transaction whose reads all see one moment.
    pub async fn begin_read(&self) -> Result<Transaction<'static, Any>, sqlx::Error> {
        match self.dialect {
            Dialect::Sqlite => self.reader.begin_with("BEGIN DEFERRED").await,
            Dialect::Postgres => {
                self.reader.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
            }
        }
    }
}

fn options(url: &str) -> Result<AnyConnectOptions, OpenError> {
    let options: AnyConnectOptions = url.parse().map_err(|_| OpenError::Url)?;
    Ok(options.disable_statement_logging())
}

fn sqlite_url(file: &Path) -> Result<String, OpenError> {
    let path = file.to_str().ok_or_else(|| OpenError::File {
        path: file.display().to_string(),
        error: std::io::Error::other("the path is not UTF-8"),
    })?;
    let escaped = percent_encoding::utf8_percent_encode(path, percent_encoding::NON_ALPHANUMERIC)
        .to_string()
        .replace("%2F", "/");
    Ok(format!("sqlite://{escaped}?mode=rw"))
}

async fn sqlite_pool(url: &str, connections: u32, pragmas: Vec<&'static str>) -> Result<AnyPool, OpenError> {
    let all = [vec![BUSY_TIMEOUT_PRAGMA, "PRAGMA foreign_keys = ON"], pragmas].concat();
    let pool = AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        .after_connect(move |connection, _| {
            let pragmas = all.clone();
            Box::pin(async move {
                for pragma in pragmas {
                    connection.execute(pragma).await?;
                }
                Ok(())
            })
        })
        .connect_with(options(url)?)
        .await?;
    Ok(pool)
}

/// The file holds keys or what customers said: nobody else may read it. SQLite gives its journal files
/// the same mode.
fn create_private(file: &Path) -> std::io::Result<()> {
    if let Some(directory) = file.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let mut open = std::fs::OpenOptions::new();
    open.create(true).append(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        open.mode(0o600);
    }
    open.open(file).map(|_| ())
}
