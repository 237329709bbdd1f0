//! The grants API: what is granted on one securable, read and changed by whoever manages it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::kinds::{self, forbidden, missing};
use super::privileges::{Spelling, is_of_catalog, read};
use super::{ATTEMPTS, effective, metastore, people, sight};
use crate::access::{
    Check, Effect, Given, Grant, NewGrant, Principal, PrincipalKind, Privilege, Securable, SecurableKind,
};
use crate::http::call::Call;
use crate::http::changes::settle;
use crate::http::error::Refusal;
use crate::http::own::sent_as;
use crate::http::pages;
use crate::http::trail::Trail;
use crate::store::{StoreError, Wanted};
use crate::wire::{Malformed, Reply};

/// Privileges of one change, over all of its principals.
const MOST: usize = 10_000;
/// The least page of this API, other than what it leaves to us.
const SMALLEST_PAGE: usize = 150;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    #[serde(default)]
    changes: Vec<Value>,
    #[serde(default)]
    omit_permissions_in_response: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OneChange {
    principal: String,
    #[serde(default)]
    add: Option<Vec<String>>,
    #[serde(default)]
    remove: Option<Vec<String>>,
}

/// What is wanted for one principal.
#[derive(Default)]
struct Asked {
    add: BTreeSet<Given>,
    remove: BTreeSet<Given>,
}

pub(super) async fn answer(call: &mut Call<'_>, trail: &Trail, verb: &str) -> Result<Reply, Refusal> {
    match verb {
        "get" => show(call).await,
        "update" => change(call, trail).await,
        "effective" => effective::show(call).await,
        _ => Err(Refusal::UnknownEndpoint),
    }
}

/// The securable that the path names, if the caller sees it.
pub(super) async fn named(call: &Call<'_>) -> Result<Securable, Refusal> {
    let (kind, name) = (call.param("kind"), call.param("name"));
    let unknown = || -> Refusal {
        let shown: String = kind.chars().take(80).collect();
        Malformed::new("securable type", format!("`{shown}` is not one that is kept here")).into()
    };
    let kind = kinds::of_path(kind).ok_or_else(unknown)?;
    if kind == SecurableKind::Metastore {
        metastore::check_name(call, name).await?;
        return Ok(Securable::metastore());
    }
    Ok(sight::seen(call, &Securable::new(kind, name)?, true).await?.0.securable)
}

/// Whether the caller may know of everybody's grants on something, and not only of its own.
pub(super) fn sees_all(call: &Call<'_>, securable: &Securable) -> Result<bool, Refusal> {
    call.allows(Check::new(Privilege::Manage, securable.clone()))
}

/// Rows by principal, and the last one if there are more.
type Page<T> = (Vec<(Principal, T)>, Option<Principal>);

/// A page of rows by principal, as the query asks for it.
pub(super) fn page<T>(call: &Call<'_>, rows: BTreeMap<Principal, T>) -> Result<Page<T>, Refusal> {
    let refuse = || {
        let problem = "must be 0, or at least 150";
        Malformed::new("query parameter `max_results`", problem)
    };
    let size = match call.head.query.one("max_results")?.filter(|text| !text.is_empty()) {
        None => usize::MAX,
        Some(text) => match text.parse::<usize>().map_err(|_| refuse())? {
            0 => SMALLEST_PAGE,
            wanted @ SMALLEST_PAGE.. => wanted,
            _ => return Err(refuse().into()),
        },
    };
    let after = call.head.query.one("page_token")?.filter(|text| !text.is_empty());
    let after: Option<Principal> = after.map(str::parse).transpose()?;
    let mut left =
        rows.into_iter().filter(|(principal, _)| after.as_ref().is_none_or(|after| principal > after));
    let page: Vec<(Principal, T)> = left.by_ref().take(size).collect();
    let next = left.next().and_then(|_| page.last().map(|(principal, _)| principal.clone()));
    Ok((page, next))
}

/// Whose rows are asked for.
pub(super) async fn of_principal(call: &Call<'_>) -> Result<Option<Principal>, Refusal> {
    match call.head.query.one("principal")?.filter(|name| !name.is_empty()) {
        Some(name) => Ok(Some(people::named(call, "query parameter `principal`", name).await?)),
        None => Ok(None),
    }
}

