//! Worlds in which the engine once decided otherwise than casbin, as small as they could be made.

use super::*;
use crate::access::{PolicyEdit, Rule};

fn rule(id: i64, principal: &str, on: &str, privilege: &str, effect: Effect) -> Rule {
    grant(id, principal, on, privilege, effect).rule()
}

fn built(rules: &[Rule]) -> Snapshot {
    let mut builder = Builder::new(Arc::new(Levels::builtin().unwrap()));
    rules.iter().for_each(|rule| builder.grant(rule));
    builder.build(1)
}

fn may(snapshot: &Snapshot, who: &str, privilege: Privilege, on: &str) -> bool {
    snapshot.allows(&who.parse().unwrap(), &on.parse().unwrap(), privilege, UnixMillis(0))
}

#[test]
fn a_deny_of_ownership_denies_what_only_an_owner_has() {
    let allow = |id, on, privilege| rule(id, "user:ann", on, privilege, Effect::Allow);
    let mut rules = vec![
        allow(1, "catalog:main", "USE_CATALOG"),
        allow(2, "catalog:main", "USE_SCHEMA"),
        allow(3, "catalog:main", "SELECT"),
    ];
    let table = "table:main.agents.spans";
    assert!(may(&built(&rules), "user:ann", Privilege::Select, table));
    rules.push(rule(4, "user:ann", table, "OWNER", Effect::Deny));
    assert!(!may(&built(&rules), "user:ann", Privilege::Select, table));
    // Below what is owned, ownership is management, and so is its deny.
    rules[3] = rule(4, "user:ann", "schema:main.agents", "OWNER", Effect::Deny);
    assert!(!may(&built(&rules), "user:ann", Privilege::UseSchema, "schema:main.agents"));
    rules[3] = rule(4, "user:ann", "metastore:default", "OWNER", Effect::Deny);
    assert!(may(&built(&rules), "user:ann", Privilege::Select, table));
}

#[test]
fn a_group_that_policy_never_heard_of_is_no_member_of_users() {
    let snapshot = built(&[rule(1, "group:users", "warehouse:w", "CAN_USE", Effect::Allow)]);
    assert!(may(&snapshot, "user:unheard", Privilege::WarehouseUse, "warehouse:w"));
    assert!(!may(&snapshot, "group:unheard", Privilege::WarehouseUse, "warehouse:w"));
}

#[test]
fn a_grant_that_is_written_again_leaves_nothing_of_what_it_was() {
    let before = built(&[rule(1, "user:ann", "experiment:1", "CAN_READ", Effect::Allow)]);
    let again = |principal: &str, privilege: &str| {
        let rule = rule(1, principal, "experiment:1", privilege, Effect::Allow);
        before.apply(2, &[PolicyEdit::Grant(rule)]).unwrap()
    };
    assert!(!may(&again("user:bob", "CAN_READ"), "user:ann", Privilege::TraceRead, "experiment:1"));
    assert!(may(&again("user:bob", "CAN_READ"), "user:bob", Privilege::TraceRead, "experiment:1"));
    // A word of a later version: nobody here knows what it gives.
    assert!(!may(&again("user:ann", "CAN_TELEPORT"), "user:ann", Privilege::TraceRead, "experiment:1"));
}
