//! Credentials of any bytes: what is accepted is signed, and says what it was accepted for.

#![allow(clippy::unwrap_used, reason = "a failure is what is looked for")]

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;

use super::credential::{Credential, LIMIT, Secrets};
use super::*;
use crate::clock::ManualClock;
use crate::config::database::DatabaseConfig;
use crate::config::identity::IssuerConfig;

const NOW: i64 = 1_700_000_000_000;
/// Seeds are signed with it.
const SECRET: &str = "a secret of at least thirty-two bytes";
const ISSUER: &str = "https://secret.example";
const AUDIENCE: &str = "tracegate";

struct World {
    runtime: tokio::runtime::Runtime,
    identity: Identity,
    _directory: tempfile::TempDir,
}

impl World {
    fn open() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let issuer = IssuerConfig {
            issuer: ISSUER.into(),
            audience: vec![AUDIENCE.into()],
            hs256_secret: Some(SECRET.into()),
            enroll: true,
            ..Default::default()
        };
        let config = IdentityConfig { issuers: vec![issuer], ..Default::default() };
        let identity = runtime.block_on(async {
            let store = Store::open(&DatabaseConfig::default(), directory.path()).await.unwrap();
            Identity::new(&config, store, Arc::new(ManualClock::at(NOW))).await.unwrap()
        });
        Self { runtime, identity, _directory: directory }
    }
}

thread_local! {
    static WORLD: World = World::open();
}

fn bearer(token: &str) -> Result<Option<Caller>, IdentityError> {
    let mut headers = Headers::new();
    headers.push("authorization", &format!("Bearer {token}"));
    WORLD.with(|world| world.runtime.block_on(world.identity.identify(&headers)))
}

/// A value of the header a line.
pub(crate) fn authorization(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let values: Vec<&str> = text.split('\n').collect();
    let mut headers = Headers::new();
    for value in &values {
        headers.push("Authorization", value);
    }
    for secrets in [Secrets::Tokens, Secrets::Passwords] {
        // Whoever sent something is never nobody.
        let Some(read) = Credential::from_headers(&headers, secrets).transpose() else { panic!("{text:?}") };
        let Ok(read) = read else { continue };
        assert_eq!(values.len(), 1);
        assert!(!read.secret.is_empty() && read.secret.len() <= LIMIT);
        assert!(!read.secret.chars().any(char::is_control));
        assert!(secrets == Secrets::Passwords || !read.secret.contains([' ', ',', '"', ':']));
        let username = read.username.as_deref().unwrap_or_default();
        assert!(!username.contains(':'));
        let again = match &read.username {
            Some(_) => format!("Basic {}", STANDARD.encode(format!("{username}:{}", read.secret))),
            None => format!("Bearer {}", read.secret),
        };
        let mut headers = Headers::new();
        headers.push("authorization", &again);
        let again = Credential::from_headers(&headers, secrets).unwrap().unwrap();
        assert_eq!((again.secret, again.username), (read.secret, read.username));
    }
    // Nobody comes in: no token of ours is in the store, and what is signed is in another target.
    if values.iter().all(|value| !value.contains("eyJ") && !value.to_ascii_lowercase().starts_with("basic")) {
        let known = WORLD.with(|world| world.runtime.block_on(world.identity.identify(&headers)));
        assert!(known.is_err(), "{text:?}");
    }
}

#[cfg(test)]
pub(crate) fn is_accepted(token: &str) -> bool {
    matches!(bearer(token), Ok(Some(_)))
}

/// A token as it is sent.
pub(crate) fn jwt(data: &[u8]) {
    let Ok(token) = std::str::from_utf8(data) else { return };
    // `Unverified` is what the sign-out and exchange paths look at first.
    let _ = super::jwt::Unverified::read(token);
    if let Ok(Some(caller)) = bearer(token) {
        vouched_for(token.trim_matches(' '), &caller);
    }
}

/// Header, line feed, claims: signed as the issuer would.
pub(crate) fn jwt_signed(data: &[u8]) {
    let place = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (header, claims) = (&data[..place], data.get(place + 1..).unwrap_or_default());
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature(&message)));
    if let Ok(Some(caller)) = bearer(&token) {
        vouched_for(&token, &caller);
    }
    // With another key it is nothing, whatever its header says.
    for forged in ["", "x", &URL_SAFE_NO_PAD.encode([0; 32])] {
        assert!(bearer(&format!("{message}.{forged}")).is_err());
    }
}

fn signature(message: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// By another reading: signed by the secret, and for us, now, of whom it was taken for.
fn vouched_for(token: &str, caller: &Caller) {
    let (message, signed) = token.rsplit_once('.').unwrap();
    assert_eq!(signed, URL_SAFE_NO_PAD.encode(signature(message)), "{token}");
    let part =
        |text: &str| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap() };
    let (header, claims) = message.split_once('.').unwrap();
    let (header, claims) = (part(header), part(claims));
    assert_eq!(header["alg"], "HS256");
    assert!(header.get("crit").is_none_or(Value::is_null), "{header}");
    assert_eq!(claims["iss"], ISSUER);
    let for_us = |audience: &Value| audience == AUDIENCE;
    assert!(for_us(&claims["aud"]) || claims["aud"].as_array().is_some_and(|all| all.iter().any(for_us)));
    assert!(claims["exp"].as_f64().unwrap() > (NOW / 1000 - 3600) as f64, "{claims}");
    assert!(claims.get("cnf").is_none() && claims["nbf"].as_f64().unwrap_or(0.0) < 2e9, "{claims}");
    assert_eq!(claims["sub"].as_str(), Some(caller.principal.name.as_str()), "{claims}");
    assert_eq!(caller.principal.kind, crate::access::PrincipalKind::User);
}
