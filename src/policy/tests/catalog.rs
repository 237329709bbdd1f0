//! The catalog's rules, one test a rule.

use super::*;

fn allow(id: i64, principal: &str, securable: &str, privilege: &str) -> Grant {
    grant(id, principal, securable, privilege, Effect::Allow)
}

const TABLE: &str = "table:main.agents.spans";
const VIEW: &str = "view:main.agents.recent";
const VOLUME: &str = "volume:main.agents.files";

/// Bob with these, given on these.
fn bob(grants: &[(&str, &str)]) -> World {
    let numbered = (1..).zip(grants);
    world(state(numbered.map(|(id, (privilege, on))| allow(id, "user:bob", on, privilege)).collect()))
}

impl World {
    fn bob_may(&self, privilege: Privilege, on: &str) -> bool {
        self.may("user:bob", privilege, on)
    }
}

#[test]
fn reading_a_table_needs_the_way_there_too() {
    let all = [("USE_CATALOG", "catalog:main"), ("USE_SCHEMA", "schema:main.agents"), ("SELECT", TABLE)];
    assert!(bob(&all).bob_may(Privilege::Select, TABLE));
    for left_out in 0..all.len() {
        let mut some = all.to_vec();
        some.remove(left_out);
        assert!(!bob(&some).bob_may(Privilege::Select, TABLE), "without {:?}", all[left_out]);
    }
    let world = bob(&all);
    assert!(!world.bob_may(Privilege::Modify, TABLE) && !world.bob_may(Privilege::Select, VIEW));
}

#[test]
fn a_grant_on_a_container_reaches_present_and_future_children() {
    let world =
        bob(&[("USE_CATALOG", "catalog:main"), ("USE_SCHEMA", "catalog:main"), ("SELECT", "catalog:main")]);
    assert!(world.bob_may(Privilege::Select, TABLE));
    assert!(world.bob_may(Privilege::Select, "table:main.not_there_yet.later"));
    assert!(!world.bob_may(Privilege::Select, "table:other.agents.spans"));
    assert!(!world.bob_may(Privilege::ReadVolume, VOLUME));
}

#[test]
fn all_privileges_is_expanded_at_check_time_and_leaves_out_management_and_access_from_outside() {
    let world = bob(&[("ALL_PRIVILEGES", "catalog:main")]);
    for (privilege, on) in [
        (Privilege::Select, TABLE),
        (Privilege::Modify, TABLE),
        (Privilege::ReadVolume, VOLUME),
        (Privilege::WriteVolume, VOLUME),
        (Privilege::CreateTable, "schema:main.agents"),
        (Privilege::CreateSchema, "catalog:main"),
        (Privilege::Browse, TABLE),
        (Privilege::ApplyTag, VIEW),
    ] {
        assert!(world.bob_may(privilege, on), "{privilege} on {on}");
    }
    assert!(!world.bob_may(Privilege::Manage, "catalog:main"));
    assert!(!world.bob_may(Privilege::Manage, TABLE));
    assert!(!world.bob_may(Privilege::ExternalUseSchema, "schema:main.agents"));
}

#[test]
fn what_means_nothing_for_a_securable_is_denied_on_it_to_everybody() {
    let mut everything = state(vec![allow(1, "user:bob", "workspace:default", "ALL")]);
    everything.memberships = vec![(Principal::group("admins").unwrap(), Principal::user("root").unwrap())];
    let world = world(everything);
    for who in ["user:bob", "user:root"] {
        assert!(world.may(who, Privilege::Select, TABLE) && world.may(who, Privilege::Select, VIEW));
        assert!(!world.may(who, Privilege::Modify, VIEW), "{who}");
        assert!(!world.may(who, Privilege::Select, VOLUME), "{who}");
        assert!(!world.may(who, Privilege::TraceRead, TABLE), "{who}");
        assert!(!world.may(who, Privilege::Select, "experiment:1"), "{who}");
    }
}

