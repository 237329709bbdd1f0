//! A database of the version before, with what people had in it.

use std::borrow::Cow;

use sqlx::migrate::Migrator;

use super::picture::Picture;
use super::*;

fn first_only(mut migrator: Migrator) -> Migrator {
    migrator.migrations =
        Cow::Owned(migrator.migrations.iter().filter(|one| one.version == 1).cloned().collect());
    migrator
}

#[tokio::test]
async fn a_database_of_the_first_version_keeps_what_it_holds() {
    on_both(async |database| {
        let migrations = match database {
            TestStore::Sqlite(_) => first_only(sqlx::migrate!("migrations/sqlite")),
            TestStore::Postgres(..) => first_only(sqlx::migrate!("migrations/postgres")),
        };
        migrations.run(&mut database.connect().await).await.unwrap();
        let given = |principal: &str, privilege: &str, effect: &str| {
            format!(
                "INSERT INTO grants (principal, securable, privilege, effect, granted_by, granted_at_ms) \
                 VALUES ('user:{principal}', 'catalog:c', '{privilege}', '{effect}', 'x', 0)"
            )
        };
        for statement in [
            "INSERT INTO principals (id, created_at_ms, created_by) VALUES ('user:ann', 0, 'x'), ('user:bob', 0, 'x')",
            "INSERT INTO memberships (group_id, member_id) VALUES ('group:admins', 'user:ann')",
            "INSERT INTO securables (id, parent, name) VALUES ('experiment:1', 'folder:/a', '/a/x')",
            &given("ann", "USE CATALOG", "allow"),
            &given("ann", "USE CATALOG", "deny"),
            &given("bob", "USE CATALOG", "allow"),
            &given("bob", "USE_CATALOG", "allow"),
            // Two spellings of one, neither of them ours.
            &given("ann", "CREATE MATERIALIZED_VIEW", "allow"),
            &given("ann", "CREATE_MATERIALIZED VIEW", "allow"),
            "INSERT INTO policy_changes VALUES (1, 0, 'x', 'grant.add', 'null', 'null')",
            "UPDATE policy_head SET version = 1",
        ] {
            database.run(statement).await;
        }

        let store = database.open().await;
        let steps = store.policy_edits(0, 10).await.unwrap();
        assert_eq!(steps.len(), 1);
        assert_eq!(steps[0].edits, None);
        let mut followed = Picture::read(&store).await;
        let held: Vec<&str> = followed.grants.values().map(|rule| rule.privilege.as_str()).collect();
        assert_eq!(
            held,
            [
                "USE_CATALOG",
                "USE_CATALOG",
                "USE CATALOG",
                "USE_CATALOG",
                "CREATE_MATERIALIZED_VIEW",
                "CREATE_MATERIALIZED VIEW",
                // Who could make tokens still can.
                "token.use",
            ]
        );
        assert_eq!((followed.version, followed.members.len(), followed.places.len()), (1, 1, 1));
        let again = grant(&user("ann"), "catalog:c", "USE CATALOG");
        assert!(!store.add_grant(&again, BY, NOW).await.unwrap().1.changed);
        store.add_grant(&grant(&user("ann"), "catalog:c", "OWNER"), BY, NOW).await.unwrap();
        followed.catch_up(&store).await;
        assert_eq!(followed, Picture::read(&store).await);
    })
    .await;
}
