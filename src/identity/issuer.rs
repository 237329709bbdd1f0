//! One trusted issuer: which tokens it may sign, with which algorithms and keys.

use std::path::Path;
use std::sync::Arc;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde_json::{Map, Value};

use super::error::IdentityError;
use super::mapping::Mapping;
use super::provider::Provider;
use super::remote_keys::RemoteKeys;
use crate::clock::{Clock, UnixMillis};
use crate::config::identity::{IdentityConfig, IssuerConfig};
use crate::secret::SecretText;

pub(super) struct Issuer {
    pub name: String,
    pub mapping: Mapping,
    /// Whether strangers with a good token are entered as principals.
    pub enroll: bool,
    /// Where people sign in with a browser, if they can.
    pub provider: Option<Provider>,
    /// The audiences of callers' own tokens; empty where tokens are only to be exchanged.
    pub audience: Vec<String>,
    algorithms: Vec<Algorithm>,
    keys: Keys,
}

/// Either a secret or public keys, never both: else a public key could be taken for a secret.
enum Keys {
    Secret(DecodingKey),
    Published(Arc<RemoteKeys>),
}

/// The claims of a token that its issuer signed, for us, and that is in force.
pub(super) struct Verified {
    pub claims: Map<String, Value>,
    pub expires_at: UnixMillis,
}

impl Issuer {
    pub fn new(
        common: &IdentityConfig,
        config: &IssuerConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, IdentityError> {
        let wrong = |what: String| IdentityError::unavailable(format!("issuer `{}`: {what}", config.issuer));
        let keys = match secret(config).map_err(wrong)? {
            Some(secret) => Keys::Secret(DecodingKey::from_secret(&secret)),
            None => Keys::Published(RemoteKeys::new(config, clock.clone())?),
        };
        let mut algorithms = Vec::new();
        for name in config.accepted_algorithms() {
            let algorithm: Algorithm =
                name.parse().map_err(|_| wrong(format!("`{name}` is not an algorithm")))?;
            let is_symmetric = algorithm.family() == jsonwebtoken::AlgorithmFamily::Hmac;
            if is_symmetric != matches!(keys, Keys::Secret(_)) {
                return Err(wrong(format!("`{name}` does not go with its keys")));
            }
            algorithms.push(algorithm);
        }
        // Checked in the configuration too.
        if config.issuer.is_empty() {
            return Err(wrong("needs an issuer".to_owned()));
        }
        Ok(Self {
            name: config.issuer.clone(),
            mapping: Mapping::new(common, config),
            enroll: config.enroll,
            provider: Provider::new(config, clock)?,
            audience: config.audience.clone(),
            algorithms,
            keys,
        })
    }

    /// How often its keys could not be fetched; `None` for one whose key is in the configuration.
    pub fn key_failures(&self) -> Option<u64> {
        match &self.keys {
            Keys::Secret(_) => None,
            Keys::Published(keys) => Some(keys.failures()),
        }
    }

    /// Verifies a token that must be for one of these audiences.
    pub async fn verify(
        &self,
        token: &str,
        header: &Header,
        audience: &[String],
        now: UnixMillis,
        skew_ms: i64,
    ) -> Result<Verified, IdentityError> {
        // Without an audience, anybody's tokens would do.
        if audience.is_empty() {
            return Err(IdentityError::refused("tokens of this issuer are not accepted here"));
        }
        if !self.algorithms.contains(&header.alg) {
            return Err(IdentityError::refused("the token is signed with an algorithm that is not accepted"));
        }
        let key = match &self.keys {
            Keys::Secret(key) => key.clone(),
            Keys::Published(keys) => keys.find(header.kid.as_deref(), header.alg).await?,
        };
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&self.name]);
        validation.set_audience(audience);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        // Times are checked below, by the clock that was passed in.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let claims = jsonwebtoken::decode::<Map<String, Value>>(token, &key, &validation)
            .map_err(|error| IdentityError::refused(reason(error.kind())))?
            .claims;

        let expires_at =
            millis(&claims, "exp")?.ok_or_else(|| IdentityError::refused("the token has no claim `exp`"))?;
        if expires_at.0.saturating_add(skew_ms) <= now.0 {
            return Err(IdentityError::refused("the token has expired"));
        }
        if millis(&claims, "nbf")?.is_some_and(|start| start.0.saturating_sub(skew_ms) > now.0) {
            return Err(IdentityError::refused("the token is not in force yet"));
        }
        Ok(Verified { claims, expires_at })
    }
}

/// A time claim, which may have a fraction of a second.
fn millis(claims: &Map<String, Value>, name: &str) -> Result<Option<UnixMillis>, IdentityError> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value
        .as_f64()
        .filter(|seconds| seconds.is_finite() && (0.0..1e12).contains(seconds))
        .ok_or_else(|| IdentityError::refused(format!("the token's claim `{name}` is not a time")))?;
    #[expect(clippy::cast_possible_truncation, reason = "the range was checked above")]
    Ok(Some(UnixMillis((seconds * 1000.0) as i64)))
}

fn secret(config: &IssuerConfig) -> Result<Option<Vec<u8>>, String> {
    let secret = match (&config.hs256_secret, &config.hs256_secret_file) {
        (Some(secret), _) => secret.expose().as_bytes().to_vec(),
        (None, Some(file)) => secret_in_file(file, "hs256_secret_file")?,
        (None, None) => return Ok(None),
    };
    if secret.len() < 32 { Err("its secret is shorter than 32 bytes".to_owned()) } else { Ok(Some(secret)) }
}

/// A secret that is text: given, or in a file.
pub(super) fn read_secret(
    given: Option<&SecretText>,
    file: Option<&Path>,
    key: &str,
) -> Result<Option<SecretText>, String> {
    match (given, file) {
        (Some(secret), _) => Ok(Some(secret.clone())),
        (None, Some(file)) => String::from_utf8(secret_in_file(file, key)?)
            .map(|secret| Some(secret.into()))
            .map_err(|_| format!("`{key}` (`{}`) is not text", file.display())),
        (None, None) => Ok(None),
    }
}

fn secret_in_file(file: &Path, key: &str) -> Result<Vec<u8>, String> {
    let mut secret =
        std::fs::read(file).map_err(|error| format!("`{key}` (`{}`): {error}", file.display()))?;
    while secret.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        secret.pop();
    }
    Ok(secret)
}

fn reason(kind: &ErrorKind) -> String {
    match kind {
        ErrorKind::InvalidSignature => "the token's signature is wrong".to_owned(),
        ErrorKind::InvalidAudience => "the token is for another audience".to_owned(),
        ErrorKind::InvalidIssuer => "the token is of another issuer".to_owned(),
        ErrorKind::MissingRequiredClaim(claim) => format!("the token has no claim `{claim}`"),
        _ => "the token cannot be verified".to_owned(),
    }
}
