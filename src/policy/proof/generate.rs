//! Random worlds and random changes to them: small, so that casbin can judge everything, and crooked, so that
//! everything meets everything. Names hold what trips readers of CSV and of casbin models.

use super::random::Random;
use super::world::{World, admins, users};
use crate::access::{
    Effect, Given, GrantId, PolicyEdit, Principal, PrincipalKind, Rule, Securable, SecurableKind,
};
use crate::clock::UnixMillis;

/// `group:users` inside others and groups inside `group:admins` are possible; the store refuses circles, more
/// than eight levels, and `users` inside `admins`, so no world has them.
const NESTING_LIMIT: usize = 8;

const PEOPLE: [&str; 7] = [
    "user:ann",
    "user:bob@example.com",
    "user:zoë müller",
    "user:a[b](c)*|%2C",
    "user:a%5Bb",
    "service_principal:agent",
    "service_principal:ann",
];

const GROUPS: [&str; 9] = [
    "group:analysts",
    "group:juniors",
    "group:ann",
    "group:night shift",
    "group:日本",
    "group:g6",
    "group:g7",
    "group:g8",
    "group:g9",
];

const EXPERIMENTS: [&str; 12] = [
    "workspace:default",
    "folder:/t",
    "folder:/t/x y",
    "folder:/Users/ann@example.com",
    "experiment:1",
    "experiment:2",
    "experiment:3",
    "experiment:10",
    "registered_model:m, x",
    "registered_model:m%2C x",
    "warehouse:w [small]",
    "warehouse:w2",
];

const CATALOG: [&str; 15] = [
    "workspace:default",
    "metastore:default",
    "catalog:main",
    "catalog:other",
    "schema:main.agents",
    "schema:main.b-c",
    "schema:other.agents",
    "table:main.agents.spans",
    "table:main.agents.größe",
    "table:main.b-c.spans",
    "table:other.agents.spans",
    "view:main.agents.daily",
    "volume:main.agents.files",
    "function:main.agents.score",
    "external_location:lake",
];

/// What meets the gates, ownership and the bundles most often.
const TELLING: [&str; 12] = [
    "USE_CATALOG",
    "USE_SCHEMA",
    "USE CATALOG",
    "USE SCHEMA",
    "SELECT",
    "MODIFY",
    "ALL_PRIVILEGES",
    "MANAGE",
    "OWNER",
    "BROWSE",
    "READ_VOLUME",
    "EXTERNAL_USE_SCHEMA",
];

pub(super) const NOW: i64 = 1_000;

/// What a history of one world is made of: who, what, and what is asked about.
pub(super) struct Cast {
    pub principals: Vec<Principal>,
    pub securables: Vec<Securable>,
    /// How many grants a world starts with.
    grants: usize,
    /// Whether nearly all of them are on one securable.
    crowded: bool,
    next_id: i64,
}

impl Cast {
    pub fn random(random: &mut Random) -> Self {
        // Rows of a few grants, of some, and of many are read in three ways (`src/policy/rows.rs`).
        let (grants, crowded) = match random.below(32) {
            0 => (random.between(50, 90), true),
            1..=4 => (random.between(7, 16), true),
            _ => (random.between(2, 9), false),
        };
        let parse = |names: Vec<&str>| names.into_iter().map(|name| name.parse().unwrap()).collect();
        let (people, groups) =
            (random.between(2, 4), if random.one_in(4) { 9 } else { random.between(1, 4) });
        let mut principals: Vec<Principal> = parse(random.some(&PEOPLE, people));
        principals.extend(parse(random.some(&GROUPS, groups)));
        principals.extend([admins(), users()]);
        if grants >= 50 {
            // Numbers that a sieve of 256 bits cannot tell apart.
            let more = if random.one_in(4) { 300 } else { 40 };
            principals.extend((0..more).map(|number| Principal::user(&format!("u{number}")).unwrap()));
        }
        let pool: Vec<&str> = match random.below(5) {
            0 | 1 => EXPERIMENTS.to_vec(),
            2 | 3 => CATALOG.to_vec(),
            _ => EXPERIMENTS.iter().chain(&CATALOG[1..]).copied().collect(),
        };
        let count = random.between(5, 10);
        let securables = random.some(&pool, count).into_iter().map(|name| name.parse().unwrap()).collect();
        Self { principals, securables, grants, crowded, next_id: 1 }
    }

