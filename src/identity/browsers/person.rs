//! Whom an ID token is about: verified like any JWT of its issuer, and made for us.

use serde_json::{Map, Value};

use super::super::error::IdentityError;
use super::super::issuer::Issuer;
use super::super::jwt::Unverified;
use super::super::provider::Provider;
use super::Browsers;
use crate::access::{Principal, PrincipalKind};
use crate::clock::UnixMillis;

/// Between two renewals at least (milliseconds), however short the issuer's tokens live.
const RENEWAL_INTERVAL: i64 = 5_000;

/// What an ID token says that counts for a session.
pub(super) struct Person {
    pub principal: Principal,
    pub groups: Vec<Principal>,
    pub subject: String,
    pub issuer_session: Option<String>,
    pub expires_at: UnixMillis,
    pub claims: Map<String, Value>,
}

impl Browsers {
    /// How long what the issuer said holds.
    pub(super) fn good_for(&self, person: &Person, expires_in_ms: Option<i64>) -> i64 {
        let of_id_token = person.expires_at.0.saturating_sub(self.clock.now().0);
        expires_in_ms.unwrap_or(of_id_token).min(of_id_token).max(RENEWAL_INTERVAL)
    }

    /// Whom an ID token is about, if it is for us.
    pub(super) async fn person(
        &self,
        issuer: &Issuer,
        provider: &Provider,
        id_token: &str,
    ) -> Result<Person, IdentityError> {
        let refused = |reason: &str| IdentityError::refused(reason);
        let unverified = Unverified::read(id_token)?;
        let audience = [provider.client_id.clone()];
        let verified =
            issuer.verify(id_token, &unverified.header, &audience, self.clock.now(), self.skew_ms).await?;
        let claims = verified.claims;
        if unverified.is_of_sign_out() {
            return Err(refused("a logout token is no ID token"));
        }
        let several = matches!(claims.get("aud"), Some(Value::Array(all)) if all.len() > 1);
        match claims.get("azp") {
            None if !several => {}
            Some(Value::String(party)) if *party == provider.client_id => {}
            _ => return Err(refused("the ID token was made for another client")),
        }
        let text = |name: &str| {
            let text = claims.get(name).and_then(Value::as_str);
            text.filter(|text| !text.is_empty() && text.len() <= 1000).map(str::to_owned)
        };
        let subject = text("sub").ok_or_else(|| refused("the ID token names no subject"))?;
        let principal = issuer.mapping.principal(&claims)?;
        if principal.kind != PrincipalKind::User {
            return Err(refused("a service principal does not sign in with a browser"));
        }
        Ok(Person {
            principal,
            groups: issuer.mapping.groups(&claims)?,
            subject,
            issuer_session: text("sid"),
            expires_at: verified.expires_at,
            claims,
        })
    }
}
