//! The catalog's objects, and the grants that come and go with them.

use std::collections::BTreeMap;

use super::*;
use crate::access::{Effect, Location, SecurableKind};
use crate::store::{
    CatalogError, CatalogObject, Column, ColumnMask, Deletion, Detail, NewObject, ObjectChange, RowFilter,
    StoreError, TableFormat,
};

fn named(text: &str) -> Securable {
    text.parse().unwrap()
}

fn location(text: &str) -> Location {
    text.parse().unwrap()
}

fn detail(kind: SecurableKind) -> Detail {
    match kind {
        SecurableKind::Catalog => Detail::Catalog { storage_root: None },
        SecurableKind::Schema => Detail::Schema { storage_root: None },
        SecurableKind::View => {
            Detail::View { definition: "SELECT 1".to_owned(), definer: None, columns: Vec::new() }
        }
        SecurableKind::Volume => Detail::Volume { external: false },
        SecurableKind::Function => Detail::Function { definition: serde_json::Map::new() },
        SecurableKind::ExternalLocation => {
            Detail::ExternalLocation { credential_name: None, read_only: false }
        }
        _ => Detail::Table {
            external: false,
            format: TableFormat::Delta,
            columns: Vec::new(),
            row_filter: None,
        },
    }
}

fn new(securable: &str, at: Option<&str>) -> NewObject {
    let securable = named(securable);
    NewObject {
        id: uuid::Uuid::new_v4().to_string(),
        owner: user("ann"),
        comment: None,
        properties: BTreeMap::new(),
        detail: detail(securable.kind),
        location: at.map(location),
        claim: at.map(location),
        securable,
    }
}

async fn make(store: &Store, securable: &str) -> Result<i64, CatalogError> {
    store.create_catalog_object(&new(securable, None), BY, NOW).await.map(|change| change.version)
}

async fn make_at(store: &Store, securable: &str, at: &str) -> Result<(), CatalogError> {
    store.create_catalog_object(&new(securable, Some(at)), BY, NOW).await.map(|_| ())
}

async fn get(store: &Store, securable: &str) -> Option<CatalogObject> {
    store.catalog_object(&named(securable)).await.unwrap().found
}

async fn tree(store: &Store) {
    for securable in [
        "catalog:main",
        "schema:main.s",
        "table:main.s.t",
        "view:main.s.w",
        "volume:main.s.v",
        "function:main.s.f",
    ] {
        make(store, securable).await.unwrap();
    }
}

/// Who holds what on what, sorted.
async fn held(store: &Store) -> Vec<String> {
    let grants = store.grants(None, None).await.unwrap();
    let mut held: Vec<String> = grants
        .iter()
        .map(|grant| format!("{} {} {}", grant.grant.principal, grant.grant.privilege, grant.grant.securable))
        .collect();
    held.sort();
    held
}

/// The picture that another replica makes from the steps is the one that the tables hold.
async fn replicas_agree(store: &Store) {
    let mut held: BTreeMap<i64, String> = BTreeMap::new();
    for step in store.policy_edits(0, 10_000).await.unwrap() {
        for edit in step.edits.unwrap() {
            match edit {
                crate::access::PolicyEdit::Grant(rule) => {
                    held.insert(
                        rule.id.0,
                        format!("{} {} {}", rule.principal, rule.privilege, rule.securable),
                    );
                }
                crate::access::PolicyEdit::Revoke(rule) => {
                    let was = held.remove(&rule.id.0);
                    assert_eq!(
                        was.unwrap(),
                        format!("{} {} {}", rule.principal, rule.privilege, rule.securable)
                    );
                }
                _ => {}
            }
        }
    }
    let mut pictured: Vec<String> = held.into_values().collect();
    pictured.sort();
    assert_eq!(pictured, self::held(store).await);
}