    pub fn world(&mut self, random: &mut Random) -> World {
        let mut world = World::empty();
        for principal in &self.principals {
            if !random.one_in(8) {
                let active = principal.kind == PrincipalKind::Group || !random.one_in(10);
                world.principals.insert(principal.clone(), active);
            }
        }
        for _ in 0..random.between(0, self.principals.len()) {
            if let Some(edit) = self.join(&world, random) {
                world.edit(&edit);
            }
        }
        for _ in 0..random.between(0, 4) {
            if let Some(edit) = self.place(random) {
                world.edit(&edit);
            }
        }
        for _ in 0..self.grants {
            let rule = self.rule(random);
            world.edit(&PolicyEdit::Grant(rule));
        }
        for rule in self.way_in(random) {
            world.edit(&PolicyEdit::Grant(rule));
        }
        for _ in 0..random.below(4) {
            if let Some(rule) = self.opposing(&world, random) {
                world.edit(&PolicyEdit::Grant(rule));
            }
        }
        world
    }

    /// Half the time, the gates of a catalog stand open to somebody: behind closed ones everything looks alike. And
    /// somebody owns or manages a container of it.
    fn way_in(&mut self, random: &mut Random) -> Vec<Rule> {
        let in_catalog = |securable: &&Securable| securable.catalog().is_some();
        let Some(inside) = self.securables.iter().find(in_catalog).cloned() else { return Vec::new() };
        if random.one_in(2) {
            return Vec::new();
        }
        let principal = if random.one_in(2) { users() } else { random.pick(&self.principals).clone() };
        let gates = ["USE_CATALOG", "USE_SCHEMA"].map(|gate| Rule {
            principal: principal.clone(),
            securable: inside.catalog().unwrap(),
            privilege: gate.to_owned(),
            effect: Effect::Allow,
            expires_at: None,
            ..self.rule(random)
        });
        let mut rules = Vec::from(gates);
        if let Some(schema) = inside.schema().filter(|_| random.one_in(2)) {
            let container = if random.one_in(3) { inside.catalog().unwrap() } else { schema };
            let privilege = (*random.pick(&["OWNER", "OWNER", "MANAGE", "ALL_PRIVILEGES"])).to_owned();
            rules.push(Rule { securable: container, privilege, effect: Effect::Allow, ..self.rule(random) });
        }
        rules
    }

    /// What says the opposite of some grant, there or above, in the same word or in one that holds it.
    fn opposing(&mut self, world: &World, random: &mut Random) -> Option<Rule> {
        let rules: Vec<&Rule> = world.rules.values().collect();
        let other = (!rules.is_empty()).then(|| (*random.pick(&rules)).clone())?;
        let securable = if random.one_in(3) {
            random.pick(&world.chain(&other.securable)).clone()
        } else {
            other.securable
        };
        let bundles: &[&str] = match securable.kind.is_catalog_plane() {
            true => &["OWNER", "OWNER", "ALL_PRIVILEGES", "MANAGE"],
            false => &["ALL", "CAN_EDIT", "CAN_READ"],
        };
        Some(Rule {
            principal: other.principal,
            privilege: if random.one_in(2) { (*random.pick(bundles)).to_owned() } else { other.privilege },
            effect: if other.effect == Effect::Allow { Effect::Deny } else { Effect::Allow },
            securable,
            ..self.rule(random)
        })
    }

    fn rule(&mut self, random: &mut Random) -> Rule {
        let id = self.next_id;
        // Ids with holes: nothing may take them for places in a row.
        self.next_id += random.between(1, 3) as i64;
        let among = if self.crowded && !random.one_in(8) { 1 } else { self.securables.len() };
        let securable = self.securables[random.below(among)].clone();
        let privilege = privilege_for(&securable, random);
        Rule {
            id: GrantId(id),
            principal: random.pick(&self.principals).clone(),
            privilege,
            effect: if random.one_in(4) { Effect::Deny } else { Effect::Allow },
            expires_at: expiry(random),
            securable,
        }
    }

    /// One change that the store would let through.
    pub fn edit(&mut self, world: &World, random: &mut Random) -> PolicyEdit {
        loop {
            let existing = |random: &mut Random| {
                let rules: Vec<&Rule> = world.rules.values().collect();
                (!rules.is_empty()).then(|| (*random.pick(&rules)).clone())
            };
            let edit = match random.below(20) {
                0..=2 => Some(PolicyEdit::Grant(self.rule(random))),
                3 => self.opposing(world, random).map(PolicyEdit::Grant),
                4..=5 => existing(random).map(|rule| PolicyEdit::Grant(self.changed(rule, random))),
                6..=8 => existing(random).map(PolicyEdit::Revoke),
                9..=11 => self.join(world, random),
                12..=14 => {
                    let edges: Vec<_> = world.memberships.iter().cloned().collect();
                    (!edges.is_empty())
                        .then(|| random.pick(&edges).clone())
                        .map(|(group, member)| PolicyEdit::Leave { group, member })
                }
                15 => {
                    let people: Vec<&Principal> =
                        self.principals.iter().filter(|who| who.kind != PrincipalKind::Group).collect();
                    let principal = (*random.pick(&people)).clone();
                    let active = !world.is_active(&principal) || random.one_in(4);
                    Some(PolicyEdit::Principal { principal, active })
                }
                16..=18 => self.place(random),
                _ => {
                    let placed: Vec<&Securable> = world.places.keys().collect();
                    (!placed.is_empty())
                        .then(|| PolicyEdit::Unplace { securable: (*random.pick(&placed)).clone() })
                }
            };
            if let Some(edit) = edit {
                return edit;
            }
        }
    }

