//! A made-up organisation: users in nested groups, experiments in folders, tables in schemas in catalogs,
//! and grants on all of them. The same seed makes the same world.

use std::collections::HashSet;

use anyhow::Result;
use tracegate::access::{Effect, Given, GrantId, Principal, Privilege, Rule, Securable, SecurableKind};
use tracegate::clock::UnixMillis;

/// When the questions are asked. Some grants have ended by then.
pub const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

/// How many there are of everything.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub grants: usize,
    pub experiments: usize,
    pub folders: usize,
    pub catalogs: usize,
    pub schemas: usize,
    pub tables: usize,
    pub users: usize,
    pub groups: usize,
    /// Groups that a user is in, directly or through others, besides `users`.
    pub groups_per_user: usize,
    /// From the workspace to an experiment, both counted: 3 is workspace, folder, experiment.
    pub depth: usize,
}

impl Shape {
    /// The measured world at a million grants; everything shrinks and grows with the grants.
    pub fn of(grants: usize) -> Self {
        Self {
            grants,
            experiments: (grants / 10).max(10),
            folders: (grants / 1_000).max(4),
            catalogs: (grants / 10_000).max(2),
            schemas: (grants / 1_000).max(4),
            tables: (grants / 10).max(10),
            users: (grants / 100).max(20),
            groups: (grants / 1_000).max(60),
            groups_per_user: 17,
            depth: 3,
        }
    }
}

/// A grant by numbers; names are made when they are needed.
#[derive(Debug, Clone, Copy)]
pub struct Grant {
    pub principal: u32,
    pub securable: u32,
    pub given: Given,
    pub effect: Effect,
    pub expires_at: Option<UnixMillis>,
}

impl Grant {
    pub fn in_force(&self) -> bool {
        self.expires_at.is_none_or(|end| NOW < end)
    }
}

pub struct World {
    pub shape: Shape,
    /// Users, then groups, then `users` and `admins`.
    pub principals: Vec<Principal>,
    /// Group and member.
    pub memberships: Vec<(u32, u32)>,
    /// Every group that a user is in, `users` included, by user.
    pub groups_of: Vec<Vec<u32>>,
    pub securables: Vec<Securable>,
    /// By securable; the workspace is its own.
    pub parents: Vec<u32>,
    /// Grant `n` has the id `n + 1`.
    pub grants: Vec<Grant>,
}

/// What grants on experiments and folders give, the commoner the more often.
const ON_EXPERIMENTS: [&str; 10] = [
    "CAN_READ",
    "CAN_READ",
    "CAN_READ",
    "CAN_EDIT",
    "CAN_EDIT",
    "CAN_MANAGE",
    "CAN_LIST",
    "CAN_INGEST",
    "CAN_ASSESS",
    "trace.read",
];
const ON_TABLES: [&str; 5] = ["SELECT", "SELECT", "SELECT", "MODIFY", "ALL_PRIVILEGES"];
const ON_SCHEMAS: [&str; 5] = ["USE_SCHEMA", "USE_SCHEMA", "USE_SCHEMA", "SELECT", "ALL_PRIVILEGES"];
const ON_CATALOGS: [&str; 6] =
    ["USE_CATALOG", "USE_CATALOG", "USE_CATALOG", "USE_SCHEMA", "SELECT", "ALL_PRIVILEGES"];

/// Every name that a grant of such a world may give.
pub const GIVEN: [&str; 14] = [
    "CAN_LIST",
    "CAN_READ",
    "CAN_ASSESS",
    "CAN_INGEST",
    "CAN_EDIT",
    "CAN_MANAGE",
    "ALL",
    "ALL_PRIVILEGES",
    "USE_CATALOG",
    "USE_SCHEMA",
    "SELECT",
    "MODIFY",
    "trace.read",
    "experiment.create",
];

impl World {
    pub fn new(shape: Shape, seed: u64) -> Result<Self> {
        let mut random = Random::new(seed);
        let mut world = Self {
            shape,
            principals: Vec::new(),
            memberships: Vec::new(),
            groups_of: Vec::new(),
            securables: Vec::new(),
            parents: Vec::new(),
            grants: Vec::with_capacity(shape.grants),
        };
        world.people(&mut random)?;
        let places = world.tree()?;
        world.grant_all(&places, &mut random)?;
        Ok(world)
    }

    /// The group that everybody is in.
    pub fn everybody(&self) -> u32 {
        (self.shape.users + self.shape.groups) as u32
    }

    pub fn admins(&self) -> u32 {
        self.everybody() + 1
    }

