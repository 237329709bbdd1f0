//! Plans against a small world: what changes, who gains and loses, what is refused, what expectations say.

mod brute_force;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::super::levels::Levels;
use super::super::snapshot::{Builder, Snapshot};
use super::*;
use crate::access::{Effect, Grant, GrantId, NewGrant, Privilege, Rule, Securable, Verdict};
use crate::clock::UnixMillis;

pub(super) const NOW: UnixMillis = UnixMillis(1_000_000);

pub(super) fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

/// Everything that a snapshot has, as the store would hold it.
pub(super) fn held(policy: &Snapshot, reason: Option<&str>) -> Vec<Grant> {
    let grant = |rule: Rule| Grant {
        id: rule.id,
        grant: NewGrant {
            principal: rule.principal,
            securable: rule.securable,
            privilege: rule.privilege,
            effect: rule.effect,
            reason: reason.map(str::to_owned),
            expires_at: rule.expires_at,
        },
        granted_by: "user:ann".to_owned(),
        granted_at: UnixMillis(0),
    };
    policy.rules().map(grant).collect()
}

/// Ann administers; Bob and Cid are analysts, Cid through juniors; analysts read two experiments, one by its folder.
fn world() -> Snapshot {
    let mut builder = Builder::new(Arc::new(Levels::builtin().unwrap()));
    for person in ["user:ann", "user:bob", "user:cid", "user:dan"] {
        builder.principal(&name(person), true);
    }
    builder.principal(&name("user:eve"), false);
    for (group, member) in [
        ("group:admins", "user:ann"),
        ("group:analysts", "user:bob"),
        ("group:analysts", "group:juniors"),
        ("group:juniors", "user:cid"),
        ("group:juniors", "user:eve"),
    ] {
        builder.member(&name(group), &name(member));
    }
    builder.place(&name("experiment:2"), &name("folder:/team"));
    builder.place(&name("experiment:3"), &name("folder:/team"));
    for (id, principal, securable, privilege, ends) in [
        (1, "group:analysts", "experiment:1", "CAN_READ", None),
        (2, "group:analysts", "folder:/team", "CAN_READ", None),
        (3, "user:cid", "experiment:3", "CAN_EDIT", None),
        (4, "user:dan", "experiment:1", "CAN_EDIT", Some(UnixMillis(5))),
        (5, "user:dan", "experiment:2", "CAN_LIST", Some(UnixMillis(2_000_000))),
    ] {
        builder.grant(&Rule {
            id: GrantId(id),
            principal: name(principal),
            securable: name(securable),
            privilege: privilege.to_owned(),
            effect: Effect::Allow,
            expires_at: ends,
        });
    }
    builder.build(7)
}

fn document(value: Value) -> Document {
    let document: Document = serde_json::from_value(value).unwrap();
    assert_eq!(document.problems(), []);
    document
}

pub(super) fn planned(before: &Snapshot, document: &Document) -> (Difference, Snapshot) {
    let matching = Matching::new(before, document, NOW);
    let difference = matching.difference(before, &held(before, None));
    let after = before.apply(before.version() + 1, &difference.edits).unwrap();
    (difference, after)
}

fn effects(before: &Snapshot, document: &Document) -> Effects {
    let (difference, after) = planned(before, document);
    Effects::between(before, &after, &difference.edits, false, NOW, Bounds::default())
}

fn told(pairs: &[Pair]) -> Vec<String> {
    let line = |pair: &Pair| {
        let privileges: Vec<&str> = pair.privileges.iter().map(Privilege::as_str).collect();
        format!("{} {} {}", pair.principal, pair.securable, privileges.join(" "))
    };
    pairs.iter().map(line).collect()
}

/// What `CAN_READ` gives, in the order in which it is told.
fn read_set() -> String {
    let levels = Levels::builtin().unwrap();
    let set: Vec<&str> = levels.set(name("CAN_READ")).iter().map(Privilege::as_str).collect();
    assert!(set.contains(&"trace.read"));
    set.join(" ")
}

