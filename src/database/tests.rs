//! What a database is brought to, and beside what a program starts.

mod additive;
mod copied;

use std::borrow::Cow;
use std::path::Path;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AnyConnection, Connection, SqlSafeStr};

use super::*;
use crate::store::test_postgres::TestDatabase;

const FIRST: (i64, &str, &str) = (1, "first", "CREATE TABLE one (id BIGINT)");
const SECOND: (i64, &str, &str) = (2, "second", "ALTER TABLE one ADD COLUMN note TEXT");
const THIRD: (i64, &str, &str) = (3, "third", "CREATE TABLE three (id BIGINT)");

fn of(migrations: &[(i64, &'static str, &'static str)]) -> Migrator {
    let made = migrations
        .iter()
        .map(|(version, name, sql)| {
            Migration::new(*version, Cow::Borrowed(name), MigrationType::Simple, sql.into_sql_str(), false)
        })
        .collect();
    Migrator::with_migrations(made)
}

enum Empty {
    Sqlite(tempfile::TempDir),
    Postgres(TestDatabase),
}

impl Empty {
    fn schema(&self, migrations: &[(i64, &'static str, &'static str)]) -> Schema {
        let place = match self {
            Self::Sqlite(directory) => Place::Sqlite(file(directory.path())),
            Self::Postgres(database) => Place::Postgres(database.url.clone()),
        };
        Schema { name: "test", place, migrations: of(migrations) }
    }

    /// As a gateway opens it.
    async fn open(&self, migrations: &[(i64, &'static str, &'static str)]) -> Result<Database, OpenError> {
        match self {
            Self::Sqlite(directory) => {
                Database::open_sqlite(&file(directory.path()), 2, &[], of(migrations)).await
            }
            Self::Postgres(database) => Database::open_postgres(&database.url, 2, of(migrations)).await,
        }
    }

    async fn run(&self, statement: &'static str) -> Result<(), sqlx::Error> {
        let url = match self {
            Self::Sqlite(directory) => sqlite_url(&file(directory.path())).unwrap(),
            Self::Postgres(database) => database.url.clone(),
        };
        let mut connection = AnyConnection::connect(&url).await?;
        sqlx::query(statement).execute(&mut connection).await?;
        connection.close().await
    }
}

fn file(directory: &Path) -> std::path::PathBuf {
    directory.join("some where%20.db")
}

async fn on_both(test: impl AsyncFn(&Empty)) {
    test(&Empty::Sqlite(tempfile::tempdir().unwrap())).await;
    test(&Empty::Postgres(TestDatabase::create().await)).await;
}

#[tokio::test]
async fn what_is_pending_is_told_without_a_change_and_applied_once() {
    on_both(async |database| {
        let schema = database.schema(&[FIRST, SECOND]);
        let before = schema.state().await.unwrap();
        assert_eq!((before.version, before.known), (None, 2));
        assert_eq!(before.pending, ["0001 first", "0002 second"]);
        // Asking made nothing.
        if let Empty::Sqlite(directory) = database {
            assert!(!file(directory.path()).exists());
        } else {
            assert!(database.run("SELECT version FROM _sqlx_migrations").await.is_err());
        }
        assert_eq!(schema.migrate().await.unwrap(), before);
        let after = schema.state().await.unwrap();
        assert_eq!((after.version, after.pending.len(), after.newer.len()), (Some(2), 0, 0));
        assert_eq!(schema.migrate().await.unwrap(), after);
        database.run("INSERT INTO one (id, note) VALUES (1, 'x')").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn the_version_before_starts_at_a_newer_schema() {
    on_both(async |database| {
        database.schema(&[FIRST, SECOND, THIRD]).migrate().await.unwrap();
        let opened = database.open(&[FIRST]).await.unwrap();
        sqlx::query("INSERT INTO one (id) VALUES (1)").execute(&opened.writer).await.unwrap();
        let state = database.schema(&[FIRST]).state().await.unwrap();
        assert_eq!((state.version, state.known), (Some(3), 1));
        assert_eq!(state.newer, ["0002 second", "0003 third"]);
        // And the newer one again, after it.
        database.open(&[FIRST, SECOND, THIRD]).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_a_program_cannot_work_beside_is_refused() {
    const BREAKS: (i64, &str, &str) = (2, "no one incompatible", "DROP TABLE one");
    on_both(async |database| {
        database.schema(&[FIRST, BREAKS]).migrate().await.unwrap();
        let refused = database.open(&[FIRST]).await.unwrap_err();
        let expected = Mismatch::Incompatible("0002 no one incompatible".to_owned());
        assert!(matches!(&refused, OpenError::Mismatch(found) if *found == expected), "{refused}");
        // One that knows it goes on.
        database.open(&[FIRST, BREAKS, THIRD]).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn another_programs_history_is_refused_and_not_touched() {
    const OTHER: (i64, &str, &str) = (2, "other", "CREATE TABLE other (id BIGINT)");
    on_both(async |database| {
        database.schema(&[FIRST, OTHER]).migrate().await.unwrap();
        for ours in [&[FIRST, SECOND][..], &[FIRST, THIRD], &[THIRD]] {
            let refused = database.schema(ours).migrate().await.unwrap_err();
            assert!(matches!(refused, OpenError::Mismatch(_)), "{refused}");
            let refused = database.open(ours).await.unwrap_err();
            assert!(matches!(refused, OpenError::Mismatch(_)), "{refused}");
        }
        assert!(database.run("SELECT id FROM three").await.is_err());
    })
    .await;
}

/// Ours lacks what the newer one has, and the newer one lacks what is ours: two lines, not one.
#[tokio::test]
async fn a_newer_schema_without_one_of_ours_is_refused() {
    on_both(async |database| {
        database.schema(&[FIRST, THIRD]).migrate().await.unwrap();
        let refused = database.schema(&[FIRST, SECOND]).state().await.unwrap_err();
        let expected = Mismatch::Foreign("0003 third".to_owned());
        assert!(matches!(&refused, OpenError::Mismatch(found) if *found == expected), "{refused}");
    })
    .await;
}

#[tokio::test]
async fn a_migration_that_fails_leaves_the_schema_as_it_was() {
    const FAILS: (i64, &str, &str) =
        (3, "fails", "CREATE TABLE half (id BIGINT); INSERT INTO nowhere VALUES (1)");
    on_both(async |database| {
        database.schema(&[FIRST]).migrate().await.unwrap();
        let refused = database.schema(&[FIRST, SECOND, FAILS]).migrate().await.unwrap_err();
        assert!(matches!(refused, OpenError::Migrate(_)), "{refused}");
        assert_eq!(database.schema(&[FIRST]).state().await.unwrap().version, Some(1));
        assert!(database.run("SELECT id FROM half").await.is_err());
        // The second, which went well, went back too; no lock stayed.
        assert!(database.run("SELECT note FROM one").await.is_err());
        database.schema(&[FIRST, SECOND, THIRD]).migrate().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_several_that_migrate_at_once_one_does() {
    on_both(async |database| {
        let all = (0..8).map(|_| {
            let schema = database.schema(&[FIRST, SECOND, THIRD]);
            tokio::spawn(async move { schema.migrate().await })
        });
        let mut did = 0;
        for one in all.collect::<Vec<_>>() {
            did += usize::from(!one.await.unwrap().unwrap().pending.is_empty());
        }
        assert_eq!(did, 1);
    })
    .await;
}