async fn show(call: &mut Call<'_>) -> Result<Reply, Refusal> {
    pages::open(call).await?;
    let securable = named(call).await?;
    let all = sees_all(call, &securable)?;
    let asked = match call.head.query.one("principal")?.is_some_and(|name| !name.is_empty()) && !all {
        // Not whether there is such a principal.
        true => of_principal(call).await.ok().flatten().or_else(|| Some(Principal::anonymous())),
        false => of_principal(call).await?,
    };
    let mut rows = direct(call, &securable).await?;
    let view = call.view()?;
    rows.retain(|principal, _| {
        asked.as_ref().is_none_or(|asked| asked == principal) && (all || view.acts_as(call.caller, principal))
    });
    let (page, next) = page(call, rows)?;
    write(call, page, next, Spelling::of(call, &[])).await
}

/// What is granted directly, by principal.
async fn direct(
    call: &Call<'_>,
    securable: &Securable,
) -> Result<BTreeMap<Principal, BTreeSet<Given>>, Refusal> {
    let now = call.app.clock.now();
    let mut rows: BTreeMap<Principal, BTreeSet<Given>> = BTreeMap::new();
    for Grant { grant, .. } in call.app.store.grants(None, Some(securable)).await? {
        let in_force = grant.effect == Effect::Allow && grant.expires_at.is_none_or(|end| now < end);
        if let Ok(given) = grant.privilege.parse::<Given>()
            && in_force
            && is_of_catalog(given)
        {
            rows.entry(grant.principal).or_default().insert(given);
        }
    }
    Ok(rows)
}

async fn write(
    call: &Call<'_>,
    rows: Vec<(Principal, BTreeSet<Given>)>,
    next: Option<Principal>,
    spelling: Spelling,
) -> Result<Reply, Refusal> {
    let named: Vec<&Principal> = rows.iter().map(|(principal, _)| principal).collect();
    let names = people::spelled(call, &named).await?;
    let mut assignments = Vec::new();
    for (principal, given) in &rows {
        let privileges: Vec<String> = given.iter().filter_map(|given| spelling.write(*given)).collect();
        if !privileges.is_empty() {
            assignments.push(json!({ "principal": names.get(principal), "privileges": privileges }));
        }
    }
    let mut answer = Map::from_iter([("privilege_assignments".to_owned(), Value::Array(assignments))]);
    if let Some(next) = next {
        let token = pages::sealed_token(call, &next.to_string())?;
        answer.insert("next_page_token".to_owned(), json!(token));
    }
    Ok(pages::written(200, &answer))
}

/// All of the changes, or none.
async fn change(call: &mut Call<'_>, trail: &Trail) -> Result<Reply, Refusal> {
    let sent: Sent = sent_as(call).await?;
    let call = &*call;
    let by = call.caller.principal.to_string();
    for _ in 0..ATTEMPTS {
        let version = call.view()?.version();
        let securable = named(call).await?;
        sight::demand(call, Privilege::Manage, &securable)?;
        let asked = asked(call, &securable, &sent.changes).await?;
        let held = call.app.store.grants(None, Some(&securable)).await?;
        let steps = steps(&securable, &asked, &held);
        for step in &steps {
            if let Wanted::Grant(grant) = step {
                may_grant(call, grant).await?;
            }
        }
        let now = call.app.clock.now();
        match call.app.store.apply_policy(Some(version), &steps, &by, now).await {
            Err(StoreError::Moved { .. }) => call.app.confirm_policy().await?,
            Err(error) => return Err(error.into()),
            Ok(change) => {
                settle(call.app, trail, change).await?;
                if sent.omit_permissions_in_response == Some(true) {
                    return Ok(pages::written(200, &Map::new()));
                }
                let mut rows = direct(call, &securable).await?;
                if !sees_all(call, &securable)? {
                    // Who took the right to manage from itself sees its own alone from here on.
                    let view = call.view()?;
                    rows.retain(|principal, _| view.acts_as(call.caller, principal));
                }
                let spelling = Spelling::of(call, &sent.changes);
                return write(call, rows.into_iter().collect(), None, spelling).await;
            }
        }
    }
    Err(Refusal::Store(StoreError::Contended("policy changed all the while".to_owned())))
}

