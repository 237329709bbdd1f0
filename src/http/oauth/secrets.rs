//! `/api/2.0/accounts/servicePrincipals/{id}/credentials/secrets`, as databricks-sdk's
//! `service_principal_secrets_proxy` calls it.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::access::{Principal, PrincipalKind};
use crate::audit::export::instant;
use crate::http::call::Call;
use crate::http::error::Refusal;
use crate::http::own::{self, secrets};
use crate::http::trail::Trail;
use crate::store::ClientSecretRecord;
use crate::wire::Malformed;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewSecret {
    /// `3600s`
    lifetime: Option<String>,
    #[serde(default)]
    scopes: Vec<String>,
}

/// The service principal of the path, by its number in the directory or by its name. Digits are always a number,
/// so that a name can never come to mean somebody else.
async fn client(call: &Call<'_>) -> Result<Principal, Refusal> {
    let text = call.param("id");
    let missing = || Refusal::NotFound(format!("service principal `{text}` does not exist"));
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        let number = text.parse().map_err(|_| missing())?;
        let found = call.app.store.principal_of_number(number).await?;
        return found.filter(|found| found.kind == PrincipalKind::ServicePrincipal).ok_or_else(missing);
    }
    let named = Principal::service_principal(text)?;
    if call.app.store.is_active(&named).await?.is_none() {
        return Err(missing());
    }
    Ok(named)
}

pub(super) async fn list(call: &Call<'_>) -> Result<Map<String, Value>, Refusal> {
    let secrets = call.app.store.client_secrets(&client(call).await?).await?;
    let now = call.app.clock.now();
    let in_force = secrets.iter().filter(|secret| secret.revoked_at.is_none());
    let infos: Vec<Value> = in_force
        .map(|secret| info(secret, if secret.in_force(now) { "ACTIVE" } else { "INACTIVE" }))
        .collect();
    Ok(own::object(json!({ "secrets": infos })))
}

pub(super) async fn create(call: &mut Call<'_>, trail: &Trail) -> Result<Map<String, Value>, Refusal> {
    let client = client(call).await?;
    let wanted: NewSecret = own::sent_as(call).await?;
    let lifetime = wanted.lifetime.as_deref().map(seconds).transpose()?;
    let scopes = super::scopes(wanted.scopes.iter().map(String::as_str))?;
    let (secret, record) = secrets::make(call, trail, &client, lifetime, scopes).await?;
    let mut answer = own::object(info(&record, "ACTIVE"));
    answer.insert("secret".to_owned(), secret.into());
    Ok(answer)
}

pub(super) async fn delete(call: &Call<'_>, trail: &Trail) -> Result<Map<String, Value>, Refusal> {
    secrets::revoke_of(call, trail, &client(call).await?, call.param("secret")).await?;
    Ok(super::nothing())
}

fn info(secret: &ClientSecretRecord, status: &str) -> Value {
    let mut info = json!({
        "id": secret.id,
        "create_time": instant(secret.created_at),
        "update_time": instant(secret.created_at),
        "status": status,
        "scopes": super::written(secret.scopes.as_deref()),
    });
    if let Some(end) = secret.expires_at {
        info["expire_time"] = instant(end).into();
    }
    info
}

/// A duration as protobuf's JSON has it: `3600s`.
fn seconds(text: &str) -> Result<u64, Malformed> {
    let seconds =
        text.strip_suffix('s').and_then(|number| number.parse().ok()).filter(|seconds| *seconds > 0);
    seconds.ok_or_else(|| Malformed::new("lifetime", "must be whole seconds, such as `3600s`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_whole_seconds() {
        assert_eq!(seconds("3600s").unwrap(), 3600);
        for bad in ["", "s", "0s", "-1s", "3600", "1.5s", "1m", "+1s ", "99999999999999999999s"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
