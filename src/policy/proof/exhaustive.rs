//! Tiny worlds, all of them: two users, a group, a chain of three securables, every subset of a few grants, every
//! membership, every decision.
//!
//! casbin would need days, so each world is judged by two masks of grants per check, those that speak for and
//! those that speak against. Every 199th world goes to casbin too, so that the masks prove nothing by themselves.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::{Levels, casbin_rules};
use super::meaning::{Caller, Meaning};
use super::oracle::Oracle;
use super::rendering;
use super::world::{World, admins, users};
use crate::access::{Effect, GrantId, PolicyEdit, Principal, Privilege, Rule, Securable};
use crate::clock::UnixMillis;

struct Tiny {
    chain: [&'static str; 3],
    /// Principal, securable, privilege, effect; in the order in which short runs take them.
    grants: &'static [(&'static str, &'static str, &'static str, Effect)],
    asked: &'static [&'static str],
}

use Effect::{Allow, Deny};

const CATALOG: Tiny = Tiny {
    chain: ["catalog:c", "schema:c.s", "table:c.s.t"],
    grants: &[
        ("group:g", "catalog:c", "USE_CATALOG", Allow),
        ("group:g", "schema:c.s", "USE_SCHEMA", Allow),
        ("group:g", "catalog:c", "SELECT", Allow),
        ("user:u", "schema:c.s", "SELECT", Deny),
        ("user:u", "schema:c.s", "OWNER", Allow),
        ("group:g", "catalog:c", "ALL_PRIVILEGES", Allow),
        ("group:g", "schema:c.s", "MANAGE", Allow),
        ("user:u", "table:c.s.t", "OWNER", Allow),
        ("group:admins", "catalog:c", "USE_CATALOG", Deny),
        ("user:u", "schema:c.s", "OWNER", Deny),
        ("group:users", "catalog:c", "USE_CATALOG", Allow),
        ("group:g", "table:c.s.t", "ALL_PRIVILEGES", Deny),
        ("user:v", "catalog:c", "OWNER", Allow),
        ("user:u", "catalog:c", "BROWSE", Allow),
    ],
    asked: &[
        "USE_CATALOG",
        "USE_SCHEMA",
        "SELECT",
        "MODIFY",
        "MANAGE",
        "BROWSE",
        "schema.enter",
        "CREATE_TABLE",
    ],
};

const EXPERIMENTS: Tiny = Tiny {
    chain: ["folder:/f", "folder:/f/g", "experiment:1"],
    grants: &[
        ("group:g", "folder:/f", "CAN_READ", Allow),
        ("user:u", "folder:/f/g", "CAN_EDIT", Allow),
        ("user:u", "experiment:1", "trace.read", Deny),
        ("group:g", "folder:/f/g", "CAN_LIST", Deny),
        ("group:users", "workspace:default", "CAN_LIST", Allow),
        ("user:v", "experiment:1", "CAN_MANAGE", Allow),
        ("group:admins", "experiment:1", "ALL", Deny),
        ("user:v", "workspace:default", "CAN_EDIT", Deny),
        ("user:u", "workspace:default", "ALL", Allow),
        ("group:users", "folder:/f", "trace.write", Deny),
        ("group:g", "experiment:1", "CAN_INGEST", Allow),
        ("group:admins", "folder:/f", "CAN_READ", Allow),
        ("user:u", "folder:/f", "CAN_MANAGE", Deny),
    ],
    asked: &["experiment.view", "trace.list", "trace.read", "trace.write", "experiment.manage", "SELECT"],
};

impl Tiny {
    fn world(&self, grants: usize, subset: usize, memberships: usize) -> World {
        let (u, v, g) =
            ("user:u".parse().unwrap(), "user:v".parse().unwrap(), Principal::group("g").unwrap());
        let mut world = World::empty();
        world.principals = [&u, &v, &g].map(|one: &Principal| (one.clone(), true)).into();
        let edges = [
            (g.clone(), u.clone()),
            (g.clone(), v.clone()),
            (admins(), v),
            (admins(), g.clone()),
            (g, users()),
        ];
        // `users` inside `admins` through the group is what the store refuses.
        let edges = edges.into_iter().enumerate().filter(|(bit, _)| memberships >> bit & 1 == 1);
        world.memberships = edges.map(|(_, edge)| edge).collect();
        if self.chain[2].starts_with("experiment") {
            world.edit(&PolicyEdit::Place {
                securable: self.chain[2].parse().unwrap(),
                parent: self.chain[1].parse().unwrap(),
            });
        }
        for (bit, (principal, securable, privilege, effect)) in self.grants[..grants].iter().enumerate() {
            if subset >> bit & 1 == 1 {
                world.edit(&PolicyEdit::Grant(Rule {
                    id: GrantId(bit as i64 + 1),
                    principal: principal.parse().unwrap(),
                    securable: securable.parse().unwrap(),
                    privilege: (*privilege).to_owned(),
                    effect: *effect,
                    expires_at: None,
                }));
            }
        }
        world
    }

