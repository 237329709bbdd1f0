//! Client secrets of service principals: `tgs_`, 32 random bytes and a checksum, in base64url.
//!
//! Only their HMAC is stored. A wrong secret, one of another client, an ended one and a client that nobody
//! knows are one answer, reached by the same steps, so that nobody learns which it was.

use std::sync::Arc;

use subtle::ConstantTimeEq;

use super::error::IdentityError;
use super::hashed;
use super::tokens::{check_scopes, is_well_formed, new_secret};
use crate::access::{Principal, Scope};
use crate::clock::{Clock, UnixMillis};
use crate::keys::Keys;
use crate::store::{ClientSecretRecord, NewClientSecret, Purpose, Store};

const PREFIX: &str = "tgs_";
/// Longer ones are nobody's (bytes).
const LONGEST: usize = 200;

pub(super) struct ClientSecrets {
    store: Store,
    clock: Arc<dyn Clock>,
    keys: Arc<Keys>,
}

impl ClientSecrets {
    pub fn new(keys: Arc<Keys>, store: Store, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, keys }
    }

    pub async fn issue(
        &self,
        principal: &Principal,
        ttl_ms: Option<i64>,
        scopes: Option<Vec<Scope>>,
        created_by: &str,
    ) -> Result<(String, ClientSecretRecord), IdentityError> {
        if ttl_ms.is_some_and(|ttl| ttl <= 0) {
            return Err(IdentityError::refused("a secret must live for at least a millisecond"));
        }
        if let Some(scopes) = &scopes {
            check_scopes(scopes)?;
        }
        let (secret, now) = (new_secret(PREFIX), self.clock.now());
        let new = NewClientSecret {
            id: format!("sec_{}", uuid::Uuid::now_v7().simple()),
            hash: self.keys.ring(Purpose::ClientSecret).hash(now, &secret),
            principal: principal.clone(),
            created_at: now,
            created_by: created_by.to_owned(),
            expires_at: ttl_ms.map(|ttl| UnixMillis(now.0.saturating_add(ttl))),
            scopes,
        };
        self.store.add_client_secret(&new).await?;
        let record = ClientSecretRecord {
            id: new.id,
            principal: new.principal,
            created_at: now,
            created_by: new.created_by,
            expires_at: new.expires_at,
            last_used_at: None,
            revoked_at: None,
            scopes: new.scopes,
            principal_active: true,
        };
        Ok((secret, record))
    }

    /// The secret, if it is good and this client's.
    pub async fn verify(
        &self,
        client_id: &str,
        secret: &str,
    ) -> Result<Option<ClientSecretRecord>, IdentityError> {
        let body = secret.strip_prefix(PREFIX).filter(|body| body.len() <= LONGEST);
        if !body.is_some_and(is_well_formed) {
            return Ok(None);
        }
        // Asked by the secret alone: the store does the same whoever the client says it is.
        let (store, now) = (&self.store, self.clock.now());
        let found = hashed::find(&self.keys, Purpose::ClientSecret, now, secret, async |hashes| {
            store.client_secret_by_hash(&hashes).await
        })
        .await?;
        let Some(found) = found else { return Ok(None) };
        let same = found.record.principal.name.as_bytes().ct_eq(client_id.as_bytes());
        if !bool::from(same) || !found.record.in_force(now) {
            return Ok(None);
        }
        found.rehash(&self.store, Purpose::ClientSecret, &found.record.id);
        Ok(Some(found.record))
    }
}
