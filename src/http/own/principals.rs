//! Principals and groups.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::explain::Membership;
use super::{Call, Refusal, Trail, sent_as};
use crate::access::Principal;
use crate::http::changes::settle;
use crate::http::governors;
use crate::store::{DirectoryEntry, PrincipalRecord, Profile, StoreError, TokenKind, Wish};
use crate::wire::Malformed;

/// Characters of a name to show, an e-mail address or an external id.
const LONGEST: usize = 1000;

/// Who shall be known.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPrincipal {
    /// `user:NAME`, `service_principal:NAME` or `group:NAME`. Whoever was deleted comes back with nothing.
    principal: Principal,
    /// What people call it.
    #[serde(default)]
    display_name: Option<String>,
    #[serde(default)]
    email: Option<String>,
    /// Its id in the directory that it comes from.
    #[serde(default)]
    external_id: Option<String>,
}

/// Whether somebody may authenticate.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Active {
    active: bool,
}

/// One principal and how much it has.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Shown {
    principal: Principal,
    /// The id that SCIM has for it. Never given again.
    id: i64,
    active: bool,
    display_name: Option<String>,
    email: Option<String>,
    external_id: Option<String>,
    created_at_ms: i64,
    changed_at_ms: i64,
    /// The groups that it was put into itself.
    groups: Vec<Principal>,
    /// Of a group: who was put into it.
    members: Vec<Principal>,
    /// Grants to this very principal, ended ones too.
    grants: usize,
    /// Tokens that are good.
    tokens: usize,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Principals {
    principals: Vec<PrincipalRecord>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Entered {
    principal: Principal,
    id: Option<i64>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Activity {
    principal: Principal,
    active: bool,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Deleted {
    deleted: Principal,
    policy_version: i64,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Groups {
    memberships: Vec<Membership>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Joined {
    group: Principal,
    member: Principal,
    policy_version: i64,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Left {
    removed: Principal,
    group: Principal,
    policy_version: i64,
}

/// `GET principals`
pub(super) async fn list(call: &Call<'_>) -> Result<Principals, Refusal> {
    Ok(Principals { principals: call.app.store.principals().await? })
}

/// `GET principals/{principal}`
pub(super) async fn get(call: &Call<'_>) -> Result<Shown, Refusal> {
    let principal: Principal = call.param("principal").parse()?;
    let entry = call.app.store.directory_of(&principal).await?;
    let entry = entry.ok_or_else(|| Refusal::NotFound(format!("`{principal}` does not exist")))?;
    shown(call, entry).await
}

async fn shown(call: &Call<'_>, entry: DirectoryEntry) -> Result<Shown, Refusal> {
    let now = call.app.clock.now();
    let tokens = call.app.store.tokens(Some(&entry.principal), TokenKind::Personal).await?;
    let good = tokens.iter().filter(|token| {
        token.revoked_at.is_none() && token.expires_at.is_none_or(|end| end > now) && token.principal_active
    });
    let view = call.view()?;
    let owned = |named: Vec<&Principal>| named.into_iter().cloned().collect();
    let emails = entry.profile.attributes.get("emails").and_then(Value::as_array);
    let email = emails.and_then(|emails| emails.first()?.get("value")?.as_str()).map(str::to_owned);
    Ok(Shown {
        id: entry.number,
        active: entry.active,
        display_name: entry.profile.display_name,
        email,
        external_id: entry.profile.external_id,
        created_at_ms: entry.created_at.0,
        changed_at_ms: entry.changed_at.0,
        groups: owned(view.snapshot().direct_groups(&entry.principal)),
        members: owned(view.snapshot().direct_members(&entry.principal)),
        grants: call.app.store.grants(Some(&entry.principal), None).await?.len(),
        tokens: good.count(),
        principal: entry.principal,
    })
}

/// `POST principals`: unchanged when it is known and nothing else is said of it.
pub(super) async fn create(call: &mut Call<'_>, trail: &Trail) -> Result<Entered, Refusal> {
    let new: NewPrincipal = sent_as(call).await?;
    let mut wish = Wish::of(new.principal.clone());
    let said = [&new.display_name, &new.email, &new.external_id];
    for text in said.into_iter().flatten() {
        if text.is_empty() || text.chars().count() > LONGEST || text.chars().any(char::is_control) {
            let problem = format!("what is said of it has 1 to {LONGEST} characters, none of them control");
            return Err(Malformed::new("principal", problem).into());
        }
    }
    let says_more = said.iter().any(|text| text.is_some());
    if says_more {
        let mut attributes = Map::new();
        if let Some(email) = &new.email {
            attributes
                .insert("emails".to_owned(), json!([{ "value": email, "type": "work", "primary": true }]));
        }
        let (display_name, external_id) = (new.display_name.clone(), new.external_id.clone());
        wish.profile = Some(Profile { display_name, external_id, attributes });
    }
    let store = governors::store_for(call, &[&new.principal])?;
    let by = call.caller.principal.to_string();
    match store.create_principal(&wish, &by, call.app.clock.now()).await {
        Ok(change) => {
            call.app.identity.forget();
            settle(call.app, trail, change).await?;
        }
        Err(StoreError::Exists(_)) if !says_more => {}
        Err(error) => return Err(error.into()),
    }
    let entry = call.app.store.directory_of(&new.principal).await?;
    let id = entry.map(|entry| entry.number);
    Ok(Entered { principal: new.principal, id })
}

/// `PUT principals/{principal}/active`: a deactivated principal is refused everything at once.
pub(super) async fn set_active(call: &mut Call<'_>, trail: &Trail) -> Result<Activity, Refusal> {
    let principal: Principal = call.param("principal").parse()?;
    let wanted: Active = sent_as(call).await?;
    let store = governors::store_for(call, &[&principal])?;
    let by = call.caller.principal.to_string();
    let change = store.set_active(&principal, wanted.active, &by, call.app.clock.now()).await?;
    call.app.identity.forget();
    settle(call.app, trail, change).await?;
    Ok(Activity { principal, active: wanted.active })
}

/// `DELETE principals/{principal}`: with all that it has; its name stays in the record.
pub(super) async fn delete(call: &Call<'_>, trail: &Trail) -> Result<Deleted, Refusal> {
    let principal: Principal = call.param("principal").parse()?;
    let store = governors::store_for(call, &[&principal])?;
    let by = call.caller.principal.to_string();
    let change = match store.delete_principal(&principal, &by, call.app.clock.now()).await {
        Err(StoreError::NotFound(what)) => return Err(Refusal::NotFound(format!("{what} does not exist"))),
        other => other?,
    };
    call.app.identity.forget();
    settle(call.app, trail, change).await?;
    Ok(Deleted { deleted: principal, policy_version: call.app.policy.version() })
}

/// `GET groups`
pub(super) async fn groups(call: &Call<'_>) -> Result<Groups, Refusal> {
    let view = call.view()?;
    let memberships = view.snapshot().memberships();
    let memberships = memberships.map(|(group, member)| (group.clone(), member.clone())).collect();
    Ok(Groups { memberships: Membership::all(memberships) })
}

/// `PUT groups/{group}/members/{member}`
pub(super) async fn add_member(call: &Call<'_>, trail: &Trail) -> Result<Joined, Refusal> {
    let (group, member) = membership(call)?;
    let store = governors::store_for(call, &[&group])?;
    let by = call.caller.principal.to_string();
    let change = store.add_member(&group, &member, &by, call.app.clock.now()).await?;
    settle(call.app, trail, change).await?;
    Ok(Joined { group, member, policy_version: call.app.policy.version() })
}

/// `DELETE groups/{group}/members/{member}`
pub(super) async fn remove_member(call: &Call<'_>, trail: &Trail) -> Result<Left, Refusal> {
    let (group, member) = membership(call)?;
    let store = governors::store_for(call, &[&group])?;
    let by = call.caller.principal.to_string();
    let change = store.remove_member(&group, &member, &by, call.app.clock.now()).await?;
    settle(call.app, trail, change).await?;
    Ok(Left { removed: member, group, policy_version: call.app.policy.version() })
}

fn membership(call: &Call<'_>) -> Result<(Principal, Principal), Refusal> {
    Ok((call.param("group").parse()?, call.param("member").parse()?))
}