    /// All worlds of the first so many grants; how many decisions, and how many of them casbin made too.
    fn exhaust(&self, grants: usize) -> (u64, u64) {
        let levels = Arc::new(Levels::builtin().unwrap());
        let meaning = Meaning::new();
        let on: Vec<Securable> = self.chain.iter().map(|name| name.parse().unwrap()).collect();
        let asked: Vec<Privilege> = self.asked.iter().map(|name| name.parse().unwrap()).collect();
        let who = ["user:u", "user:v"].map(|name| name.parse::<Principal>().unwrap());
        let (mut decisions, mut judged, mut number) = (0, 0, 0_usize);
        for memberships in (0..32).filter(|edges| edges & 0b11000 != 0b11000) {
            let full = self.world(grants, usize::MAX, memberships);
            // For each principal and question: per check on the way, the grants for and the grants against.
            let mut questions = Vec::new();
            for (principal, securable) in who.iter().flat_map(|who| on.iter().map(move |on| (who, on))) {
                let caller = Caller::new(&full, principal, &[]);
                let masks = |effect, privilege: Privilege, on: &Securable| {
                    let speaking = meaning.speaking(&caller, privilege, on);
                    speaking
                        .iter()
                        .filter(|said| said.1 == effect)
                        .fold(0, |mask, (id, _)| mask | 1_usize << id.0)
                };
                let administers = caller.acts_as.contains(&admins());
                for privilege in &asked {
                    let way: Option<Vec<(usize, usize)>> =
                        rendering::gates(*privilege, securable).map(|checks| {
                            let pair = |(privilege, on): &(Privilege, Securable)| {
                                let against = masks(Deny, *privilege, on);
                                (masks(Allow, *privilege, on), if administers { 0 } else { against })
                            };
                            checks.iter().map(pair).collect()
                        });
                    questions.push((principal, securable, *privilege, way));
                }
            }
            for subset in 0..1_usize << grants {
                let world = self.world(grants, subset, memberships);
                let snapshot = world.build(&levels, 1);
                // Bit 0 is the built-in grant, which is always there.
                let present = subset << 1 | 1;
                let mut oracle = number.is_multiple_of(199).then(|| {
                    let mut lines: BTreeSet<_> = casbin_rules::export(&snapshot, world.now).collect();
                    lines.extend(rendering::relations(&world, &who, &on));
                    Oracle::load(casbin_rules::MODEL, lines)
                });
                number += 1;
                let mut last: Option<(&Principal, &Securable, _)> = None;
                for (principal, securable, privilege, way) in &questions {
                    let expected = way.as_ref().is_some_and(|way| {
                        way.iter().all(|(allow, deny)| allow & present != 0 && deny & present == 0)
                    });
                    let effective = match last {
                        Some((who, on, effective)) if who == *principal && on == *securable => effective,
                        _ => snapshot.effective(principal, securable, UnixMillis(0)),
                    };
                    last = Some((*principal, *securable, effective));
                    let about =
                        || format!("{principal} {privilege} on {securable}: {:#?}", rendering::facts(&world));
                    assert_eq!(effective.has(*privilege), expected, "{}", about());
                    decisions += 1;
                    if let Some(oracle) = &mut oracle {
                        let requests = rendering::requests(principal, *privilege, securable);
                        assert_eq!(oracle.allows(&requests), expected, "casbin: {}", about());
                        judged += 1;
                    }
                }
            }
        }
        (decisions, judged)
    }
}

#[test]
fn every_tiny_world_is_decided_as_the_rule_says() {
    for (world, grants) in [(CATALOG, 9), (EXPERIMENTS, 8)] {
        let (decisions, judged) = world.exhaust(grants);
        assert_eq!(decisions as usize, (24 << grants) * 6 * world.asked.len());
        assert!(judged > 500);
    }
}

#[test]
#[ignore = "long: make prove"]
fn every_tiny_world_of_more_grants_is_decided_as_the_rule_says() {
    for world in [CATALOG, EXPERIMENTS] {
        let (decisions, judged) = world.exhaust(world.grants.len());
        println!("{}: {decisions} decisions, {judged} of them made by casbin too", world.chain[2]);
    }
}
