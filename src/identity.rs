//! Who calls: a request's one credential, taken to the schemes in a fixed order.
//!
//! Each scheme answers *not requested*, *authenticated* or *failed*, and a failure ends the matter: a bad
//! token is never tried as something else, nor taken for nobody. The credential is an opaque token of ours
//! or a JWT of a trusted issuer, sent as `Bearer` or as the password of `Basic`; without one, the cookie of
//! a browser that signed in.

mod attempts;
mod browsers;
mod certificate;
mod client_secrets;
mod cookies;
mod credential;
mod error;
mod exchange;
mod federation;
mod fetch;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod hashed;
mod issuer;
mod jwt;
mod mapping;
mod passwords;
mod provider;
mod public_key;
mod redact;
mod remote_keys;
mod short_cache;
mod tokens;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use browsers::{Answered, Begun, Browsers, Choice, Session, SignedIn};
pub use certificate::Certificate;
pub use error::IdentityError;
pub use exchange::{Claimant, ExchangeError};
pub use passwords::is_hash as is_password_hash;
pub use redact::without_secrets;
pub use tokens::Wanted;

use crate::access::{Caller, Principal};
use crate::clock::Clock;
use crate::config::identity::IdentityConfig;
use crate::keys::{Keys, KeysError};
use crate::store::{ClientSecretRecord, Store, TokenRecord};
use crate::wire::Headers;

/// Identifies callers; share it behind an `Arc`.
pub struct Identity {
    tokens: tokens::Tokens,
    jwts: jwt::Jwts,
    issuers: Arc<[issuer::Issuer]>,
    /// Unless nobody may have a password.
    passwords: Option<passwords::Passwords>,
    browsers: Browsers,
    secrets: client_secrets::ClientSecrets,
    federation: federation::Federation,
    attempts: attempts::Attempts,
    standings: short_cache::ShortCache<Principal, Option<bool>>,
    certificates: certificate::Certificates,
    store: Store,
    clock: Arc<dyn Clock>,
    /// How long a new token or secret may live at most, if that is limited.
    longest_days: Option<u64>,
    access_token_ms: i64,
}

