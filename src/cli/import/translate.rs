//! MLflow's accounts in Tracegate's words: who, which groups, which grants, and what has no word here.

use std::collections::{BTreeMap, BTreeSet};

use crate::access::{Effect, NewGrant, Principal, Securable};
use crate::policy::Levels;
use crate::policy::mlflow_permissions::{Permission, Resource};
use crate::store::mlflow_auth::{Accounts, Given, Role};

pub(super) struct Wishes {
    pub default: Option<Permission>,
    pub role_prefix: String,
}

pub(super) struct User {
    pub principal: Principal,
    pub password_hash: Option<String>,
}

/// What comes over.
#[derive(Default)]
pub(super) struct Carried {
    pub users: Vec<User>,
    pub groups: BTreeSet<Principal>,
    /// Group and member.
    pub memberships: BTreeSet<(Principal, Principal)>,
    pub grants: Vec<NewGrant>,
    /// What is left behind; without it somebody can do less than before, or as much.
    pub lost: Vec<String>,
    /// Denials that are left behind: without them somebody can do more.
    pub wider: Vec<String>,
    pub notes: Vec<String>,
}

pub(super) fn translate(accounts: &Accounts, wishes: &Wishes) -> anyhow::Result<Carried> {
    let levels = Levels::builtin()?;
    let mut carried = Carried::default();
    let mut users: BTreeMap<i64, Principal> = BTreeMap::new();
    let admins = Principal::group(Principal::ADMINS)?;
    for user in &accounts.users {
        let principal = match Principal::user(&user.name) {
            Ok(principal) => principal,
            Err(error) => {
                carried.lost.push(format!("user `{}`: {error}", user.name));
                continue;
            }
        };
        if user.is_admin {
            carried.memberships.insert((admins.clone(), principal.clone()));
        }
        let usable = crate::identity::is_password_hash(&user.password_hash);
        if !usable {
            carried
                .lost
                .push(format!("the password of `{}`: its hash is of a form that is not verified", user.name));
        }
        let password_hash = usable.then(|| user.password_hash.clone());
        users.insert(user.id, principal.clone());
        carried.users.push(User { principal, password_hash });
    }
    // Whose permissions, as MLflow has them: by principal, so that what two rows say of models comes together.
    let mut given: Vec<(Principal, &Given)> = Vec::new();
    for role in &accounts.roles {
        if role.workspace != "default" {
            carried.lost.push(format!("role `{}`: it is of the workspace `{}`", role.name, role.workspace));
            note_denials(&mut carried, role);
            continue;
        }
        if let Some(id) = direct_of(&role.name) {
            given.extend(
                users
                    .get(&id)
                    .into_iter()
                    .flat_map(|user| role.permissions.iter().map(|one| (user.clone(), one))),
            );
            continue;
        }
        let Some(group) = group_of(role, wishes, &mut carried) else {
            note_denials(&mut carried, role);
            continue;
        };
        let members = accounts.assignments.iter().filter(|(_, of)| *of == role.id);
        for member in members.filter_map(|(user, _)| users.get(user)) {
            carried.memberships.insert((group.clone(), member.clone()));
        }
        given.extend(role.permissions.iter().map(|one| (group.clone(), one)));
        carried.groups.insert(group);
    }
    for (user, one) in &accounts.direct {
        given.extend(users.get(user).map(|user| (user.clone(), one)));
    }
    let everybody = Principal::group(Principal::USERS)?;
    let mut on_all_models: BTreeMap<Principal, BTreeMap<&str, Permission>> = BTreeMap::new();
    for (principal, one) in &given {
        carry(&levels, wishes, principal, one, &mut carried, &mut on_all_models);
    }
    for (principal, kinds) in on_all_models {
        carry_models(&levels, &principal, &kinds, &mut carried);
    }
    if let Some(default) = wishes.default {
        let level = match default {
            Permission::Edit => "CAN_EDIT",
            Permission::Manage => "CAN_MANAGE",
            _ => "CAN_READ",
        };
        carried.grants.push(NewGrant {
            principal: everybody,
            securable: Securable::workspace(),
            privilege: level.to_owned(),
            effect: Effect::Allow,
            reason: Some("MLflow's default_permission".to_owned()),
            expires_at: None,
        });
        carried.notes.push(format!("`{level}` on everything goes to everybody who can sign in, also later"));
    } else {
        carried.notes.push(
            "MLflow's `default_permission` (READ as shipped: everybody reads everything) is not carried over; \
             --default-permission READ grants it"
                .to_owned(),
        );
    }
    for (table, count) in &accounts.unread {
        carried.lost.push(format!("{count} rows of `{table}`: there are no grants on such things here"));
    }
    if carried.grants.iter().any(|grant| grant.privilege == "CAN_EDIT") {
        carried.notes.push(
            "EDIT becomes `CAN_EDIT`, which may delete runs and traces too; in MLflow it takes MANAGE"
                .to_owned(),
        );
    }
    carried
        .notes
        .push("experiment ids are taken as they are: the gateway must serve the same experiments".to_owned());
    Ok(carried)
}

