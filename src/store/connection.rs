//! Connections to SQLite or PostgreSQL behind one type.
//!
//! SQLite has one writer by nature: all writes go through a pool of one connection, where they wait in
//! line instead of failing with `database is locked`, and reads run beside them (WAL). On PostgreSQL the
//! two pools are one.

use std::path::Path;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{Any, AnyPool, ConnectOptions, Executor, Transaction};

use super::error::StoreError;
use crate::config::database::DatabaseConfig;

/// How long a call waits for a connection before it is told that the store cannot be reached.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long SQLite waits for a writer in another process (the `tracegate` command beside a server).
const BUSY_TIMEOUT_PRAGMA: &str = "PRAGMA busy_timeout = 5000";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

#[derive(Debug, Clone)]
pub(super) struct Database {
    pub dialect: Dialect,
    pub reader: AnyPool,
    pub writer: AnyPool,
}

impl Database {
    pub async fn open(config: &DatabaseConfig, data_dir: &Path) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        match &config.url {
            Some(url) => Self::open_postgres(url, config.max_connections).await,
            None => Self::open_sqlite(data_dir, config.max_connections).await,
        }
    }

    async fn open_postgres(url: &str, connections: u32) -> Result<Self, StoreError> {
        let pool = AnyPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options(url)?)
            .await?;
        migrate(&sqlx::migrate!("migrations/postgres"), &pool).await?;
        Ok(Self { dialect: Dialect::Postgres, reader: pool.clone(), writer: pool })
    }

    async fn open_sqlite(data_dir: &Path, connections: u32) -> Result<Self, StoreError> {
        let file = data_dir.join("state.db");
        create_private(data_dir, &file).map_err(|error| {
            StoreError::Unavailable(format!("`{}` cannot be created: {error}", file.display()))
        })?;
        let path = file
            .to_str()
            .ok_or_else(|| StoreError::Unavailable(format!("`{}` is not a UTF-8 path", file.display())))?;
        let escaped = percent_encoding::utf8_percent_encode(path, percent_encoding::NON_ALPHANUMERIC)
            .to_string()
            .replace("%2F", "/");
        let url = format!("sqlite://{escaped}?mode=rw");

        let writer =
            sqlite_pool(&url, 1, &["PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL"]).await?;
        migrate(&sqlx::migrate!("migrations/sqlite"), &writer).await?;
        let reader = sqlite_pool(&url, connections, &["PRAGMA query_only = ON"]).await?;
        Ok(Self { dialect: Dialect::Sqlite, reader, writer })
    }

    /// A transaction that may write. On SQLite it takes the write lock at once: a transaction that first
    /// reads and then finds another process writing could only fail.
    pub async fn begin_write(&self) -> Result<Transaction<'static, Any>, StoreError> {
        Ok(match self.dialect {
            Dialect::Sqlite => self.writer.begin_with("BEGIN IMMEDIATE").await?,
            Dialect::Postgres => self.writer.begin().await?,
        })
    }

    /// A transaction whose reads all see one moment.
    pub async fn begin_read(&self) -> Result<Transaction<'static, Any>, StoreError> {
        Ok(match self.dialect {
            Dialect::Sqlite => self.reader.begin_with("BEGIN DEFERRED").await?,
            Dialect::Postgres => {
                self.reader.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?
            }
        })
    }
}

fn options(url: &str) -> Result<AnyConnectOptions, StoreError> {
    let options: AnyConnectOptions = url
        .parse()
        .map_err(|_| StoreError::Unavailable("`database.url` is not a database URL".to_owned()))?;
    Ok(options.disable_statement_logging())
}

async fn sqlite_pool(url: &str, connections: u32, pragmas: &[&'static str]) -> Result<AnyPool, StoreError> {
    let mut all = vec![BUSY_TIMEOUT_PRAGMA, "PRAGMA foreign_keys = ON"];
    all.extend_from_slice(pragmas);
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

async fn migrate(migrations: &sqlx::migrate::Migrator, pool: &AnyPool) -> Result<(), StoreError> {
    migrations.run(pool).await.map_err(|error| StoreError::Migration(error.to_string()))
}

/// The file holds the keys under which tokens are hashed: nobody else may read it. SQLite gives its
/// journal files the same mode.
fn create_private(directory: &Path, file: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let mut open = std::fs::OpenOptions::new();
    open.create(true).append(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        open.mode(0o600);
    }
    open.open(file).map(|_| ())
}
