//! One suite over both databases: whatever the store promises, it promises on SQLite and on PostgreSQL.

mod access;
mod apply;
mod archives;
mod catalog;
mod claims;
mod client_secrets;
mod concurrency;
mod directory;
mod edits;
mod feed;
mod keys;
mod migration;
mod mlflow_accounts;
mod ownership;
mod picture;
mod policy;
mod reading;
mod sessions;
mod tokens;

use sqlx::{AssertSqlSafe, Connection};

use super::Store;
use super::test_postgres::TestDatabase;
use crate::access::{ExperimentId, NewGrant, Principal, Securable, TraceId};
use crate::clock::UnixMillis;
use crate::config::database::DatabaseConfig;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
const BY: &str = "user:root";

/// A database that can be opened more than once, as replicas or after a restart.
enum TestStore {
    Sqlite(tempfile::TempDir),
    Postgres(TestDatabase, tempfile::TempDir),
}

impl TestStore {
    async fn open(&self) -> Store {
        self.open_with(DatabaseConfig::default().max_connections).await
    }

    async fn open_with(&self, max_connections: u32) -> Store {
        let (url, directory) = match self {
            Self::Sqlite(directory) => (None, directory),
            Self::Postgres(database, directory) => (Some(database.url.clone()), directory),
        };
        Store::open(&DatabaseConfig { url, max_connections }, directory.path()).await.unwrap()
    }

    /// A connection of its own, past the store.
    async fn connect(&self) -> sqlx::AnyConnection {
        sqlx::any::install_default_drivers();
        let url = match self {
            Self::Sqlite(directory) => format!("sqlite://{}/state.db?mode=rwc", directory.path().display()),
            Self::Postgres(database, _) => database.url.clone(),
        };
        sqlx::AnyConnection::connect(&url).await.unwrap()
    }

    /// Does to the database what the store would not.
    async fn run(&self, statement: &str) {
        let mut connection = self.connect().await;
        sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}

async fn on_both(test: impl AsyncFn(&TestStore)) {
    eprintln!("on SQLite:");
    test(&TestStore::Sqlite(tempfile::tempdir().unwrap())).await;
    eprintln!("on PostgreSQL:");
    test(&TestStore::Postgres(TestDatabase::create().await, tempfile::tempdir().unwrap())).await;
}

fn user(name: &str) -> Principal {
    Principal::user(name).unwrap()
}

fn group(name: &str) -> Principal {
    Principal::group(name).unwrap()
}

fn experiment(id: &str) -> ExperimentId {
    ExperimentId::parse(id).unwrap()
}

fn trace(number: usize) -> TraceId {
    TraceId::parse(&format!("tr-{number:032x}")).unwrap()
}

fn grant(principal: &Principal, on: &str, privilege: &str) -> NewGrant {
    NewGrant {
        principal: principal.clone(),
        securable: on.parse::<Securable>().unwrap(),
        privilege: privilege.to_owned(),
        effect: crate::access::Effect::Allow,
        reason: None,
        expires_at: None,
    }
}