/// The user's id, of a role that stands for what one user was granted directly.
fn direct_of(name: &str) -> Option<i64> {
    name.strip_prefix("__user_")?.strip_suffix("__")?.parse().ok()
}

fn note_denials(carried: &mut Carried, role: &Role) {
    let denials = role.permissions.iter().filter(|one| one.permission == "DENY");
    carried.wider.extend(denials.map(|one| format!("role `{}`: {}", role.name, told(one))));
}

fn told(one: &Given) -> String {
    format!("{} on {} `{}`", one.permission, one.resource_type, one.pattern)
}

/// The group that a role becomes. Never one of the two that mean something by themselves.
fn group_of(role: &Role, wishes: &Wishes, carried: &mut Carried) -> Option<Principal> {
    let mut name = format!("{}{}", wishes.role_prefix, role.name);
    if [Principal::ADMINS, Principal::USERS].contains(&name.as_str()) {
        name = format!("mlflow-{name}");
        carried.notes.push(format!(
            "role `{}` becomes `group:{name}`: `group:{}` is another thing here",
            role.name, role.name
        ));
    }
    match Principal::group(&name) {
        Ok(group) if !carried.groups.contains(&group) => Some(group),
        Ok(_) => {
            carried
                .lost
                .push(format!("role `{}`: another role becomes the group `{name}` already", role.name));
            None
        }
        Err(error) => {
            carried.lost.push(format!("role `{}`: {error}", role.name));
            None
        }
    }
}

fn carry<'a>(
    levels: &Levels,
    wishes: &Wishes,
    principal: &Principal,
    one: &'a Given,
    carried: &mut Carried,
    on_all_models: &mut BTreeMap<Principal, BTreeMap<&'a str, Permission>>,
) {
    // In the older tables: nothing, even if everybody has something by default.
    let none = one.permission == "NO_PERMISSIONS";
    if none && wishes.default.is_none() {
        return;
    }
    let permission = if none { Ok(Permission::Deny) } else { Permission::parse(&one.permission) };
    let permission = match permission {
        Ok(permission) => permission,
        Err(problem) => return carried.lost.push(format!("`{principal}`: {}: {problem}", told(one))),
    };
    let kind = one.resource_type.as_str();
    if matches!(kind, "registered_model" | "prompt") && one.pattern == "*" {
        on_all_models.entry(principal.clone()).or_default().insert(kind, permission);
        return;
    }
    let below = privileges_of(kind);
    if permission == Permission::Deny && one.pattern == "*" && !below.is_empty() {
        let deny = |privilege: &&str| NewGrant {
            principal: principal.clone(),
            securable: Securable::workspace(),
            privilege: (*privilege).to_owned(),
            effect: Effect::Deny,
            reason: Some(format!("MLflow's DENY on every {kind}")),
            expires_at: None,
        };
        carried.grants.extend(below.iter().map(deny));
        return;
    }
    let grants = Resource::parse(kind, &one.pattern)
        .and_then(|resource| resource.grants(levels, principal, permission));
    match grants {
        Ok(grants) => {
            if kind == "workspace" && permission == Permission::Manage {
                carried.notes.push(format!(
                    "`{principal}` managed the workspace: it gets `CAN_MANAGE` on everything and may create, but does not \
                     administer accounts (that is `identity.manage`)"
                ));
            }
            carried.grants.extend(grants);
        }
        Err(problem) if permission == Permission::Deny => {
            carried.wider.push(format!("`{principal}`: {}: {problem}", told(one)));
        }
        Err(problem) => carried.lost.push(format!("`{principal}`: {}: {problem}", told(one))),
    }
}

