//! A credential may be for less than its principal may do, and a caller may act for another: never for more.

use super::*;
use crate::access::Scope;

fn scoped(mut caller: Caller, scopes: &[(&str, &str)]) -> Caller {
    let scopes = scopes.iter().map(|(privilege, securable)| Scope {
        privilege: privilege.parse().unwrap(),
        securable: securable.parse().unwrap(),
    });
    caller.scopes = Some(scopes.collect());
    caller
}

fn on_behalf(of: &str, mut actor: Caller) -> Caller {
    let mut caller = caller(of);
    actor.actor = None;
    caller.actor = Some(Arc::new(actor));
    caller
}

fn may(policy: &Policy, caller: &Caller, privilege: Privilege, on: &str) -> bool {
    let view = policy.view().unwrap();
    let check = Check::new(privilege, on.parse().unwrap());
    let allowed = view.allows(caller, check.clone()).unwrap();
    // All ways to ask agree.
    let requirement = Requirement::All(vec![check.clone()]);
    assert_eq!(view.authorize(Some(caller), &requirement).unwrap().1.is_some(), allowed);
    assert_eq!(view.effective(caller, &check.securable).has(privilege), allowed);
    allowed
}

fn three() -> World {
    world(state(vec![
        grant(1, "user:alice", "folder:/team", "CAN_MANAGE", Effect::Allow),
        grant(2, "service_principal:agent", "experiment:1", "CAN_READ", Effect::Allow),
        grant(3, "group:admins", "workspace:default", "ALL", Effect::Allow),
        grant(4, "user:alice", "experiment:1", "CAN_EDIT", Effect::Allow),
    ]))
}

#[test]
fn a_scope_takes_away_and_never_gives() {
    let world = three();
    let ingest = scoped(caller("user:alice"), &[("CAN_INGEST", "experiment:1")]);
    assert!(may(&world.policy, &ingest, Privilege::TraceWrite, "experiment:1"));
    assert!(!may(&world.policy, &ingest, Privilege::TraceRead, "experiment:1"));
    assert!(!may(&world.policy, &ingest, Privilege::TraceWrite, "experiment:2"));
    assert!(!may(&world.policy, &ingest, Privilege::ExperimentCreate, "workspace:default"));
    // What the principal has not, its scope does not give.
    let other = scoped(caller("user:alice"), &[("CAN_MANAGE", "experiment:2")]);
    assert!(!may(&world.policy, &other, Privilege::TraceRead, "experiment:2"));
    // No scope at all is nothing at all.
    assert!(!may(&world.policy, &scoped(caller("user:alice"), &[]), Privilege::TraceRead, "experiment:1"));
}

#[test]
fn a_scope_reaches_what_lies_below_it() {
    let world = three();
    let below = scoped(caller("user:alice"), &[("CAN_READ", "workspace:default")]);
    assert!(may(&world.policy, &below, Privilege::TraceRead, "experiment:1"));
    assert!(!may(&world.policy, &below, Privilege::TraceTag, "experiment:1"));
    let team = scoped(caller("user:alice"), &[("ALL", "folder:/team")]);
    assert!(may(&world.policy, &team, Privilege::ExperimentManage, "folder:/team/inner"));
    assert!(!may(&world.policy, &team, Privilege::TraceRead, "experiment:1"));
}

#[test]
fn an_administrator_with_a_scope_is_none() {
    let mut before = state(vec![grant(1, "group:admins", "workspace:default", "ALL", Effect::Allow)]);
    before.memberships.push(("group:admins".parse().unwrap(), "user:root".parse().unwrap()));
    let world = world(before);
    let root = caller("user:root");
    let narrow = scoped(root.clone(), &[("CAN_READ", "experiment:1")]);
    let view = world.policy.view().unwrap();
    assert!(view.is_admin(&root) && !view.is_admin(&narrow));
    assert!(may(&world.policy, &narrow, Privilege::TraceRead, "experiment:1"));
    assert!(!may(&world.policy, &narrow, Privilege::PolicyManage, "workspace:default"));
    // An agent that acts for an administrator is no administrator.
    assert!(!view.is_admin(&on_behalf("user:root", caller("service_principal:agent"))));
}

#[test]
fn on_behalf_of_somebody_needs_the_rights_of_both() {
    let world = three();
    let acting = on_behalf("user:alice", caller("service_principal:agent"));
    assert!(may(&world.policy, &acting, Privilege::TraceRead, "experiment:1"));
    // Alice may, the agent may not.
    assert!(!may(&world.policy, &acting, Privilege::TraceTag, "experiment:1"));
    // The agent may, Bob may not.
    let for_bob = on_behalf("user:bob", caller("service_principal:agent"));
    assert!(!may(&world.policy, &for_bob, Privilege::TraceRead, "experiment:1"));
    // The scope of the agent's token binds too.
    let agent = scoped(caller("service_principal:agent"), &[("CAN_LIST", "experiment:1")]);
    assert!(!may(&world.policy, &on_behalf("user:alice", agent), Privilege::TraceRead, "experiment:1"));
}

#[test]
fn nobody_acts_for_whom_is_shut_out_nor_when_shut_out() {
    let mut before = state(Vec::new());
    before.inactive.push("service_principal:agent".parse().unwrap());
    let world = world(before);
    let view = world.policy.view().unwrap();
    let acting = on_behalf("user:alice", caller("service_principal:agent"));
    assert!(view.authorize(Some(&acting), &crate::policy::Requirement::Authenticated).unwrap().1.is_none());
    let alone = caller("user:alice");
    assert!(view.authorize(Some(&alone), &crate::policy::Requirement::Authenticated).unwrap().1.is_some());
}