#[tokio::test]
async fn objects_are_kept_as_they_were_made() {
    on_both(async |database| {
        let store = database.open().await;
        tree(&store).await;
        let column = Column {
            name: "a".to_owned(),
            type_text: Some("string".to_owned()),
            type_json: None,
            type_name: Some("STRING".to_owned()),
            type_precision: None,
            type_scale: None,
            type_interval_type: None,
            position: 0,
            comment: Some("first".to_owned()),
            nullable: false,
            partition_index: None,
            mask: Some(ColumnMask {
                function_id: None,
                function_name: "main.s.f".to_owned(),
                using_column_names: vec!["a".to_owned()],
            }),
        };
        let filter = RowFilter {
            function_name: "main.s.f".to_owned(),
            function_id: None,
            input_column_names: vec!["a".to_owned()],
        };
        let wanted = NewObject {
            comment: Some("said".to_owned()),
            properties: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
            detail: Detail::Table {
                external: true,
                format: TableFormat::Delta,
                columns: vec![column],
                row_filter: Some(filter),
            },
            ..new("table:main.s.filtered", Some("s3://b/x"))
        };
        store.create_catalog_object(&wanted, BY, NOW).await.unwrap();
        let found = get(&store, "table:Main.S.Filtered").await.unwrap();
        assert_eq!(
            (&found.id, &found.detail, &found.properties),
            (&wanted.id, &wanted.detail, &wanted.properties)
        );
        assert_eq!(
            (found.owner, found.comment, found.location),
            (Some(user("ann")), wanted.comment, wanted.location)
        );
        assert_eq!((found.created_at, found.created_by.as_str()), (NOW, BY));
        let listed =
            store.catalog_objects(&named("schema:main.s"), SecurableKind::Table, "", 10).await.unwrap();
        let names: Vec<&str> = listed.found.iter().map(CatalogObject::name).collect();
        assert_eq!(
            (names, listed.version),
            (vec!["filtered", "t", "w"], store.policy_version().await.unwrap())
        );
        let rest = store
            .catalog_objects(&named("schema:main.s"), SecurableKind::Table, "main.s.t", 10)
            .await
            .unwrap();
        assert_eq!(rest.found.len(), 1);
        replicas_agree(&store).await;
    })
    .await;
}

#[tokio::test]
async fn a_name_is_one_objects_and_lies_in_a_container_that_is_there() {
    on_both(async |database| {
        let store = database.open().await;
        tree(&store).await;
        let version = store.policy_version().await.unwrap();
        for taken in ["catalog:MAIN", "table:main.s.t", "view:main.s.t", "table:main.s.w", "volume:main.s.v"]
        {
            assert!(matches!(make(&store, taken).await, Err(CatalogError::Exists(_))), "{taken}");
        }
        for nowhere in ["schema:none.s", "table:main.none.t", "volume:none.s.v"] {
            assert!(matches!(make(&store, nowhere).await, Err(CatalogError::Missing(_))), "{nowhere}");
        }
        assert_eq!(store.policy_version().await.unwrap(), version, "what is refused changes nothing");
        // Volumes and functions have names of their own.
        make(&store, "volume:main.s.t").await.unwrap();
        let moved = store.at_version(version).create_catalog_object(&new("catalog:b", None), BY, NOW).await;
        assert!(matches!(moved, Err(CatalogError::Store(StoreError::Moved { .. }))));
    })
    .await;
}

#[tokio::test]
async fn two_who_take_a_name_or_a_place_at_once_leave_one() {
    on_both(async |database| {
        let (one, two) = (database.open().await, database.open().await);
        tree(&one).await;
        for round in 0..8 {
            let name = format!("volume:main.s.v{round}");
            let (first, second) = tokio::join!(make(&one, &name), make(&two, &name));
            assert!(first.is_ok() != second.is_ok());
            let (mine, yours) = (format!("table:main.s.a{round}"), format!("table:main.s.b{round}"));
            let (outer, inner) = (format!("s3://b/{round}"), format!("s3://b/{round}/x"));
            let (first, second) = tokio::join!(make_at(&one, &mine, &outer), make_at(&two, &yours, &inner));
            assert!(first.is_ok() != second.is_ok());
        }
        replicas_agree(&one).await;
    })
    .await;
}

