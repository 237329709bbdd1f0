//! What must hold of every policy whatever it says, over the same random worlds.

use std::sync::Arc;

use proptest::prelude::*;

use super::super::levels::PrivilegeSet;
use super::super::{Builder, Levels, Snapshot};
use super::generate::Cast;
use super::random::Random;
use super::world::{World, admins, users};
use crate::access::{Effect, GrantId, PolicyEdit, Principal, Privilege, Rule, Securable};

struct Given {
    random: Random,
    cast: Cast,
    world: World,
    levels: Arc<Levels>,
    who: Vec<Principal>,
    on: Vec<Securable>,
}

fn given(seed: u64) -> Given {
    let mut random = Random::new(seed);
    let mut cast = Cast::random(&mut random);
    let world = cast.world(&mut random);
    let (who, on) = cast.questions(&world);
    Given { random, cast, world, levels: Arc::new(Levels::builtin().unwrap()), who, on }
}

impl Given {
    fn build(&self) -> Snapshot {
        self.world.build(&self.levels, 1)
    }

    /// Who may do what on what, all of it.
    fn everything(&self, snapshot: &Snapshot) -> Vec<(&Principal, &Securable, PrivilegeSet)> {
        let pairs = self.who.iter().flat_map(|who| self.on.iter().map(move |on| (who, on)));
        pairs.map(|(who, on)| (who, on, snapshot.effective(who, on, self.world.now))).collect()
    }

    fn administers(&self, who: &Principal) -> bool {
        self.world.acts_as(who, &[]).contains(&admins())
    }
}

fn lost(before: PrivilegeSet, after: PrivilegeSet) -> Vec<Privilege> {
    before.minus(after).iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn nothing_granted_means_denied(seed: u64) {
        let mut given = given(seed);
        given.world.rules.clear();
        for (who, on, may) in given.everything(&given.build()) {
            prop_assert!(may.is_empty() || given.administers(who), "{who} on {on}: {may:?}");
        }
    }

    #[test]
    fn a_deny_beats_every_allow_but_an_administrators(seed: u64) {
        let mut given = given(seed);
        let before = given.build();
        let (whom, where_) = (given.random.pick(&given.who).clone(), given.random.pick(&given.on).clone());
        let what = *given.random.pick(Privilege::ALL);
        let deny = Rule {
            id: GrantId(1_000_000),
            principal: whom.clone(),
            securable: where_.clone(),
            privilege: what.to_string(),
            effect: Effect::Deny,
            expires_at: None,
        };
        let after = before.apply(2, &[PolicyEdit::Grant(deny)]).unwrap();
        for ((who, on, had), (_, _, has)) in given.everything(&before).into_iter().zip(given.everything(&after)) {
            prop_assert!(lost(has, had).is_empty(), "a deny gave {who} something on {on}");
            let meant = given.world.acts_as(who, &[]).contains(&whom) && given.world.chain(on).contains(&where_);
            if given.administers(who) {
                prop_assert_eq!(had, has);
            } else if meant {
                prop_assert!(!has.has(what), "{who} {what} on {on}");
            }
        }
    }

    #[test]
    fn a_grant_never_narrows_and_a_revoke_never_widens_unless_it_is_a_deny(seed: u64) {
        let given = given(seed);
        let full = given.build();
        let all = given.everything(&full);
        for rule in given.world.rules.values() {
            let without = full.apply(2, &[PolicyEdit::Revoke(rule.clone())]).unwrap();
            let again = without.apply(3, &[PolicyEdit::Grant(rule.clone())]).unwrap();
            prop_assert_eq!(&given.everything(&again), &all);
            for ((who, on, with), (_, _, without)) in all.iter().zip(given.everything(&without)) {
                let wrong = match rule.effect {
                    Effect::Allow => lost(without, *with),
                    Effect::Deny => lost(*with, without),
                };
                prop_assert!(wrong.is_empty(), "{rule:?} has {wrong:?} the wrong way round for {who} on {on}");
            }
        }
    }

    #[test]
    fn what_policy_never_heard_of_is_denied_unless_users_or_what_is_above_it_grant(seed: u64) {
        let mut given = given(seed);
        let above_users = given.world.acts_as(&users(), &[]);
        let unheard: Securable = "experiment:987654".parse().unwrap();
        let above = given.world.chain(&unheard);
        let stranger = Principal::service_principal("unheard of").unwrap();
        let mut without_users = given.world.clone();
        without_users.rules.retain(|_, rule| !above_users.contains(&rule.principal));
        let snapshot = without_users.build(&given.levels, 1);
        for on in &given.on {
            prop_assert!(snapshot.effective(&stranger, on, given.world.now).is_empty());
        }
        given.world.rules.retain(|_, rule| !above.contains(&rule.securable));
        let snapshot = given.build();
        for who in given.who.iter().filter(|who| !given.administers(who)) {
            prop_assert!(snapshot.effective(who, &unheard, given.world.now).is_empty());
        }
        for nowhere in [u32::MAX, u32::MAX - 1, 1_000_000] {
            prop_assert!(snapshot.effective_at(nowhere, 0, given.world.now).is_empty());
            prop_assert!(snapshot.effective_at(0, nowhere, given.world.now).is_empty());
        }
    }

    #[test]
    fn a_privilege_of_a_later_version_gives_nothing(seed: u64) {
        let mut given = given(seed);
        let before = given.build();
        let unknown = Rule {
            id: GrantId(1_000_000),
            principal: given.random.pick(&given.who).clone(),
            securable: given.random.pick(&given.on).clone(),
            privilege: "CAN_TELEPORT".to_owned(),
            effect: *given.random.pick(&[Effect::Allow, Effect::Deny]),
            expires_at: None,
        };
        let after = before.apply(2, &[PolicyEdit::Grant(unknown.clone())]).unwrap();
        prop_assert_eq!(given.everything(&before), given.everything(&after));
        let revoked = after.apply(3, &[PolicyEdit::Revoke(unknown)]).unwrap();
        prop_assert_eq!(given.everything(&before), given.everything(&revoked));
    }

    #[test]
    fn the_order_of_changes_that_commute_does_not_matter(seed: u64) {
        let mut given = given(seed);
        let expected = given.build();
        let nothing = Builder::new(Arc::clone(&given.levels)).build(0);
        let edits = given.world.as_edits();
        let shuffled = given.random.some(&edits, edits.len());
        let at_once = nothing.apply(1, &shuffled).unwrap();
        let mut one_by_one = nothing;
        for (version, edit) in (1..).zip(&shuffled) {
            let before = one_by_one.version();
            one_by_one = one_by_one.apply(version, std::slice::from_ref(edit)).unwrap();
            prop_assert!(one_by_one.version() == version && before < version);
        }
        prop_assert_eq!(given.everything(&at_once), given.everything(&expected));
        prop_assert_eq!(given.everything(&one_by_one), given.everything(&expected));
    }

    #[test]
    fn a_change_leaves_the_version_before_it_as_it_was(seed: u64) {
        let mut given = given(seed);
        let before = given.build();
        let mut now = before.clone();
        let mut world = given.world.clone();
        let mut edits = Vec::new();
        for _ in 2..12 {
            let edit = given.cast.edit(&world, &mut given.random);
            world.edit(&edit);
            edits.push(edit);
        }
        let as_it_was = given.everything(&before);
        for (version, edit) in (2..).zip(&edits) {
            now = now.apply(version, std::slice::from_ref(edit)).unwrap();
        }
        prop_assert_eq!(now.version(), 11);
        prop_assert_eq!(given.everything(&before), as_it_was);
    }
}
