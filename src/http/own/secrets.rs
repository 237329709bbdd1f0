//! Client secrets of service principals, with which they get access tokens at the token endpoint.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::tokens::{asked_wrongly, record_change};
use super::{Call, Refusal, Trail, sent_as};
use crate::access::{Principal, Scope};
use crate::http::governors;
use crate::store::ClientSecretRecord;

/// How long a secret lives that is asked for without a lifetime (days), unless less is allowed.
const DEFAULT_DAYS: i64 = 730;
const DAY_MS: i64 = 86_400_000;

/// A client secret to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewSecret {
    /// How long it is valid, in seconds; 730 days if absent, or as long as `identity.token_max_days` allows.
    ttl_seconds: Option<u64>,
    /// What tokens got for it are for, as in a token; for all that the service principal may do if absent.
    scopes: Option<Vec<Scope>>,
}

/// A client secret, without itself.
#[derive(Serialize, JsonSchema)]
pub(super) struct Secret {
    id: String,
    principal: String,
    created_at_ms: i64,
    created_by: String,
    expires_at_ms: Option<i64>,
    /// When a token was last got for it.
    last_used_at_ms: Option<i64>,
    revoked_at_ms: Option<i64>,
    /// What tokens got for it are for, if for less than all.
    scopes: Option<Vec<Scope>>,
}

impl From<ClientSecretRecord> for Secret {
    fn from(record: ClientSecretRecord) -> Self {
        Self {
            id: record.id,
            principal: record.principal.to_string(),
            created_at_ms: record.created_at.0,
            created_by: record.created_by,
            expires_at_ms: record.expires_at.map(|time| time.0),
            last_used_at_ms: record.last_used_at.map(|time| time.0),
            revoked_at_ms: record.revoked_at.map(|time| time.0),
            scopes: record.scopes,
        }
    }
}

/// The secrets of a service principal, oldest first.
#[derive(Serialize, JsonSchema)]
pub(super) struct Secrets {
    secrets: Vec<Secret>,
}

/// A secret that was made.
#[derive(Serialize, JsonSchema)]
pub(super) struct Made {
    /// What the client shows as its id.
    client_id: String,
    /// The secret itself, which is in this answer and nowhere else.
    client_secret: String,
    record: Secret,
}

/// A secret that was revoked, and with it every token that was got for it.
#[derive(Serialize, JsonSchema)]
pub(super) struct Revoked {
    /// Its id.
    revoked: String,
}

/// The service principal of the path: `agent` or `service_principal:agent`.
fn client(call: &Call<'_>) -> Result<Principal, Refusal> {
    let text = call.param("principal");
    let name = text.strip_prefix("service_principal:").unwrap_or(text);
    Ok(Principal::service_principal(name)?)
}

/// `GET service-principals/{principal}/secrets`
pub(super) async fn list(call: &Call<'_>) -> Result<Secrets, Refusal> {
    let secrets = call.app.store.client_secrets(&client(call)?).await?;
    Ok(Secrets { secrets: secrets.into_iter().map(Secret::from).collect() })
}

/// `POST service-principals/{principal}/secrets`: the secret is in this answer and nowhere else.
pub(super) async fn create(call: &mut Call<'_>, trail: &Trail) -> Result<Made, Refusal> {
    let client = client(call)?;
    let wanted: NewSecret = sent_as(call).await?;
    let (secret, record) = make(call, trail, &client, wanted.ttl_seconds, wanted.scopes).await?;
    Ok(Made { client_id: client.name, client_secret: secret, record: record.into() })
}

/// `DELETE service-principals/{principal}/secrets/{id}`
pub(super) async fn revoke(call: &Call<'_>, trail: &Trail) -> Result<Revoked, Refusal> {
    let id = call.param("id");
    revoke_of(call, trail, &client(call)?, id).await?;
    Ok(Revoked { revoked: id.to_owned() })
}

/// Makes a secret for a service principal that is known, and records it.
pub(in crate::http) async fn make(
    call: &Call<'_>,
    trail: &Trail,
    client: &Principal,
    ttl_seconds: Option<u64>,
    scopes: Option<Vec<Scope>>,
) -> Result<(String, ClientSecretRecord), Refusal> {
    governors::store_for(call, &[client])?;
    let identity = &call.app.identity;
    let ttl = match ttl_seconds {
        Some(_) => super::tokens::lifetime(call, ttl_seconds)?,
        None => {
            let longest = super::tokens::lifetime(call, None)?;
            Some(longest.map_or(DEFAULT_DAYS * DAY_MS, |longest| longest.min(DEFAULT_DAYS * DAY_MS)))
        }
    };
    if call.app.store.is_active(client).await?.is_none() {
        return Err(missing(client));
    }
    let by = call.caller.principal.to_string();
    let (secret, record) = identity.issue_secret(client, ttl, scopes, &by).await.map_err(asked_wrongly)?;
    record_change(call, trail, "client_secret.create", json!(null), json!(record)).await?;
    Ok((secret, record))
}

/// Revokes a secret of a service principal, and records it.
pub(in crate::http) async fn revoke_of(
    call: &Call<'_>,
    trail: &Trail,
    client: &Principal,
    id: &str,
) -> Result<(), Refusal> {
    governors::store_for(call, &[client])?;
    let Some(before) = call.app.identity.revoke_secret(client, id).await? else {
        return Err(Refusal::NotFound(format!(
            "secret `{id}` of `{client}` does not exist or is revoked already"
        )));
    };
    let after = ClientSecretRecord { revoked_at: Some(call.app.clock.now()), ..before.clone() };
    record_change(call, trail, "client_secret.revoke", json!(before), json!(after)).await
}

pub(in crate::http) fn missing(client: &Principal) -> Refusal {
    Refusal::NotFound(format!("`{client}` does not exist"))
}