impl Identity {
    /// With the keys of the store.
    pub async fn new(
        config: &IdentityConfig,
        store: Store,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, IdentityError> {
        let keys = Keys::open(store.clone(), clock.clone(), None).await.map_err(|error| match error {
            KeysError::Store(error) => error.into(),
            other => IdentityError::unavailable(other.to_string()),
        })?;
        Self::with_keys(config, keys, store, clock).await
    }

    pub async fn with_keys(
        config: &IdentityConfig,
        keys: Arc<Keys>,
        store: Store,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, IdentityError> {
        let federation = federation::Federation::new(config)?;
        // Checked in the configuration too.
        for issuer in &config.issuers {
            if issuer.audience.is_empty() && federation.audiences(&issuer.issuer).is_empty() {
                let issuer = &issuer.issuer;
                return Err(IdentityError::unavailable(format!("issuer `{issuer}`: needs an audience")));
            }
        }
        let cache = config.token_cache_seconds;
        let tokens =
            tokens::Tokens::new(Arc::clone(&keys), store.clone(), clock.clone(), cache, federation.ids());
        let issuers = config.issuers.iter().map(|issuer| issuer::Issuer::new(config, issuer, clock.clone()));
        let issuers: Arc<[issuer::Issuer]> = issuers.collect::<Result<Vec<_>, _>>()?.into();
        if issuers.len() > 1 {
            tracing::info!("there are several issuers: whom two of them call by one name is one person here");
        }
        let passwords = match config.passwords {
            true => Some(passwords::Passwords::new(store.clone(), clock.clone(), cache).await?),
            false => None,
        };
        let access_token_ms = i64::try_from(config.access_token_seconds).unwrap_or(3600).saturating_mul(1000);
        Ok(Self {
            certificates: certificate::Certificates::new(config, store.clone(), clock.clone()),
            tokens,
            jwts: jwt::Jwts::new(config, issuers.clone(), store.clone(), clock.clone()),
            passwords,
            browsers: Browsers::new(config, issuers.clone(), Arc::clone(&keys), store.clone(), clock.clone()),
            issuers,
            secrets: client_secrets::ClientSecrets::new(keys, store.clone(), clock.clone()),
            federation,
            attempts: attempts::Attempts::new(clock.clone()),
            standings: short_cache::ShortCache::new(cache, clock.clone()),
            store,
            clock,
            longest_days: config.token_max_days,
            access_token_ms,
        })
    }

    /// How often each issuer's keys could not be fetched since the start.
    pub fn key_failures(&self) -> impl Iterator<Item = (&str, u64)> {
        self.issuers.iter().filter_map(|issuer| Some((issuer.name.as_str(), issuer.key_failures()?)))
    }

    /// With the cookies of a gateway that browsers reach by this URL, or else directly.
    pub fn at(mut self, public_url: Option<&str>, speaks_tls: bool) -> Self {
        let secure = public_url.map_or(speaks_tls, |url| url.starts_with("https://"));
        self.browsers.set_secure(secure);
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

    /// Whether certificates name anybody here. If not, they open connections and nothing else.
    pub fn knows_certificates(&self) -> bool {
        self.certificates.has_rules()
    }

    /// The caller that a client certificate stands for. To be asked when the request carries no credential
    /// of its own: that one decides alone.
    pub async fn identify_certificate(&self, certificate: &Certificate) -> Result<Caller, IdentityError> {
        self.certificates.authenticate(certificate).await
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
        self.issue(Wanted { principal, name, ttl_ms, scopes: None, created_by }).await
    }

    /// As [`issue_token`](Self::issue_token), for less than all that the principal may do.
    pub async fn issue(&self, wanted: Wanted<'_>) -> Result<(String, TokenRecord), IdentityError> {
        self.tokens.issue(wanted).await
    }

    /// How long (milliseconds) a new token or secret may live that is asked for with this lifetime. One that is
    /// asked for without an end has that of the longest there may be.
    pub fn lifetime(&self, asked_ms: Option<i64>) -> Result<Option<i64>, IdentityError> {
        let Some(days) = self.longest_days else { return Ok(asked_ms) };
        let longest = i64::try_from(days).unwrap_or(i64::MAX).saturating_mul(86_400_000);
        if asked_ms.is_some_and(|asked| asked > longest) {
            return Err(IdentityError::refused(format!(
                "the lifetime is over {days} days, the most there may be; an administrator can raise \
                 `identity.token_max_days`"
            )));
        }
        Ok(Some(asked_ms.unwrap_or(longest)))
    }

    /// Whether a principal may authenticate; `None`: nobody entered it.
    pub async fn standing(&self, principal: &Principal) -> Result<Option<bool>, IdentityError> {
        if let Some(standing) = self.standings.get(principal) {
            return Ok(standing);
        }
        let asked = self.standings.asking();
        let standing = self.store.is_active(principal).await?;
        self.standings.put(principal.clone(), standing, asked);
        Ok(standing)
    }

    /// Makes a client secret for a service principal. It is in the answer and nowhere else.
    pub async fn issue_secret(
        &self,
        principal: &Principal,
        ttl_ms: Option<i64>,
        scopes: Option<Vec<crate::access::Scope>>,
        created_by: &str,
    ) -> Result<(String, ClientSecretRecord), IdentityError> {
        self.secrets.issue(principal, ttl_ms, scopes, created_by).await
    }

    /// Revokes a client secret of a service principal and every token that was got for it, on this replica at
    /// once. Answers the secret as it was; nothing when there was none to revoke.
    pub async fn revoke_secret(
        &self,
        principal: &Principal,
        id: &str,
    ) -> Result<Option<ClientSecretRecord>, IdentityError> {
        let revoked = self.store.revoke_client_secret(principal, id, self.clock.now()).await?;
        self.forget();
        Ok(revoked)
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
        self.standings.forget();
        self.certificates.forget();
    }
}