    /// A group right under the top that many users are in: nesting it anew costs the most.
    pub fn top_group(&self) -> u32 {
        let mut members = vec![0_u32; self.shape.groups];
        for groups in &self.groups_of {
            for group in groups {
                if let Some(count) = members.get_mut(*group as usize - self.shape.users) {
                    *count += 1;
                }
            }
        }
        let top = (0..members.len()).max_by_key(|group| members[*group]).unwrap_or(0);
        (self.shape.users + top) as u32
    }

    fn people(&mut self, random: &mut Random) -> Result<()> {
        let Shape { users, groups, groups_per_user, .. } = self.shape;
        for user in 0..users {
            self.principals.push(Principal::user(&format!("person-{user}@example.com"))?);
        }
        for group in 0..groups {
            self.principals.push(Principal::group(&format!("team-{group}"))?);
        }
        self.principals.push(Principal::group(Principal::USERS)?);
        self.principals.push(Principal::group(Principal::ADMINS)?);
        // A group lies in one or two groups of a third of its number, so nesting is at most seven deep.
        let tops = (groups / 25).clamp(2, 40);
        let mut above: Vec<Vec<usize>> = vec![Vec::new(); groups];
        for group in tops..groups {
            for _ in 0..=random.below(5) / 4 {
                let parent = random.below((group / 3).max(tops).min(group));
                if !above[group].contains(&parent) {
                    above[group].push(parent);
                    self.memberships.push(((users + parent) as u32, (users + group) as u32));
                }
            }
        }
        let mut closures: Vec<Vec<usize>> = Vec::with_capacity(groups);
        for (group, parents) in above.iter().enumerate() {
            let mut closure = vec![group];
            for parent in parents {
                for one in &closures[*parent] {
                    if !closure.contains(one) {
                        closure.push(*one);
                    }
                }
            }
            closures.push(closure);
        }
        let (everybody, admins) = (self.everybody(), self.admins());
        for user in 0..users {
            let mut inside: Vec<u32> = Vec::new();
            let mut tries = 0;
            while inside.len() < groups_per_user {
                let chosen = random.below(groups);
                let closure = closures[chosen].iter().map(|group| (users + group) as u32);
                let more: Vec<u32> = closure.filter(|group| !inside.contains(group)).collect();
                tries += 1;
                if more.is_empty() || (more.len() > groups_per_user - inside.len() && tries < 100) {
                    continue;
                }
                self.memberships.push(((users + chosen) as u32, user as u32));
                inside.extend(more);
            }
            inside.push(everybody);
            // A few administrate; no deny binds them.
            if user % 1_000 == 0 {
                self.memberships.push((admins, user as u32));
                inside.push(admins);
            }
            self.groups_of.push(inside);
        }
        Ok(())
    }

    fn put(&mut self, kind: SecurableKind, name: &str, parent: u32) -> Result<u32> {
        self.securables.push(Securable::new(kind, name)?);
        self.parents.push(parent);
        Ok(self.securables.len() as u32 - 1)
    }

    fn tree(&mut self) -> Result<Places> {
        let shape = self.shape;
        let workspace = self.put(SecurableKind::Workspace, "default", 0)?;
        let metastore = self.put(SecurableKind::Metastore, "default", workspace)?;
        let mut places = Places::default();
        let mut deepest = Vec::new();
        for number in 0..shape.folders {
            let (mut name, mut parent) = (String::new(), workspace);
            for level in 0..shape.depth - 2 {
                name = if level == 0 { format!("/area-{number}") } else { format!("{name}/part-{level}") };
                parent = self.put(SecurableKind::Folder, &name, parent)?;
                places.folders.push(parent);
            }
            deepest.push(parent);
        }
        for number in 0..shape.experiments {
            let folder = deepest[number % deepest.len()];
            places.experiments.push(self.put(
                SecurableKind::Experiment,
                &(number + 1).to_string(),
                folder,
            )?);
        }
        for number in 0..shape.catalogs {
            places.catalogs.push(self.put(SecurableKind::Catalog, &format!("catalog{number}"), metastore)?);
        }
        for number in 0..shape.schemas {
            let catalog = number % shape.catalogs;
            let name = format!("catalog{catalog}.schema{number}");
            places.schemas.push(self.put(SecurableKind::Schema, &name, places.catalogs[catalog])?);
        }
        for number in 0..shape.tables {
            let schema = number % shape.schemas;
            let name = format!("catalog{}.schema{schema}.table{number}", schema % shape.catalogs);
            places.tables.push(self.put(SecurableKind::Table, &name, places.schemas[schema])?);
        }
        Ok(places)
    }

