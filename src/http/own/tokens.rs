//! Tokens: everybody's own; other people's with `identity.manage`.

use serde_json::{Map, Value, json};

use super::{Call, Refusal, Trail, demand, object, sent_as};
use crate::access::{Check, Principal, Privilege, Securable};
use crate::http::changes::settle;
use crate::http::governors;
use crate::identity::IdentityError;
use crate::wire::Malformed;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Whose token; the caller's own if absent.
    principal: Option<Principal>,
    #[serde(default = "unnamed")]
    name: String,
    /// How long it is valid, in seconds; without end if absent.
    ttl_seconds: Option<u64>,
}

fn unnamed() -> String {
    "unnamed".to_owned()
}

fn manage_identities(call: &Call<'_>) -> Result<(), Refusal> {
    demand(call, Check::new(Privilege::IdentityManage, Securable::workspace()))
}

/// `GET tokens?principal=P`
pub(super) async fn list(call: &Call<'_>) -> Result<Map<String, Value>, Refusal> {
    let whose = match call.head.query.one("principal")? {
        Some(text) => text.parse::<Principal>()?,
        None => call.caller.principal.clone(),
    };
    if whose != call.caller.principal {
        manage_identities(call)?;
    }
    let tokens = call.app.store.tokens(Some(&whose)).await?;
    Ok(object(json!({ "tokens": tokens })))
}

/// `POST tokens`: the secret is in this answer and nowhere else.
pub(super) async fn create(call: &mut Call<'_>, trail: &Trail) -> Result<Map<String, Value>, Refusal> {
    let wanted: Wanted = sent_as(call).await?;
    let whose = wanted.principal.unwrap_or_else(|| call.caller.principal.clone());
    if whose == call.caller.principal {
        demand(call, Check::new(Privilege::TokenUse, Securable::workspace()))?;
    } else {
        manage_identities(call)?;
        governors::store_for(call, &[&whose])?;
    }
    if whose.kind == crate::access::PrincipalKind::Group {
        return Err(Malformed::new("principal", "a group cannot have a token").into());
    }
    let ttl = wanted.ttl_seconds.map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX / 1000) * 1000);
    let by = call.caller.principal.to_string();
    let change = call.app.store.ensure_principal(&whose, &by, call.app.clock.now()).await?;
    settle(call.app, trail, change).await?;
    let issued = call.app.identity.issue_token(&whose, &wanted.name, ttl, &by).await;
    let (secret, record) = issued.map_err(|error| match error {
        IdentityError::Refused { reason } => Malformed::new("token", reason).into(),
        other => Refusal::from(other),
    })?;
    Ok(object(json!({ "token": secret, "record": record })))
}

/// `DELETE tokens/{id}`: refused from now on, by every replica within its cache time.
pub(super) async fn revoke(call: &Call<'_>) -> Result<Map<String, Value>, Refusal> {
    let id = call.param("id");
    let own = call.app.store.tokens(Some(&call.caller.principal)).await?;
    if !own.iter().any(|token| token.id == id) {
        manage_identities(call)?;
        if let Some(whose) = call.app.store.token_owner(id).await? {
            governors::store_for(call, &[&whose])?;
        }
    }
    let revoked = call.app.store.revoke_token(id, call.app.clock.now()).await?;
    call.app.identity.forget();
    if !revoked {
        return Err(Refusal::NotFound(format!("token `{id}` does not exist or is revoked already")));
    }
    Ok(object(json!({ "revoked": id })))
}
