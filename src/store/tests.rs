//! One suite over both databases: whatever the store promises, it promises on SQLite and on PostgreSQL.

mod claims;
mod concurrency;
mod policy;
mod tokens;

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
        let (config, directory) = match self {
            Self::Sqlite(directory) => (DatabaseConfig::default(), directory),
            Self::Postgres(database, directory) => {
                (DatabaseConfig { url: Some(database.url.clone()), ..Default::default() }, directory)
            }
        };
        Store::open(&config, directory.path()).await.unwrap()
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