async fn asked(
    call: &Call<'_>,
    securable: &Securable,
    sent: &[Value],
) -> Result<BTreeMap<Principal, Asked>, Refusal> {
    let mut asked: BTreeMap<Principal, Asked> = BTreeMap::new();
    let mut count = 0;
    for (place, change) in sent.iter().enumerate() {
        let field = |key: &str| format!("changes[{place}].{key}");
        let change: OneChange = serde_json::from_value(change.clone())
            .map_err(|error| Malformed::new(format!("changes[{place}]"), error.to_string()))?;
        let principal = people::named(call, &field("principal"), &change.principal).await?;
        let wanted = asked.entry(principal).or_default();
        for text in change.add.iter().flatten() {
            let given = read(&field("add"), text)?;
            if !given.grantable_on(securable.kind) {
                let problem = format!("`{given}` means nothing on a {}", kinds::noun(securable.kind));
                return Err(Malformed::new(field("add"), problem).into());
            }
            wanted.add.insert(given);
        }
        for text in change.remove.iter().flatten() {
            wanted.remove.insert(read(&field("remove"), text)?);
        }
        if let Some(both) = wanted.add.intersection(&wanted.remove).next() {
            return Err(Malformed::new(field("remove"), format!("`{both}` is added as well")).into());
        }
        count += change.add.map_or(0, |list| list.len()) + change.remove.map_or(0, |list| list.len());
        if count > MOST {
            return Err(Malformed::new("changes", format!("name more than {MOST} privileges")).into());
        }
    }
    Ok(asked)
}

fn steps(securable: &Securable, asked: &BTreeMap<Principal, Asked>, held: &[Grant]) -> Vec<Wanted> {
    let mut steps = Vec::new();
    for Grant { id, grant, .. } in held {
        let removed = asked.get(&grant.principal).is_some_and(|asked| {
            grant.privilege.parse::<Given>().is_ok_and(|given| asked.remove.contains(&given))
        });
        if removed && grant.effect == Effect::Allow {
            steps.push(Wanted::Revoke(*id));
        }
    }
    for (principal, wanted) in asked {
        for given in &wanted.add {
            // What is held without an end stays as it is, with its reason.
            let standing = |grant: &&Grant| {
                let grant = &grant.grant;
                grant.principal == *principal
                    && grant.effect == Effect::Allow
                    && grant.privilege == given.as_str()
                    && grant.expires_at.is_none()
            };
            if held.iter().any(|grant| standing(&grant)) {
                continue;
            }
            steps.push(Wanted::Grant(NewGrant {
                principal: principal.clone(),
                securable: securable.clone(),
                privilege: given.as_str().to_owned(),
                effect: Effect::Allow,
                reason: None,
                expires_at: None,
            }));
        }
    }
    steps
}

/// What managing something is not enough to give, by whatever door: access from outside is the catalog's owner's, and
/// ownership goes to no group that its giver is not in.
pub(in crate::http) async fn may_grant(call: &Call<'_>, grant: &NewGrant) -> Result<(), Refusal> {
    if grant.effect == Effect::Deny || !grant.securable.kind.is_catalog_plane() {
        return Ok(());
    }
    match grant.privilege.parse::<Given>() {
        Ok(Given::OWNER) => new_owner(call, grant.principal.clone()).map(|_| ()),
        Ok(given) if given.privilege() == Some(Privilege::ExternalUseSchema) => {
            let catalog = grant.securable.catalog().ok_or_else(|| missing(&grant.securable))?;
            let owner = call.app.store.catalog_object(&catalog).await?.found.and_then(|found| found.owner);
            let view = call.view()?;
            if view.is_admin(call.caller) || owner.is_some_and(|owner| view.acts_as(call.caller, &owner)) {
                return Ok(());
            }
            Err(forbidden(format!(
                "`EXTERNAL_USE_SCHEMA` is granted by the owner of catalog `{}` alone",
                catalog.id
            )))
        }
        _ => Ok(()),
    }
}

/// Lets ownership go to a user, a service principal, or a group that its giver is in.
pub(super) fn new_owner(call: &Call<'_>, owner: Principal) -> Result<Principal, Refusal> {
    let view = call.view()?;
    if owner.kind == PrincipalKind::Group && !view.is_admin(call.caller) && !view.acts_as(call.caller, &owner)
    {
        return Err(forbidden(format!(
            "`{}` is not in `{owner}`, and cannot make it an owner",
            call.caller.principal
        )));
    }
    Ok(owner)
}
