//! Opaque tokens: `tg_`, 32 random bytes and a checksum, in base64url.
//!
//! Only their HMAC is stored, so a copy of the store opens nothing. The checksum lets a mistyped token be
//! refused without asking the store, and scanners for leaked secrets be sure of what they found.

use std::collections::HashSet;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::credential::Credential;
use super::error::IdentityError;
use super::federation::RULE_PREFIX;
use super::hashed;
use super::short_cache::ShortCache;
use crate::access::{Caller, Principal, PrincipalKind, Proof, Scheme, Scope};
use crate::clock::{Clock, UnixMillis};
use crate::keys::Keys;
use crate::store::{NewToken, Purpose, Store, TokenKind, TokenRecord};

const PREFIX: &str = "tg_";
/// How often the time of a token's last use is written (milliseconds).
const TOUCH_INTERVAL: i64 = 60_000;

pub(super) struct Tokens {
    store: Store,
    clock: Arc<dyn Clock>,
    keys: Arc<Keys>,
    known: ShortCache<hashed::Known, Arc<TokenRecord>>,
    touched: moka::sync::Cache<String, UnixMillis>,
    /// The trust rules in force, by which access tokens may have been got.
    rules: HashSet<String>,
}

/// What a token is to be.
pub struct Wanted<'a> {
    pub principal: &'a Principal,
    pub name: &'a str,
    /// How long it lives (milliseconds); `None` is until it is revoked.
    pub ttl_ms: Option<i64>,
    /// What it is for, if for less than all that the principal may do.
    pub scopes: Option<Vec<Scope>>,
    pub created_by: &'a str,
}

impl Tokens {
    pub fn new(
        keys: Arc<Keys>,
        store: Store,
        clock: Arc<dyn Clock>,
        cache_seconds: u64,
        rules: HashSet<String>,
    ) -> Self {
        let known = ShortCache::new(cache_seconds, clock.clone());
        Self { store, clock, keys, known, touched: moka::sync::Cache::new(50_000), rules }
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
        let mut caller = Caller::new(record.principal.clone(), Vec::new(), proof);
        caller.scopes = record.scopes.as_deref().map(Arc::from);
        Ok(Some(caller))
    }

    pub async fn issue(&self, wanted: Wanted<'_>) -> Result<(String, TokenRecord), IdentityError> {
        let (secret, token) = self.make(&wanted).await?;
        self.store.add_token(&token).await?;
        Ok((secret, as_record(token, TokenKind::Personal)))
    }

    /// As [`issue`](Self::issue), for the token endpoint: the token lasts as long as its source does.
    pub async fn issue_access(
        &self,
        wanted: Wanted<'_>,
        source: &str,
    ) -> Result<Option<(String, TokenRecord)>, IdentityError> {
        let (secret, mut token) = self.make(&wanted).await?;
        token.source = Some(source.to_owned());
        if source.starts_with(RULE_PREFIX) {
            self.store.add_token(&token).await?;
        } else if !self.store.add_token_for_secret(&token, source).await? {
            return Ok(None);
        }
        Ok(Some((secret, as_record(token, TokenKind::Oauth))))
    }

    async fn make(&self, wanted: &Wanted<'_>) -> Result<(String, NewToken), IdentityError> {
        let Wanted { principal, name, ttl_ms, created_by, .. } = *wanted;
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
        if let Some(scopes) = &wanted.scopes {
            check_scopes(scopes)?;
        }
        let secret = new_secret(PREFIX);
        let now = self.clock.now();
        let token = NewToken {
            id: format!("tok_{}", uuid::Uuid::now_v7().simple()),
            hash: self.keys.ring(Purpose::Token).hash(now, &secret),
            principal: principal.clone(),
            name: name.to_owned(),
            created_at: now,
            created_by: created_by.to_owned(),
            expires_at: ttl_ms.map(|ttl| UnixMillis(now.0.saturating_add(ttl))),
            scopes: wanted.scopes.clone(),
            source: None,
        };
        Ok((secret, token))
    }

    pub fn forget(&self) {
        self.known.forget();
    }

    async fn find(&self, secret: &str) -> Result<Arc<TokenRecord>, IdentityError> {
        let now = self.clock.now();
        let known = hashed::known(&self.keys.ring(Purpose::Token), now, secret);
        if let Some(record) = self.known.get(&known) {
            return Ok(record);
        }
        let asked = self.known.asking();
        let store = &self.store;
        let found = hashed::find(&self.keys, Purpose::Token, now, secret, async |hashes| {
            store.token_by_hash(&hashes).await
        })
        .await?
        .ok_or_else(|| IdentityError::refused("the token is not known"))?;
        found.rehash(&self.store, Purpose::Token, &found.record.id);
        let record = Arc::new(found.record);
        self.known.put(found.known, record.clone(), asked);
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
        // Whoever takes a rule out of the configuration, or changes it, ends what was got by it.
        let rule = record.source.as_ref().filter(|source| source.starts_with(RULE_PREFIX));
        if rule.is_some_and(|rule| !self.rules.contains(rule)) {
            return Err(IdentityError::refused(format!(
                "the token `{}` was got by a trust rule that is no longer in force",
                record.id
            )));
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
}

fn as_record(token: NewToken, kind: TokenKind) -> TokenRecord {
    TokenRecord {
        id: token.id,
        principal: token.principal,
        name: token.name,
        created_at: token.created_at,
        created_by: token.created_by,
        expires_at: token.expires_at,
        last_used_at: None,
        revoked_at: None,
        principal_active: true,
        kind,
        scopes: token.scopes,
        source: token.source,
    }
}

/// Scopes of one token at most.
const MOST_SCOPES: usize = 50;

/// A token for nothing at all is a mistake, and is not taken for one for everything.
pub(super) fn check_scopes(scopes: &[Scope]) -> Result<(), IdentityError> {
    if (1..=MOST_SCOPES).contains(&scopes.len()) {
        return Ok(());
    }
    Err(IdentityError::refused(format!("`scopes` has 1 to {MOST_SCOPES} scopes; leave it out for all")))
}

pub(super) fn deactivated(principal: &Principal) -> IdentityError {
    IdentityError::refused(format!("`{principal}` is deactivated"))
}

pub(super) fn new_secret(prefix: &str) -> String {
    let mut body = [0; 36];
    let random: [u8; 32] = rand::random();
    body[..32].copy_from_slice(&random);
    body[32..].copy_from_slice(&checksum(&random));
    format!("{prefix}{}", URL_SAFE_NO_PAD.encode(body))
}

fn checksum(random: &[u8]) -> [u8; 4] {
    let digest = Sha256::digest(random);
    [digest[0], digest[1], digest[2], digest[3]]
}

pub(super) fn is_well_formed(body: &str) -> bool {
    let Ok(bytes) = URL_SAFE_NO_PAD.decode(body) else { return false };
    bytes.len() == 36 && bool::from(checksum(&bytes[..32]).ct_eq(&bytes[32..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_of_one_character_is_noticed_without_the_store() {
        let secret = new_secret(PREFIX);
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
        assert_ne!(new_secret(PREFIX), new_secret(PREFIX));
    }
}
