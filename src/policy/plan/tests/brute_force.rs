//! Gains and losses as worked out from the changes, against a comparison of everybody with everything.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::super::super::levels::{Levels, PrivilegeSet};
use super::super::super::snapshot::{Builder, Snapshot};
use super::super::{
    Bounds, Document, Effects, GroupMembers, Pair, Scope, SecurableGrants, WrittenGrant, refusals,
};
use super::{NOW, name, planned};
use crate::access::{
    Caller, Effect, Given, GrantId, Principal, PrincipalKind, Proof, Rule, Scheme, Securable,
};
use crate::clock::UnixMillis;

const PRINCIPALS: [&str; 11] = [
    "group:admins",
    "group:users",
    "group:a",
    "group:b",
    "group:c",
    "user:ann",
    "user:bob",
    "user:cid",
    "service_principal:agent",
    "user:gone",
    "user:unknown",
];
const SECURABLES: [&str; 15] = [
    "workspace:default",
    "folder:/t",
    "folder:/t/u",
    "experiment:1",
    "experiment:2",
    "experiment:3",
    "registered_model:m",
    "warehouse:w",
    "metastore:default",
    "catalog:main",
    "schema:main.s",
    "table:main.s.one",
    "table:main.s.two",
    "view:main.s.v",
    "volume:main.s.files",
];

/// Principal, what is given, whether it is denied, and when it ends.
type Listed = (usize, usize, bool, usize);

#[derive(Debug, Clone)]
struct World {
    edges: Vec<(usize, usize)>,
    grants: Vec<(usize, usize, usize, bool, usize)>,
    listed_groups: Vec<(usize, Vec<usize>)>,
    listed: Vec<(usize, Vec<Listed>)>,
    all: bool,
}

fn worlds() -> impl Strategy<Value = World> {
    let principal = || 0..PRINCIPALS.len();
    let securable = || 0..SECURABLES.len();
    let given = || 0..Given::COUNT;
    (
        prop::collection::vec((0_usize..5, principal()), 0..10),
        prop::collection::vec(
            (principal(), securable(), given(), prop::bool::weighted(0.25), 0_usize..4),
            0..30,
        ),
        prop::collection::vec((0_usize..5, prop::collection::vec(principal(), 0..4)), 0..3),
        prop::collection::vec(
            (
                securable(),
                prop::collection::vec((principal(), given(), prop::bool::weighted(0.25), 0_usize..4), 0..4),
            ),
            0..4,
        ),
        prop::bool::weighted(0.2),
    )
        .prop_map(|(edges, grants, listed_groups, listed, all)| World {
            edges,
            grants,
            listed_groups,
            listed,
            all,
        })
}

fn principal(index: usize) -> Principal {
    name(PRINCIPALS[index])
}

/// Groups hold only what comes after them, so that no circle can be; nobody holds `users` but by being it.
fn fits(group: usize, member: usize) -> bool {
    member > group && member != 1
}

fn ends(which: usize) -> Option<UnixMillis> {
    [None, None, Some(UnixMillis(5)), Some(UnixMillis(NOW.0 + 1))][which]
}

fn given(index: usize) -> Given {
    Given::every().nth(index).unwrap()
}

fn before(world: &World) -> Snapshot {
    let mut builder = Builder::new(Arc::new(Levels::builtin().unwrap()));
    for known in &PRINCIPALS[..PRINCIPALS.len() - 1] {
        builder.principal(&name(known), *known != "user:gone");
    }
    for (securable, parent) in [("experiment:1", "folder:/t"), ("experiment:2", "folder:/t/u")] {
        builder.place(&name(securable), &name(parent));
    }
    for securable in
        ["experiment:3", "table:main.s.one", "table:main.s.two", "view:main.s.v", "volume:main.s.files"]
    {
        let securable: Securable = name(securable);
        builder.place(&securable, &securable.parent().unwrap());
    }
    for (group, member) in world.edges.iter().filter(|(group, member)| fits(*group, *member)) {
        builder.member(&principal(*group), &principal(*member));
    }
    for (id, (who, on, what, deny, end)) in (1..).zip(&world.grants) {
        let (on, what): (Securable, Given) = (name(SECURABLES[*on]), given(*what));
        if what.grantable_on(on.kind) && *who != PRINCIPALS.len() - 1 {
            builder.grant(&Rule {
                id: GrantId(id),
                principal: principal(*who),
                securable: on,
                privilege: what.as_str().to_owned(),
                effect: if *deny && what != Given::OWNER { Effect::Deny } else { Effect::Allow },
                expires_at: ends(*end),
            });
        }
    }
    builder.build(3)
}

