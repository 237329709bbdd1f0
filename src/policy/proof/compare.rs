//! One state of a world: everything that the engine says about it beside casbin, beside the rule written out,
//! and beside the same facts built anew.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::casbin_rules;
use super::super::view::{Listed, View};
use super::super::watch::Watch;
use super::super::{Levels, Snapshot};
use super::generate::Cast;
use super::meaning::{Caller, Meaning};
use super::oracle::Oracle;
use super::random::Random;
use super::rendering::{self, Line};
use super::world::World;
use crate::access::{
    self, Check, Decision, Effect, Principal, PrincipalKind, Privilege, Proof, Rule, Scheme, Securable,
    SecurableKind, Verdict,
};

/// What was compared so far.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Tally {
    /// Decisions of the engine compared with casbin.
    pub decisions: u64,
    pub allowed: u64,
    /// Requests that casbin's enforcer judged for them.
    pub judged: u64,
    /// Worlds as they were at some version.
    pub states: u64,
    /// Decisions compared with the rule written out, or with the same facts built anew.
    pub others: u64,
}

impl Tally {
    pub fn add(&mut self, other: Self) {
        self.decisions += other.decisions;
        self.allowed += other.allowed;
        self.judged += other.judged;
        self.states += other.states;
        self.others += other.others;
    }
}

pub(super) struct Checker {
    pub levels: Arc<Levels>,
    pub tally: Tally,
    meaning: Meaning,
    /// Decisions of one state that casbin judges.
    sample: usize,
}

/// Who and what is asked about, with whom they act as and what it lies in.
struct Asked {
    who: Vec<(Principal, BTreeSet<Principal>)>,
    on: Vec<(Securable, Vec<Securable>)>,
}

/// Found: the engine and what it must agree with say different things.
type Found = Result<(), String>;

fn same<T: PartialEq + std::fmt::Debug>(engine: T, expected: T, about: impl FnOnce() -> String) -> Found {
    if engine == expected {
        return Ok(());
    }
    Err(format!("{}: the engine says {engine:?}, it should be {expected:?}", about()))
}

/// What a request gets, and the watch that would serve casbin's answer instead of a wrong one.
fn view(world: &World, snapshot: &Snapshot) -> (View, Arc<Watch>) {
    let watch = Arc::new(Watch::start(0));
    (View::new(Arc::new(snapshot.clone()), Arc::clone(&watch), world.now), watch)
}

/// The view alone would hide that the engine was wrong.
fn trusted(watch: &Watch) -> Found {
    if watch.distrusted() { Err("the two ways of deciding differ".to_owned()) } else { Ok(()) }
}

fn caller(principal: &Principal, asserted_groups: Vec<Principal>) -> access::Caller {
    let proof = Proof { scheme: Scheme::Token, credential: "proof".to_owned() };
    access::Caller::new(principal.clone(), asserted_groups, proof)
}

impl Checker {
    pub fn new(sample: usize) -> Self {
        let levels = Arc::new(Levels::builtin().unwrap());
        Self { levels, tally: Tally::default(), meaning: Meaning::new(), sample }
    }

    pub fn check(&mut self, world: &World, snapshot: &Snapshot, cast: &Cast, random: &mut Random) -> Found {
        self.tally.states += 1;
        let lines = exported(world, snapshot)?;
        let (who, on) = cast.questions(world);
        // Somebody whom only a credential knows, in groups that only the credential says.
        let stranger = Principal::user("by credential only").unwrap();
        let groups: Vec<Principal> =
            cast.principals.iter().filter(|one| one.kind == PrincipalKind::Group).cloned().collect();
        let count = random.below(3);
        let asserted = random.some(&groups, count);
        let claims = asserted.iter().map(|group| {
            vec![
                "g".into(),
                rendering::escaped(&stranger.to_string()),
                rendering::escaped(&group.to_string()),
            ]
        });
        let mut all: BTreeSet<Line> = lines;
        all.extend(rendering::relations(world, who.iter().chain([&stranger]), &on));
        all.extend(claims);
        let mut oracle = Oracle::load(casbin_rules::MODEL, all);
        let asked = Asked {
            who: who.iter().map(|one| (one.clone(), world.acts_as(one, &[]))).collect(),
            on: on.iter().map(|one| (one.clone(), world.chain(one))).collect(),
        };
        for _ in 0..self.sample {
            let (principal, securable, privilege) = self.question(world, &asked, random);
            self.decision(world, snapshot, &mut oracle, principal, securable, privilege)?;
        }
        for _ in 0..4 {
            let securable = random.pick(&on);
            let privilege = self.telling(world, securable, random);
            let claimant = caller(&stranger, asserted.clone());
            self.view(world, snapshot, &mut oracle, &claimant, securable, privilege)?;
            let known = caller(random.pick(&who), Vec::new());
            self.view(world, snapshot, &mut oracle, &known, securable, privilege)?;
            let both = caller(random.pick(&who), asserted.clone());
            self.asserted(world, snapshot, &both, securable, privilege)?;
        }
        self.listed(world, snapshot, &mut oracle, &caller(random.pick(&who), Vec::new()), &on, random)?;
        self.listed(world, snapshot, &mut oracle, &caller(&stranger, asserted), &on, random)?;
        self.whole_set(world, snapshot, random.pick(&who), random.pick(&on))?;
        self.tally.judged += oracle.judged;
        Ok(())
    }

