//! JWTs of trusted issuers.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Header;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::credential::Credential;
use super::error::IdentityError;
use super::federation::{Federation, Rule};
use super::issuer::{Issuer, Verified};
use super::short_cache::ShortCache;
use super::tokens::deactivated;
use crate::access::{Caller, Principal};
use crate::clock::{Clock, UnixMillis};
use crate::config::identity::IdentityConfig;
use crate::store::Store;
use crate::wire::json;

/// What a header may say the token is. A token for another purpose, such as telling that somebody signed out,
/// is signed by the same keys and is none to call with.
const TYPES: [&str; 4] = ["jwt", "at+jwt", "application/jwt", "application/at+jwt"];
/// The event of a token that tells that somebody signed out.
const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// How long a verified token need not be verified again (milliseconds), unless it ends before.
const VERIFIED_FOR: i64 = 60_000;

pub(super) struct Jwts {
    issuers: Arc<[Issuer]>,
    skew_ms: i64,
    store: Store,
    clock: Arc<dyn Clock>,
    verified: moka::sync::Cache<[u8; 32], Known>,
    /// `None`: of whom nobody ever heard.
    active: ShortCache<Principal, Option<bool>>,
}

#[derive(Clone)]
struct Known {
    caller: Arc<Caller>,
    /// Whether its issuer may bring strangers.
    enrolls: bool,
    since: UnixMillis,
    until: UnixMillis,
}

impl Jwts {
    pub fn new(config: &IdentityConfig, issuers: Arc<[Issuer]>, store: Store, clock: Arc<dyn Clock>) -> Self {
        Self {
            issuers,
            skew_ms: config.clock_skew_ms(),
            store,
            active: ShortCache::new(config.token_cache_seconds, clock.clone()),
            clock,
            verified: moka::sync::Cache::new(20_000),
        }
    }

    /// `None`: not a JWT.
    pub async fn authenticate(&self, credential: &Credential) -> Result<Option<Caller>, IdentityError> {
        let token = credential.secret.as_str();
        if token.bytes().filter(|byte| *byte == b'.').count() != 2 {
            return Ok(None);
        }
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let now = self.clock.now();
        let known = self.verified.get(&digest).filter(|known| known.since <= now && now < known.until);
        let known = match known {
            Some(known) => known,
            None => self.verify(token, digest, now).await?,
        };
        self.check_active(&known.caller.principal, known.enrolls).await?;
        Ok(Some(Caller::clone(&known.caller)))
    }

    pub fn forget(&self) {
        self.active.forget();
    }

    async fn verify(&self, token: &str, digest: [u8; 32], now: UnixMillis) -> Result<Known, IdentityError> {
        let (issuer, verified) = self.verified(token, now, |issuer| issuer.audience.clone()).await?;
        let caller = Arc::new(issuer.mapping.caller(&issuer.name, &verified.claims, &digest)?);
        let until = UnixMillis(verified.expires_at.0.min(now.0.saturating_add(VERIFIED_FOR)));
        let known = Known { caller, enrolls: issuer.enroll, since: now, until };
        self.verified.insert(digest, known.clone());
        Ok(known)
    }

    /// The trust rule that a foreign token matches; of those for `client`, if one is named.
    pub async fn rule<'f>(
        &self,
        token: &str,
        federation: &'f Federation,
        client: Option<&str>,
    ) -> Result<&'f Rule, IdentityError> {
        let audiences = |issuer: &Issuer| federation.audiences(&issuer.name);
        let (issuer, verified) = self.verified(token, self.clock.now(), audiences).await?;
        federation.rule(&issuer.name, &verified.claims, client)
    }

    /// Verifies a token to call with by the issuer that it says it is of, for the audiences that are asked for of
    /// that issuer.
    async fn verified(
        &self,
        token: &str,
        now: UnixMillis,
        audience: impl Fn(&Issuer) -> Vec<String>,
    ) -> Result<(&Issuer, Verified), IdentityError> {
        let unverified = Unverified::read(token)?;
        if unverified.is_for_another_purpose() || unverified.is_of_sign_out() {
            return Err(IdentityError::refused("the token is one for another purpose"));
        }
        if unverified.claims.contains_key("cnf") {
            // Whoever stole it could not use it elsewhere; here it must be no easier.
            return Err(IdentityError::refused("the token is bound to a key that was not shown"));
        }
        let claimed = unverified
            .issuer()
            .ok_or_else(|| IdentityError::refused("the token does not say who issued it"))?;
        let issuer = self
            .issuers
            .iter()
            .find(|issuer| issuer.name == claimed)
            .ok_or_else(|| IdentityError::refused("the token's issuer is not trusted here"))?;
        let verified = issuer.verify(token, &unverified.header, &audience(issuer), now, self.skew_ms).await?;
        Ok((issuer, verified))
    }

    /// An issuer does not know whom we shut out, nor, unless it is said to, who may come at all.
    async fn check_active(&self, principal: &Principal, enrolls: bool) -> Result<(), IdentityError> {
        let active = match self.active.get(principal) {
            Some(active) => active,
            None => {
                let asked = self.active.asking();
                let active = self.store.is_active(principal).await?;
                self.active.put(principal.clone(), active, asked);
                active
            }
        };
        match active {
            Some(true) => Ok(()),
            Some(false) => Err(deactivated(principal)),
            None if enrolls => Ok(()),
            None => Err(stranger(principal)),
        }
    }
}

pub(super) fn stranger(principal: &Principal) -> IdentityError {
    IdentityError::refused(format!("`{principal}` is not known here; an administrator can enter it"))
}

/// Header and claims as they were sent, if there is one way to read them: no name twice, not nested without end.
/// Nothing of them is believed before the signature is verified; by what they say it is chosen whose keys do that.
pub(super) struct Unverified {
    pub header: Header,
    /// What the header says the token is, in lower case.
    kind: Option<String>,
    claims: Map<String, Value>,
}

impl Unverified {
    pub fn read(token: &str) -> Result<Self, IdentityError> {
        let malformed = || IdentityError::refused("the token is not a JWT that can be verified");
        let mut parts = token.split('.');
        let mut part = || json::parse_object(&URL_SAFE_NO_PAD.decode(parts.next()?).ok()?).ok();
        let (named, claims) = (part().ok_or_else(malformed)?, part().ok_or_else(malformed)?);
        // Refuses `none` and whatever else is no algorithm.
        let header = jsonwebtoken::decode_header(token).map_err(|_| malformed())?;
        if header.crit.is_some() {
            return Err(IdentityError::refused("the token has a critical header that is not understood"));
        }
        let kind = named.get("typ").map(|kind| kind.as_str().unwrap_or_default().to_ascii_lowercase());
        Ok(Self { header, kind, claims })
    }

    pub fn issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }

    /// Whether it is what an issuer sends when somebody signed out: about a person, and no proof of anybody.
    pub fn is_of_sign_out(&self) -> bool {
        let typed = self.kind.as_ref().is_some_and(|kind| kind.contains("logout+jwt"));
        let event = self.claims.get("events").is_some_and(|events| events.get(LOGOUT_EVENT).is_some());
        typed || event
    }

    fn is_for_another_purpose(&self) -> bool {
        self.kind.as_ref().is_some_and(|kind| !TYPES.contains(&kind.as_str()))
    }
}
