//! Tracegate's own engine: building the snapshot, asking it by number and by name, and changing it.

use std::sync::Arc;

use anyhow::{Context, Result};
use tracegate::access::{Effect, GrantId, PolicyEdit, Principal, Rule, Securable};
use tracegate::policy::{Builder, Levels, Snapshot};

use crate::measure::{Cost, Effort, Spread, decisions};
use crate::questions::Question;
use crate::world::{NOW, World};

pub fn build(world: &World) -> Result<Snapshot> {
    let mut builder = Builder::new(Arc::new(Levels::builtin()?));
    for principal in &world.principals {
        builder.principal(principal, true);
    }
    for (group, member) in &world.memberships {
        builder.member(&world.principals[*group as usize], &world.principals[*member as usize]);
    }
    for (child, parent) in world.parents.iter().enumerate().skip(1) {
        builder.place(&world.securables[child], &world.securables[*parent as usize]);
    }
    for number in 0..world.grants.len() {
        builder.grant(&world.rule(number));
    }
    Ok(builder.build(1))
}

/// By number: the principal's was found when the caller was identified, the securable's when the call was read.
pub fn by_id(world: &World, snapshot: &Snapshot, questions: &[Question], effort: Effort) -> Result<Cost> {
    let numbered = questions
        .iter()
        .map(|question| {
            let principal = snapshot.principal_index(&world.principals[question.user as usize]);
            let securable = snapshot.securable_index(&world.securables[question.securable as usize]);
            Ok((
                principal.context("an unknown user")?,
                securable.context("an unknown securable")?,
                question.privilege,
            ))
        })
        .collect::<Result<Vec<_>>>()?;
    decisions(
        "Tracegate by id",
        questions,
        effort,
        |_| {},
        |number| {
            let (principal, securable, privilege) = numbered[number];
            Ok(snapshot.allows_at(principal, securable, privilege, NOW))
        },
    )
}

/// By name. The names are copies of their own, and are touched just before: a call's names were just read.
pub fn by_name(world: &World, snapshot: &Snapshot, questions: &[Question], effort: Effort) -> Result<Cost> {
    let named: Vec<(Principal, Securable)> = questions
        .iter()
        .map(|question| {
            let principal = world.principals[question.user as usize].clone();
            (principal, world.securables[question.securable as usize].clone())
        })
        .collect();
    let touch = |number: usize| {
        let (principal, securable) = &named[number];
        std::hint::black_box(
            principal.name.bytes().chain(securable.id.bytes()).map(usize::from).sum::<usize>(),
        );
    };
    decisions("Tracegate by name", questions, effort, touch, |number| {
        let (principal, securable) = &named[number];
        Ok(snapshot.allows(principal, securable, questions[number].privilege, NOW))
    })
}

/// What it takes until a change is in a new snapshot and the old one is gone.
#[derive(Debug, Clone, Copy)]
pub struct Publishing {
    pub grant: Spread,
    pub membership: Spread,
    pub top_group: Spread,
    /// How many users are in that group.
    pub top_group_users: usize,
}

pub fn publishing(world: &World, snapshot: &Snapshot, turns: usize) -> Result<Publishing> {
    let mut current = snapshot.clone();
    let mut version = current.version();
    let mut apply = |edit: PolicyEdit| {
        version += 1;
        current = current.apply(version, &[edit])?;
        anyhow::Ok(())
    };
    // Even turns change something, odd ones take it back.
    let far_apart = |turn: usize, of: usize| (turn / 2).wrapping_mul(7_919) % of;
    let user = |turn: usize| world.principals[far_apart(turn, world.shape.users)].clone();
    let rules: Vec<Rule> = (0..turns)
        .map(|turn| Rule {
            id: GrantId(1_000_000_000 + turn as i64 / 2),
            principal: user(turn),
            securable: world.securables[far_apart(turn, world.securables.len())].clone(),
            privilege: "trace.tag".to_owned(),
            effect: Effect::Allow,
            expires_at: None,
        })
        .collect();
    let grant = Spread::of_turns(turns, |turn| {
        let rule = rules[turn].clone();
        apply(if turn % 2 == 0 { PolicyEdit::Grant(rule) } else { PolicyEdit::Revoke(rule) })
    })?;
    let edge = |turn: usize, group: Principal, member: Principal| {
        if turn % 2 == 0 { PolicyEdit::Join { group, member } } else { PolicyEdit::Leave { group, member } }
    };
    // A group that nobody is in yet, so that each joining is one.
    let fresh = Principal::group("newcomers")?;
    let membership = Spread::of_turns(turns, |turn| apply(edge(turn, fresh.clone(), user(turn))))?;
    let top = world.top_group();
    let above = Principal::group("everything")?;
    let member = &world.principals[top as usize];
    let top_group =
        Spread::of_turns(turns.min(100), |turn| apply(edge(turn, above.clone(), member.clone())))?;
    let top_group_users = world.groups_of.iter().filter(|groups| groups.contains(&top)).count();
    Ok(Publishing { grant, membership, top_group, top_group_users })
}