#[test]
fn closing_a_groups_access_names_exactly_who_loses_what() {
    let before = world();
    let closing = document(json!({"grants": [{"on": "experiment:1"}, {"on": "folder:/team"}]}));
    let effects = effects(&before, &closing);
    let set = read_set();
    // Cid keeps CAN_EDIT on experiment 3; Eve is deactivated and had nothing; Dan's old grant had ended.
    assert_eq!(
        told(&effects.loses),
        [
            format!("user:bob folder:/team {set}"),
            format!("user:bob experiment:1 {set}"),
            format!("user:bob experiment:2 {set}"),
            format!("user:bob experiment:3 {set}"),
            format!("user:cid folder:/team {set}"),
            format!("user:cid experiment:1 {set}"),
            format!("user:cid experiment:2 {set}"),
        ]
    );
    assert_eq!((effects.losing, effects.gaining, effects.complete), (7, 0, true));
}

#[test]
fn a_member_that_leaves_takes_along_who_is_inside() {
    let before = world();
    let document =
        document(json!({"groups": [{"group": "group:analysts", "members": ["user:bob", "user:new"]}]}));
    let (difference, after) = planned(&before, &document);
    assert_eq!(difference.new_principals, [name("user:new")]);
    let effects = Effects::between(&before, &after, &difference.edits, false, NOW, Bounds::default());
    let who = |pairs: &[Pair]| -> Vec<String> {
        pairs.iter().map(|pair| format!("{} {}", pair.principal, pair.securable)).collect()
    };
    assert_eq!(
        who(&effects.loses),
        ["user:cid folder:/team", "user:cid experiment:1", "user:cid experiment:2"]
    );
    assert_eq!(
        who(&effects.gains),
        ["user:new folder:/team", "user:new experiment:1", "user:new experiment:2", "user:new experiment:3"]
    );
}

#[test]
fn what_everybody_gains_is_told_for_those_whom_policy_does_not_know_too() {
    let before = world();
    let open = document(json!({"grants": [{"on": "experiment:2", "allow": [
        {"to": "group:users", "privilege": "trace.list"},
        {"to": "user:dan", "privilege": "CAN_LIST", "until_ms": 2_000_000},
    ]}]}));
    let gains = told(&effects(&before, &open).gains);
    assert_eq!(gains, ["group:users experiment:2 trace.list"]);
}

#[test]
fn reasons_and_ends_are_compared_and_what_has_ended_counts_as_gone() {
    let before = world();
    let document = document(json!({"grants": [
        {"on": "experiment:1", "allow": [
            {"to": "group:analysts", "privilege": "CAN_READ", "reason": "why"},
            {"to": "user:dan", "privilege": "CAN_EDIT", "until_ms": 5},
        ]},
        {"on": "experiment:2", "allow": [{"to": "user:dan", "privilege": "CAN_LIST"}]},
    ]}));
    let same = Matching::new(&before, &document, NOW).difference(&before, &held(&before, Some("why")));
    assert_eq!(same.ended, ["grants[0].allow[1]"]);
    let [Change::Grant { change: How::Changed, grant, before: Some(terms), place }] = same.changes.as_slice()
    else {
        panic!("{:?}", same.changes);
    };
    assert_eq!((grant.expires_at, terms.expires_at), (None, Some(UnixMillis(2_000_000))));
    assert_eq!(place.as_deref(), Some("grants[1].allow[0]"));
    let other = Matching::new(&before, &document, NOW).difference(&before, &held(&before, Some("because")));
    assert_eq!(other.changes.len(), 2);
    // The wanted steps are those of the store: the same grant written again.
    let again = |wanted: &crate::store::Wanted| matches!(wanted, crate::store::Wanted::Grant(grant) if grant.reason.as_deref() == Some("why"));
    assert!(other.wanted.iter().any(again));
}

