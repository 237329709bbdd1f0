//! `/api/2.0/token-management/*`: everybody's tokens, for those who manage identities.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::token_api::{named, refuse_autoscope, seconds};
use crate::access::Principal;
use crate::http::call::Call;
use crate::http::error::Refusal;
use crate::http::own::{self, secrets, tokens};
use crate::http::trail::Trail;
use crate::store::{TokenKind, TokenRecord};
use crate::wire::Malformed;

const DAY_MS: i64 = 86_400_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewToken {
    application_id: String,
    comment: Option<String>,
    lifetime_seconds: Option<i64>,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    autoscope_enabled: bool,
}

/// `GET token-management/tokens?created_by_username&created_by_id`
pub(super) async fn list(call: &Call<'_>) -> Result<Map<String, Value>, Refusal> {
    let name = call.head.query.one("created_by_username")?;
    let number: Option<i64> = match call.head.query.one("created_by_id")? {
        Some(text) => {
            let number = text.parse();
            Some(number.map_err(|_| Malformed::new("query parameter `created_by_id`", "must be a number"))?)
        }
        None => None,
    };
    let mut numbers = Numbers::default();
    let mut infos = Vec::new();
    for token in call.app.store.tokens(None, TokenKind::Personal).await? {
        if token.revoked_at.is_some() {
            continue;
        }
        let creator = numbers.of(call, &token.created_by).await?;
        let is_named = name.is_none_or(|name| name_of(&token.created_by) == name);
        if is_named && number.is_none_or(|number| creator == Some(number)) {
            infos.push(info(call, &mut numbers, &token).await?);
        }
    }
    Ok(own::object(json!({ "token_infos": infos })))
}

/// `GET token-management/tokens/{id}`
pub(super) async fn get(call: &Call<'_>) -> Result<Map<String, Value>, Refusal> {
    let token = known(call).await?;
    Ok(own::object(json!({ "token_info": info(call, &mut Numbers::default(), &token).await? })))
}

/// `DELETE token-management/tokens/{id}`
pub(super) async fn delete(call: &Call<'_>, trail: &Trail) -> Result<Map<String, Value>, Refusal> {
    tokens::revoke_known(call, trail, known(call).await?).await?;
    Ok(super::nothing())
}

/// `POST token-management/on-behalf-of/tokens`: a token for a service principal.
pub(super) async fn create_for(call: &mut Call<'_>, trail: &Trail) -> Result<Map<String, Value>, Refusal> {
    let wanted: NewToken = own::sent_as(call).await?;
    refuse_autoscope(wanted.autoscope_enabled)?;
    let whose = Principal::service_principal(&wanted.application_id)?;
    let ttl = tokens::lifetime(call, seconds(wanted.lifetime_seconds)?)?;
    let scopes = super::scopes(wanted.scopes.iter().map(String::as_str))?;
    if call.app.store.is_active(&whose).await?.is_none() {
        return Err(secrets::missing(&whose));
    }
    let (secret, record) = tokens::make(call, trail, &whose, &named(wanted.comment), ttl, scopes).await?;
    let info = info(call, &mut Numbers::default(), &record).await?;
    Ok(own::object(json!({ "token_value": secret, "token_info": info })))
}

async fn known(call: &Call<'_>) -> Result<TokenRecord, Refusal> {
    let id = call.param("id");
    let found = call.app.store.token(id).await?.filter(|token| token.revoked_at.is_none());
    found.ok_or_else(|| Refusal::NotFound(format!("token `{id}` does not exist or is revoked already")))
}

async fn info(call: &Call<'_>, numbers: &mut Numbers, token: &TokenRecord) -> Result<Value, Refusal> {
    let mut info = json!({
        "token_id": token.id,
        "creation_time": token.created_at,
        "expiry_time": token.expires_at.map_or(-1, |end| end.0),
        "comment": token.name,
        "created_by_username": name_of(&token.created_by),
        "owner": token.principal,
        "scopes": super::written(token.scopes.as_deref()),
    });
    if let Some(number) = numbers.of(call, &token.created_by).await? {
        info["created_by_id"] = number.into();
    }
    if let Some(number) = numbers.of(call, &token.principal.to_string()).await? {
        info["owner_id"] = number.into();
    }
    if let Some(used) = token.last_used_at {
        info["last_used_day"] = (used.0.div_euclid(DAY_MS) * DAY_MS).into();
    }
    Ok(info)
}

/// Who made a token, without the kind.
fn name_of(principal: &str) -> &str {
    principal.split_once(':').map_or(principal, |(_, name)| name)
}

/// The numbers by which the directory calls principals, each asked for once.
#[derive(Default)]
struct Numbers(HashMap<String, Option<i64>>);

impl Numbers {
    async fn of(&mut self, call: &Call<'_>, principal: &str) -> Result<Option<i64>, Refusal> {
        if let Some(number) = self.0.get(principal) {
            return Ok(*number);
        }
        // Tokens of the first start were made by nobody in particular.
        let number = match principal.parse() {
            Ok(principal) => call.app.store.number_of_principal(&principal).await?,
            Err(_) => None,
        };
        self.0.insert(principal.to_owned(), number);
        Ok(number)
    }
}
