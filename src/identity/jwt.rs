//! JWTs of trusted issuers.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::credential::Credential;
use super::error::IdentityError;
use super::federation::{Federation, Rule};
use super::issuer::{Issuer, Verified};
use super::mapping::Mapping;
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
    issuers: Vec<Issuer>,
    mapping: Mapping,
    skew_ms: i64,
    store: Store,
    clock: Arc<dyn Clock>,
    verified: moka::sync::Cache<[u8; 32], Known>,
    active: ShortCache<Principal, bool>,
}

#[derive(Clone)]
struct Known {
    caller: Arc<Caller>,
    since: UnixMillis,
    until: UnixMillis,
}

impl Jwts {
    pub fn new(config: &IdentityConfig, store: Store, clock: Arc<dyn Clock>) -> Result<Self, IdentityError> {
        Ok(Self {
            issuers: config
                .issuers
                .iter()
                .map(|issuer| Issuer::new(issuer, clock.clone()))
                .collect::<Result<_, _>>()?,
            mapping: Mapping::new(config),
            skew_ms: i64::try_from(config.clock_skew_seconds.min(300)).unwrap_or(0) * 1000,
            store,
            active: ShortCache::new(config.token_cache_seconds, clock.clone()),
            clock,
            verified: moka::sync::Cache::new(20_000),
        })
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
        let caller = match known {
            Some(known) => known.caller,
            None => self.verify(token, digest, now).await?,
        };
        self.check_active(&caller.principal).await?;
        Ok(Some(Caller::clone(&caller)))
    }

    pub fn forget(&self) {
        self.active.forget();
    }

    async fn verify(
        &self,
        token: &str,
        digest: [u8; 32],
        now: UnixMillis,
    ) -> Result<Arc<Caller>, IdentityError> {
        let (issuer, verified) = self.verified(token, now, |issuer| issuer.audience.clone()).await?;
        let caller = Arc::new(self.mapping.caller(&issuer.name, &verified.claims, &digest)?);
        let until = UnixMillis(verified.expires_at.0.min(now.0.saturating_add(VERIFIED_FOR)));
        self.verified.insert(digest, Known { caller: caller.clone(), since: now, until });
        Ok(caller)
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

    /// Verifies a token by the issuer that it says it is of, for the audiences that are asked for of that issuer.
    async fn verified(
        &self,
        token: &str,
        now: UnixMillis,
        audience: impl Fn(&Issuer) -> Vec<String>,
    ) -> Result<(&Issuer, Verified), IdentityError> {
        let malformed = || IdentityError::refused("the token is not a JWT that can be verified");
        let (named, claims) = readable(token).ok_or_else(malformed)?;
        // Refuses `none` and whatever else is no algorithm.
        let header = jsonwebtoken::decode_header(token).map_err(|_| malformed())?;
        if header.crit.is_some() {
            return Err(IdentityError::refused("the token has a critical header that is not understood"));
        }
        let kind = named.get("typ").map(|kind| kind.as_str().unwrap_or_default().to_ascii_lowercase());
        let is_logout = claims.get("events").is_some_and(|events| events.get(LOGOUT_EVENT).is_some());
        if kind.is_some_and(|kind| !TYPES.contains(&kind.as_str())) || is_logout {
            return Err(IdentityError::refused("the token is one for another purpose"));
        }
        if claims.contains_key("cnf") {
            // Whoever stole it could not use it elsewhere; here it must be no easier.
            return Err(IdentityError::refused("the token is bound to a key that was not shown"));
        }
        let claimed = claims
            .get("iss")
            .and_then(Value::as_str)
            .ok_or_else(|| IdentityError::refused("the token does not say who issued it"))?;
        let issuer = self
            .issuers
            .iter()
            .find(|issuer| issuer.name == claimed)
            .ok_or_else(|| IdentityError::refused("the token's issuer is not trusted here"))?;
        let verified = issuer.verify(token, &header, &audience(issuer), now, self.skew_ms).await?;
        Ok((issuer, verified))
    }

    /// An issuer does not know whom we shut out. Whom we never heard of may call, and may do nothing.
    async fn check_active(&self, principal: &Principal) -> Result<(), IdentityError> {
        let active = match self.active.get(principal) {
            Some(active) => active,
            None => {
                let asked = self.active.asking();
                let active = self.store.is_active(principal).await?.unwrap_or(true);
                self.active.put(principal.clone(), active, asked);
                active
            }
        };
        if active { Ok(()) } else { Err(deactivated(principal)) }
    }
}

/// Header and claims, if there is one way to read them: no name twice, not nested without end. Nothing of them
/// is believed before the signature is verified; by what they say it is chosen whose keys do that.
fn readable(token: &str) -> Option<(Map<String, Value>, Map<String, Value>)> {
    let mut parts = token.split('.');
    let mut part = || json::parse_object(&URL_SAFE_NO_PAD.decode(parts.next()?).ok()?).ok();
    Some((part()?, part()?))
}
