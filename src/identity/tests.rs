//! Identification as callers meet it: over a real store, with an issuer that answers real HTTP.

mod attacks;
mod browsers;
mod exchange;
mod issuer_server;
mod jwts;
mod keys;
mod opaque;
mod passwords;
mod rotation;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::config::database::DatabaseConfig;
use crate::config::identity::IssuerConfig;

const NOW: i64 = 1_700_000_000_000;
const SECRET: &str = "a secret of at least thirty-two bytes";
const SECRET_ISSUER: &str = "https://secret.example";

/// A store, a clock and an `Identity` over them.
struct World {
    identity: Identity,
    store: Store,
    clock: ManualClock,
    _directory: tempfile::TempDir,
}

impl World {
    async fn new(config: IdentityConfig) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&DatabaseConfig::default(), directory.path()).await.unwrap();
        let clock = ManualClock::at(NOW);
        let identity = Identity::new(&config, store.clone(), Arc::new(clock.clone())).await.unwrap();
        Self { identity, store, clock, _directory: directory }
    }

    /// With one issuer that shares a secret.
    async fn with_secret() -> Self {
        Self::new(IdentityConfig { issuers: vec![secret_issuer()], ..Default::default() }).await
    }

    async fn bearer(&self, token: &str) -> Result<Caller, IdentityError> {
        Ok(self.identity.identify(&authorization(&[&format!("Bearer {token}")])).await?.unwrap())
    }

    async fn basic(&self, username: &str, token: &str) -> Result<Caller, IdentityError> {
        let value = format!("Basic {}", STANDARD.encode(format!("{username}:{token}")));
        Ok(self.identity.identify(&authorization(&[&value])).await?.unwrap())
    }

    async fn refusal(&self, token: &str) -> String {
        match self.bearer(token).await {
            Err(IdentityError::Refused { reason }) => reason,
            other => panic!("not refused: {other:?}"),
        }
    }

    async fn unavailable(&self, token: &str) -> bool {
        matches!(self.bearer(token).await, Err(IdentityError::Unavailable { .. }))
    }
}

fn secret_issuer() -> IssuerConfig {
    IssuerConfig {
        issuer: SECRET_ISSUER.into(),
        audience: vec!["tracegate".into()],
        hs256_secret: Some(SECRET.into()),
        ..Default::default()
    }
}

fn authorization(values: &[&str]) -> Headers {
    let mut headers = Headers::new();
    for value in values {
        headers.push("Authorization", value);
    }
    headers
}

fn ann() -> Principal {
    Principal::user("ann").unwrap()
}

/// Good claims of an issuer, with some replaced; `null` leaves one out.
fn claims(issuer: &str, replaced: Value) -> Value {
    let mut claims = json!({
        "iss": issuer, "aud": "tracegate", "sub": "ann", "exp": NOW / 1000 + 3600, "jti": "j1",
    });
    for (name, value) in replaced.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

fn signed_with_secret(claims: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
}

/// A token put together by hand, as an attacker would.
fn forged(header: &Value, claims: &Value, signature: &[u8]) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{}", part(header), part(claims), URL_SAFE_NO_PAD.encode(signature))
}