#[tokio::test]
async fn what_goes_takes_its_grants_along_and_a_new_one_of_the_name_has_none() {
    on_both(async |database| {
        let store = database.open().await;
        tree(&store).await;
        make(&store, "schema:main.other").await.unwrap();
        for (on, privilege) in [
            ("table:main.s.t", "SELECT"),
            ("view:main.s.t", "SELECT"),
            ("schema:main.s", "USE_SCHEMA"),
            ("table:main.s.not_there", "SELECT"),
            ("schema:main.s2", "USE_SCHEMA"),
            ("catalog:main", "USE_CATALOG"),
        ] {
            store.add_grant(&grant(&user("bob"), on, privilege), BY, NOW).await.unwrap();
        }
        let refused = store.delete_catalog_object(&named("schema:main.s"), Deletion::IfEmpty, BY, NOW).await;
        assert!(matches!(refused, Err(CatalogError::NotEmpty(_))));
        let gone = store
            .delete_catalog_object(&named("schema:main.s"), Deletion::WithAllInIt, BY, NOW)
            .await
            .unwrap();
        assert_eq!(gone.policy_change.before["with"].as_array().unwrap().len(), 4);
        let left: Vec<String> =
            held(&store).await.into_iter().filter(|held| !held.contains("OWNER")).collect();
        assert_eq!(left, ["user:bob USE_CATALOG catalog:main", "user:bob USE_SCHEMA schema:main.s2"]);
        assert!(
            get(&store, "table:main.s.t").await.is_none() && get(&store, "schema:main.other").await.is_some()
        );
        // Written in advance for names that nobody had: allowed to nobody, denied as it was said.
        for (on, effect) in [("table:main.s.t", Effect::Allow), ("table:main.s.t", Effect::Deny)] {
            let wanted = NewGrant { effect, ..grant(&user("bob"), on, "SELECT") };
            store.add_grant(&wanted, BY, NOW).await.unwrap();
        }
        make(&store, "schema:main.s").await.unwrap();
        make(&store, "table:main.s.t").await.unwrap();
        let on_table = store.grants(Some(&user("bob")), Some(&named("table:main.s.t"))).await.unwrap();
        let effects: Vec<Effect> = on_table.iter().map(|grant| grant.grant.effect).collect();
        assert_eq!(effects, [Effect::Deny]);
        replicas_agree(&store).await;
    })
    .await;
}

#[tokio::test]
async fn another_name_keeps_ids_grants_and_what_is_inside() {
    on_both(async |database| {
        let store = database.open().await;
        tree(&store).await;
        let before = get(&store, "table:main.s.t").await.unwrap();
        for on in ["table:main.s.t", "catalog:main", "table:mainly.s.t", "catalog:prod", "table:prod.s.t"] {
            store.add_grant(&grant(&user("bob"), on, "SELECT"), BY, NOW).await.unwrap();
        }
        let deny = |on: &str| NewGrant { effect: Effect::Deny, ..grant(&user("eve"), on, "SELECT") };
        store.add_grant(&deny("catalog:main"), BY, NOW).await.unwrap();
        store.add_grant(&deny("catalog:prod"), BY, NOW).await.unwrap();
        let rename = |name: &str| ObjectChange { name: Some(name.to_owned()), ..Default::default() };
        store
            .change_catalog_object(&named("catalog:main"), &rename("prod"), BY, UnixMillis(NOW.0 + 1))
            .await
            .unwrap();
        assert!(get(&store, "catalog:main").await.is_none() && get(&store, "table:main.s.t").await.is_none());
        let after = get(&store, "table:prod.s.t").await.unwrap();
        assert_eq!((after.id, after.owner), (before.id, Some(user("ann"))));
        let found =
            store.catalog_objects(&named("schema:prod.s"), SecurableKind::Volume, "", 10).await.unwrap();
        assert_eq!(found.found.len(), 1);
        let left: Vec<String> =
            held(&store).await.into_iter().filter(|held| !held.contains("OWNER")).collect();
        assert_eq!(
            left,
            [
                "user:bob SELECT catalog:prod",
                "user:bob SELECT table:mainly.s.t",
                "user:bob SELECT table:prod.s.t",
                "user:eve SELECT catalog:prod",
            ]
        );
        make(&store, "catalog:main").await.unwrap();
        let taken = store.change_catalog_object(&named("catalog:prod"), &rename("main"), BY, NOW).await;
        assert!(matches!(taken, Err(CatalogError::Exists(_))));
        replicas_agree(&store).await;
    })
    .await;
}

