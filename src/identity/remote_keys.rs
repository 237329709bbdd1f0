//! An issuer's published keys: fetched when first needed, kept while the issuer is down, and fetched once
//! more when a token names a key that is not among them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;
use tokio::sync::Mutex;

use super::error::IdentityError;
use super::fetch;
use super::public_key::PublicKey;
use crate::clock::{Clock, UnixMillis};
use crate::config::identity::IssuerConfig;

/// After this, keys are fetched again; until that works, the old ones serve (milliseconds).
const MAX_AGE: i64 = 10 * 60_000;
/// Between two fetches (milliseconds): tokens with invented key ids must not become requests to the issuer.
const COOL_DOWN: i64 = 30_000;
/// The same while there are no keys at all, when nobody of this issuer can call.
const COOL_DOWN_WITHOUT_KEYS: i64 = 3_000;

pub(super) struct RemoteKeys {
    config: IssuerConfig,
    client: reqwest::Client,
    clock: Arc<dyn Clock>,
    held: ArcSwapOption<Held>,
    attempts: Mutex<Attempts>,
    failures: AtomicU64,
}

struct Held {
    keys: Vec<PublicKey>,
    fetched_at: UnixMillis,
}

#[derive(Default)]
struct Attempts {
    last: Option<UnixMillis>,
    last_for_unknown_key: Option<UnixMillis>,
    last_failed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Age,
    UnknownKey,
}

impl RemoteKeys {
    pub fn new(config: &IssuerConfig, clock: Arc<dyn Clock>) -> Result<Arc<Self>, IdentityError> {
        let client = fetch::client()?;
        let (held, attempts) = (ArcSwapOption::empty(), Mutex::default());
        let failures = AtomicU64::new(0);
        Ok(Arc::new(Self { config: config.clone(), client, clock, held, attempts, failures }))
    }

    /// How often fetching failed since the start.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// The key that a token's header names; without a key id, the only one that fits.
    pub async fn find(
        self: &Arc<Self>,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<DecodingKey, IdentityError> {
        let before = self.held.load_full();
        if before.as_ref().is_none_or(|held| self.since(held.fetched_at) >= MAX_AGE) {
            self.refresh(before.clone(), Cause::Age).await;
        }
        let held = self.held.load_full();
        if let Some(held) = &held
            && let Some(key) = select(&held.keys, id, algorithm)?
        {
            return Ok(key);
        }
        let is_new = match (&before, &held) {
            (Some(before), Some(held)) => !Arc::ptr_eq(before, held),
            (None, held) => held.is_some(),
            (Some(_), None) => false,
        };
        if held.is_some() && !is_new {
            self.refresh(held, Cause::UnknownKey).await;
            if let Some(held) = self.held.load_full()
                && let Some(key) = select(&held.keys, id, algorithm)?
            {
                return Ok(key);
            }
        }
        if self.held.load().is_none() || self.attempts.lock().await.last_failed {
            let issuer = &self.config.issuer;
            return Err(IdentityError::unavailable(format!("the keys of `{issuer}` cannot be fetched")));
        }
        Err(IdentityError::refused("the token is signed with a key that its issuer does not publish"))
    }

    /// Fetches in a task of its own: a caller that hangs up must not leave the issuer unasked and the
    /// cool-down running.
    async fn refresh(self: &Arc<Self>, seen: Option<Arc<Held>>, cause: Cause) {
        let keys = Arc::clone(self);
        let fetching = tokio::spawn(async move { keys.refresh_once(seen, cause).await });
        if let Err(error) = fetching.await {
            tracing::error!(issuer = %self.config.issuer, %error, "fetching keys was interrupted");
        }
    }

    async fn refresh_once(&self, seen: Option<Arc<Held>>, cause: Cause) {
        // Keys that are merely old serve on while another call fetches new ones.
        let mut attempts = match (cause, &seen) {
            (Cause::Age, Some(_)) => match self.attempts.try_lock() {
                Ok(attempts) => attempts,
                Err(_) => return,
            },
            _ => self.attempts.lock().await,
        };
        let current = self.held.load_full();
        if current.as_ref().map(Arc::as_ptr) != seen.as_ref().map(Arc::as_ptr) {
            return;
        }
        let last = match cause {
            Cause::Age => attempts.last,
            Cause::UnknownKey => attempts.last_for_unknown_key,
        };
        let pause = if current.is_some() { COOL_DOWN } else { COOL_DOWN_WITHOUT_KEYS };
        if last.is_some_and(|last| self.since(last) < pause) {
            return;
        }
        attempts.last = Some(self.clock.now());
        if cause == Cause::UnknownKey {
            attempts.last_for_unknown_key = attempts.last;
        }
        match self.fetch().await {
            Ok(keys) => {
                attempts.last_failed = false;
                self.held.store(Some(Arc::new(Held { keys, fetched_at: self.clock.now() })));
            }
            Err(reason) => {
                attempts.last_failed = true;
                self.failures.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(issuer = %self.config.issuer, %reason, "an issuer's keys cannot be fetched");
            }
        }
    }

    async fn fetch(&self) -> Result<Vec<PublicKey>, String> {
        let url = match &self.config.jwks_url {
            Some(url) => url.clone(),
            None => self.discover().await?,
        };
        let document = fetch::get(&self.client, &url).await?;
        let entries = document.get("keys").and_then(Value::as_array).ok_or("the document has no `keys`")?;
        let keys: Vec<PublicKey> = entries.iter().filter_map(PublicKey::from_jwk).collect();
        if keys.is_empty() {
            return Err("the document has no key for signatures".to_owned());
        }
        Ok(keys)
    }

    async fn discover(&self) -> Result<String, String> {
        let issuer = &self.config.issuer;
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let document = fetch::get(&self.client, &url).await?;
        if document.get("issuer").and_then(Value::as_str) != Some(issuer) {
            return Err("the discovery document is of another issuer".to_owned());
        }
        let url = document.get("jwks_uri").and_then(Value::as_str).ok_or("discovery names no `jwks_uri`")?;
        if !self.config.allows(url) {
            return Err("discovery names a `jwks_uri` that is not `https://`".to_owned());
        }
        Ok(url.to_owned())
    }

    /// A clock that was set back counts as much time gone by.
    fn since(&self, then: UnixMillis) -> i64 {
        let elapsed = self.clock.now().0.saturating_sub(then.0);
        if elapsed < 0 { i64::MAX } else { elapsed }
    }
}

/// `None`: no key of this id. Several that fit are refused, since trying them all would let a token be
/// verified by a key that it does not name.
fn select(
    keys: &[PublicKey],
    id: Option<&str>,
    algorithm: Algorithm,
) -> Result<Option<DecodingKey>, IdentityError> {
    let mut fitting =
        keys.iter().filter(|key| key.verifies(algorithm) && (id.is_none() || key.id.as_deref() == id));
    match (fitting.next(), fitting.next()) {
        (first, None) => Ok(first.map(|key| key.key.clone())),
        (_, Some(_)) => {
            Err(IdentityError::refused("the token does not say which of the issuer's keys signed it"))
        }
    }
}
