//! Principals and groups.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Call, Refusal, Trail, object, sent_as};
use crate::access::Principal;
use crate::http::changes::settle;
use crate::http::governors;
use crate::store::{DirectoryEntry, Profile, StoreError, TokenKind, Wish};
use crate::wire::Malformed;

/// Characters of a name to show, an e-mail address or an external id.
const LONGEST: usize = 1000;

/// Who shall be known.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPrincipal {
    /// `user:NAME`, `service_principal:NAME` or `group:NAME`. Whoever was deleted comes back with nothing.
    #[schemars(with = "String")]
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
    #[schemars(with = "String")]
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
    #[schemars(with = "Vec<String>")]
    groups: Vec<Principal>,
    /// Of a group: who was put into it.
    #[schemars(with = "Vec<String>")]
    members: Vec<Principal>,
    /// Grants to this very principal, ended ones too.
    grants: usize,
    /// Tokens that are good.
    tokens: usize,
}

/// `GET principals`
pub(super) async fn list(call: &Call<'_>) -> Result<Map<String, Value>, Refusal> {
    Ok(object(json!({ "principals": call.app.store.principals().await? })))
}

/// `GET principals/{principal}`
pub(super) async fn get(call: &Call<'_>) -> Result<Map<String, Value>, Refusal> {
    let principal: Principal = call.param("principal").parse()?;
    let entry = call.app.store.directory_of(&principal).await?;
    let entry = entry.ok_or_else(|| Refusal::NotFound(format!("`{principal}` does not exist")))?;
    shown(call, entry).await
}

async fn shown(call: &Call<'_>, entry: DirectoryEntry) -> Result<Map<String, Value>, Refusal> {
    let now = call.app.clock.now();
    let tokens = call.app.store.tokens(Some(&entry.principal), TokenKind::Personal).await?;
    let good = tokens.iter().filter(|token| {
        token.revoked_at.is_none() && token.expires_at.is_none_or(|end| end > now) && token.principal_active
    });
    let view = call.view()?;
    let owned = |named: Vec<&Principal>| named.into_iter().cloned().collect();
    let emails = entry.profile.attributes.get("emails").and_then(Value::as_array);
    let email = emails.and_then(|emails| emails.first()?.get("value")?.as_str()).map(str::to_owned);
    let shown = Shown {
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
    };
    Ok(object(serde_json::to_value(shown).map_err(|error| Refusal::Internal(error.to_string()))?))
}

/// `POST principals`: unchanged when it is known and nothing else is said of it.
pub(super) async fn create(call: &mut Call<'_>, trail: &Trail) -> Result<Map<String, Value>, Refusal> {
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
    Ok(object(json!({ "principal": new.principal, "id": id })))
}

/// `PUT principals/{principal}/active`: a deactivated principal is refused everything at once.
pub(super) async fn set_active(call: &mut Call<'_>, trail: &Trail) -> Result<Map<String, Value>, Refusal> {
    let principal: Principal = call.param("principal").parse()?;
    let wanted: Active = sent_as(call).await?;
    let store = governors::store_for(call, &[&principal])?;
    let by = call.caller.principal.to_string();
    let change = store.set_active(&principal, wanted.active, &by, call.app.clock.now()).await?;
    call.app.identity.forget();
    settle(call.app, trail, change).await?;
    Ok(object(json!({ "principal": principal, "active": wanted.active })))
}

/// `DELETE principals/{principal}`: with all that it has; its name stays in the record.
pub(super) async fn delete(call: &Call<'_>, trail: &Trail) -> Result<Map<String, Value>, Refusal> {
    let principal: Principal = call.param("principal").parse()?;
    let store = governors::store_for(call, &[&principal])?;
    let by = call.caller.principal.to_string();
    let change = match store.delete_principal(&principal, &by, call.app.clock.now()).await {
        Err(StoreError::NotFound(what)) => return Err(Refusal::NotFound(format!("{what} does not exist"))),
        other => other?,
    };
    call.app.identity.forget();
    settle(call.app, trail, change).await?;
    Ok(object(json!({ "deleted": principal, "policy_version": call.app.policy.version() })))
}

/// `GET groups`
pub(super) async fn groups(call: &Call<'_>) -> Result<Map<String, Value>, Refusal> {
    let view = call.view()?;
    let members: Vec<Value> = view
        .snapshot()
        .memberships()
        .map(|(group, member)| json!({ "group": group, "member": member }))
        .collect();
    Ok(object(json!({ "memberships": members })))
}

/// `PUT groups/{group}/members/{member}`
pub(super) async fn add_member(call: &Call<'_>, trail: &Trail) -> Result<Map<String, Value>, Refusal> {
    let (group, member) = membership(call)?;
    let store = governors::store_for(call, &[&group])?;
    let by = call.caller.principal.to_string();
    let change = store.add_member(&group, &member, &by, call.app.clock.now()).await?;
    settle(call.app, trail, change).await?;
    Ok(object(json!({ "group": group, "member": member, "policy_version": call.app.policy.version() })))
}

/// `DELETE groups/{group}/members/{member}`
pub(super) async fn remove_member(call: &Call<'_>, trail: &Trail) -> Result<Map<String, Value>, Refusal> {
    let (group, member) = membership(call)?;
    let store = governors::store_for(call, &[&group])?;
    let by = call.caller.principal.to_string();
    let change = store.remove_member(&group, &member, &by, call.app.clock.now()).await?;
    settle(call.app, trail, change).await?;
    Ok(object(json!({ "removed": member, "group": group, "policy_version": call.app.policy.version() })))
}

fn membership(call: &Call<'_>) -> Result<(Principal, Principal), Refusal> {
    Ok((call.param("group").parse()?, call.param("member").parse()?))
}
