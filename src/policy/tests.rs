use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::access::{
    Caller, Check, Effect, ExperimentId, Grant, GrantId, NewGrant, PolicyEdit, Principal, Privilege, Proof,
    Rule, Scheme, Securable, Verdict,
};
use crate::clock::{ManualClock, UnixMillis};
use crate::store::PolicyState;

fn caller(text: &str) -> Caller {
    let proof = Proof { scheme: Scheme::Token, credential: "t".to_owned() };
    Caller::new(text.parse().unwrap(), Vec::new(), proof)
}

fn grant(id: i64, principal: &str, securable: &str, privilege: &str, effect: Effect) -> Grant {
    Grant {
        id: GrantId(id),
        grant: NewGrant {
            principal: principal.parse().unwrap(),
            securable: securable.parse().unwrap(),
            privilege: privilege.to_owned(),
            effect,
            reason: None,
            expires_at: None,
        },
        granted_by: "user:admin".to_owned(),
        granted_at: UnixMillis(0),
    }
}

fn publish(policy: &Policy, state: &PolicyState) {
    let mut builder = policy.builder();
    builder.state(state);
    policy.publish(builder.build(state.version), Instant::now());
}

struct World {
    policy: Policy,
    clock: ManualClock,
}

fn world(state: PolicyState) -> World {
    let clock = ManualClock::at(1_000);
    let policy = Policy::new(Levels::builtin().unwrap(), Arc::new(clock.clone()), Duration::from_secs(60), 1);
    publish(&policy, &state);
    World { policy, clock }
}

impl World {
    fn may(&self, who: &str, privilege: Privilege, on: &str) -> bool {
        let check = Check::new(privilege, on.parse().unwrap());
        self.policy.view().unwrap().allows(&caller(who), check).unwrap()
    }
}

fn state(grants: Vec<Grant>) -> PolicyState {
    PolicyState { version: 1, grants, ..PolicyState::default() }
}

