//! Cedar, in the three ways in which one could give it these grants.
//!
//! Principals and securables are entities in their groups and parents, privileges are actions in the levels that
//! give them. Grants are then links of templates ([`Links`]); or sets of principals in attributes of the securables
//! ([`AccessLists`]); or links of the few grants that can matter to a question, found by an index and linked for
//! this one decision ([`Candidates`]).

use std::collections::{HashMap, HashSet};

use anyhow::Result;
use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicyId,
    PolicySet, Request, RestrictedExpression, SlotId, Template,
};
use tracegate::access::{Effect, Given, Privilege};
use tracegate::policy::Levels;

use super::Peer;
use crate::plain::Plain;
use crate::world::{GIVEN, Grant, World};

struct Types {
    principal: EntityTypeName,
    securable: EntityTypeName,
    action: EntityTypeName,
}

impl Types {
    fn new() -> Result<Self> {
        let named = |name: &str| Ok::<_, anyhow::Error>(name.parse::<EntityTypeName>()?);
        Ok(Self { principal: named("Principal")?, securable: named("Securable")?, action: named("Action")? })
    }

    fn principal(&self, world: &World, number: u32) -> EntityUid {
        uid(&self.principal, &world.principals[number as usize].to_string())
    }

    fn securable(&self, world: &World, number: u32) -> EntityUid {
        uid(&self.securable, &world.securables[number as usize].to_string())
    }

    fn request(&self, world: &World, user: u32, securable: u32, privilege: &str) -> Result<Request> {
        let action = uid(&self.action, privilege);
        let (principal, resource) = (self.principal(world, user), self.securable(world, securable));
        Ok(Request::new(principal, action, resource, Context::empty(), None)?)
    }

    /// Everything there is, in its groups and parents; `attributes` gives what a securable carries.
    fn entities(
        &self,
        world: &World,
        attributes: impl Fn(u32) -> HashMap<String, RestrictedExpression>,
    ) -> Result<Entities> {
        let mut groups: HashMap<u32, HashSet<EntityUid>> = HashMap::new();
        for (group, member) in &world.memberships {
            groups.entry(*member).or_default().insert(self.principal(world, *group));
        }
        for user in 0..world.shape.users as u32 {
            groups.entry(user).or_default().insert(self.principal(world, world.everybody()));
        }
        let mut entities = Vec::new();
        for number in 0..world.principals.len() as u32 {
            let inside = groups.remove(&number).unwrap_or_default();
            entities.push(Entity::new_no_attrs(self.principal(world, number), inside));
        }
        for number in 0..world.securables.len() as u32 {
            let parent = world.parents[number as usize];
            let above = (parent != number).then(|| self.securable(world, parent)).into_iter().collect();
            entities.push(Entity::new(self.securable(world, number), attributes(number), above)?);
        }
        let levels = Levels::builtin()?;
        for privilege in Privilege::ALL.iter().filter(|privilege| !GIVEN.contains(&privilege.as_str())) {
            entities.push(self.action(&levels, *privilege)?);
        }
        for name in GIVEN {
            entities.push(match name.parse::<Privilege>() {
                Ok(privilege) => self.action(&levels, privilege)?,
                Err(_) => Entity::new_no_attrs(uid(&self.action, name), HashSet::new()),
            });
        }
        Ok(Entities::from_entities(entities, None)?)
    }

    /// A privilege as an action in everything that gives it.
    fn action(&self, levels: &Levels, privilege: Privilege) -> Result<Entity> {
        let mut inside = HashSet::new();
        for name in GIVEN.into_iter().filter(|name| *name != privilege.as_str()) {
            if levels.set(name.parse::<Given>()?).has(privilege) {
                inside.insert(uid(&self.action, name));
            }
        }
        Ok(Entity::new_no_attrs(uid(&self.action, privilege.as_str()), inside))
    }
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

/// Administrators may do everything, and no deny binds them.
const ADMINISTRATORS: &str = r#"permit(principal in Principal::"group:admins", action, resource);"#;
const UNLESS_ADMINISTRATOR: &str = r#"unless { principal in Principal::"group:admins" }"#;

fn template_id(given: &str, effect: Effect) -> PolicyId {
    PolicyId::new(format!("{} {given}", effect.as_str()))
}

fn templates() -> Result<PolicySet> {
    let mut policies: PolicySet = ADMINISTRATORS.parse()?;
    for given in GIVEN {
        for (effect, verb, end) in
            [(Effect::Allow, "permit", ""), (Effect::Deny, "forbid", UNLESS_ADMINISTRATOR)]
        {
            let text = format!(
                r#"{verb}(principal in ?principal, action in Action::"{given}", resource in ?resource) {end};"#
            );
            policies.add_template(Template::parse(Some(template_id(given, effect)), text)?)?;
        }
    }
    Ok(policies)
}

fn link(
    policies: &mut PolicySet,
    types: &Types,
    world: &World,
    number: u32,
    grant: &Grant,
) -> Result<PolicyId> {
    let id = PolicyId::new(number.to_string());
    let slots = HashMap::from([
        (SlotId::principal(), types.principal(world, grant.principal)),
        (SlotId::resource(), types.securable(world, grant.securable)),
    ]);
    policies.link(template_id(grant.given.as_str(), grant.effect), id.clone(), slots)?;
    Ok(id)
}

/// A link of a template for each grant.
pub struct Links {
    types: Types,
    authorizer: Authorizer,
    policies: PolicySet,
    entities: Entities,
}

impl Links {
    pub fn new(world: &World) -> Result<Self> {
        let (types, mut policies) = (Types::new()?, templates()?);
        for (number, grant) in world.grants.iter().enumerate().filter(|(_, grant)| grant.in_force()) {
            link(&mut policies, &types, world, number as u32, grant)?;
        }
        let entities = types.entities(world, |_| HashMap::new())?;
        Ok(Self { types, authorizer: Authorizer::new(), policies, entities })
    }
}

impl Peer for Links {
    type Check = Request;