    fn grant_all(&mut self, places: &Places, random: &mut Random) -> Result<()> {
        let mut seen = HashSet::with_capacity(self.shape.grants);
        let everybody = self.everybody();
        let mut add =
            |grants: &mut Vec<Grant>, principal: u32, securable: u32, name: &str, random: &mut Random| {
                let given: Given = name.parse()?;
                // One in thirty denies, one in fifty ends, and half of those have ended.
                let effect = if random.below(30) == 0 { Effect::Deny } else { Effect::Allow };
                let ends = [NOW.0 - 1_000, NOW.0 + 1_000_000_000].map(UnixMillis);
                let expires_at = (random.below(50) == 0).then(|| ends[random.below(2)]);
                if seen.insert((principal, securable, given, effect == Effect::Deny)) {
                    grants.push(Grant { principal, securable, given, effect, expires_at });
                }
                anyhow::Ok(())
            };
        // Everybody may use most catalogs and half the schemas, as is usual.
        for catalog in places.catalogs.iter().filter(|_| random.below(10) < 8).collect::<Vec<_>>() {
            self.grants.push(allow(everybody, *catalog, "USE_CATALOG")?);
        }
        for schema in places.schemas.iter().filter(|_| random.below(2) == 0).collect::<Vec<_>>() {
            self.grants.push(allow(everybody, *schema, "USE_SCHEMA")?);
        }
        self.grants.push(allow(everybody, 0, "experiment.create")?);
        for _ in 0..5 {
            let auditor = (self.shape.users + random.below(self.shape.groups)) as u32;
            add(&mut self.grants, auditor, 0, "CAN_LIST", random)?;
        }
        while self.grants.len() < self.shape.grants {
            let user = random.below(2) == 0;
            let principal = if user {
                random.below(self.shape.users)
            } else {
                self.shape.users + random.below(self.shape.groups)
            } as u32;
            let (kind, names): (&[u32], &[&str]) = match random.below(1_000) {
                0..600 => (&places.experiments, &ON_EXPERIMENTS),
                600..940 => (&places.tables, &ON_TABLES),
                940..970 => (&places.folders, &ON_EXPERIMENTS),
                970..995 => (&places.schemas, &ON_SCHEMAS),
                _ => (&places.catalogs, &ON_CATALOGS),
            };
            let (securable, name) = (*random.pick(kind), *random.pick(names));
            // `ALL` is rare: a folder's or an experiment's owner.
            let name = if name == "CAN_MANAGE" && random.below(10) == 0 { "ALL" } else { name };
            add(&mut self.grants, principal, securable, name, random)?;
        }
        Ok(())
    }

    pub fn rule(&self, number: usize) -> Rule {
        let grant = self.grants[number];
        Rule {
            id: GrantId(number as i64 + 1),
            principal: self.principals[grant.principal as usize].clone(),
            securable: self.securables[grant.securable as usize].clone(),
            privilege: grant.given.as_str().to_owned(),
            effect: grant.effect,
            expires_at: grant.expires_at,
        }
    }

    /// The securable and all above it, the workspace last.
    pub fn above(&self, securable: u32) -> impl Iterator<Item = u32> + '_ {
        std::iter::successors(Some(securable), |at| {
            let parent = self.parents[*at as usize];
            (parent != *at).then_some(parent)
        })
    }

    /// What must be allowed so that the privilege may be used there: the gates of the catalog included.
    pub fn checks(&self, securable: u32, privilege: Privilege) -> Vec<(u32, Privilege)> {
        let mut checks = Vec::new();
        if self.securables[securable as usize].kind == SecurableKind::Table {
            for at in self.above(securable) {
                match self.securables[at as usize].kind {
                    SecurableKind::Catalog => checks.push((at, Privilege::UseCatalog)),
                    SecurableKind::Schema => checks.push((at, Privilege::UseSchema)),
                    _ => {}
                }
            }
        }
        checks.push((securable, privilege));
        checks
    }
}

fn allow(principal: u32, securable: u32, name: &str) -> Result<Grant> {
    Ok(Grant { principal, securable, given: name.parse()?, effect: Effect::Allow, expires_at: None })
}

#[derive(Default)]
struct Places {
    folders: Vec<u32>,
    experiments: Vec<u32>,
    catalogs: Vec<u32>,
    schemas: Vec<u32>,
    tables: Vec<u32>,
}

/// Small, fast and the same everywhere (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        ((u128::from(mixed) * bound as u128) >> 64) as usize
    }

    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}
