//! A world as casbin lines, and a check as casbin requests, written from the documentation and from a world's
//! facts alone. Nothing here asks the engine or its tables: what both have in common proves nothing.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use super::world::{World, admins, users};
use crate::access::{Given, Principal, PrincipalKind, Privilege, Rule, Securable, SecurableKind};

pub(super) type Line = Vec<String>;
pub(super) type Request = [String; 3];

/// Where each catalog privilege applies.
const APPLIES: &str = "
    USE_CATALOG catalog
    USE_SCHEMA schema
    SELECT table view
    MODIFY table
    READ_VOLUME volume
    WRITE_VOLUME volume
    EXECUTE function
    REFRESH view
    BROWSE catalog schema table view volume function external_location
    MANAGE metastore catalog schema table view volume function external_location
    APPLY_TAG catalog schema table view volume function
    CREATE_CATALOG metastore
    CREATE_EXTERNAL_LOCATION metastore
    CREATE_SCHEMA catalog
    CREATE_TABLE schema
    CREATE_MATERIALIZED_VIEW schema
    CREATE_VOLUME schema
    CREATE_FUNCTION schema
    CREATE_MODEL schema
    EXTERNAL_USE_SCHEMA schema
    EXTERNAL_USE_LOCATION external_location
    CREATE_EXTERNAL_TABLE external_location
    CREATE_EXTERNAL_VOLUME external_location
    CREATE_MANAGED_STORAGE external_location
    READ_FILES external_location
    WRITE_FILES external_location
    catalog.enter catalog
    schema.enter schema
    warehouse.use warehouse workspace
    warehouse.monitor warehouse workspace
    warehouse.manage warehouse workspace
";

/// What is inside what, beside the levels of `policies/levels.csv`.
const BUNDLES: &str = "
    CAN_USE warehouse.use
    CAN_MONITOR warehouse.use warehouse.monitor
    CAN_MANAGE warehouse.use warehouse.monitor warehouse.manage
    USE_CATALOG catalog.enter
    USE_SCHEMA schema.enter
    MANAGE catalog.enter schema.enter
    OWNER MANAGE BROWSE catalog.enter schema.enter
";

fn table_line<'t>(table: &'t str, name: &str) -> Option<Vec<&'t str>> {
    table.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some(name)).then(|| words.collect())
    })
}

/// The kinds of each privilege, in the order of privileges.
static KINDS: LazyLock<Vec<Vec<&str>>> = LazyLock::new(|| {
    let workspace = || vec!["workspace", "folder", "experiment", "registered_model"];
    let kinds = |privilege: &Privilege| table_line(APPLIES, privilege.as_str()).unwrap_or_else(workspace);
    Privilege::ALL.iter().map(kinds).collect()
});

pub(super) fn applies(privilege: Privilege, kind: SecurableKind) -> bool {
    KINDS[privilege as usize].contains(&kind.as_str())
}

/// Written in capitals, or one of the two that are never granted: the catalog's.
fn of_catalog(privilege: &str) -> bool {
    !privilege.contains('.') || ["catalog.enter", "schema.enter"].contains(&privilege)
}

/// Privilege and what it is in, directly.
pub(super) static CONTAINED: LazyLock<BTreeSet<(String, String)>> = LazyLock::new(|| {
    let mut found = BTreeSet::new();
    let mut put = |inside: &str, outside: &str| {
        if inside != outside {
            found.insert((inside.to_owned(), outside.to_owned()));
        }
    };
    for line in include_str!("../../../policies/levels.csv").lines().skip(1) {
        let (level, privilege) = line.split_once(',').unwrap();
        put(privilege, level);
        if level == "CAN_EDIT" {
            put(privilege, "CAN_RUN");
        }
    }
    for line in BUNDLES.lines().filter(|line| !line.trim().is_empty()) {
        let mut words = line.split_whitespace();
        let bundle = words.next().unwrap();
        words.for_each(|privilege| put(privilege, bundle));
    }
    for privilege in Privilege::ALL.iter().map(|privilege| privilege.as_str()) {
        put(privilege, "ALL");
        let from_outside = ["EXTERNAL_USE_SCHEMA", "EXTERNAL_USE_LOCATION"].contains(&privilege);
        if of_catalog(privilege) && !from_outside {
            put(privilege, "OWNED");
            if privilege != "MANAGE" {
                put(privilege, "ALL_PRIVILEGES");
            }
        }
    }
    found
});