    fn check(&self, world: &World, user: u32, securable: u32, privilege: &str) -> Result<Request> {
        self.types.request(world, user, securable, privilege)
    }

    fn allows(&mut self, check: &Request) -> Result<bool> {
        let answer = self.authorizer.is_authorized(check, &self.policies, &self.entities);
        Ok(answer.decision() == Decision::Allow)
    }
}

/// Grants as sets of principals, `allow_…` and `deny_…`, in attributes of their securables.
pub struct AccessLists(Links);

impl AccessLists {
    pub fn new(world: &World) -> Result<Self> {
        let types = Types::new()?;
        let mut lists: Vec<HashMap<String, Vec<u32>>> = vec![HashMap::new(); world.securables.len()];
        for grant in world.grants.iter().filter(|grant| grant.in_force()) {
            let name = attribute(grant.effect, grant.given.as_str());
            lists[grant.securable as usize].entry(name).or_default().push(grant.principal);
        }
        let entities = types.entities(world, |number| {
            let mut attributes: HashMap<String, RestrictedExpression> = lists[number as usize]
                .iter()
                .map(|(name, principals)| {
                    let uids = principals.iter().map(|one| types.principal(world, *one));
                    let set = RestrictedExpression::new_set(uids.map(RestrictedExpression::new_entity_uid));
                    (name.clone(), set)
                })
                .collect();
            let parent = world.parents[number as usize];
            if parent != number {
                let above = RestrictedExpression::new_entity_uid(types.securable(world, parent));
                attributes.insert("parent".to_owned(), above);
            }
            attributes
        })?;
        // Cedar has no recursion: the policy spells out every step that the tree can have.
        let steps = world.shape.depth.max(5);
        let mut policies: PolicySet = ADMINISTRATORS.parse()?;
        for given in GIVEN {
            for (effect, verb, end) in
                [(Effect::Allow, "permit", ""), (Effect::Deny, "forbid", UNLESS_ADMINISTRATOR)]
            {
                let condition = listed("resource", &attribute(effect, given), steps);
                let text = format!(
                    r#"{verb}(principal, action in Action::"{given}", resource) when {{ {condition} }} {end};"#
                );
                policies.add(cedar_policy::Policy::parse(Some(template_id(given, effect)), text)?)?;
            }
        }
        Ok(Self(Links { types, authorizer: Authorizer::new(), policies, entities }))
    }
}

fn attribute(effect: Effect, given: &str) -> String {
    format!("{}_{}", effect.as_str(), given.replace('.', "_"))
}

/// Whether the principal is in the list of the securable or of one above it.
fn listed(securable: &str, attribute: &str, steps: usize) -> String {
    let here = format!("({securable} has {attribute} && principal in {securable}.{attribute})");
    if steps <= 1 {
        return here;
    }
    let above = listed(&format!("{securable}.parent"), attribute, steps - 1);
    format!("({here} || ({securable} has parent && {above}))")
}

impl Peer for AccessLists {
    type Check = Request;

    fn check(&self, world: &World, user: u32, securable: u32, privilege: &str) -> Result<Request> {
        self.0.check(world, user, securable, privilege)
    }

    fn allows(&mut self, check: &Request) -> Result<bool> {
        self.0.allows(check)
    }
}

/// Only the grants that an index finds for a question, linked for it and unlinked again.
pub struct Candidates<'w> {
    plain: &'w Plain<'w>,
    links: Links,
}

impl<'w> Candidates<'w> {
    pub fn new(plain: &'w Plain<'w>) -> Result<Self> {
        let types = Types::new()?;
        let entities = types.entities(plain.world, |_| HashMap::new())?;
        let links = Links { types, authorizer: Authorizer::new(), policies: templates()?, entities };
        Ok(Self { plain, links })
    }
}

pub struct Candidate {
    user: u32,
    securable: u32,
    request: Request,
}

impl Peer for Candidates<'_> {
    type Check = Candidate;

    fn check(&self, world: &World, user: u32, securable: u32, privilege: &str) -> Result<Candidate> {
        Ok(Candidate { user, securable, request: self.links.check(world, user, securable, privilege)? })
    }

    fn allows(&mut self, check: &Candidate) -> Result<bool> {
        let mut linked = Vec::new();
        for (number, grant) in self.plain.candidates(check.user, check.securable) {
            let (policies, types) = (&mut self.links.policies, &self.links.types);
            linked.push(link(policies, types, self.plain.world, number, grant)?);
        }
        let allowed = self.links.allows(&check.request)?;
        for id in linked {
            self.links.policies.unlink(id)?;
        }
        Ok(allowed)
    }
}