#[test]
fn only_with_the_scope_all_goes_what_is_not_named_and_never_what_makes_administrators() {
    let before = world();
    let (listed, _) = planned(&before, &Document::default());
    assert!(listed.is_empty());
    let (all, after) = planned(&before, &Document { scope: Scope::All, ..Document::default() });
    assert_eq!(all.changes.len(), 5 + 4, "{:?}", all.changes);
    assert_eq!(
        after.rules().map(|rule| rule.id.0).collect::<Vec<_>>().len(),
        2,
        "the built-in one and an ended one"
    );
    assert!(loses_the_last_administrator(&before, &after));
    let admins =
        document(json!({"scope": "all", "groups": [{"group": "group:admins", "members": ["user:dan"]}]}));
    let (_, after) = planned(&before, &admins);
    assert!(!loses_the_last_administrator(&before, &after));
    assert!(after.allows(&name("user:dan"), &Securable::workspace(), Privilege::PolicyManage, NOW));
    let deactivated = document(json!({"groups": [{"group": "group:admins", "members": ["user:eve"]}]}));
    assert!(loses_the_last_administrator(&before, &planned(&before, &deactivated).1));
}

#[test]
fn circles_deep_nests_and_everybody_as_administrator_are_refused_at_their_place() {
    let before = world();
    let refused = |groups: Value| -> Vec<String> {
        let document = document(json!({ "groups": groups }));
        let difference = Matching::new(&before, &document, NOW).difference(&before, &[]);
        refusals(&before, &difference).iter().map(ToString::to_string).collect()
    };
    let circle = refused(json!([{"group": "group:juniors", "members": ["group:analysts"]}]));
    assert_eq!(circle, ["groups[0].members[0]: `group:analysts` would contain `group:juniors` and be in it"]);
    // The other way round is no circle once the old edge goes.
    let turned = refused(json!([
        {"group": "group:analysts", "members": []}, {"group": "group:juniors", "members": ["group:analysts"]},
    ]));
    assert_eq!(turned, [] as [String; 0]);
    let chain = |length: usize| -> Value {
        (0..length)
            .map(|level| json!({"group": format!("group:n{level}"), "members": [format!("group:n{}", level + 1)]}))
            .collect()
    };
    assert_eq!(refused(chain(7)), [] as [String; 0]);
    assert!(refused(chain(8))[0].contains("deeper than 8"));
    assert!(!refused(chain(400)).is_empty());
    for groups in [
        json!([{"group": "group:admins", "members": ["user:ann", "group:users"]}]),
        json!([{"group": "group:admins", "members": ["user:ann", "group:x"]}, {"group": "group:x", "members": ["group:users"]}]),
    ] {
        let refused = refused(groups);
        assert!(
            refused.iter().any(|line| line.contains("all of them would be administrators")),
            "{refused:?}"
        );
    }
}

#[test]
fn bounds_are_told_and_counts_stay_exact_while_only_the_list_is_cut() {
    let before = world();
    let document = document(json!({"grants": [{"on": "experiment:1"}, {"on": "folder:/team"}]}));
    let (difference, after) = planned(&before, &document);
    let bounded = |listed, comparisons| {
        let bounds = Bounds { listed, comparisons };
        Effects::between(&before, &after, &difference.edits, false, NOW, bounds)
    };
    let cut = bounded(2, 1000);
    assert_eq!((cut.loses.len(), cut.losing, cut.complete), (2, 7, true));
    let stopped = bounded(1000, 1);
    assert!(!stopped.complete);
    assert!(stopped.losing < 7);
}