/// Every byte that some reader of CSV or of casbin might take for something else.
pub(super) fn escaped(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:/@+=~-".contains(&byte);
    name.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn edge(child: &impl ToString, parent: &impl ToString) -> Line {
    vec!["g".to_owned(), escaped(&child.to_string()), escaped(&parent.to_string())]
}

pub(super) fn in_force(rule: &Rule, world: &World) -> bool {
    rule.expires_at.is_none_or(|end| world.now < end) && rule.privilege.parse::<Given>().is_ok()
}

/// The lines that grant, and the direct memberships: an export must have exactly these.
pub(super) fn facts(world: &World) -> BTreeSet<Line> {
    let policy = |principal: &Principal, securable: &Securable, given: &str, effect: &str, id: i64| {
        let names = [principal.to_string(), securable.to_string()].map(|name| escaped(&name));
        let [principal, securable] = names;
        vec!["p".to_owned(), principal, securable, given.replace(' ', "_"), effect.to_owned(), id.to_string()]
    };
    let mut lines = BTreeSet::new();
    lines.insert(policy(&admins(), &Securable::workspace(), "ALL", "allow", 0));
    for rule in world.rules.values() {
        if in_force(rule, world) && world.is_active(&rule.principal) {
            let effect = rule.effect.as_str();
            lines.insert(policy(&rule.principal, &rule.securable, &rule.privilege, effect, rule.id.0));
        }
    }
    for (group, member) in &world.memberships {
        if world.is_active(member) {
            lines.insert(edge(member, group));
        }
    }
    lines.extend(CONTAINED.iter().map(|(inside, outside)| edge(inside, outside)));
    lines
}

/// The edges that are true of these whether or not any fact names them.
pub(super) fn relations<'f>(
    world: &World,
    principals: impl IntoIterator<Item = &'f Principal>,
    securables: impl IntoIterator<Item = &'f Securable>,
) -> BTreeSet<Line> {
    let callers = principals
        .into_iter()
        .filter(|who| who.kind != PrincipalKind::Group && world.is_active(who))
        .map(|who| edge(who, &users()));
    let places = securables.into_iter().flat_map(|securable| {
        let above = world.chain(securable).into_iter().skip(1);
        above.map(|parent| edge(securable, &parent)).collect::<Vec<Line>>()
    });
    callers.chain(places).collect()
}

/// The checks that must all be allowed: the way to the securable, then what is asked. None: never allowed.
pub(super) fn gates(privilege: Privilege, securable: &Securable) -> Option<Vec<(Privilege, Securable)>> {
    if !applies(privilege, securable.kind) {
        return None;
    }
    let itself = (privilege, securable.clone());
    if !of_catalog(privilege.as_str())
        || ["BROWSE", "catalog.enter", "schema.enter"].contains(&privilege.as_str())
    {
        return Some(vec![itself]);
    }
    let names: Vec<&str> = securable.id.split('.').collect();
    let container = |kind: SecurableKind, depth: usize| {
        let inside = !matches!(securable.kind, SecurableKind::Metastore | SecurableKind::ExternalLocation);
        (inside && names.len() >= depth).then(|| Securable { kind, id: names[..depth].join(".") })
    };
    let managing = privilege.as_str() == "MANAGE";
    let ways = [
        (if managing { "catalog.enter" } else { "USE_CATALOG" }, container(SecurableKind::Catalog, 1)),
        (if managing { "schema.enter" } else { "USE_SCHEMA" }, container(SecurableKind::Schema, 2)),
    ];
    let mut checks: Vec<(Privilege, Securable)> = Vec::new();
    for (gate, container) in ways {
        if let Some(container) = container.filter(|container| !managing || container != securable) {
            checks.push((gate.parse().unwrap(), container));
        }
    }
    if !checks.contains(&itself) {
        checks.push(itself);
    }
    Some(checks)
}

pub(super) fn requests(principal: &Principal, privilege: Privilege, securable: &Securable) -> Vec<Request> {
    let request = |securable: &Securable, action: &str| {
        [escaped(&principal.to_string()), escaped(&securable.to_string()), action.to_owned()]
    };
    match gates(privilege, securable) {
        Some(checks) => {
            checks.iter().map(|(privilege, securable)| request(securable, privilege.as_str())).collect()
        }
        None => vec![request(securable, "inapplicable")],
    }
}