/// What is denied with a kind of thing that experiments hold.
fn privileges_of(kind: &str) -> &'static [&'static str] {
    match kind {
        "run" => &["run.read", "run.write", "run.delete"],
        "trace" => &["trace.list", "trace.read", "trace.write", "trace.tag", "trace.delete"],
        "assessment" => &["assessment.read", "assessment.write"],
        "scorer" => &["scorer.read", "scorer.write"],
        _ => &[],
    }
}

/// A prompt is a registered model here: only what holds for all of both can be granted, and a denial of the one
/// denies the other too rather than neither.
fn carry_models(
    levels: &Levels,
    principal: &Principal,
    kinds: &BTreeMap<&str, Permission>,
    carried: &mut Carried,
) {
    let (models, prompts) = (kinds.get("registered_model").copied(), kinds.get("prompt").copied());
    let both = match (models, prompts) {
        (Some(Permission::Deny), _) | (_, Some(Permission::Deny)) => Some(Permission::Deny),
        (Some(one), Some(other)) => Some(one.min(other)),
        _ => None,
    };
    let said = |permission: Option<Permission>| permission.map_or("nothing", Permission::as_str);
    if models != prompts {
        carried.lost.push(format!(
            "`{principal}`: {} on all models and {} on all prompts: they are the same here, so both get {}",
            said(models),
            said(prompts),
            said(both)
        ));
    }
    carried.grants.extend(
        both.map(|both| Resource::grants_on_all_models(levels, principal, both)).into_iter().flatten(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::mlflow_auth::User as Account;

    fn given(kind: &str, pattern: &str, permission: &str) -> Given {
        Given { resource_type: kind.into(), pattern: pattern.into(), permission: permission.into() }
    }

    fn accounts(roles: Vec<(&str, Vec<Given>)>) -> Accounts {
        let user = |id: i64, name: &str| Account {
            id,
            name: name.to_owned(),
            password_hash: "none".to_owned(),
            is_admin: name == "root",
        };
        let roles: Vec<Role> = (10..)
            .zip(roles)
            .map(|(id, (name, permissions))| Role {
                id,
                name: name.to_owned(),
                workspace: "default".to_owned(),
                permissions,
            })
            .collect();
        let assignments = roles.iter().map(|role| (2, role.id)).collect();
        let users = vec![user(1, "root"), user(2, "ann"), user(3, "bad,name")];
        Accounts { users, roles, assignments, ..Accounts::default() }
    }

    fn told(accounts: &Accounts, default: Option<Permission>) -> (Carried, Vec<String>) {
        let wishes = Wishes { default, role_prefix: String::new() };
        let carried = translate(accounts, &wishes).unwrap();
        let grants = carried.grants.iter();
        let grants = grants
            .map(|one| {
                format!("{} {} {} {}", one.effect.as_str(), one.principal, one.privilege, one.securable)
            })
            .collect();
        (carried, grants)
    }

    #[test]
    fn people_roles_and_permissions_come_over() {
        let (carried, grants) = told(
            &accounts(vec![
                ("analysts", vec![given("experiment", "7", "READ"), given("prompt", "hello", "EDIT")]),
                ("__user_2__", vec![given("experiment", "8", "MANAGE"), given("experiment", "9", "DENY")]),
            ]),
            None,
        );
        assert_eq!(
            grants,
            [
                "allow group:analysts CAN_READ experiment:7",
                "allow group:analysts CAN_EDIT registered_model:hello",
                "allow user:ann CAN_MANAGE experiment:8",
                "deny user:ann ALL experiment:9",
            ]
        );
        let members: Vec<String> =
            carried.memberships.iter().map(|(group, member)| format!("{member} in {group}")).collect();
        assert_eq!(members, ["user:root in group:admins", "user:ann in group:analysts"]);
        assert!(carried.lost.iter().any(|line| line.contains("bad,name")));
        assert!(carried.wider.is_empty());
    }

    #[test]
    fn a_role_called_like_a_group_of_ours_makes_nobody_an_administrator() {
        for name in ["admins", "users"] {
            let (carried, grants) =
                told(&accounts(vec![(name, vec![given("experiment", "7", "MANAGE")])]), None);
            assert_eq!(grants, [format!("allow group:mlflow-{name} CAN_MANAGE experiment:7")]);
            let admins = carried.memberships.iter().filter(|(group, _)| group.name == "admins");
            assert_eq!(admins.map(|(_, member)| member.name.as_str()).collect::<Vec<_>>(), ["root"]);
        }
    }

    #[test]
    fn what_cannot_be_carried_over_is_told_and_a_lost_denial_twice_so() {
        let (carried, grants) = told(
            &accounts(vec![(
                "ops",
                vec![
                    given("gateway_endpoint", "*", "USE"),
                    given("mcp_server", "*", "DENY"),
                    given("assessment", "*", "DENY"),
                    given("trace", "*", "READ"),
                ],
            )]),
            None,
        );
        assert_eq!(
            grants,
            [
                "deny group:ops assessment.read workspace:default",
                "deny group:ops assessment.write workspace:default",
            ]
        );
        assert_eq!(carried.wider.len(), 1);
        assert!(carried.wider[0].contains("mcp_server"));
        assert!(carried.lost.iter().any(|line| line.contains("gateway_endpoint")));
        assert!(carried.lost.iter().any(|line| line.contains("READ on trace")));
    }

    #[test]
    fn all_models_and_all_prompts_come_over_as_the_lesser_of_both() {
        let role = |given: Vec<Given>| told(&accounts(vec![("r", given)]), None).1;
        let all = |models: &str, prompts: &str| {
            role(vec![given("registered_model", "*", models), given("prompt", "*", prompts)])
        };
        assert_eq!(all("MANAGE", "READ"), ["allow group:r model.read workspace:default"]);
        assert!(all("READ", "DENY").iter().all(|grant| grant.starts_with("deny")));
        assert_eq!(role(vec![given("registered_model", "*", "MANAGE")]), [""; 0]);
        assert!(role(vec![given("prompt", "*", "DENY")]).iter().any(|one| one.contains("model.read")));
    }

    #[test]
    fn the_default_permission_is_granted_only_if_it_is_said() {
        let mut older = accounts(vec![]);
        older.direct = vec![(2, given("experiment", "1", "NO_PERMISSIONS"))];
        let (carried, grants) = told(&older, None);
        assert_eq!(grants, [""; 0]);
        assert!(carried.notes.iter().any(|line| line.contains("--default-permission READ")));
        let (_, grants) = told(&older, Some(Permission::Read));
        assert_eq!(
            grants,
            ["deny user:ann ALL experiment:1", "allow group:users CAN_READ workspace:default"]
        );
    }

    #[test]
    fn other_workspaces_stay_behind() {
        let mut other = accounts(vec![("r", vec![given("experiment", "1", "DENY")])]);
        other.roles[0].workspace = "lab".to_owned();
        let (carried, grants) = told(&other, None);
        assert!(grants.is_empty() && carried.groups.is_empty());
        assert_eq!((carried.lost.len(), carried.wider.len()), (4, 1));
    }
}
