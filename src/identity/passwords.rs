//! User names and passwords of Tracegate's own, for clients of MLflow's basic-auth; off unless asked for.
//!
//! A password costs tens of milliseconds and 32 MiB to verify, by design. So it is verified once and then remembered
//! under a keyed hash for a few minutes; few are verified at once, in threads of their own; and wrong guesses wait.
//! What is remembered counts only while the store still has the hash that it was verified against.

mod hash;
mod throttle;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use super::credential::Credential;
use super::error::IdentityError;
use super::short_cache::ShortCache;
use super::tokens::deactivated;
use crate::access::{Caller, Principal, Proof, Scheme};
use crate::clock::{Clock, UnixMillis};
use crate::store::{PasswordRecord, Store};

/// How long a verified password need not be verified again (milliseconds).
const VERIFIED_FOR: i64 = 300_000;
/// Verified passwords held at most.
const MOST_VERIFIED: u64 = 20_000;
/// Passwords hashed at once: more would take the processor from calls that need none.
const AT_ONCE: usize = 2;
/// Calls that wait for their turn; more are told to come again.
const WAITING: usize = 32;
/// Characters of a new password, as MLflow has it, and bytes at most.
const SHORTEST: usize = 12;
const LONGEST: usize = 1024;
const WRONG: &str = "the user name or the password is wrong";

pub(super) struct Passwords {
    store: Store,
    clock: Arc<dyn Clock>,
    key: [u8; 32],
    records: ShortCache<Principal, Option<Arc<PasswordRecord>>>,
    verified: moka::sync::Cache<[u8; 32], Verified>,
    throttle: throttle::Throttle,
    turns: Arc<Semaphore>,
    queued: AtomicUsize,
    /// What the password of somebody without one is held against: the same work.
    nobody: Arc<str>,
}

#[derive(Clone)]
struct Verified {
    /// Of the stored hash that it was verified against.
    against: [u8; 32],
    since: UnixMillis,
}

impl Passwords {
    pub async fn new(store: Store, clock: Arc<dyn Clock>, cache_seconds: u64) -> Result<Self, IdentityError> {
        let random: [u8; 32] = rand::random();
        let nobody = blocking(move || hash::new(&hex(&random))).await?.ok_or_else(unusable)?;
        Ok(Self {
            key: store.secret("password-cache").await?,
            records: ShortCache::new(cache_seconds, clock.clone()),
            verified: moka::sync::Cache::new(MOST_VERIFIED),
            throttle: throttle::Throttle::new(),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            queued: AtomicUsize::new(0),
            nobody: nobody.into(),
            store,
            clock,
        })
    }

    /// `None`: not a user name with a password.
    pub async fn authenticate(
        &self,
        credential: &Credential,
        address: Option<&str>,
    ) -> Result<Option<Caller>, IdentityError> {
        let Some(name) = credential.username.as_deref() else { return Ok(None) };
        let record = self.check(name, &credential.secret, address).await?;
        let principal = Principal::user(name).map_err(|_| IdentityError::refused(WRONG))?;
        if !record.active {
            return Err(deactivated(&principal));
        }
        let credential = format!("set {}", record.changed_at.0);
        Ok(Some(Caller::new(principal, Vec::new(), Proof { scheme: Scheme::Password, credential })))
    }

    /// What the store says of whom this password is right for, active or not.
    pub async fn check(
        &self,
        name: &str,
        password: &str,
        address: Option<&str>,
    ) -> Result<Arc<PasswordRecord>, IdentityError> {
        // A name that nobody can have is asked for nowhere and costs as much.
        let principal = Principal::user(name).ok();
        let record = match &principal {
            Some(principal) => self.record(principal).await?,
            None => None,
        };
        let stored = record.as_ref().and_then(|record| record.hash.clone());
        let digest = self.digest(name, password)?;
        let now = self.clock.now();
        if let (Some(record), Some(stored)) = (&record, &stored)
            && self.is_verified(&digest, stored, now)
        {
            return Ok(record.clone());
        }
        let guess = self.throttle.guess(name, address, now).map_err(|retry_after_ms| {
            IdentityError::Slowed { reason: "too many wrong passwords came; wait a little", retry_after_ms }
        })?;
        let verified = self.verify(stored.as_deref().unwrap_or(&self.nobody).to_owned(), password).await;
        let hash = match verified {
            Ok(hash) => hash,
            Err(busy) => {
                guess.give_back();
                return Err(busy);
            }
        };
        // Whoever has no password has no right one, whatever was sent.
        let (Some(hash), Some(record), Some(stored), Some(principal)) = (hash, record, stored, principal)
        else {
            return Err(IdentityError::refused(WRONG));
        };
        self.throttle.was_right(guess);
        self.verified
            .insert(digest, Verified { against: Sha256::digest(stored.as_bytes()).into(), since: now });
        if hash.is_outdated() {
            self.renew(principal, stored, password.to_owned());
        }
        Ok(record)
    }

