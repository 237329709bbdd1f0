//! Replicas that start for the first time, all at the same moment.

use crate::config::Config;
use crate::store::TokenKind;
use crate::store::test_postgres::TestDatabase;

use super::*;

/// Whoever deploys three replicas reads one token, and it is good; nobody else's was left alive.
#[actix_rt::test]
async fn of_replicas_that_start_at_once_on_an_empty_database_one_shows_a_token() {
    for round in 0..3 {
        let database = TestDatabase::create().await;
        let data: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
        let open = |directory: &tempfile::TempDir, name: &str| {
            let mut config = Config::default();
            config.database.url = Some(database.url.clone());
            config.database.max_connections = 4;
            config.server.data_dir = directory.path().to_owned();
            config.mlflow.url = Some("http://127.0.0.1:9".to_owned());
            config.policy.first_administrator = name.to_owned();
            App::open(config, Metrics::default())
        };
        // The last two rounds: they do not even agree on who it is.
        let third = if round == 0 { "admin" } else { "root" };
        let (one, two, three) =
            tokio::join!(open(&data[0], "admin"), open(&data[1], "admin"), open(&data[2], third));
        let opened = [one.unwrap(), two.unwrap(), three.unwrap()];
        let shown: Vec<&String> = opened.iter().filter_map(|(_, token)| token.as_ref()).collect();
        assert_eq!(shown.len(), 1);
        let store = &opened[0].0.store;
        let admins = Principal::group(Principal::ADMINS).unwrap();
        let policy = store.policy().await.unwrap();
        assert_eq!(policy.memberships.iter().filter(|(group, _)| *group == admins).count(), 1);
        // Each default once.
        assert_eq!(policy.grants.len(), 3);
        // None has a good token but that administrator, and he has one.
        assert_eq!(store.administrator_without_token(UnixMillis(0)).await.unwrap(), None);
        let mut alive = 0;
        for name in ["admin", "root"] {
            let principal = Principal::user(name).unwrap();
            let tokens = store.tokens(Some(&principal), TokenKind::Personal).await.unwrap();
            alive += tokens.iter().filter(|token| token.revoked_at.is_none()).count();
        }
        assert_eq!(alive, 1);
    }
}
