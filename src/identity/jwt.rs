//! JWTs of trusted issuers.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::credential::Credential;
use super::error::IdentityError;
use super::issuer::Issuer;
use super::mapping::Mapping;
use super::short_cache::ShortCache;
use super::tokens::deactivated;
use crate::access::{Caller, Principal};
use crate::clock::{Clock, UnixMillis};
use crate::config::identity::IdentityConfig;
use crate::store::Store;

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
        let malformed = || IdentityError::refused("the token is not a JWT that can be verified");
        // Refuses `none` and whatever else is no algorithm.
        let header = jsonwebtoken::decode_header(token).map_err(|_| malformed())?;
        if header.crit.is_some() {
            return Err(IdentityError::refused("the token has a critical header that is not understood"));
        }
        let claimed = claimed_issuer(token)
            .ok_or_else(|| IdentityError::refused("the token does not say who issued it"))?;
        let issuer = self
            .issuers
            .iter()
            .find(|issuer| issuer.name == claimed)
            .ok_or_else(|| IdentityError::refused("the token's issuer is not trusted here"))?;
        let verified = issuer.verify(token, &header, now, self.skew_ms).await?;
        let caller = Arc::new(self.mapping.caller(&issuer.name, &verified.claims, &digest)?);
        let until = UnixMillis(verified.expires_at.0.min(now.0.saturating_add(VERIFIED_FOR)));
        self.verified.insert(digest, Known { caller: caller.clone(), since: now, until });
        Ok(caller)
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

/// The issuer that the token claims, to choose by whose keys it is to be verified; nothing else of it is
/// believed before that.
fn claimed_issuer(token: &str) -> Option<String> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Map<String, Value> = serde_json::from_slice(&payload).ok()?;
    claims.get("iss")?.as_str().map(str::to_owned)
}