#[test]
fn the_three_levels_of_the_reference_platform_are_fixed() {
    let levels = Levels::builtin().unwrap();
    let bundle = |level: &str| -> Vec<&str> {
        let mut names: Vec<&str> =
            Privilege::ALL.iter().filter(|p| levels.gives(level, **p)).map(|p| p.as_str()).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(
        bundle("CAN_READ"),
        [
            "artifact.read",
            "assessment.read",
            "experiment.view",
            "model.read",
            "run.read",
            "scorer.read",
            "trace.list",
            "trace.read"
        ]
    );
    for privilege in ["trace.write", "trace.tag", "run.delete", "artifact.write", "experiment.edit"] {
        assert!(bundle("CAN_EDIT").contains(&privilege) && !bundle("CAN_READ").contains(&privilege));
    }
    for privilege in ["experiment.manage", "experiment.delete", "monitoring.manage"] {
        assert!(bundle("CAN_MANAGE").contains(&privilege) && !bundle("CAN_EDIT").contains(&privilege));
    }
    assert_eq!(bundle("CAN_LIST"), ["experiment.view", "trace.list"]);
    assert_eq!(bundle("CAN_INGEST"), ["experiment.view", "trace.write"]);
    assert_eq!(bundle("CAN_RUN"), bundle("CAN_EDIT"));
    assert!(!levels.gives("CAN_FLY", Privilege::TraceRead));
}

#[test]
fn nothing_is_allowed_without_a_grant_and_nothing_before_a_policy_is_loaded() {
    let world = world(state(vec![]));
    for privilege in Privilege::ALL {
        assert!(!world.may("user:carol", *privilege, "experiment:1"), "{privilege}");
        assert!(!world.may("user:carol", *privilege, "workspace:default"), "{privilege}");
    }
    let empty =
        Policy::new(Levels::builtin().unwrap(), Arc::new(ManualClock::at(0)), Duration::from_secs(1), 0);
    assert_eq!(empty.view().err(), Some(Unavailable::NotLoaded));
}

#[test]
fn a_level_reaches_members_of_nested_groups_and_nobody_else() {
    let mut state = state(vec![grant(1, "group:analysts", "experiment:1", "CAN_READ", Effect::Allow)]);
    state.memberships = vec![
        (Principal::group("analysts").unwrap(), Principal::group("juniors").unwrap()),
        (Principal::group("juniors").unwrap(), Principal::user("bob").unwrap()),
    ];
    let world = world(state);
    assert!(world.may("user:bob", Privilege::TraceRead, "experiment:1"));
    assert!(!world.may("user:bob", Privilege::TraceWrite, "experiment:1"));
    assert!(!world.may("user:bob", Privilege::TraceRead, "experiment:2"));
    // A service principal or group of the same name is somebody else.
    assert!(!world.may("service_principal:bob", Privilege::TraceRead, "experiment:1"));
    assert!(!world.may("user:analysts", Privilege::TraceRead, "experiment:1"));
}

#[test]
fn an_explicit_deny_beats_every_allow_but_an_administrators() {
    let mut state = state(vec![
        grant(1, "user:alice", "experiment:1", "CAN_MANAGE", Effect::Allow),
        grant(2, "user:alice", "workspace:default", "trace.read", Effect::Deny),
        grant(3, "group:admins", "experiment:1", "ALL", Effect::Deny),
    ]);
    state.memberships = vec![(Principal::group("admins").unwrap(), Principal::user("root").unwrap())];
    let world = world(state);
    assert!(!world.may("user:alice", Privilege::TraceRead, "experiment:1"));
    assert!(world.may("user:alice", Privilege::TraceWrite, "experiment:1"));
    assert!(world.may("user:root", Privilege::TraceRead, "experiment:1"));
    let view = world.policy.view().unwrap();
    let check = Check::new(Privilege::TraceRead, "experiment:1".parse().unwrap());
    let decision = view.decide(&caller("user:alice"), &[check]).unwrap();
    assert_eq!((decision.verdict, decision.deciding), (Verdict::Deny, vec![GrantId(2)]));
}

#[test]
fn a_grant_ends_at_its_time() {
    let mut ends = grant(1, "user:alice", "experiment:1", "CAN_READ", Effect::Allow);
    ends.grant.expires_at = Some(UnixMillis(2_000));
    let world = world(state(vec![ends]));
    assert!(world.may("user:alice", Privilege::TraceRead, "experiment:1"));
    world.clock.advance(999);
    assert!(world.may("user:alice", Privilege::TraceRead, "experiment:1"));
    world.clock.advance(1);
    assert!(!world.may("user:alice", Privilege::TraceRead, "experiment:1"));
}

#[test]
fn experiments_inherit_from_the_folders_above_them() {
    let mut state = state(vec![grant(1, "user:ann", "folder:/Users/ann", "CAN_EDIT", Effect::Allow)]);
    state.parents = vec![("experiment:7".parse().unwrap(), "folder:/Users/ann/deep".parse().unwrap())];
    let world = world(state);
    assert!(world.may("user:ann", Privilege::RunWrite, "experiment:7"));
    assert!(!world.may("user:ann", Privilege::RunWrite, "experiment:8"));
    assert!(!world.may("user:ann", Privilege::RunWrite, "folder:/Users"));
}

#[test]
fn every_check_must_be_allowed_and_no_check_is_a_deny() {
    let world = world(state(vec![grant(1, "user:alice", "experiment:1", "CAN_READ", Effect::Allow)]));
    let view = world.policy.view().unwrap();
    let one = Check::new(Privilege::TraceRead, "experiment:1".parse().unwrap());
    let two = Check::new(Privilege::TraceRead, "experiment:2".parse().unwrap());
    let alice = caller("user:alice");
    let both = view.decide(&alice, &[one.clone(), two.clone()]).unwrap();
    assert_eq!((both.verdict, both.refused), (Verdict::Deny, Some(two)));
    assert_eq!(view.decide(&alice, &[]).unwrap().verdict, Verdict::Deny);
    let (decision, permit) = view.authorize(Some(&alice), &Requirement::All(vec![])).unwrap();
    assert!(decision.verdict == Verdict::Deny && permit.is_none());
    assert!(view.authorize(None, &Requirement::Authenticated).unwrap().1.is_none());
    assert!(view.authorize(None, &Requirement::All(vec![one.clone()])).unwrap().1.is_none());
    assert!(view.authorize(Some(&alice), &Requirement::All(vec![one])).unwrap().1.is_some());
}

#[test]
fn a_deactivated_principal_is_denied_even_as_administrator() {
    let root = Principal::user("root").unwrap();
    let mut state = state(vec![]);
    state.memberships = vec![(Principal::group("admins").unwrap(), root.clone())];
    state.inactive = vec![root];
    let world = world(state);
    assert!(!world.may("user:root", Privilege::TraceRead, "experiment:1"));
    assert!(!world.policy.view().unwrap().is_admin(&caller("user:root")));
    let view = world.policy.view().unwrap();
    assert!(view.authorize(Some(&caller("user:root")), &Requirement::Authenticated).unwrap().1.is_none());
}

#[test]
fn listing_names_the_experiments_or_says_that_grants_cannot_tell() {
    let world = world(state(vec![
        grant(1, "user:alice", "experiment:3", "CAN_LIST", Effect::Allow),
        grant(2, "user:alice", "experiment:1", "CAN_READ", Effect::Allow),
        grant(3, "user:alice", "experiment:2", "run.read", Effect::Allow),
        grant(4, "group:users", "workspace:default", "experiment.create", Effect::Allow),
        grant(5, "user:fay", "folder:/Users/fay", "CAN_READ", Effect::Allow),
    ]));
    let view = world.policy.view().unwrap();
    let ids = |list: &[&str]| Listed::Only(list.iter().map(|id| ExperimentId::parse(id).unwrap()).collect());
    let see = Privilege::ExperimentView;
    assert_eq!(view.listed(&caller("user:alice"), see).unwrap(), ids(&["1", "3"]));
    assert_eq!(view.listed(&caller("user:carol"), see).unwrap(), ids(&[]));
    assert_eq!(view.listed(&caller("user:fay"), see).unwrap(), Listed::Any);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "no runtime here: nobody else waits")]
