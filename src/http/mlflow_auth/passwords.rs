//! Passwords: changed by their owners and by who manages them, and taken over from an MLflow server.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::directory::Directory;
use super::{asked, demand_administrator, demand_identities, nothing};
use crate::access::{PolicyChange, Principal};
use crate::http::call::Call;
use crate::http::error::Refusal;
use crate::http::governors;
use crate::http::trail::Trail;
use crate::identity::{IdentityError, is_password_hash};
use crate::wire::Malformed;

/// Passwords that are taken over in one call.
const IMPORTED_AT_ONCE: usize = 1000;

/// Passwords of an MLflow server, by their hashes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportedPasswords {
    /// At most 1,000.
    pub passwords: Vec<ImportedPassword>,
}

/// One user's password.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportedPassword {
    /// The name of a user that Tracegate knows.
    pub user: String,
    /// `scrypt:N:r:p$SALT$HEX` or `pbkdf2:sha256:N$SALT$HEX`, as werkzeug writes it.
    pub hash: String,
}

/// What became of imported passwords.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct ImportedPasswordsAnswer {
    /// Users who have the imported password now.
    pub set: Vec<String>,
    /// Users who have a password already, or are not there or deactivated: nothing was changed for them.
    pub kept: Vec<String>,
}

/// The stored form of a new password; a bad one is a bad request.
pub(super) async fn hashed(call: &Call<'_>, password: &str) -> Result<String, Refusal> {
    call.app.identity.hash_password(password).await.map_err(of_password)
}

fn of_password(error: IdentityError) -> Refusal {
    match error {
        IdentityError::Refused { reason } => Malformed::new("password", reason).into(),
        other => other.into(),
    }
}

/// Gives a user a password and records that, and nothing of the password.
pub(super) async fn put(call: &Call<'_>, trail: &Trail, user: &Principal, hash: &str) -> Result<(), Refusal> {
    let app = call.app;
    let had = app.store.password(user).await?.filter(|record| record.hash.is_some());
    app.identity.set_password(user, hash, &call.caller.principal.to_string()).await?;
    let has = app.store.password(user).await?;
    let change = PolicyChange {
        action: "password.set".to_owned(),
        before: json!({ "principal": user, "password_set_at_ms": had.map(|record| record.changed_at) }),
        after: json!({ "principal": user, "password_set_at_ms": has.map(|record| record.changed_at) }),
    };
    trail.policy_change(change, app.policy.version()).await?;
    Ok(())
}

/// `PATCH users/update-password`: one's own with the one before, others' with `identity.manage`.
pub(super) async fn update(call: &Call<'_>, trail: &Trail) -> Result<Value, Refusal> {
    let (name, password) = (asked::text(call, "username")?, asked::text(call, "password")?);
    let user = if super::is_caller(call, &name) {
        prove_again(call, trail, &name, &password).await?;
        call.caller.principal.clone()
    } else {
        demand_identities(call)?;
        let (_, user) = Directory::about_user(call, &name).await?;
        // Whoever sets somebody's password is that one from then on.
        governors::store_for(call, &[&user])?;
        user
    };
    let hash = hashed(call, &password).await?;
    put(call, trail, &user, &hash).await?;
    Ok(nothing())
}

/// Who has taken somebody's place, in a browser or by a token, does not know the password.
async fn prove_again(call: &Call<'_>, trail: &Trail, name: &str, password: &str) -> Result<(), Refusal> {
    if call.caller.actor.is_some() {
        return Err(Refusal::Denied("nobody changes a password on behalf of its owner".to_owned()));
    }
    let current = asked::optional_text(call, "current_password")?.filter(|text| !text.is_empty());
    let Some(current) = current else {
        return Err(Malformed::new("current_password", "is needed to change one's own password").into());
    };
    let identity = &call.app.identity;
    if !identity.has_passwords() {
        return hashed(call, password).await.map(|_| ());
    }
    if !identity.is_password_of(name, &current, trail.source_address()).await? {
        return Err(Malformed::new("current_password", "does not match").into());
    }
    if current == password {
        return Err(Malformed::new("password", "must differ from the one before").into());
    }
    Ok(())
}

/// `POST passwords/import`, for administrators: whoever knows a password that he imports becomes its user.
pub(super) async fn import(call: &Call<'_>, trail: &Trail) -> Result<Value, Refusal> {
    demand_administrator(call)?;
    let object = call.json.clone().unwrap_or_default();
    let sent: ImportedPasswords = serde_json::from_value(Value::Object(object))
        .map_err(|error| Malformed::new("body", error.to_string()))?;
    if sent.passwords.len() > IMPORTED_AT_ONCE {
        let problem = format!("has more than {IMPORTED_AT_ONCE} entries; send them in parts");
        return Err(Malformed::new("passwords", problem).into());
    }
    let app = call.app;
    if !app.identity.has_passwords() {
        return Err(Malformed::new("passwords", "are off here; set `identity.passwords` first").into());
    }
    let mut wanted = Vec::new();
    for one in &sent.passwords {
        if !is_password_hash(&one.hash) {
            let problem = format!("the hash of `{}` is of no form that can be verified", one.user);
            return Err(Malformed::new("passwords", problem).into());
        }
        wanted.push((Principal::user(&one.user)?, &one.hash));
    }
    let by = call.caller.principal.to_string();
    let mut answer = ImportedPasswordsAnswer::default();
    for (user, hash) in wanted {
        let set = app.store.add_password(&user, hash, &by, app.clock.now()).await?;
        if set { &mut answer.set } else { &mut answer.kept }.push(user.name);
    }
    app.identity.forget();
    if !answer.set.is_empty() {
        let change = PolicyChange {
            action: "password.import".to_owned(),
            before: Value::Null,
            after: json!({ "users": answer.set }),
        };
        trail.policy_change(change, app.policy.version()).await?;
    }
    serde_json::to_value(answer).map_err(|error| Refusal::Internal(error.to_string()))
}
