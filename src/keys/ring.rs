//! The keys of one purpose that are accepted, and what is done with them.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use super::{KeysError, ReadFile};
use crate::clock::UnixMillis;
use crate::seal::{NotOurs, Sealer};
use crate::secret::SecretKey;
use crate::store::{FIRST_KEY, KeyRow, KeyedHash, Purpose};

/// Ids are no longer; what has a longer one before it was not sealed here.
const LONGEST_ID: usize = 32;

pub struct Ring {
    pub purpose: Purpose,
    /// Differs between rings that have not the same keys.
    pub generation: [u8; 32],
    /// Never empty.
    keys: Vec<Key>,
}

struct Key {
    id: String,
    value: SecretKey,
    /// From when on it makes; `None`: it is only accepted.
    makes_from: Option<UnixMillis>,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Ring({} {:?})", self.purpose.as_str(), self.ids())
    }
}

/// The ring of a purpose from what the database and the file have.
pub(super) fn build(purpose: Purpose, rows: &[KeyRow], file: Option<&ReadFile>) -> Result<Ring, KeysError> {
    let in_file = file.and_then(|file| file.of(purpose));
    let mut keys = Vec::new();
    for row in rows.iter().filter(|row| row.purpose == purpose) {
        if let Some(value) = row.value.clone() {
            let makes_from = in_file.is_none().then_some(row.active_from);
            keys.push(Key { id: row.id.clone(), value, makes_from });
        }
    }
    for (id, value) in in_file.iter().flat_map(|file| &file.keys) {
        let makes = in_file.is_some_and(|file| file.active == *id);
        let makes_from = makes.then_some(UnixMillis(i64::MIN));
        keys.push(Key { id: id.clone(), value: value.clone(), makes_from });
    }
    if keys.is_empty() {
        return Err(KeysError::None(purpose.as_str()));
    }
    // With the values: the file may give an id another key. They are hashed, as generations may be shown.
    let mut digest = Sha256::new();
    for key in &keys {
        digest.update([u8::try_from(key.id.len()).unwrap_or(u8::MAX)]);
        digest.update(key.id.as_bytes());
        digest.update(key.value.expose());
        digest.update(key.makes_from.map_or(i64::MAX, |from| from.0).to_be_bytes());
    }
    let generation: [u8; 32] = digest.finalize().into();
    Ok(Ring { purpose, generation, keys })
}

impl Ring {
    /// With one key, the first.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn of(purpose: Purpose, key: [u8; 32]) -> Self {
        let key =
            Key { id: FIRST_KEY.to_owned(), value: SecretKey::from(key), makes_from: Some(UnixMillis(0)) };
        Self { purpose, generation: *key.value.expose(), keys: vec![key] }
    }

    pub fn ids(&self) -> Vec<&str> {
        self.keys.iter().map(|key| key.id.as_str()).collect()
    }

    /// The id of the key that makes.
    pub fn active_id(&self, now: UnixMillis) -> &str {
        &self.active(now).id
    }

    /// The newest whose time has come. Where the clock is behind all of them, the one that comes first.
    fn active(&self, now: UnixMillis) -> &Key {
        let made_by = self.keys.iter().rev().find(|key| key.makes_from.is_some_and(|from| from <= now));
        let first =
            || self.keys.iter().filter(|key| key.makes_from.is_some()).min_by_key(|key| key.makes_from);
        made_by.or_else(first).unwrap_or(&self.keys[0])
    }

    /// The hash of a text by the key that makes.
    pub fn hash(&self, now: UnixMillis, text: &str) -> KeyedHash {
        hashed(self.active(now), text)
    }

    /// The hashes of a text by every key that is accepted, the one that makes first.
    pub fn hashes(&self, now: UnixMillis, text: &str) -> Vec<KeyedHash> {
        let active = self.active(now);
        let others = self.keys.iter().filter(|key| key.id != active.id);
        std::iter::once(active).chain(others).map(|key| hashed(key, text)).collect()
    }

    /// Seals with the key that makes, whose id stands before what is sealed. That of the first key does not, as
    /// it was so before keys had ids.
    pub fn seal(&self, now: UnixMillis, context: &str, content: &[u8]) -> Result<String, NotOurs> {
        let key = self.active(now);
        let sealed = Sealer::new(key.value.expose()).seal(context, content)?;
        Ok(if key.id == FIRST_KEY { sealed } else { format!("{}.{sealed}", key.id) })
    }

    /// Opens what was sealed with any key that is accepted. A key that is not known, and one that did not seal
    /// this, are the same.
    pub fn open(&self, context: &str, sealed: &str) -> Result<Vec<u8>, NotOurs> {
        let (id, sealed) = named(sealed);
        let key = self.keys.iter().find(|key| key.id == id).ok_or(NotOurs)?;
        Sealer::new(key.value.expose()).open(context, sealed)
    }

    /// Whether a sealed text names a key of this ring, or nothing that could be one.
    pub(super) fn knows(&self, sealed: &str) -> bool {
        let (id, _) = named(sealed);
        id.is_empty() || id.len() > LONGEST_ID || self.keys.iter().any(|key| key.id == id)
    }

    /// Whether this was sealed with another key than the one that makes.
    pub fn is_outdated(&self, now: UnixMillis, sealed: &str) -> bool {
        named(sealed).0 != self.active(now).id
    }
}

/// The id of the key that a text says it was sealed with. The first key's has one spelling, without its id.
fn named(sealed: &str) -> (&str, &str) {
    match sealed.split_once('.') {
        Some((FIRST_KEY, _)) => ("", ""),
        Some((id, rest)) => (id, rest),
        None => (FIRST_KEY, sealed),
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn hashed(key: &Key, text: &str) -> KeyedHash {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.value.expose()).expect("a key of 32 bytes");
    mac.update(text.as_bytes());
    KeyedHash { key: key.id.clone(), hash: mac.finalize().into_bytes().into() }
}