fn an_older_policy_never_replaces_a_newer_one_and_an_unconfirmed_one_is_refused() {
    let clock = ManualClock::at(0);
    let policy = Policy::new(Levels::builtin().unwrap(), Arc::new(clock), Duration::ZERO, 0);
    publish(&policy, &PolicyState { version: 5, ..PolicyState::default() });
    publish(&policy, &PolicyState { version: 4, ..PolicyState::default() });
    assert_eq!(policy.version(), 5);
    std::thread::sleep(Duration::from_millis(5));
    assert!(matches!(policy.view(), Err(Unavailable::Stale { .. })));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "no runtime here: nobody else waits")]
fn a_policy_half_way_to_the_stores_is_never_in_force() {
    let clock = ManualClock::at(0);
    let staleness = Duration::from_millis(200);
    let policy = Policy::new(Levels::builtin().unwrap(), Arc::new(clock), staleness, 0);
    let kept = grant(1, "user:alice", "experiment:1", "CAN_READ", Effect::Allow).rule();
    let unknown = grant(9, "user:alice", "experiment:9", "CAN_READ", Effect::Allow).rule();
    publish(&policy, &state(vec![grant(1, "user:alice", "experiment:1", "CAN_READ", Effect::Allow)]));
    std::thread::sleep(staleness + Duration::from_millis(50));
    let (first, second) = ([PolicyEdit::Grant(unknown.clone())], [PolicyEdit::Revoke(kept.clone())]);
    let missed = [PolicyEdit::Revoke(Rule { id: GrantId(77), ..unknown })];
    // The last of three steps cannot be taken: none is, and nothing is vouched for.
    let steps = [(2, &first[..]), (3, &second[..]), (4, &missed[..])];
    assert!(policy.advance(steps, Instant::now()).is_err());
    assert!(policy.advance([(3, &second[..])], Instant::now()).is_err(), "2 is missing");
    assert_eq!(policy.version(), 1);
    assert!(matches!(policy.view(), Err(Unavailable::Stale { .. })));
    // All of them at once.
    policy.advance([(1, &first[..]), (2, &first[..]), (3, &second[..])], Instant::now()).unwrap();
    let check = Check::new(Privilege::TraceRead, "experiment:1".parse().unwrap());
    let view = policy.view().unwrap();
    assert_eq!(view.version(), 3);
    assert!(!view.allows(&caller("user:alice"), check).unwrap());
}

