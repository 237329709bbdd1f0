//! What is known by a keyed hash: looked for under every key that is accepted, and hashed anew with the key that
//! makes when it was found under another, so that a rotation ends by itself.

use crate::clock::UnixMillis;
use crate::keys::{Keys, Ring};
use crate::store::{KeyedHash, Purpose, Store, StoreError};

/// By what a secret is remembered: its hash, under keys that are in force.
pub(super) type Known = ([u8; 32], [u8; 32]);

pub(super) fn known(ring: &Ring, now: UnixMillis, text: &str) -> Known {
    (ring.generation, ring.hash(now, text).hash)
}

/// What the store has of a secret.
pub(super) struct Found<R> {
    pub record: R,
    pub known: Known,
    /// What it was found by, and what it is to be found by from now on.
    outdated: Option<(KeyedHash, KeyedHash)>,
}

/// Asks for a secret by its hashes. One that is not there is asked for once more where there are keys that this
/// replica had not heard of.
pub(super) async fn find<R>(
    keys: &Keys,
    purpose: Purpose,
    now: UnixMillis,
    text: &str,
    ask: impl AsyncFn(Vec<KeyedHash>) -> Result<Option<(R, KeyedHash)>, StoreError>,
) -> Result<Option<Found<R>>, StoreError> {
    let mut ring = keys.ring(purpose);
    let mut found = ask(ring.hashes(now, text)).await?;
    if found.is_none()
        && let Some(newer) = keys.newer_than(&ring).await
    {
        ring = newer;
        found = ask(ring.hashes(now, text)).await?;
    }
    let wanted = ring.hash(now, text);
    let known = (ring.generation, wanted.hash);
    Ok(found.map(|(record, hash)| {
        let outdated = (hash.key != wanted.key).then_some((hash, wanted));
        Found { record, known, outdated }
    }))
}

impl<R> Found<R> {
    /// Hashes it anew beside the request, which does not wait: the next use does it if this one cannot.
    pub fn rehash(&self, store: &Store, purpose: Purpose, id: &str) {
        let Some((old, new)) = self.outdated.clone() else { return };
        let (store, id) = (store.clone(), id.to_owned());
        tokio::spawn(async move {
            if let Err(error) = store.rehash(purpose, &id, &old.hash, &new).await {
                tracing::warn!(id, %error, "what is kept of a credential could not be hashed with the new key");
            }
        });
    }
}