    /// Anything about anybody; or, as often, somebody whom some grant reaches, on what it reaches.
    fn question<'a>(
        &self,
        world: &World,
        asked: &'a Asked,
        random: &mut Random,
    ) -> (&'a Principal, &'a Securable, Privilege) {
        let rules: Vec<&Rule> = world.rules.values().collect();
        let (mut who, mut on) = (Vec::new(), Vec::new());
        if !rules.is_empty() && random.one_in(2) {
            let rule = random.pick(&rules);
            who.extend(asked.who.iter().filter(|(_, acts_as)| acts_as.contains(&rule.principal)));
            on.extend(asked.on.iter().filter(|(_, chain)| chain.contains(&rule.securable)));
        }
        let (principal, _) = if who.is_empty() { random.pick(&asked.who) } else { *random.pick(&who) };
        let (securable, _) = if on.is_empty() { random.pick(&asked.on) } else { *random.pick(&on) };
        (principal, securable, self.telling(world, securable, random))
    }

    /// Mostly a privilege that some grant of this world is about and that means something here.
    fn telling(&self, world: &World, securable: &Securable, random: &mut Random) -> Privilege {
        let rules: Vec<&str> = world.rules.values().map(|rule| rule.privilege.as_str()).collect();
        if !rules.is_empty() && !random.one_in(4) {
            let named: Option<access::Given> = random.pick(&rules).parse().ok();
            let given = named.map(|given| self.levels.set_here(given)).unwrap_or_default();
            let fitting: Vec<Privilege> =
                given.iter().filter(|privilege| rendering::applies(*privilege, securable.kind)).collect();
            if !fitting.is_empty() {
                return *random.pick(&fitting);
            }
        }
        let fitting: Vec<Privilege> = Privilege::ALL
            .iter()
            .copied()
            .filter(|privilege| rendering::applies(*privilege, securable.kind) || random.one_in(16))
            .collect();
        *random.pick(&fitting)
    }

    fn decision(
        &mut self,
        world: &World,
        snapshot: &Snapshot,
        oracle: &mut Oracle,
        principal: &Principal,
        securable: &Securable,
        privilege: Privilege,
    ) -> Found {
        let about = |call: &str| format!("{call}: `{principal}` {privilege} on `{securable}`");
        let requests = rendering::requests(principal, privilege, securable);
        let check = Check::new(privilege, securable.clone());
        same(casbin_rules::requests(principal, &check), requests.clone(), || about("requests"))?;
        let expected = oracle.allows(&requests);
        self.tally.decisions += 1;
        self.tally.allowed += u64::from(expected);
        let written_out = self.meaning.allows(&Caller::new(world, principal, &[]), privilege, securable);
        same(written_out, expected, || about("the rule written out, not the engine"))?;
        same(snapshot.allows(principal, securable, privilege, world.now), expected, || about("allows"))?;
        let effective = snapshot.effective(principal, securable, world.now);
        same(effective.has(privilege), expected, || about("effective"))?;
        if let (Some(who), Some(on)) =
            (snapshot.principal_index(principal), snapshot.securable_index(securable))
        {
            same(snapshot.allows_at(who, on, privilege, world.now), expected, || about("allows_at"))?;
            let effective = snapshot.effective_at(who, on, world.now);
            same(effective.has(privilege), expected, || about("effective_at"))?;
        }
        Ok(())
    }

    /// Every privilege of one principal on one securable at once.
    fn whole_set(
        &mut self,
        world: &World,
        snapshot: &Snapshot,
        principal: &Principal,
        securable: &Securable,
    ) -> Found {
        let caller = Caller::new(world, principal, &[]);
        let expected: Vec<Privilege> = Privilege::ALL
            .iter()
            .copied()
            .filter(|privilege| self.meaning.allows(&caller, *privilege, securable))
            .collect();
        self.tally.others += Privilege::ALL.len() as u64;
        let effective = snapshot.effective(principal, securable, world.now);
        same(effective.iter().collect(), expected, || format!("effective: `{principal}` on `{securable}`"))
    }

    /// The decision as a request gets it, with the grants that are said to have determined it.
    fn view(
        &mut self,
        world: &World,
        snapshot: &Snapshot,
        oracle: &mut Oracle,
        caller: &access::Caller,
        securable: &Securable,
        privilege: Privilege,
    ) -> Found {
        let expected = oracle.allows(&rendering::requests(&caller.principal, privilege, securable));
        self.tally.decisions += 1;
        self.tally.allowed += u64::from(expected);
        self.decided(world, snapshot, caller, securable, privilege, expected)
    }

    /// A principal of this world in groups that only its credential says: casbin would need a policy of its own.
    fn asserted(
        &mut self,
        world: &World,
        snapshot: &Snapshot,
        caller: &access::Caller,
        securable: &Securable,
        privilege: Privilege,
    ) -> Found {
        let who = Caller::new(world, &caller.principal, &caller.asserted_groups);
        let expected = self.meaning.allows(&who, privilege, securable);
        self.tally.others += 1;
        self.decided(world, snapshot, caller, securable, privilege, expected)
    }

    fn decided(
        &self,
        world: &World,
        snapshot: &Snapshot,
        caller: &access::Caller,
        securable: &Securable,
        privilege: Privilege,
        expected: bool,
    ) -> Found {
        let about = || {
            let groups = &caller.asserted_groups;
            format!("decide: `{}` with {groups:?} {privilege} on `{securable}`", caller.principal)
        };
        let (view, watch) = view(world, snapshot);
        let check = Check::new(privilege, securable.clone());
        let decision =
            view.decide(caller, std::slice::from_ref(&check)).map_err(|error| error.to_string())?;
        trusted(&watch).map_err(|problem| format!("{}: {problem}", about()))?;
        same(decision.verdict == Verdict::Allow, expected, about)?;
        same(decision.policy_version, snapshot.version(), about)?;
        same(decision.refused.is_some(), !expected, about)?;
        self.grants_that_decided(world, caller, &check, &decision)
            .map_err(|problem| format!("{}: {problem}", about()))
    }

    /// An allow names a grant for each check on the way and nothing but grants that allow; a deny names denies.
    fn grants_that_decided(
        &self,
        world: &World,
        caller: &access::Caller,
        check: &Check,
        decision: &Decision,
    ) -> Found {
        let who = Caller::new(world, &caller.principal, &caller.asserted_groups);
        let checks = rendering::gates(check.privilege, &check.securable).unwrap_or_default();
        let speaking: Vec<_> =
            checks.iter().map(|(privilege, on)| self.meaning.speaking(&who, *privilege, on)).collect();
        let effect = if decision.verdict == Verdict::Allow { Effect::Allow } else { Effect::Deny };
        for id in &decision.deciding {
            if !speaking.iter().flatten().any(|said| *said == (*id, effect)) {
                return Err(format!("grant {} did not determine this {}", id.0, decision.verdict.as_str()));
            }
        }
        let named = |said: &Vec<_>| said.iter().any(|(id, _)| decision.deciding.contains(id));
        if decision.verdict == Verdict::Allow && !speaking.iter().all(named) {
            return Err(format!("{:?} do not explain the allow", decision.deciding));
        }
        Ok(())
    }

    fn listed(
        &mut self,
        world: &World,
        snapshot: &Snapshot,
        oracle: &mut Oracle,
        caller: &access::Caller,
        on: &[Securable],
        random: &mut Random,
    ) -> Found {
        let privilege =
            *random.pick(&[Privilege::ExperimentView, Privilege::TraceList, Privilege::TraceRead]);
        let (view, _) = view(world, snapshot);
        let listed = view.listed(caller, privilege).map_err(|error| error.to_string())?;
        let Listed::Only(named) = listed else { return Ok(()) };
        for experiment in on.iter().filter(|securable| securable.kind == SecurableKind::Experiment) {
            let expected = oracle.allows(&rendering::requests(&caller.principal, privilege, experiment));
            self.tally.decisions += 1;
            self.tally.allowed += u64::from(expected);
            let found = named.iter().any(|id| id.as_str() == experiment.id);
            same(found, expected, || {
                format!("listed: `{}` {privilege} on `{experiment}`", caller.principal)
            })?;
        }
        Ok(())
    }

    /// The snapshot that was changed step by step beside one that is built from the facts as they are now.
    pub fn built_anew(&mut self, world: &World, changed: &Snapshot, cast: &Cast) -> Found {
        let anew = world.build(&self.levels, changed.version());
        let rules = |snapshot: &Snapshot| -> BTreeSet<String> {
            snapshot.rules().map(|rule| format!("{rule:?}")).collect()
        };
        same(rules(changed), rules(&anew), || "rules".to_owned())?;
        let edges = |snapshot: &Snapshot| -> BTreeSet<String> {
            snapshot.memberships().map(|edge| format!("{edge:?}")).collect()
        };
        same(edges(changed), edges(&anew), || "memberships".to_owned())?;
        let (who, on) = cast.questions(world);
        for principal in &who {
            for securable in &on {
                self.tally.others += Privilege::ALL.len() as u64;
                let effective = |snapshot: &Snapshot| -> Vec<Privilege> {
                    snapshot.effective(principal, securable, world.now).iter().collect()
                };
                let about = || format!("changed step by step: `{principal}` on `{securable}`");
                same(effective(changed), effective(&anew), about)?;
            }
        }
        for group in who.iter().filter(|principal| principal.kind == PrincipalKind::Group) {
            let inside = |snapshot: &Snapshot| -> BTreeSet<String> {
                let names: std::collections::HashMap<u32, String> =
                    snapshot.principals().map(|(index, name)| (index, name.to_string())).collect();
                let index = snapshot.principal_index(group);
                let inside = index.map(|index| snapshot.members_of(index)).unwrap_or_default();
                inside
                    .iter()
                    .map(|index| names[index].clone())
                    .filter(|name| *name != group.to_string())
                    .collect()
            };
            let expected: BTreeSet<String> = changed
                .principals()
                .map(|(_, principal)| principal)
                .filter(|one| *one != group && world.acts_as(one, &[]).contains(group))
                .map(ToString::to_string)
                .collect();
            same(inside(changed), expected, || format!("members of `{group}`"))?;
        }
        for securable in world.securables() {
            let above = |snapshot: &Snapshot| {
                let parent = snapshot.parent_of(snapshot.securable_index(&securable)?)?;
                snapshot.securables().find(|(index, _)| *index == parent).map(|(_, name)| name.clone())
            };
            if changed.securable_index(&securable).is_some() {
                same(above(changed), world.chain(&securable).get(1).cloned(), || {
                    format!("parent of `{securable}`")
                })?;
            }
        }
        Ok(())
    }
}

/// The export must hold every fact, and beyond them nothing but what is true of names it knows.
fn exported(world: &World, snapshot: &Snapshot) -> Result<BTreeSet<Line>, String> {
    let exported: Vec<Line> = casbin_rules::export(snapshot, world.now).collect();
    let count = exported.len();
    let lines: BTreeSet<Line> = exported.into_iter().collect();
    same(lines.len(), count, || "lines of the export, each once".to_owned())?;
    let facts = rendering::facts(world);
    if let Some(missing) = facts.difference(&lines).next() {
        return Err(format!("the export lacks {missing:?}"));
    }
    let (known, places): (Vec<&Principal>, Vec<&Securable>) = (
        snapshot.principals().map(|(_, principal)| principal).collect(),
        snapshot.securables().map(|(_, securable)| securable).collect(),
    );
    let relations = rendering::relations(world, known, places);
    if let Some(missing) = relations.difference(&lines).next() {
        return Err(format!("the export lacks {missing:?}"));
    }
    match lines.iter().find(|line| !facts.contains(*line) && !relations.contains(*line)) {
        Some(untrue) => Err(format!("the export has {untrue:?}, which no fact says")),
        None => Ok(lines),
    }
}
