//! Reading all of policy at once, small and large.

use super::picture::Picture;
use super::*;
use crate::access::Effect;
use crate::store::{PolicyRow, StoreError};

#[tokio::test]
async fn rows_come_by_kind_and_in_full() {
    on_both(async |database| {
        let store = database.open().await;
        let (ann, readers) = (user("ann é"), group("readers"));
        store.add_member(&readers, &ann, BY, NOW).await.unwrap();
        let (one, folder): (Securable, Securable) =
            ("experiment:1".parse().unwrap(), "folder:/a | b".parse().unwrap());
        store.put_securable(&one, &folder, "/a | b/x", BY, NOW).await.unwrap();
        let deny = NewGrant {
            effect: Effect::Deny,
            expires_at: Some(UnixMillis(-5)),
            ..grant(&readers, "registered_model:a'b", "CAN_READ")
        };
        store.add_grant(&deny, BY, NOW).await.unwrap();
        store.add_grant(&grant(&ann, "experiment:1", "CAN_EDIT"), BY, NOW).await.unwrap();
        store.set_active(&ann, false, BY, NOW).await.unwrap();
        let mut seen: Vec<String> = Vec::new();
        let version = store
            .read_policy(&mut |row| {
                seen.push(format!("{row:?}"));
                Ok(())
            })
            .await
            .unwrap();
        assert_eq!(version, 5);
        seen[..4].sort();
        assert_eq!(
            seen,
            [
                "Principal { principal: \"group:admins\", active: true }",
                "Principal { principal: \"group:readers\", active: true }",
                "Principal { principal: \"group:users\", active: true }",
                "Principal { principal: \"user:ann é\", active: false }",
                "Member { group: \"group:readers\", member: \"user:ann é\" }",
                "Place { securable: \"experiment:1\", parent: \"folder:/a | b\" }",
                "Grant { id: 1, principal: \"group:readers\", securable: \"registered_model:a'b\", \
                 privilege: \"CAN_READ\", deny: true, expires_at_ms: Some(-5) }",
                "Grant { id: 2, principal: \"user:ann é\", securable: \"experiment:1\", \
                 privilege: \"CAN_EDIT\", deny: false, expires_at_ms: None }",
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn a_visitor_that_refuses_ends_the_reading() {
    on_both(async |database| {
        let store = database.open().await;
        let mut seen = 0;
        let refused = store
            .read_policy(&mut |_| {
                seen += 1;
                Err(StoreError::Corrupt("not mine".to_owned()))
            })
            .await;
        assert_eq!((refused, seen), (Err(StoreError::Corrupt("not mine".to_owned())), 1));
        assert_eq!(store.read_policy(&mut |_| Ok(())).await, Ok(0));
    })
    .await;
}

#[tokio::test]
async fn an_id_that_holds_a_separator_is_corrupt_and_no_other_grant() {
    on_both(async |database| {
        for forged in ["x\u{1f}1", "x\u{1e}y", "x\u{1f}1\u{1e}user:eve"] {
            let store = database.open().await;
            database
                .run(&format!(
                    "INSERT INTO principals (id, created_at_ms, created_by) VALUES ('user:{forged}', 0, 'x')"
                ))
                .await;
            let read = store.read_policy(&mut |_| Ok(())).await;
            assert!(matches!(read, Err(StoreError::Corrupt(_))), "{forged:?}: {read:?}");
            database.run("DELETE FROM principals WHERE id LIKE 'user:%'").await;
        }
    })
    .await;
}

/// Fills tables so that they take several chunks.
async fn fill(database: &TestStore, users: i64, groups: i64, experiments: i64, tables: i64, grants: i64) {
    let numbers = |count: i64, then: &str| {
        format!(
            "WITH RECURSIVE numbers (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < {count}) {then}"
        )
    };
    for (count, insert) in [
        (
            users,
            "INSERT INTO principals (id, created_at_ms, created_by) \
                 SELECT 'user:person' || i || '@example.com', 0, 'x' FROM numbers"
                .to_owned(),
        ),
        (
            groups,
            "INSERT INTO principals (id, created_at_ms, created_by) \
                  SELECT 'group:team' || i, 0, 'x' FROM numbers"
                .to_owned(),
        ),
        (
            users * 5,
            format!(
                "INSERT INTO memberships (group_id, member_id) \
                  SELECT DISTINCT 'group:team' || (1 + (i * 191 + i / {users}) % {groups}), 'user:person' || (1 + i % {users}) || '@example.com' FROM numbers"
            ),
        ),
        (
            experiments,
            "INSERT INTO securables (id, parent, name) \
                  SELECT 'experiment:' || i, 'folder:/teams/team' || (i % 1000), '/teams/x' FROM numbers"
                .to_owned(),
        ),
        (
            grants,
            format!(
                "INSERT INTO grants (principal, securable, privilege, effect, granted_by, granted_at_ms, expires_at_ms) \
                  SELECT CASE WHEN i % 3 = 0 THEN 'group:team' || (1 + (i + i / {tables}) % {groups}) ELSE 'user:person' || (1 + (i * 191 + i / {tables}) % {users}) || '@example.com' END, \
                  CASE WHEN i % 2 = 0 THEN 'experiment:' || (1 + i % {experiments}) ELSE 'table:main.schema' || (i % 1000) || '.table' || (1 + i % {tables}) END, \
                  CASE WHEN i % 2 = 0 THEN 'CAN_READ' ELSE 'SELECT' END, 'allow', 'x', 0, \
                  CASE WHEN i % 50 = 0 THEN 1900000000000 END FROM numbers \
                  WHERE true ON CONFLICT DO NOTHING"
            ),
        ),
    ] {
        database.run(&numbers(count, &insert)).await;
    }
}

#[tokio::test]
async fn many_chunks_hold_everything_once() {
    on_both(async |database| {
        let store = database.open().await;
        fill(database, 4_000, 6_000, 5_000, 4_000, 12_000).await;
        let (read, state) = (Picture::read(&store).await, store.policy().await.unwrap());
        assert!(read.principals.len() == 10_002 && read.places.len() == 5_000);
        assert!(read.members.len() == 20_000 && read.grants.len() == 12_000);
        assert_eq!(read, Picture::of_state(&state));
    })
    .await;
}

/// `cargo test --release --lib store::tests::reading -- --ignored --nocapture`
#[tokio::test]
#[ignore = "a measurement: a million grants"]
async fn reading_a_million_grants() {
    on_both(async |database| {
        let store = database.open().await;
        fill(database, 10_000, 1_000, 100_000, 100_000, 1_000_000).await;
        for _ in 0..3 {
            let (mut grants, mut others, mut bytes) = (0, 0, 0);
            let started = std::time::Instant::now();
            store
                .read_policy(&mut |row| {
                    match row {
                        PolicyRow::Grant { principal, securable, .. } => {
                            grants += 1;
                            bytes += principal.len() + securable.len();
                        }
                        _ => others += 1,
                    }
                    Ok(())
                })
                .await
                .unwrap();
            eprintln!("{grants} grants, {others} others, {bytes} bytes of names: {:?}", started.elapsed());
        }
    })
    .await;
}