#[test]
fn management_gives_no_data_and_needs_the_way_only_above_where_it_is_held() {
    let on_catalog = bob(&[("MANAGE", "catalog:main")]);
    assert!(
        on_catalog.bob_may(Privilege::Manage, TABLE) && on_catalog.bob_may(Privilege::Manage, "catalog:main")
    );
    assert!(!on_catalog.bob_may(Privilege::Select, TABLE));
    let on_schema = bob(&[("MANAGE", "schema:main.agents")]);
    assert!(
        !on_schema.bob_may(Privilege::Manage, TABLE)
            && !on_schema.bob_may(Privilege::Manage, "schema:main.agents")
    );
    let with_catalog = bob(&[("MANAGE", "schema:main.agents"), ("USE_CATALOG", "catalog:main")]);
    assert!(with_catalog.bob_may(Privilege::Manage, TABLE));
    assert!(with_catalog.bob_may(Privilege::Manage, "schema:main.agents"));
    let on_table = bob(&[("MANAGE", TABLE), ("USE_CATALOG", "catalog:main")]);
    assert!(!on_table.bob_may(Privilege::Manage, TABLE));
}

#[test]
fn an_owner_has_everything_on_the_owned_and_only_management_below() {
    let catalog = bob(&[("OWNER", "catalog:main")]);
    assert!(catalog.bob_may(Privilege::CreateSchema, "catalog:main"));
    assert!(catalog.bob_may(Privilege::UseCatalog, "catalog:main"));
    assert!(catalog.bob_may(Privilege::Manage, TABLE) && catalog.bob_may(Privilege::Browse, TABLE));
    assert!(
        !catalog.bob_may(Privilege::Select, TABLE)
            && !catalog.bob_may(Privilege::UseSchema, "schema:main.agents")
    );
    assert!(!catalog.bob_may(Privilege::ExternalUseSchema, "schema:main.agents"));

    let table = bob(&[("OWNER", TABLE)]);
    assert!(!table.bob_may(Privilege::Select, TABLE), "owning a table does not open its schema");
    let open =
        bob(&[("OWNER", TABLE), ("USE_CATALOG", "catalog:main"), ("USE_SCHEMA", "schema:main.agents")]);
    assert!(open.bob_may(Privilege::Select, TABLE) && open.bob_may(Privilege::Manage, TABLE));

    let metastore = bob(&[("OWNER", "metastore:default")]);
    assert!(metastore.bob_may(Privilege::CreateCatalog, "metastore:default"));
    assert!(metastore.bob_may(Privilege::Manage, TABLE) && !metastore.bob_may(Privilege::Select, TABLE));
}

#[test]
fn browse_shows_that_something_exists_and_nothing_more() {
    let world = bob(&[("BROWSE", "catalog:main")]);
    assert!(
        world.bob_may(Privilege::Browse, TABLE) && world.bob_may(Privilege::Browse, "schema:main.agents")
    );
    assert!(
        !world.bob_may(Privilege::Select, TABLE) && !world.bob_may(Privilege::UseCatalog, "catalog:main")
    );
    assert!(!world.bob_may(Privilege::Browse, "table:other.agents.spans"));
}

#[test]
fn a_deny_on_the_way_closes_everything_behind_it() {
    let mut grants = vec![
        allow(1, "user:bob", "catalog:main", "ALL_PRIVILEGES"),
        grant(2, "user:bob", "schema:main.agents", "USE_SCHEMA", Effect::Deny),
    ];
    let denied = world(state(grants.clone()));
    assert!(!denied.bob_may(Privilege::Select, TABLE));
    assert!(denied.bob_may(Privilege::Select, "table:main.other.spans"));
    grants.remove(1);
    assert!(world(state(grants)).bob_may(Privilege::Select, TABLE));
}

#[test]
fn warehouses_have_levels_of_their_own() {
    let world = bob(&[("CAN_USE", "warehouse:w1"), ("CAN_MANAGE", "warehouse:w2")]);
    assert!(world.bob_may(Privilege::WarehouseUse, "warehouse:w1"));
    assert!(!world.bob_may(Privilege::WarehouseMonitor, "warehouse:w1"));
    assert!(world.bob_may(Privilege::WarehouseManage, "warehouse:w2"));
    assert!(!world.bob_may(Privilege::TraceRead, "warehouse:w2"));
}
