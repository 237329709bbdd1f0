//! regorus, an interpreter of Rego: the grants are data, and one small policy looks them up.
//!
//! The policy goes from the question's securable upwards and, at each, through what gives the privilege to the
//! principals that hold it: the fewest steps that Rego allows for. [`Interpreter`] walks the policy's syntax tree;
//! [`Machine`] runs the same policy compiled for regorus' own virtual machine.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use regorus::languages::rego::compiler::Compiler;
use regorus::rvm::RegoVM;
use regorus::{Engine, Value};
use tracegate::access::{Effect, Given, Privilege};
use tracegate::policy::Levels;

use super::Peer;
use crate::world::{GIVEN, World};

const POLICY: &str = r#"
package access

import rego.v1

default allow := false

administrates if data.groups[input.user]["group:admins"]

holds(lists) if {
    some securable in data.above[input.securable]
    some given in data.giving[input.privilege]
    some principal in lists[securable][given]
    data.groups[input.user][principal]
}

allow if administrates

allow if {
    holds(data.allow)
    not holds(data.deny)
}
"#;

const ENTRY_POINT: &str = "data.access.allow";

fn object(pairs: impl IntoIterator<Item = (String, Value)>) -> Value {
    Value::from(pairs.into_iter().map(|(key, value)| (Value::from(key), value)).collect::<BTreeMap<_, _>>())
}

fn array(names: impl IntoIterator<Item = String>) -> Value {
    Value::from(names.into_iter().map(Value::from).collect::<Vec<_>>())
}

fn data(world: &World) -> Result<Value> {
    let principal = |number: u32| world.principals[number as usize].to_string();
    let securable = |number: u32| world.securables[number as usize].to_string();
    let groups = world.groups_of.iter().enumerate().map(|(user, groups)| {
        let inside = groups.iter().copied().chain([user as u32]);
        (principal(user as u32), object(inside.map(|group| (principal(group), Value::from(true)))))
    });
    let above =
        (0..world.securables.len() as u32).map(|at| (securable(at), array(world.above(at).map(securable))));
    let levels = Levels::builtin()?;
    let giving = Privilege::ALL.iter().map(|privilege| {
        let gives = |name: &&str| name.parse::<Given>().is_ok_and(|given| levels.set(given).has(*privilege));
        (privilege.to_string(), array(GIVEN.into_iter().filter(gives).map(str::to_owned)))
    });
    Ok(object([
        ("groups".to_owned(), object(groups)),
        ("above".to_owned(), object(above)),
        ("giving".to_owned(), object(giving)),
        ("allow".to_owned(), lists(world, Effect::Allow)),
        ("deny".to_owned(), lists(world, Effect::Deny)),
    ]))
}

/// Principals by what they are given, by securable.
fn lists(world: &World, effect: Effect) -> Value {
    let mut by_securable: BTreeMap<u32, BTreeMap<&str, Vec<u32>>> = BTreeMap::new();
    for grant in world.grants.iter().filter(|grant| grant.effect == effect && grant.in_force()) {
        let given = by_securable.entry(grant.securable).or_default();
        given.entry(grant.given.as_str()).or_default().push(grant.principal);
    }
    object(by_securable.into_iter().map(|(securable, by_given)| {
        let lists = by_given.into_iter().map(|(given, principals)| {
            let names = principals.into_iter().map(|number| world.principals[number as usize].to_string());
            (given.to_owned(), array(names))
        });
        (world.securables[securable as usize].to_string(), object(lists))
    }))
}

fn input(world: &World, user: u32, securable: u32, privilege: &str) -> Value {
    object([
        ("user".to_owned(), Value::from(world.principals[user as usize].to_string())),
        ("securable".to_owned(), Value::from(world.securables[securable as usize].to_string())),
        ("privilege".to_owned(), Value::from(privilege)),
    ])
}

pub struct Interpreter(Engine);

impl Interpreter {
    pub fn new(world: &World) -> Result<Self> {
        let mut engine = Engine::new();
        engine.add_policy("access.rego".to_owned(), POLICY.to_owned())?;
        engine.add_data(data(world)?)?;
        Ok(Self(engine))
    }
}

impl Peer for Interpreter {
    type Check = Value;

    fn check(&self, world: &World, user: u32, securable: u32, privilege: &str) -> Result<Value> {
        Ok(input(world, user, securable, privilege))
    }

    fn allows(&mut self, check: &Value) -> Result<bool> {
        self.0.set_input(check.clone());
        Ok(self.0.eval_rule(ENTRY_POINT.to_owned())? == Value::from(true))
    }
}

pub struct Machine(RegoVM);

impl Machine {
    pub fn new(world: &World) -> Result<Self> {
        let mut engine = Engine::new();
        engine.add_policy("access.rego".to_owned(), POLICY.to_owned())?;
        let compiled = engine.compile_with_entrypoint(&Arc::from(ENTRY_POINT))?;
        let program =
            Compiler::compile_from_policy(&compiled, &[ENTRY_POINT]).map_err(|error| anyhow!("{error}"))?;
        let mut machine = RegoVM::new();
        machine.load_program(program);
        machine.set_data(data(world)?).map_err(|error| anyhow!("{error}"))?;
        Ok(Self(machine))
    }
}

impl Peer for Machine {
    type Check = Value;

    fn check(&self, world: &World, user: u32, securable: u32, privilege: &str) -> Result<Value> {
        Ok(input(world, user, securable, privilege))
    }

    fn allows(&mut self, check: &Value) -> Result<bool> {
        self.0.set_input(check.clone());
        let answer = self.0.execute_entry_point_by_index(0).map_err(|error| anyhow!("{error}"))?;
        Ok(answer == Value::from(true))
    }
}
