//! `/api/2.0/token/*`: a caller's own tokens, as databricks-sdk's `tokens` calls them.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::http::call::Call;
use crate::http::error::Refusal;
use crate::http::own::{self, tokens};
use crate::http::trail::Trail;
use crate::store::{TokenKind, TokenRecord};
use crate::wire::Malformed;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewToken {
    comment: Option<String>,
    lifetime_seconds: Option<i64>,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    autoscope_enabled: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    token_id: String,
}

/// `POST token/create`
pub(super) async fn create(call: &mut Call<'_>, trail: &Trail) -> Result<Map<String, Value>, Refusal> {
    let wanted: NewToken = own::sent_as(call).await?;
    refuse_autoscope(wanted.autoscope_enabled)?;
    let ttl = tokens::lifetime(call, seconds(wanted.lifetime_seconds)?)?;
    let scopes = super::scopes(wanted.scopes.iter().map(String::as_str))?;
    let name = named(wanted.comment);
    let whose = call.caller.principal.clone();
    // A caller may be somebody whom the issuer knows and we do not, yet.
    let (by, now) = (whose.to_string(), call.app.clock.now());
    let change = call.app.store.ensure_principal(&whose, &by, now).await?;
    crate::http::changes::settle(call.app, trail, change).await?;
    let (secret, record) = tokens::make(call, trail, &whose, &name, ttl, scopes).await?;
    Ok(own::object(json!({ "token_value": secret, "token_info": public(&record) })))
}

/// `GET token/list`: those that are good.
pub(super) async fn list(call: &Call<'_>) -> Result<Map<String, Value>, Refusal> {
    let tokens = call.app.store.tokens(Some(&call.caller.principal), TokenKind::Personal).await?;
    let now = call.app.clock.now();
    let good =
        |token: &&TokenRecord| token.revoked_at.is_none() && token.expires_at.is_none_or(|end| end > now);
    let infos: Vec<Value> = tokens.iter().filter(good).map(public).collect();
    Ok(own::object(json!({ "token_infos": infos })))
}

/// `POST token/delete`. Somebody else's token does not exist here.
pub(super) async fn delete(call: &mut Call<'_>, trail: &Trail) -> Result<Map<String, Value>, Refusal> {
    let which: Which = own::sent_as(call).await?;
    let found = call.app.store.token(&which.token_id).await?;
    let token = found
        .filter(|token| token.principal == call.caller.principal && token.kind == TokenKind::Personal)
        .ok_or_else(|| Refusal::NotFound("there is no token of yours with this id".to_owned()))?;
    tokens::revoke_known(call, trail, token).await?;
    Ok(super::nothing())
}

fn public(token: &TokenRecord) -> Value {
    json!({
        "token_id": token.id,
        "creation_time": token.created_at,
        "expiry_time": token.expires_at.map_or(-1, |end| end.0),
        "comment": token.name,
        "scopes": super::written(token.scopes.as_deref()),
    })
}

/// A lifetime as these APIs have it: absent or -1 for none of one's own.
pub(super) fn seconds(lifetime: Option<i64>) -> Result<Option<u64>, Malformed> {
    match lifetime {
        None | Some(-1) => Ok(None),
        Some(seconds) => match u64::try_from(seconds) {
            Ok(seconds) if seconds > 0 => Ok(Some(seconds)),
            _ => Err(Malformed::new("lifetime_seconds", "must be at least 1")),
        },
    }
}

pub(super) fn refuse_autoscope(enabled: bool) -> Result<(), Malformed> {
    if enabled {
        return Err(Malformed::new("autoscope_enabled", "is not supported; name the token's `scopes`"));
    }
    Ok(())
}

pub(super) fn named(comment: Option<String>) -> String {
    comment.filter(|comment| !comment.is_empty()).unwrap_or_else(|| "unnamed".to_owned())
}
