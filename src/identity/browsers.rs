//! People with a browser: one more scheme, by a cookie that stands for a session in the store.
//!
//! The cookie is 32 random bytes, of which only a keyed hash is kept. A session ends by its own time, by
//! disuse, by signing out, by whoever may end it, with its principal, and when the issuer no longer renews
//! it. What is known of one is asked of the store again after a second, so that each end reaches every
//! replica by then.

mod person;
mod renewal;
mod sign_in;
mod sign_out;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

pub use sign_in::{Answered, Begun, Choice, Session, SignedIn};

use super::cookies;
use super::error::IdentityError;
use super::hashed;
use super::issuer::Issuer;
use super::short_cache::ShortCache;
use super::tokens::deactivated;
use crate::access::{Caller, Principal, Proof, Scheme};
use crate::clock::{Clock, UnixMillis};
use crate::config::identity::IdentityConfig;
use crate::keys::{Keys, Ring};
use crate::store::{Purpose, SessionRecord, Sessions, Store};
use crate::wire::Headers;

/// What is known of a session is believed for so long (seconds).
const BELIEVED_FOR: u64 = 1;
/// How often the time of a session's last use is written at most (milliseconds).
const TOUCH_INTERVAL: i64 = 15_000;
/// Rows of sessions that are over are kept for so long (milliseconds).
const KEPT_FOR: i64 = 7 * 86_400_000;

pub struct Browsers {
    issuers: Arc<[Issuer]>,
    store: Store,
    clock: Arc<dyn Clock>,
    keys: Arc<Keys>,
    secure: bool,
    trust_admin_group: bool,
    longest_ms: i64,
    idle_ms: i64,
    skew_ms: i64,
    known: ShortCache<hashed::Known, Arc<SessionRecord>>,
    touched: moka::sync::Cache<String, UnixMillis>,
}

/// What an issuer gave with a session, sealed in the store.
#[derive(Default, Serialize, Deserialize)]
struct Kept {
    id_token: Option<String>,
    refresh_token: Option<String>,
}

impl Browsers {
    pub(super) fn new(
        config: &IdentityConfig,
        issuers: Arc<[Issuer]>,
        keys: Arc<Keys>,
        store: Store,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let minutes = |minutes: u64| i64::try_from(minutes).unwrap_or(i64::MAX / 60_000) * 60_000;
        Self {
            issuers,
            keys,
            secure: true,
            trust_admin_group: config.trust_admin_group,
            longest_ms: minutes(config.session_minutes),
            idle_ms: minutes(config.session_idle_minutes),
            skew_ms: config.clock_skew_ms(),
            known: ShortCache::new(BELIEVED_FOR, clock.clone()),
            touched: moka::sync::Cache::new(50_000),
            store,
            clock,
        }
    }

    /// Without `https` a browser keeps no `Secure` cookie. Each kind has a name of its own: a cookie that
    /// was set over plain HTTP is never taken where `https` is spoken.
    pub(super) fn set_secure(&mut self, secure: bool) {
        self.secure = secure;
    }

