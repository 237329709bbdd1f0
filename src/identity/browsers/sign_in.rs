//! Signing in: the code flow with PKCE, bound to the browser that began it.
//!
//! What must be known again when the browser comes back travels in a cookie of its own, sealed: whoever
//! has no such cookie began nothing, so that nobody can be signed in by a link that another person made.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::super::error::IdentityError;
use super::super::issuer::Issuer;
use super::super::jwt;
use super::super::provider::{TokenError, Tokens};
use super::super::tokens::deactivated;
use super::{Browsers, KEPT_FOR, Kept, keyed_for, random_text};
use crate::access::Principal;
use crate::clock::UnixMillis;
use crate::store::{NewSession, Purpose};

/// How long a person may take at the issuer (milliseconds).
const TIME_TO_SIGN_IN: i64 = 10 * 60_000;
const SEALED_FOR: &str = "sign-in";

/// An issuer where people can sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub issuer: String,
    pub name: String,
    pub enrolls: bool,
}

/// Where to send the browser, and what it is to bring back in its cookie.
#[derive(Debug)]
pub struct Begun {
    pub location: String,
    pub cookie: String,
}

/// What came back with the browser.
#[derive(Debug, Default)]
pub struct Answered<'a> {
    pub state: Option<&'a str>,
    pub code: Option<&'a str>,
    pub issuer: Option<&'a str>,
    pub error: Option<&'a str>,
}

#[derive(Serialize, Deserialize)]
struct Pending {
    issuer: String,
    state: String,
    nonce: String,
    verifier: String,
    redirect_uri: String,
    next: String,
    expires_at: UnixMillis,
}

/// A person whom an issuer vouches for; no session yet.
pub struct SignedIn {
    pub principal: Principal,
    pub groups: Vec<Principal>,
    pub issuer: String,
    pub subject: String,
    /// The local path to go to.
    pub next: String,
    /// Whether a stranger is to be entered as a principal.
    pub enrolls: bool,
    issuer_session: Option<String>,
    id_token: String,
    refresh_token: Option<String>,
    good_for_ms: i64,
}

/// A session that began; the cookie is here and nowhere else.
pub struct Session {
    pub cookie: String,
    pub id: String,
    pub expires_at: UnixMillis,
}

impl Browsers {
    /// The issuers where people can sign in, as configured.
    pub fn choices(&self) -> Vec<Choice> {
        let choice = |issuer: &Issuer| {
            let provider = issuer.provider.as_ref()?;
            Some(Choice {
                issuer: issuer.name.clone(),
                name: provider.display_name().to_owned(),
                enrolls: issuer.enroll,
            })
        };
        self.issuers.iter().filter_map(choice).collect()
    }

    pub fn offers_sign_in(&self) -> bool {
        self.issuers.iter().any(|issuer| issuer.provider.is_some())
    }

    /// Begins a sign-in at an issuer, after which the browser goes to `next`.
    pub async fn begin(&self, issuer: &str, redirect_uri: &str, next: &str) -> Result<Begun, IdentityError> {
        let (issuer, provider) = self
            .provider(issuer)
            .ok_or_else(|| IdentityError::refused("nobody can sign in at this issuer"))?;
        let endpoints = provider.endpoints().await?;
        let pending = Pending {
            issuer: issuer.name.clone(),
            state: random_text(),
            nonce: random_text(),
            verifier: random_text(),
            redirect_uri: redirect_uri.to_owned(),
            next: next.to_owned(),
            expires_at: UnixMillis(self.clock.now().0.saturating_add(TIME_TO_SIGN_IN)),
        };
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(pending.verifier.as_bytes()));
        let mut query = form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &provider.client_id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("scope", &provider.scopes())
            .append_pair("state", &pending.state)
            .append_pair("nonce", &pending.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        if provider.asks_for_offline_access() {
            // Without it issuers need not hand out what a session is renewed with (OpenID Connect, 11).
            query.append_pair("prompt", "consent");
        }
        let separator = if endpoints.authorization.contains('?') { '&' } else { '?' };
        let location = format!("{}{separator}{}", endpoints.authorization, query.finish());
        let content = serde_json::to_vec(&pending).unwrap_or_default();
        let ring = self.keys.ring(Purpose::SessionTokens);
        let cookie = ring
            .seal(self.clock.now(), SEALED_FOR, &content)
            .map_err(|_| IdentityError::unavailable("a sign-in cannot be sealed"))?;
        Ok(Begun { location, cookie })
    }