#[tokio::test]
async fn places_do_not_overlap() {
    on_both(async |database| {
        let store = database.open().await;
        tree(&store).await;
        make_at(&store, "external_location:a", "s3://b/data").await.unwrap();
        for (taken, at) in [
            ("external_location:b", "s3://b/data"),
            ("external_location:b", "s3://b/data/x"),
            ("external_location:b", "s3://b"),
        ] {
            assert_eq!(make_at(&store, taken, at).await, Err(CatalogError::Overlaps), "{at}");
        }
        make_at(&store, "external_location:b", "s3://b/database").await.unwrap();
        make_at(&store, "table:main.s.x", "s3://b/data/t").await.unwrap();
        for (taken, at) in [
            ("table:main.s.y", "s3://b/data/t"),
            ("volume:main.s.y", "s3://b/data/t/deep"),
            ("volume:main.s.y", "s3://b/data"),
            ("catalog:rooted", "s3://b/data/t/root"),
        ] {
            assert_eq!(make_at(&store, taken, at).await, Err(CatalogError::Overlaps), "{taken} {at}");
        }
        make_at(&store, "volume:main.s.y", "s3://b/data/t2").await.unwrap();
        make_at(&store, "catalog:rooted", "s3://b/data/root").await.unwrap();
        make_at(&store, "schema:rooted.s", "s3://b/data/root").await.unwrap();
        assert_eq!(
            make_at(&store, "table:main.s.z", "s3://b/data/root/t").await,
            Err(CatalogError::Overlaps)
        );
        let around = store.external_location_of(&location("s3://b/data/t")).await.unwrap().found.unwrap();
        assert_eq!(around.name(), "a");
        assert!(store.external_location_of(&location("s3://b/datax")).await.unwrap().found.is_none());

        let moved = ObjectChange { url: Some(location("s3://c/x")), ..Default::default() };
        let named_a = named("external_location:a");
        assert!(matches!(
            store.change_catalog_object(&named_a, &moved, BY, NOW).await,
            Err(CatalogError::NotEmpty(_))
        ));
        assert!(matches!(
            store.delete_catalog_object(&named_a, Deletion::IfEmpty, BY, NOW).await,
            Err(CatalogError::NotEmpty(_))
        ));
        store.delete_catalog_object(&named_a, Deletion::WithAllInIt, BY, NOW).await.unwrap();
        // What lay in it stays, and nobody puts a location of his own inside it.
        assert!(get(&store, "table:main.s.x").await.is_some());
        assert_eq!(
            make_at(&store, "external_location:c", "s3://b/data/t/inner").await,
            Err(CatalogError::Overlaps)
        );
        make_at(&store, "external_location:c", "s3://b/data").await.unwrap();
        let to_b = ObjectChange { url: Some(location("s3://b/data/free")), ..Default::default() };
        let named_b = named("external_location:b");
        assert_eq!(store.change_catalog_object(&named_b, &to_b, BY, NOW).await, Err(CatalogError::Overlaps));
        let moved = store.change_catalog_object(&named_b, &moved, BY, NOW).await.unwrap();
        assert_eq!(moved.policy_change.after["object"]["location"], "s3://c/x");
        assert!(store.external_location_of(&location("s3://b/database/x")).await.unwrap().found.is_none());
    })
    .await;
}

#[tokio::test]
async fn one_owner_at_a_time_and_an_update_of_nothing_changes_nothing() {
    on_both(async |database| {
        let store = database.open().await;
        tree(&store).await;
        let table = named("table:main.s.t");
        let give = ObjectChange { owner: Some(group("team")), ..Default::default() };
        assert!(store.change_catalog_object(&table, &give, BY, NOW).await.unwrap().changed);
        let again = store.change_catalog_object(&table, &give, BY, NOW).await.unwrap();
        assert!(!again.changed && again.policy_change.before == again.policy_change.after);
        assert_eq!(get(&store, "table:main.s.t").await.unwrap().owner, Some(group("team")));
        let owners = store.grants(None, Some(&table)).await.unwrap();
        assert_eq!(owners.len(), 1);
        // A view is asked for as a view: what is granted on one is nothing on a table of its name.
        let as_table = store.change_catalog_object(&named("table:main.s.w"), &give, BY, NOW).await;
        assert!(matches!(as_table, Err(CatalogError::Missing(_))));
        let other = ObjectChange { detail: Some(detail(SecurableKind::Volume)), ..Default::default() };
        assert!(!store.change_catalog_object(&table, &other, BY, NOW).await.unwrap().changed);
    })
    .await;
}

#[tokio::test]
async fn the_metastore_keeps_its_id() {
    on_both(async |database| {
        let store = database.open().await;
        let first = store.metastore("one", NOW).await.unwrap();
        let again = database.open().await.metastore("two", UnixMillis(1)).await.unwrap();
        assert_eq!((first.id.as_str(), &first), ("one", &again));
        assert_eq!(first.owner, None);
    })
    .await;
}