fn document(world: &World) -> Document {
    let mut document =
        Document { scope: if world.all { Scope::All } else { Scope::Listed }, ..Document::default() };
    let groups: BTreeMap<usize, &Vec<usize>> =
        world.listed_groups.iter().map(|(group, members)| (*group, members)).collect();
    for (group, members) in groups {
        let members: BTreeSet<usize> =
            members.iter().copied().filter(|member| fits(group, *member)).collect();
        let members = members.into_iter().map(principal).collect();
        document.groups.push(GroupMembers { group: principal(group), members });
    }
    let listed: BTreeMap<usize, &Vec<_>> = world.listed.iter().map(|(on, grants)| (*on, grants)).collect();
    for (on, grants) in listed {
        let on: Securable = name(SECURABLES[on]);
        let mut entry = SecurableGrants { on, allow: Vec::new(), deny: Vec::new() };
        let mut seen = HashSet::new();
        for (who, what, deny, end) in grants {
            let what = given(*what);
            if seen.insert((who, what.as_str(), deny))
                && what.grantable_on(entry.on.kind)
                && what != Given::OWNER
            {
                let list = if *deny { &mut entry.deny } else { &mut entry.allow };
                list.push(WrittenGrant {
                    to: principal(*who),
                    privilege: what.as_str().to_owned(),
                    until: ends(*end),
                    reason: None,
                });
            }
        }
        document.grants.push(entry);
    }
    document
}

/// Everybody against everything: callers that policy knows, one that it does not, and one of each group by credential.
fn brute(before: &Snapshot, after: &Snapshot, groups: bool) -> (Vec<Pair>, Vec<Pair>) {
    let (mut gains, mut loses) = (Vec::new(), Vec::new());
    for (_, who) in after.principals() {
        let nobody = Principal { kind: PrincipalKind::User, name: String::new() };
        let proof = Proof { scheme: Scheme::Token, credential: String::new() };
        let caller = match (who.kind, who.name.as_str()) {
            (PrincipalKind::Group, "users") => Caller::new(nobody, Vec::new(), proof),
            (PrincipalKind::Group, _) if !groups => continue,
            (PrincipalKind::Group, _) => Caller::new(nobody, vec![who.clone()], proof),
            _ => Caller::new(who.clone(), Vec::new(), proof),
        };
        for (_, on) in after.securables() {
            let effective = |policy: &Snapshot| policy.effective_of(&policy.subject_of(&caller), on, NOW);
            let (old, new) = (effective(before), effective(after));
            let pair =
                |privileges: PrivilegeSet| Pair { principal: who.clone(), securable: on.clone(), privileges };
            if !new.minus(old).is_empty() {
                gains.push(pair(new.minus(old)));
            }
            if !old.minus(new).is_empty() {
                loses.push(pair(old.minus(new)));
            }
        }
    }
    for list in [&mut gains, &mut loses] {
        list.sort_by(|one, other| {
            (&one.principal, &one.securable).cmp(&(&other.principal, &other.securable))
        });
    }
    (gains, loses)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn gains_and_losses_are_those_of_everybody_and_everything(world in worlds(), groups in any::<bool>()) {
        let (before, document) = (before(&world), document(&world));
        prop_assert_eq!(document.problems(), []);
        let (difference, after) = planned(&before, &document);
        prop_assert!(refusals(&before, &difference).is_empty());
        let effects = Effects::between(&before, &after, &difference.edits, groups, NOW, Bounds::default());
        let (gains, loses) = brute(&before, &after, groups);
        prop_assert_eq!(&effects.gains, &gains);
        prop_assert_eq!(&effects.loses, &loses);
        prop_assert_eq!((effects.gaining, effects.losing), (gains.len() as u64, loses.len() as u64));
        prop_assert!(effects.complete);
        // Once applied, the same document changes nothing more.
        let (again, _) = planned(&after, &document);
        prop_assert!(again.is_empty(), "{:?}", again.changes);
    }
}