    /// Ends a sign-in: whom the issuer vouches for. Nothing is changed yet.
    pub async fn finish(
        &self,
        cookie: Option<&str>,
        answered: &Answered<'_>,
    ) -> Result<SignedIn, IdentityError> {
        let refused = |reason: &str| IdentityError::refused(reason);
        let cookie = cookie.ok_or_else(|| refused("this browser did not begin the sign-in"))?;
        let ring = self.keys.ring_for(Purpose::SessionTokens, cookie).await;
        let opened = ring.open(SEALED_FOR, cookie).ok();
        let pending: Pending = opened
            .and_then(|content| serde_json::from_slice(&content).ok())
            .ok_or_else(|| refused("the sign-in was not begun here"))?;
        if pending.expires_at <= self.clock.now() {
            return Err(refused("the sign-in took too long"));
        }
        let state = answered.state.unwrap_or_default();
        if !bool::from(pending.state.as_bytes().ct_eq(state.as_bytes())) {
            return Err(refused("the answer is to another sign-in than this browser began"));
        }
        let (issuer, provider) = self
            .provider(&pending.issuer)
            .ok_or_else(|| refused("the issuer of this sign-in is no longer trusted"))?;
        let endpoints = provider.endpoints().await?;
        let named = answered.issuer.is_some_and(|named| named == issuer.name);
        if !named && (answered.issuer.is_some() || endpoints.names_itself) {
            return Err(refused("the answer is of another issuer than was asked"));
        }
        if let Some(error) = answered.error {
            let error: String = error.chars().filter(|c| c.is_ascii_graphic()).take(60).collect();
            return Err(IdentityError::refused(format!("the issuer refused: {error}")));
        }
        let code = answered.code.filter(|code| !code.is_empty());
        let code = code.ok_or_else(|| refused("the issuer sent no code"))?;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &pending.redirect_uri),
            ("code_verifier", &pending.verifier),
        ];
        let tokens = provider.ask(&form).await.map_err(|error| match error {
            TokenError::Refused(error) => {
                IdentityError::refused(format!("the issuer refused the code: {error}"))
            }
            TokenError::Unavailable(reason) => IdentityError::unavailable(reason),
        })?;
        let Tokens { id_token, refresh_token, expires_in_ms } = tokens;
        let id_token = id_token.ok_or_else(|| refused("the issuer gave no ID token"))?;
        let person = self.person(issuer, provider, &id_token).await?;
        let nonce = person.claims.get("nonce").and_then(Value::as_str).unwrap_or_default();
        if !bool::from(pending.nonce.as_bytes().ct_eq(nonce.as_bytes())) {
            return Err(refused("the ID token is of another sign-in"));
        }
        let good_for_ms = self.good_for(&person, expires_in_ms);
        Ok(SignedIn {
            principal: person.principal,
            groups: person.groups,
            issuer: issuer.name.clone(),
            subject: person.subject,
            next: pending.next,
            enrolls: issuer.enroll,
            issuer_session: person.issuer_session,
            id_token,
            refresh_token,
            good_for_ms,
        })
    }

    /// Whether the person may come in: true for a principal that is known, false for one to be entered.
    pub async fn admit(&self, signed_in: &SignedIn) -> Result<bool, IdentityError> {
        match self.store.is_active(&signed_in.principal).await? {
            Some(true) => Ok(true),
            Some(false) => Err(deactivated(&signed_in.principal)),
            None if signed_in.enrolls => Ok(false),
            None => Err(jwt::stranger(&signed_in.principal)),
        }
    }

    /// Begins the session of a person who signed in; the principal is known to the store by now.
    pub async fn start(
        &self,
        signed_in: SignedIn,
        source_address: Option<String>,
        user_agent: Option<String>,
    ) -> Result<Session, IdentityError> {
        let now = self.clock.now();
        let (cookie, id) = (random_text(), format!("ses_{}", uuid::Uuid::now_v7().simple()));
        let expires_at = UnixMillis(now.0.saturating_add(self.longest_ms));
        let renewed = signed_in.refresh_token.is_some();
        let kept = Kept { id_token: Some(signed_in.id_token), refresh_token: signed_in.refresh_token };
        let session = NewSession {
            hash: self.keys.ring(Purpose::Session).hash(now, &keyed_for("cookie", &cookie)),
            principal: signed_in.principal,
            issuer: signed_in.issuer,
            subject: signed_in.subject,
            issuer_session: signed_in.issuer_session,
            groups: signed_in.groups,
            sealed_tokens: self.sealed(&id, &kept)?,
            created_at: now,
            refresh_at: renewed.then(|| UnixMillis(now.0.saturating_add(signed_in.good_for_ms))),
            expires_at,
            source_address,
            user_agent,
            id: id.clone(),
        };
        self.store.add_session(&session).await?;
        // Sign-ins are rare enough to tidy up with, and without any nothing piles up.
        if let Err(error) = self.store.prune_sessions(UnixMillis(now.0.saturating_sub(KEPT_FOR))).await {
            tracing::warn!(%error, "old sessions could not be dropped");
        }
        Ok(Session { cookie, id, expires_at })
    }
}