#[test]
fn casbins_own_enforcer_agrees_when_it_is_given_the_whole_policy() {
    use casbin::prelude::*;
    use futures_util::FutureExt;
    let principals = ["user:a", "user:b", "group:g", "group:h", "group:admins"];
    let securables = ["experiment:1", "experiment:2", "folder:/f", "workspace:default"];
    let privileges = ["CAN_READ", "CAN_EDIT", "trace.read", "ALL"];
    // A small generator, so that a failure names its seed.
    for seed in 0..200_u64 {
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut pick = |bound: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % bound as u64) as usize
        };
        let grants: Vec<Grant> = (1..=pick(8) as i64)
            .map(|id| {
                let effect = if pick(4) == 0 { Effect::Deny } else { Effect::Allow };
                grant(id, principals[pick(5)], securables[pick(4)], privileges[pick(4)], effect)
            })
            .collect();
        let edges = [
            ("group:g", "user:a"),
            ("group:h", "group:g"),
            ("group:admins", "user:b"),
            ("group:h", "user:b"),
        ];
        let memberships: Vec<(Principal, Principal)> = edges
            .into_iter()
            .filter(|_| pick(2) == 0)
            .map(|(group, member)| (group.parse().unwrap(), member.parse().unwrap()))
            .collect();
        let parents: Vec<(Securable, Securable)> =
            vec![("experiment:1".parse().unwrap(), "folder:/f".parse().unwrap())];
        let model = DefaultModel::from_str(include_str!("../../policies/model.conf")).now_or_never();
        let mut oracle =
            Enforcer::new(model.unwrap().unwrap(), MemoryAdapter::default()).now_or_never().unwrap().unwrap();
        let mut links: Vec<Vec<String>> = vec![
            vec!["experiment:1".into(), "folder:/f".into()],
            vec!["folder:/f".into(), "workspace:default".into()],
            vec!["experiment:2".into(), "workspace:default".into()],
        ];
        links.extend(memberships.iter().map(|(group, member)| vec![member.to_string(), group.to_string()]));
        let levels = Levels::builtin().unwrap();
        for level in ["CAN_READ", "CAN_EDIT", "ALL"] {
            let given = Privilege::ALL.iter().filter(|privilege| levels.gives(level, **privilege));
            links.extend(given.map(|privilege| vec![privilege.to_string(), level.to_owned()]));
        }
        oracle.add_named_grouping_policies("g", links).now_or_never().unwrap().unwrap();
        let admin = grant(0, "group:admins", "workspace:default", "ALL", Effect::Allow);
        for rule in std::iter::once(&admin).chain(&grants) {
            oracle.add_policy(casbin_rules::policy_line(&rule.rule())).now_or_never().unwrap().unwrap();
        }
        let world = world(PolicyState { version: 1, grants, memberships, parents, ..PolicyState::default() });
        for who in ["user:a", "user:b"] {
            for on in securables {
                for privilege in [Privilege::TraceRead, Privilege::TraceWrite, Privilege::ExperimentManage] {
                    let expected = oracle.enforce((who, on, privilege.as_str())).unwrap();
                    assert_eq!(
                        world.may(who, privilege, on),
                        expected,
                        "seed {seed}: {who} {privilege} {on}"
                    );
                }
            }
        }
    }
}

mod catalog;
mod mismatches;
mod narrowing;