    /// The same grant with something changed: written again under its id. No grant moves to another securable.
    fn changed(&mut self, rule: Rule, random: &mut Random) -> Rule {
        let other = Rule { id: rule.id, securable: rule.securable.clone(), ..self.rule(random) };
        match random.below(5) {
            0 => Rule { principal: other.principal, ..rule },
            1 => Rule { privilege: other.privilege, ..rule },
            2 => Rule { effect: other.effect, ..rule },
            3 => Rule { expires_at: other.expires_at, ..rule },
            _ => other,
        }
    }

    fn join(&self, world: &World, random: &mut Random) -> Option<PolicyEdit> {
        let groups: Vec<&Principal> =
            self.principals.iter().filter(|who| who.kind == PrincipalKind::Group).collect();
        let group = (*random.pick(&groups)).clone();
        let member = random.pick(&self.principals).clone();
        let circle = group == member || world.acts_as(&group, &[]).contains(&member);
        let deep = member.kind == PrincipalKind::Group
            && world.levels_above(&group) + world.levels_below(&member) > NESTING_LIMIT;
        let mut after = world.clone();
        after.memberships.insert((group.clone(), member.clone()));
        let everyone_administers = after.acts_as(&users(), &[]).contains(&admins());
        (!circle && !deep && !everyone_administers).then_some(PolicyEdit::Join { group, member })
    }

    fn place(&self, random: &mut Random) -> Option<PolicyEdit> {
        let movable = |kind| matches!(kind, SecurableKind::Experiment | SecurableKind::RegisteredModel);
        let holders = |kind| matches!(kind, SecurableKind::Workspace | SecurableKind::Folder);
        let of = |wanted: &dyn Fn(SecurableKind) -> bool| -> Vec<Securable> {
            self.securables.iter().filter(|securable| wanted(securable.kind)).cloned().collect()
        };
        let (children, mut parents) = (of(&movable), of(&holders));
        parents.push("folder:/t/deep/er".parse().unwrap());
        (!children.is_empty()).then(|| PolicyEdit::Place {
            securable: random.pick(&children).clone(),
            parent: random.pick(&parents).clone(),
        })
    }

    /// Everything that may be asked about: the cast, what it lies in, and what policy never heard of.
    pub fn questions(&self, world: &World) -> (Vec<Principal>, Vec<Securable>) {
        let mut who = self.principals.clone();
        who.push(Principal::user("nobody").unwrap());
        let mut on: Vec<Securable> = self.securables.clone();
        on.extend(
            ["experiment:99", "table:main.agents.unheard", "volume:new.new.new", "folder:/t/x y/z"]
                .map(|name| name.parse().unwrap()),
        );
        for securable in on.clone() {
            on.extend(world.chain(&securable));
        }
        on.sort();
        on.dedup();
        (who, on)
    }
}

/// Mostly what could be granted there, sometimes anything, now and then a word of a newer version.
fn privilege_for(securable: &Securable, random: &mut Random) -> String {
    let everything: Vec<Given> = Given::every().collect();
    let fitting: Vec<Given> =
        everything.iter().copied().filter(|given| given.grantable_on(securable.kind)).collect();
    match random.below(20) {
        0 => "CAN_FLY".to_owned(),
        1..=2 => random.pick(&everything).to_string(),
        3..=12 if securable.kind.is_catalog_plane() => (*random.pick(&TELLING)).to_owned(),
        3..=8 => {
            let bundles: Vec<Given> =
                fitting.iter().copied().filter(|given| given.privilege().is_none()).collect();
            random.pick(if bundles.is_empty() { &fitting } else { &bundles }).to_string()
        }
        _ => random.pick(if fitting.is_empty() { &everything } else { &fitting }).to_string(),
    }
}

fn expiry(random: &mut Random) -> Option<UnixMillis> {
    let end = match random.below(16) {
        0 => NOW,
        1 => NOW - 1,
        2 => NOW + 1,
        3 => NOW + 100_000,
        4 => 0,
        _ => return None,
    };
    Some(UnixMillis(end))
}