#[test]
fn expectations_fail_with_the_reason_that_decided() {
    let mut edits = Vec::new();
    let deny = Rule {
        id: GrantId(9),
        principal: name("group:juniors"),
        securable: name("folder:/team"),
        privilege: "trace.read".to_owned(),
        effect: Effect::Deny,
        expires_at: None,
    };
    edits.push(crate::access::PolicyEdit::Grant(deny));
    let policy = world().apply(8, &edits).unwrap();
    let expecting = document(json!({"expect": [
        {"principal": "user:bob", "on": "experiment:2", "may": ["trace.read"], "may_not": ["trace.write"]},
        {"principal": "user:cid", "on": "experiment:2", "may": ["trace.read"]},
        {"principal": "user:bob", "on": "experiment:1", "may": ["trace.write"], "may_not": ["trace.read"]},
        {"principal": "user:eve", "on": "experiment:1", "may": ["trace.read"]},
        {"principal": "user:bob", "on": "table:main.a.b", "may": ["SELECT", "trace.read"]},
        {"principal": "user:nobody", "on": "experiment:1", "may_not": ["trace.read"]},
    ]}));
    assert_eq!(questions(&expecting), 9);
    let failures = failures(&policy, &expecting, NOW);
    let told: Vec<String> = failures
        .iter()
        .map(|one| format!("{} {} {} {}", one.place, one.principal, one.expected.as_str(), one.reason))
        .collect();
    assert_eq!(
        told,
        [
            "expect[1] user:cid allow `trace.read` is denied to `group:juniors` on `folder:/team`",
            "expect[2] user:bob allow no grant gives `trace.write` on `experiment:1`",
            "expect[2] user:bob deny `CAN_READ` is allowed to `group:analysts` on `experiment:1`",
            "expect[3] user:eve allow `user:eve` is deactivated",
            "expect[4] user:bob allow no grant gives `USE_CATALOG` on `catalog:main`",
            "expect[4] user:bob allow `trace.read` means nothing on a table",
        ]
    );
    assert_eq!(failures[2].expected, Verdict::Deny);
}

#[test]
fn past_calls_are_decided_again_and_the_plans_part_is_told_from_others() {
    let before = world();
    let document = document(json!({"grants": [{"on": "experiment:1", "allow": [
        {"to": "user:dan", "privilege": "CAN_READ"},
    ]}]}));
    let (_, after) = planned(&before, &document);
    let call = |who: &str, privileges: &[&str], securables: &[&str], allowed: bool| PastCall {
        principal: name(who),
        privileges: privileges.iter().map(|one| name(one)).collect(),
        securables: securables.iter().map(|one| name(one)).collect(),
        allowed,
    };
    let calls = BTreeMap::from([
        (call("user:bob", &["trace.read"], &["experiment:1"], true), 12),
        (call("user:bob", &["trace.read"], &["experiment:2"], true), 5),
        (call("user:dan", &["trace.read"], &["experiment:1"], false), 3),
        // It was allowed by a grant that has ended since: no plan of today has a part in it.
        (call("user:dan", &["trace.write"], &["experiment:1"], true), 2),
        // Which privilege was needed where is not in the record.
        (call("user:cid", &["trace.read", "run.write"], &["experiment:1", "experiment:3"], true), 4),
        (call("user:dan", &["trace.read", "run.read"], &["experiment:1", "experiment:9"], false), 1),
    ]);
    let replay = replay(&before, &after, &calls, NOW);
    let lines = |replayed: &[Replayed]| -> Vec<String> {
        let line = |one: &Replayed| {
            format!("{} {} {} {} {}", one.calls, one.principal, one.privilege, one.securable, one.certain)
        };
        replayed.iter().map(line).collect()
    };
    assert_eq!(
        lines(&replay.would_be_refused),
        ["12 user:bob trace.read experiment:1 true", "4 user:cid trace.read experiment:1 false",]
    );
    assert_eq!(lines(&replay.would_be_allowed), ["3 user:dan trace.read experiment:1 true"]);
    assert_eq!((replay.calls, replay.already_otherwise), (27, 2));
}

#[test]
fn a_listing_is_in_the_order_of_names_and_leaves_out_what_has_ended() {
    let policy = world();
    let listing = Listing::of(&policy, NOW);
    let groups: Vec<String> =
        listing.groups.iter().map(|(group, members)| format!("{group} {}", members.len())).collect();
    assert_eq!(groups, ["group:admins 1", "group:analysts 2", "group:juniors 2"]);
    let ids: Vec<i64> = listing.grants.iter().map(|grant| grant.id.0).collect();
    assert_eq!(ids, [2, 1, 5, 3]);
}
