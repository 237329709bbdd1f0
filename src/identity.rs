//! Who calls: a request's one credential, taken to the schemes in a fixed order.
//!
//! Each scheme answers *not requested*, *authenticated* or *failed*, and a failure ends the matter: a bad
//! token is never tried as something else, nor taken for nobody. The credential is an opaque token of ours
//! or a JWT of a trusted issuer, sent as `Bearer` or as the password of `Basic`.

mod certificate;
mod credential;
mod error;
mod issuer;
mod jwt;
mod mapping;
mod public_key;
mod remote_keys;
mod short_cache;
mod tokens;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use certificate::Certificate;
pub use error::IdentityError;

use crate::access::{Caller, Principal};
use crate::clock::Clock;
use crate::config::identity::IdentityConfig;
use crate::store::{Store, TokenRecord};
use crate::wire::Headers;

/// Identifies callers; share it behind an `Arc`.
pub struct Identity {
    tokens: tokens::Tokens,
    jwts: jwt::Jwts,
    certificates: certificate::Certificates,
    store: Store,
    clock: Arc<dyn Clock>,
}

impl Identity {
    pub async fn new(
        config: &IdentityConfig,
        store: Store,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, IdentityError> {
        let tokens = tokens::Tokens::new(store.clone(), clock.clone(), config.token_cache_seconds).await?;
        let jwts = jwt::Jwts::new(config, store.clone(), clock.clone())?;
        let certificates = certificate::Certificates::new(config, store.clone(), clock.clone());
        Ok(Self { tokens, jwts, certificates, store, clock })
    }

    /// The caller, or `None` when the request carries no credential.
    pub async fn identify(&self, headers: &Headers) -> Result<Option<Caller>, IdentityError> {
        let Some(credential) = credential::Credential::from_headers(headers)? else { return Ok(None) };
        let caller = match self.tokens.authenticate(&credential).await? {
            Some(caller) => Some(caller),
            None => self.jwts.authenticate(&credential).await?,
        };
        let caller = caller
            .ok_or_else(|| IdentityError::refused("the credential is neither a Tracegate token nor a JWT"))?;
        credential.check_username(&caller.principal)?;
        Ok(Some(caller))
    }

    /// The caller that a client certificate stands for. To be asked when the request carries no credential
    /// of its own: that one decides alone.
    pub async fn identify_certificate(&self, certificate: &Certificate) -> Result<Caller, IdentityError> {
        self.certificates.authenticate(certificate).await
    }

    /// The principal whose name came with a credential that is no good, if there is one of that name. What
    /// else was sent as a name may be a secret in the wrong field, and is told to nobody.
    pub async fn claimed(&self, headers: &Headers) -> Option<Principal> {
        let name = credential::Credential::from_headers(headers).ok()??.username?;
        for claimed in [Principal::user(&name), Principal::service_principal(&name)] {
            let claimed = claimed.ok()?;
            if self.store.is_active(&claimed).await.ok()?.is_some() {
                return Some(claimed);
            }
        }
        None
    }

    /// Makes a token for a principal that the store knows. The secret is in the answer and nowhere else.
    /// `ttl_ms` is how long it lives (milliseconds); `None` is until it is revoked.
    pub async fn issue_token(
        &self,
        principal: &Principal,
        name: &str,
        ttl_ms: Option<i64>,
        created_by: &str,
    ) -> Result<(String, TokenRecord), IdentityError> {
        self.tokens.issue(principal, name, ttl_ms, created_by).await
    }

    /// Revokes a token, on this replica at once; `false` when there was nothing to revoke.
    pub async fn revoke_token(&self, id: &str) -> Result<bool, IdentityError> {
        let revoked = self.store.revoke_token(id, self.clock.now()).await?;
        self.forget();
        Ok(revoked)
    }

    /// Drops what is remembered of tokens and of who is active. To be called after either changed in the
    /// store by another way than this type.
    pub fn forget(&self) {
        self.tokens.forget();
        self.jwts.forget();
        self.certificates.forget();
    }
}
