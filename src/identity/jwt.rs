//! JWTs of trusted issuers.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Header;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::credential::Credential;
use super::error::IdentityError;
use super::issuer::Issuer;
use super::short_cache::ShortCache;
use super::tokens::deactivated;
use crate::access::{Caller, Principal};
use crate::clock::{Clock, UnixMillis};
use crate::config::identity::IdentityConfig;
use crate::store::Store;

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
        let header = header(token)?;
        let claimed = claimed_issuer(token)
            .ok_or_else(|| IdentityError::refused("the token does not say who issued it"))?;
        let issuer = self
            .issuers
            .iter()
            .find(|issuer| issuer.name == claimed)
            .ok_or_else(|| IdentityError::refused("the token's issuer is not trusted here"))?;
        let verified = issuer.verify(token, &header, now, self.skew_ms).await?;
        if is_logout_token(&header, &verified.claims) {
            return Err(IdentityError::refused("a logout token is no credential"));
        }
        let caller = Arc::new(issuer.mapping.caller(&issuer.name, &verified.claims, &digest)?);
        let until = UnixMillis(verified.expires_at.0.min(now.0.saturating_add(VERIFIED_FOR)));
        let known = Known { caller, enrolls: issuer.enroll, since: now, until };
        self.verified.insert(digest, known.clone());
        Ok(known)
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

/// The token's header, not verified. Refuses `none` and whatever else is no algorithm.
pub(super) fn header(token: &str) -> Result<Header, IdentityError> {
    let header = jsonwebtoken::decode_header(token)
        .map_err(|_| IdentityError::refused("the token is not a JWT that can be verified"))?;
    if header.crit.is_some() {
        return Err(IdentityError::refused("the token has a critical header that is not understood"));
    }
    Ok(header)
}

/// What an issuer sends when somebody signed out: about a person, and for us, but no proof of anybody.
pub(super) fn is_logout_token(header: &Header, claims: &Map<String, Value>) -> bool {
    const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
    let typed = header.typ.as_ref().is_some_and(|kind| kind.to_ascii_lowercase().contains("logout+jwt"));
    typed || claims.get("events").and_then(Value::as_object).is_some_and(|all| all.contains_key(EVENT))
}

/// The issuer that the token claims, to choose by whose keys it is to be verified; nothing else of it is
/// believed before that.
pub(super) fn claimed_issuer(token: &str) -> Option<String> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Map<String, Value> = serde_json::from_slice(&payload).ok()?;
    claims.get("iss")?.as_str().map(str::to_owned)
}