    /// The stored form of a new password.
    pub async fn hashed(&self, password: &str) -> Result<String, IdentityError> {
        check_new(password)?;
        let password = password.to_owned();
        self.in_turn(move || hash::new(&password)).await?.ok_or_else(unusable)
    }

    pub fn forget(&self) {
        self.records.forget();
    }

    fn is_verified(&self, digest: &[u8; 32], stored: &str, now: UnixMillis) -> bool {
        let Some(verified) = self.verified.get(digest) else { return false };
        let age = now.0.saturating_sub(verified.since.0);
        let against: [u8; 32] = Sha256::digest(stored.as_bytes()).into();
        (0..VERIFIED_FOR).contains(&age) && bool::from(against.ct_eq(&verified.against))
    }

    async fn record(&self, principal: &Principal) -> Result<Option<Arc<PasswordRecord>>, IdentityError> {
        if let Some(record) = self.records.get(principal) {
            return Ok(record);
        }
        let asked = self.records.asking();
        let record = self.store.password(principal).await?.map(Arc::new);
        self.records.put(principal.clone(), record.clone(), asked);
        Ok(record)
    }

    /// The hash, if the password is right.
    async fn verify(&self, stored: String, password: &str) -> Result<Option<hash::Hash>, IdentityError> {
        let password = password.to_owned();
        self.in_turn(move || hash::Hash::parse(&stored).filter(|hash| hash.verify(&password))).await
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, IdentityError> {
        let _place = Place::take(&self.queued)?;
        let turn = self.turns.clone().acquire_owned().await;
        let turn = turn.map_err(|_| IdentityError::unavailable("passwords cannot be verified"))?;
        // The turn ends with the work, also when the caller has gone.
        blocking(move || {
            let done = work();
            drop(turn);
            done
        })
        .await
    }

    /// Puts the password under a hash of today's cost; that may fail without harm.
    fn renew(&self, principal: Principal, stored: String, password: String) {
        let store = self.store.clone();
        tokio::spawn(async move {
            let Ok(Some(fresh)) = blocking(move || hash::new(&password)).await else { return };
            if let Err(error) = store.rehash_password(&principal, &stored, &fresh).await {
                tracing::warn!(%principal, %error, "a password could not be put under a new hash");
            }
        });
    }

    /// The lengths keep a name and a password from being shifted into each other.
    fn digest(&self, name: &str, password: &str) -> Result<[u8; 32], IdentityError> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).map_err(|_| unusable())?;
        mac.update(&(name.len() as u64).to_be_bytes());
        mac.update(name.as_bytes());
        mac.update(password.as_bytes());
        Ok(mac.finalize().into_bytes().into())
    }
}

/// What may not be a new password, and why.
fn check_new(password: &str) -> Result<(), IdentityError> {
    if password.chars().count() < SHORTEST {
        return Err(IdentityError::refused(format!("a password has at least {SHORTEST} characters")));
    }
    if password.len() > LONGEST || password.chars().any(char::is_control) {
        return Err(IdentityError::refused(format!(
            "a password has at most {LONGEST} bytes and no control characters"
        )));
    }
    if Credential::is_token(password) {
        return Err(IdentityError::refused("this would be taken for a token; choose another password"));
    }
    Ok(())
}

/// Whether a password can be verified against this hash.
pub fn is_hash(text: &str) -> bool {
    hash::Hash::parse(text).is_some()
}

/// A place in the queue, given back when dropped.
struct Place<'p>(&'p AtomicUsize);

impl<'p> Place<'p> {
    fn take(queued: &'p AtomicUsize) -> Result<Self, IdentityError> {
        if queued.fetch_add(1, Ordering::AcqRel) >= AT_ONCE + WAITING {
            queued.fetch_sub(1, Ordering::AcqRel);
            return Err(IdentityError::Slowed {
                reason: "too many passwords are being verified; come again",
                retry_after_ms: 1000,
            });
        }
        Ok(Self(queued))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, IdentityError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| unusable())
}

fn unusable() -> IdentityError {
    IdentityError::unavailable("passwords cannot be hashed")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_can_wait_are_told_to_come_again_and_places_are_given_back() {
        let queued = AtomicUsize::new(0);
        let mut places: Vec<Place<'_>> =
            (0..AT_ONCE + WAITING).map(|_| Place::take(&queued).ok().unwrap()).collect();
        for _ in 0..3 {
            assert!(matches!(Place::take(&queued), Err(IdentityError::Slowed { .. })));
        }
        places.pop();
        assert!(Place::take(&queued).is_ok());
        places.clear();
        assert_eq!(queued.load(Ordering::Acquire), 0);
    }
}
