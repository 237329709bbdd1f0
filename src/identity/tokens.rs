//! Opaque tokens: `tg_`, 32 random bytes and a checksum, in base64url.
//!
//! Only their HMAC is stored, so a copy of the store opens nothing. The checksum lets a mistyped token be
//! refused without asking the store, and scanners for leaked secrets be sure of what they found.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::credential::Credential;
use super::error::IdentityError;
use super::short_cache::ShortCache;
use crate::access::{Caller, Principal, PrincipalKind, Proof, Scheme};
use crate::clock::{Clock, UnixMillis};
use crate::store::{NewToken, Store, TokenRecord};

const PREFIX: &str = "tg_";
/// How often the time of a token's last use is written (milliseconds).
const TOUCH_INTERVAL: i64 = 60_000;

pub(super) struct Tokens {
    store: Store,
    clock: Arc<dyn Clock>,
    key: [u8; 32],
    known: ShortCache<[u8; 32], Arc<TokenRecord>>,
    touched: moka::sync::Cache<String, UnixMillis>,
}

impl Tokens {
    pub async fn new(store: Store, clock: Arc<dyn Clock>, cache_seconds: u64) -> Result<Self, IdentityError> {
        let key = store.secret("token-hash").await?;
        let known = ShortCache::new(cache_seconds, clock.clone());
        Ok(Self { store, clock, key, known, touched: moka::sync::Cache::new(50_000) })
    }

    /// `None`: not a token of ours.
    pub async fn authenticate(&self, credential: &Credential) -> Result<Option<Caller>, IdentityError> {
        let Some(body) = credential.secret.strip_prefix(PREFIX) else { return Ok(None) };
        if !is_well_formed(body) {
            return Err(IdentityError::refused("the token is malformed; was a part of it lost?"));
        }
        let record = self.find(&credential.secret).await?;
        self.check(&record)?;
        self.touch(&record.id);
        let proof = Proof { scheme: Scheme::Token, credential: record.id.clone() };
        Ok(Some(Caller::new(record.principal.clone(), Vec::new(), proof)))
    }

    pub async fn issue(
        &self,
        principal: &Principal,
        name: &str,
        ttl_ms: Option<i64>,
        created_by: &str,
    ) -> Result<(String, TokenRecord), IdentityError> {
        if principal.kind == PrincipalKind::Group {
            return Err(IdentityError::refused(format!("`{principal}` is a group and cannot have a token")));
        }
        if name.is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
            return Err(IdentityError::refused(
                "a token's name has 1 to 100 characters, none of them control",
            ));
        }
        if ttl_ms.is_some_and(|ttl| ttl <= 0) {
            return Err(IdentityError::refused("a token must live for at least a millisecond"));
        }
        if self.store.is_active(principal).await? == Some(false) {
            return Err(deactivated(principal));
        }
        let secret = new_secret();
        let now = self.clock.now();
        let token = NewToken {
            id: format!("tok_{}", uuid::Uuid::now_v7().simple()),
            hash: self.hash(&secret)?,
            principal: principal.clone(),
            name: name.to_owned(),
            created_at: now,
            created_by: created_by.to_owned(),
            expires_at: ttl_ms.map(|ttl| UnixMillis(now.0.saturating_add(ttl))),
        };
        self.store.add_token(&token).await?;
        let record = TokenRecord {
            id: token.id,
            principal: token.principal,
            name: token.name,
            created_at: now,
            created_by: token.created_by,
            expires_at: token.expires_at,
            last_used_at: None,
            revoked_at: None,
            principal_active: true,
        };
        Ok((secret, record))
    }

    pub fn forget(&self) {
        self.known.forget();
    }

    async fn find(&self, secret: &str) -> Result<Arc<TokenRecord>, IdentityError> {
        let hash = self.hash(secret)?;
        if let Some(record) = self.known.get(&hash) {
            return Ok(record);
        }
        let asked = self.known.asking();
        let record = self
            .store
            .token_by_hash(&hash)
            .await?
            .map(Arc::new)
            .ok_or_else(|| IdentityError::refused("the token is not known"))?;
        self.known.put(hash, record.clone(), asked);
        Ok(record)
    }

    fn check(&self, record: &TokenRecord) -> Result<(), IdentityError> {
        if record.revoked_at.is_some() {
            return Err(IdentityError::refused(format!("the token `{}` was revoked", record.id)));
        }
        if record.expires_at.is_some_and(|end| end <= self.clock.now()) {
            return Err(IdentityError::refused(format!("the token `{}` has expired", record.id)));
        }
        if !record.principal_active {
            return Err(deactivated(&record.principal));
        }
        if record.principal.kind == PrincipalKind::Group {
            return Err(IdentityError::refused("a group cannot call"));
        }
        Ok(())
    }

    /// Notes the use beside the request, which does not wait: a lost note costs nothing.
    fn touch(&self, id: &str) {
        let now = self.clock.now();
        let last = self.touched.get(id);
        if last.is_some_and(|last| (0..TOUCH_INTERVAL).contains(&(now.0.saturating_sub(last.0)))) {
            return;
        }
        self.touched.insert(id.to_owned(), now);
        let (store, id) = (self.store.clone(), id.to_owned());
        tokio::spawn(async move {
            if let Err(error) = store.touch_token(&id, now).await {
                tracing::warn!(token = %id, %error, "the last use of a token could not be noted");
            }
        });
    }

    fn hash(&self, secret: &str) -> Result<[u8; 32], IdentityError> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key)
            .map_err(|_| IdentityError::unavailable("the token key cannot be used"))?;
        mac.update(secret.as_bytes());
        Ok(mac.finalize().into_bytes().into())
    }
}

pub(super) fn deactivated(principal: &Principal) -> IdentityError {
    IdentityError::refused(format!("`{principal}` is deactivated"))
}

fn new_secret() -> String {
    let mut body = [0; 36];
    let random: [u8; 32] = rand::random();
    body[..32].copy_from_slice(&random);
    body[32..].copy_from_slice(&checksum(&random));
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(body))
}

fn checksum(random: &[u8]) -> [u8; 4] {
    let digest = Sha256::digest(random);
    [digest[0], digest[1], digest[2], digest[3]]
}

fn is_well_formed(body: &str) -> bool {
    let Ok(bytes) = URL_SAFE_NO_PAD.decode(body) else { return false };
    bytes.len() == 36 && bool::from(checksum(&bytes[..32]).ct_eq(&bytes[32..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_of_one_character_is_noticed_without_the_store() {
        let secret = new_secret();
        let body = secret.strip_prefix(PREFIX).unwrap();
        assert!(is_well_formed(body));
        for place in 0..body.len() {
            let mut changed = body.as_bytes().to_vec();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            assert!(!is_well_formed(std::str::from_utf8(&changed).unwrap()), "{place}");
        }
        assert!(!is_well_formed("") && !is_well_formed(&body[1..]) && !is_well_formed(&format!("{body}A")));
    }

    #[test]
    fn no_two_tokens_are_alike() {
        assert_ne!(new_secret(), new_secret());
    }
}
