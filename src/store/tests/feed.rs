//! News of changes between replicas on one PostgreSQL.

use std::time::Duration;

use futures_util::FutureExt;

use super::picture::Picture;
use super::*;
use crate::store::{FeedEvent, PolicyFeed};

/// No test waits so long: it only keeps a broken feed from hanging the suite.
const HANGS: Duration = Duration::from_secs(60);

async fn next(feed: &mut PolicyFeed) -> FeedEvent {
    tokio::time::timeout(HANGS, feed.next()).await.unwrap()
}

async fn postgres() -> TestStore {
    TestStore::Postgres(TestDatabase::create().await, tempfile::tempdir().unwrap())
}

impl TestStore {
    fn name(&self) -> &str {
        let Self::Postgres(database, _) = self else { panic!("not PostgreSQL") };
        database.url.rsplit_once('/').unwrap().1
    }

    /// Runs a statement from outside this database.
    async fn run_beside(&self, statement: String) {
        let Self::Postgres(database, _) = self else { panic!("not PostgreSQL") };
        let (server, _) = database.url.rsplit_once('/').unwrap();
        let mut connection = sqlx::PgConnection::connect(&format!("{server}/postgres")).await.unwrap();
        sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    async fn cut_connections(&self, which: &str) {
        let name = self.name();
        self.run_beside(format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND {which}"
        ))
        .await;
    }
}

#[tokio::test]
async fn a_committed_change_is_heard_with_its_version() {
    let database = postgres().await;
    let (one, two) = (database.open().await, database.open().await);
    one.ensure_principal(&user("before"), BY, NOW).await.unwrap();
    let (mut feed, mut own) = (two.policy_feed().await.unwrap(), one.policy_feed().await.unwrap());
    assert_eq!(feed.next().now_or_never(), None);
    let (_, change) = one.add_grant(&grant(&user("ann"), "experiment:1", "CAN_READ"), BY, NOW).await.unwrap();
    assert_eq!(next(&mut feed).await, FeedEvent::Changed(change.version));
    assert_eq!(next(&mut own).await, FeedEvent::Changed(change.version));
    // What changed nothing or was refused is not news; the next change is.
    one.ensure_principal(&user("ann"), BY, NOW).await.unwrap();
    one.add_grant(&grant(&user("bob"), "experiment:1", "CAN_FLY"), BY, NOW).await.unwrap_err();
    let change = two.ensure_principal(&user("bob"), BY, NOW).await.unwrap();
    assert_eq!(next(&mut feed).await, FeedEvent::Changed(change.version));
    assert_eq!(change.version, 3);
    assert_eq!(feed.next().now_or_never(), None);
}

#[tokio::test]
async fn a_slow_reader_hears_of_the_last_change() {
    let database = postgres().await;
    let store = database.open().await;
    let mut feed = store.policy_feed().await.unwrap();
    for number in 1..=50 {
        store.ensure_principal(&user(&format!("user{number}")), BY, NOW).await.unwrap();
    }
    let mut heard = 0;
    while heard < 50 {
        let FeedEvent::Changed(version) = next(&mut feed).await else { panic!("nothing was lost") };
        assert!(version > heard);
        heard = version;
    }
}

#[tokio::test]
async fn a_cut_connection_is_told_and_hearing_goes_on() {
    let database = postgres().await;
    let store = database.open().await;
    let mut feed = store.policy_feed().await.unwrap();
    for round in 1..=3 {
        database.cut_connections("application_name = 'tracegate policy feed'").await;
        assert_eq!(next(&mut feed).await, FeedEvent::Lost);
        let change = store.ensure_principal(&user(&format!("user{round}")), BY, NOW).await.unwrap();
        assert_eq!(next(&mut feed).await, FeedEvent::Changed(change.version));
    }
}

#[tokio::test]
async fn no_change_is_missed_while_the_database_lets_nobody_in() {
    let database = postgres().await;
    let (here, there) = (database.open().await, database.open_with(1).await);
    let mut feed = here.policy_feed().await.unwrap();
    let mut followed = Picture::read(&here).await;
    // So that it has its connection before nobody gets one.
    assert_eq!(Picture::read(&there).await, followed);
    database.run_beside(format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", database.name())).await;
    database.cut_connections("application_name = 'tracegate policy feed'").await;
    // The other replica keeps its one connection: these are notified to nobody.
    for name in ["ann", "bob"] {
        there.add_member(&group("readers"), &user(name), BY, NOW).await.unwrap();
    }
    database.run_beside(format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", database.name())).await;
    assert_eq!(next(&mut feed).await, FeedEvent::Lost);
    followed.catch_up(&here).await;
    assert_eq!(followed.members.len(), 2);
    assert_eq!(followed, Picture::read(&there).await);
    there.remove_member(&group("readers"), &user("ann"), BY, NOW).await.unwrap();
    assert_eq!(next(&mut feed).await, FeedEvent::Changed(followed.version + 1));
    followed.catch_up(&here).await;
    assert_eq!(followed, Picture::read(&there).await);
}

#[tokio::test]
async fn what_others_send_on_the_channel_is_a_reason_to_ask_and_no_version() {
    let database = postgres().await;
    let store = database.open().await;
    let mut feed = store.policy_feed().await.unwrap();
    database.run("SELECT 1 FROM pg_notify('tracegate_policy', 'nonsense')").await;
    assert_eq!(next(&mut feed).await, FeedEvent::Lost);
}

#[tokio::test]
async fn a_dropped_feed_leaves_no_connection() {
    let database = postgres().await;
    let store = database.open().await;
    drop(store.policy_feed().await.unwrap());
    let mut connection = database.connect().await;
    for _ in 0..600 {
        let row = sqlx::query(
            "SELECT COUNT(*) FROM pg_stat_activity \
             WHERE datname = current_database() AND application_name = 'tracegate policy feed'",
        )
        .fetch_one(&mut connection)
        .await
        .unwrap();
        if sqlx::Row::get::<i64, _>(&row, 0) == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the connection stays");
}

#[tokio::test]
async fn on_sqlite_nothing_is_heard() {
    let store = TestStore::Sqlite(tempfile::tempdir().unwrap()).open().await;
    let mut feed = store.policy_feed().await.unwrap();
    store.ensure_principal(&user("ann"), BY, NOW).await.unwrap();
    assert_eq!(feed.next().now_or_never(), None);
}
