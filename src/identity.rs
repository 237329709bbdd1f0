//! Who calls: a request's one credential, taken to the schemes in a fixed order.
//!
//! Each scheme answers *not requested*, *authenticated* or *failed*, and a failure ends the matter: a bad
//! token is never tried as something else, nor taken for nobody. The credential is an opaque token of ours
//! or a JWT of a trusted issuer, sent as `Bearer` or as the password of `Basic`; without one, the cookie of
//! a browser that signed in.

mod browsers;
mod cookies;
mod credential;
mod error;
mod fetch;
mod issuer;
mod jwt;
mod mapping;
mod passwords;
mod provider;
mod public_key;
mod remote_keys;
mod short_cache;
mod tokens;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use browsers::{Answered, Begun, Browsers, Choice, Session, SignedIn};
pub use error::IdentityError;
pub use passwords::is_hash as is_password_hash;

use crate::access::{Caller, Principal};
use crate::clock::Clock;
use crate::config::identity::IdentityConfig;
use crate::store::{Store, TokenRecord};
use crate::wire::Headers;

/// Identifies callers; share it behind an `Arc`.
pub struct Identity {
    tokens: tokens::Tokens,
    jwts: jwt::Jwts,
    /// Unless nobody may have a password.
    passwords: Option<passwords::Passwords>,
    browsers: Browsers,
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
        let issuers = config.issuers.iter().map(|issuer| issuer::Issuer::new(config, issuer, clock.clone()));
        let issuers: Arc<[issuer::Issuer]> = issuers.collect::<Result<Vec<_>, _>>()?.into();
        if issuers.len() > 1 {
            tracing::info!("there are several issuers: whom two of them call by one name is one person here");
        }
        let jwts = jwt::Jwts::new(config, issuers.clone(), store.clone(), clock.clone());
        let browsers = Browsers::new(config, issuers, store.clone(), clock.clone()).await?;
        let passwords = match config.passwords {
            true => Some(
                passwords::Passwords::new(store.clone(), clock.clone(), config.token_cache_seconds).await?,
            ),
            false => None,
        };
        Ok(Self { tokens, jwts, passwords, browsers, store, clock })
    }

    /// With the cookies of a gateway that browsers reach by this URL.
    pub fn at(mut self, public_url: Option<&str>) -> Self {
        self.browsers.set_secure(public_url.is_some_and(|url| url.starts_with("https://")));
        self
    }

    /// People who sign in with a browser, and their sessions.
    pub fn browsers(&self) -> &Browsers {
        &self.browsers
    }

    /// The caller, or `None` when the request carries no credential.
    pub async fn identify(&self, headers: &Headers) -> Result<Option<Caller>, IdentityError> {
        self.identify_from(headers, None).await
    }

    /// As [`identify`](Self::identify), of a caller at an address, from which passwords can be guessed only so fast.
    pub async fn identify_from(
        &self,
        headers: &Headers,
        address: Option<&str>,
    ) -> Result<Option<Caller>, IdentityError> {
        let Some(credential) = credential::Credential::from_headers(headers, self.secrets())? else {
            return self.browsers.authenticate(headers).await;
        };
        if let Some(passwords) = &self.passwords
            && credential.may_be_password()
        {
            return passwords.authenticate(&credential, address).await;
        }
        let caller = match self.tokens.authenticate(&credential).await? {
            Some(caller) => Some(caller),
            None => self.jwts.authenticate(&credential).await?,
        };
        let caller = caller
            .ok_or_else(|| IdentityError::refused("the credential is neither a Tracegate token nor a JWT"))?;
        credential.check_username(&caller.principal)?;
        Ok(Some(caller))
    }

    /// The principal whose name came with a credential that is no good, if there is one of that name. What
    /// else was sent as a name may be a secret in the wrong field, and is told to nobody.
    pub async fn claimed(&self, headers: &Headers) -> Option<Principal> {
        let Some(credential) = credential::Credential::from_headers(headers, self.secrets()).ok()? else {
            return self.browsers.claimed(headers).await;
        };
        let name = credential.username?;
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

    /// Whether people may have passwords.
    pub fn has_passwords(&self) -> bool {
        self.passwords.is_some()
    }

    /// Whether this is the user's password, as costly to ask as signing in.
    pub async fn is_password_of(
        &self,
        name: &str,
        password: &str,
        address: Option<&str>,
    ) -> Result<bool, IdentityError> {
        match self.passwords()?.check(name, password, address).await {
            Ok(_) => Ok(true),
            Err(IdentityError::Refused { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What is to be stored of a new password; one that may not be a password is refused.
    pub async fn hash_password(&self, password: &str) -> Result<String, IdentityError> {
        self.passwords()?.hashed(password).await
    }

    /// Gives a user a password by its hash, on this replica at once.
    pub async fn set_password(&self, user: &Principal, hash: &str, by: &str) -> Result<(), IdentityError> {
        self.store.set_password(user, hash, by, self.clock.now()).await?;
        self.forget();
        Ok(())
    }

    fn passwords(&self) -> Result<&passwords::Passwords, IdentityError> {
        self.passwords.as_ref().ok_or_else(|| {
            IdentityError::refused(
                "passwords are off: an administrator can set `identity.passwords`, or make a token instead",
            )
        })
    }

    fn secrets(&self) -> credential::Secrets {
        match self.passwords {
            Some(_) => credential::Secrets::Passwords,
            None => credential::Secrets::Tokens,
        }
    }

    /// Drops what is remembered of tokens and of who is active. To be called after either changed in the
    /// store by another way than this type.
    pub fn forget(&self) {
        self.tokens.forget();
        self.jwts.forget();
        if let Some(passwords) = &self.passwords {
            passwords.forget();
        }
        self.browsers.forget();
    }
}