    pub fn cookie_name(&self) -> &'static str {
        if self.secure { "__Host-tracegate" } else { "tracegate_session" }
    }

    /// The cookie that binds a sign-in to the browser that began it.
    pub fn sign_in_cookie_name(&self) -> &'static str {
        if self.secure { "__Host-tracegate-sign-in" } else { "tracegate_sign_in" }
    }

    /// What `Set-Cookie` says; without a value the browser drops the cookie.
    pub fn set_cookie(&self, name: &str, value: Option<&str>) -> String {
        let secure = if self.secure { "; Secure" } else { "" };
        let end = if value.is_some() { "" } else { "; Max-Age=0" };
        format!("{name}={}; Path=/; HttpOnly; SameSite=Lax{secure}{end}", value.unwrap_or_default())
    }

    /// The sealed sign-in that this browser began.
    pub fn sign_in_cookie<'h>(&self, headers: &'h Headers) -> Result<Option<&'h str>, IdentityError> {
        cookies::read(headers, self.sign_in_cookie_name())
    }

    /// Whether a session's cookie came along, good or bad.
    pub fn has_cookie(&self, headers: &Headers) -> bool {
        !matches!(cookies::read(headers, self.cookie_name()), Ok(None))
    }

    /// The caller of a session; `None` when no cookie of ours was sent.
    pub(super) async fn authenticate(&self, headers: &Headers) -> Result<Option<Caller>, IdentityError> {
        let Some(cookie) = cookies::read(headers, self.cookie_name())? else { return Ok(None) };
        let mut record = self.find(cookie).await?;
        self.check(&record)?;
        if record.refresh_at.is_some_and(|due| due <= self.clock.now()) {
            record = self.renew(record).await?;
        }
        self.touch(&record.id);
        let proof = Proof { scheme: Scheme::Session, credential: record.id.clone() };
        // What was trusted when the session began may be so no more.
        let trusted = |group: &&Principal| self.trust_admin_group || group.name != Principal::ADMINS;
        let groups = record.groups.iter().filter(trusted).cloned().collect();
        Ok(Some(Caller::new(record.principal.clone(), groups, proof)))
    }

    /// The session of a cookie, even if it has ended.
    pub async fn session(&self, headers: &Headers) -> Option<Arc<SessionRecord>> {
        let cookie = cookies::read(headers, self.cookie_name()).ok()??;
        self.find(cookie).await.ok()
    }

    /// Whose session a cookie was.
    pub(super) async fn claimed(&self, headers: &Headers) -> Option<Principal> {
        Some(self.session(headers).await?.principal.clone())
    }

    /// What a page of ours sends back to show that it is ours.
    pub fn csrf_token(&self, session: &str) -> String {
        let ring = self.keys.ring(Purpose::Session);
        hex::encode(ring.hash(self.clock.now(), &keyed_for("csrf", session)).hash)
    }

    pub async fn is_csrf_token(&self, session: &str, token: &str) -> bool {
        let is_one = |ring: &Ring| {
            let hashes = ring.hashes(self.clock.now(), &keyed_for("csrf", session));
            let equal = |hash: &[u8]| hex::encode(hash).as_bytes().ct_eq(token.as_bytes());
            hashes.iter().fold(subtle::Choice::from(0), |any, one| any | equal(&one.hash)).into()
        };
        let ring = self.keys.ring(Purpose::Session);
        is_one(&ring) || self.keys.newer_than(&ring).await.is_some_and(|newer| is_one(&newer))
    }

    /// Ends sessions, on this replica at once.
    pub async fn end(
        &self,
        which: Sessions<'_>,
        why: &str,
    ) -> Result<Vec<(String, Principal)>, IdentityError> {
        let ended = self.store.end_sessions(which, self.clock.now(), why).await;
        self.known.forget();
        Ok(ended?)
    }

    pub(super) fn forget(&self) {
        self.known.forget();
    }

    async fn find(&self, cookie: &str) -> Result<Arc<SessionRecord>, IdentityError> {
        let unknown = || IdentityError::refused("the session is not known; sign in again");
        let bytes = URL_SAFE_NO_PAD.decode(cookie).map_err(|_| unknown())?;
        if bytes.len() != 32 {
            return Err(unknown());
        }
        let (text, now) = (keyed_for("cookie", cookie), self.clock.now());
        let known = hashed::known(&self.keys.ring(Purpose::Session), now, &text);
        if let Some(record) = self.known.get(&known) {
            return Ok(record);
        }
        let asked = self.known.asking();
        let store = &self.store;
        let found = hashed::find(&self.keys, Purpose::Session, now, &text, async |hashes| {
            store.session_by_hash(&hashes).await
        })
        .await?
        .ok_or_else(unknown)?;
        found.rehash(&self.store, Purpose::Session, &found.record.id);
        let record = Arc::new(found.record);
        self.reseal(&record).await;
        self.known.put(found.known, record.clone(), asked);
        Ok(record)
    }

    fn check(&self, record: &SessionRecord) -> Result<(), IdentityError> {
        let now = self.clock.now();
        let ended = |why: &str| {
            Err(IdentityError::refused(format!("the session `{}` {why}; sign in again", record.id)))
        };
        if record.ended_at.is_some() {
            return ended("was ended");
        }
        // A shorter configuration ends older sessions too.
        let latest = record.created_at.0.saturating_add(self.longest_ms);
        if record.expires_at <= now || latest <= now.0 {
            return ended("is over");
        }
        let used = self.touched.get(&record.id).unwrap_or(record.last_used_at).max(record.last_used_at);
        if now.0.saturating_sub(used.0) >= self.idle_ms {
            return ended("was not used for too long");
        }
        if !record.principal_active {
            return Err(deactivated(&record.principal));
        }
        if self.provider(&record.issuer).is_none() {
            return ended("is of an issuer that is no longer trusted");
        }
        Ok(())
    }

    fn provider(&self, issuer: &str) -> Option<(&Issuer, &super::provider::Provider)> {
        let issuer = self.issuers.iter().find(|known| known.name == issuer)?;
        Some((issuer, issuer.provider.as_ref()?))
    }

    /// Notes the use beside the request, which does not wait.
    fn touch(&self, id: &str) {
        let now = self.clock.now();
        let interval = TOUCH_INTERVAL.min(self.idle_ms / 4);
        let last = self.touched.get(id);
        if last.is_some_and(|last| (0..interval).contains(&(now.0.saturating_sub(last.0)))) {
            return;
        }
        self.touched.insert(id.to_owned(), now);
        let (store, id) = (self.store.clone(), id.to_owned());
        tokio::spawn(async move {
            if let Err(error) = store.touch_session(&id, now).await {
                tracing::warn!(session = %id, %error, "the last use of a session could not be noted");
            }
        });
    }

    async fn kept(&self, record: &SessionRecord) -> Kept {
        let ring = self.keys.ring_for(Purpose::SessionTokens, &record.sealed_tokens).await;
        let opened = ring.open(&sealed_for(&record.id), &record.sealed_tokens).ok();
        opened.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// Seals what the issuer gave with the key that makes, where another sealed it: beside the request.
    async fn reseal(&self, record: &SessionRecord) {
        let (now, old) = (self.clock.now(), &record.sealed_tokens);
        if old.is_empty() || !self.keys.ring(Purpose::SessionTokens).is_outdated(now, old) {
            return;
        }
        let (ring, context) = (self.keys.ring_for(Purpose::SessionTokens, old).await, sealed_for(&record.id));
        let Ok(content) = ring.open(&context, old) else { return };
        let Some(new) = ring.seal(now, &context, &content).ok().filter(|_| ring.is_outdated(now, old)) else {
            return;
        };
        let (store, id, old) = (self.store.clone(), record.id.clone(), old.clone());
        tokio::spawn(async move {
            if let Err(error) = store.reseal_session(&id, &old, &new).await {
                tracing::warn!(session = %id, %error, "a session's tokens could not be sealed with the new key");
            }
        });
    }

    fn sealed(&self, id: &str, kept: &Kept) -> Result<String, IdentityError> {
        let bytes = serde_json::to_vec(kept).unwrap_or_default();
        let ring = self.keys.ring(Purpose::SessionTokens);
        ring.seal(self.clock.now(), &sealed_for(id), &bytes)
            .map_err(|_| IdentityError::unavailable("the issuer's tokens cannot be sealed"))
    }
}

/// What is hashed for one purpose, so that one kind can never be taken for the other.
fn keyed_for(purpose: &str, text: &str) -> String {
    format!("{purpose}:{text}")
}

fn sealed_for(session: &str) -> String {
    format!("session {session}")
}

/// 32 random bytes as text.
fn random_text() -> String {
    let bytes: [u8; 32] = rand::random();
    URL_SAFE_NO_PAD.encode(bytes)
}
