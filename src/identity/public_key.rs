//! One key of a JWKS, with what it may verify. Symmetric keys in a JWKS are not taken: a key that
//! everyone can fetch proves nothing.

use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

#[derive(Clone)]
pub(super) struct PublicKey {
    pub id: Option<String>,
    algorithms: Vec<Algorithm>,
    pub key: DecodingKey,
}

impl PublicKey {
    /// `None`: not a key for verifying signatures, or one of a kind that we do not know.
    pub fn from_jwk(jwk: &Value) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        if jwk.get("use").is_some() && text("use") != Some("sig") {
            return None;
        }
        if let Some(operations) = jwk.get("key_ops")
            && !operations.as_array()?.iter().any(|operation| operation == "verify")
        {
            return None;
        }
        use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        let (mut algorithms, key) = match (text("kty")?, text("crv")) {
            ("RSA", _) => (
                vec![RS256, RS384, RS512, PS256, PS384, PS512],
                DecodingKey::from_rsa_components(text("n")?, text("e")?),
            ),
            ("EC", Some("P-256")) => (vec![ES256], DecodingKey::from_ec_components(text("x")?, text("y")?)),
            ("EC", Some("P-384")) => (vec![ES384], DecodingKey::from_ec_components(text("x")?, text("y")?)),
            ("OKP", Some("Ed25519")) => (vec![EdDSA], DecodingKey::from_ed_components(text("x")?)),
            _ => return None,
        };
        if jwk.get("alg").is_some() {
            let only: Algorithm = text("alg")?.parse().ok()?;
            algorithms.retain(|algorithm| *algorithm == only);
        }
        let id = text("kid").map(str::to_owned);
        (!algorithms.is_empty()).then_some(())?;
        Some(Self { id, algorithms, key: key.ok()? })
    }

    pub fn verifies(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_key_verifies_only_what_it_is_for() {
        let rsa = json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"});
        let key = PublicKey::from_jwk(&rsa).unwrap();
        assert!(key.verifies(Algorithm::RS256) && key.verifies(Algorithm::PS512));
        assert!(!key.verifies(Algorithm::HS256) && !key.verifies(Algorithm::ES256));
        let with = |name: &str, value: Value| {
            let mut jwk = rsa.clone();
            jwk[name] = value;
            PublicKey::from_jwk(&jwk)
        };
        let narrow = with("alg", json!("RS512")).unwrap();
        assert!(narrow.verifies(Algorithm::RS512) && !narrow.verifies(Algorithm::RS256));
        assert!(with("use", json!("sig")).is_some() && with("key_ops", json!(["verify"])).is_some());
        for (name, value) in [
            ("use", json!("enc")),
            ("use", json!(1)),
            ("key_ops", json!(["encrypt"])),
            ("alg", json!("HS256")),
            ("alg", json!("RSA-OAEP")),
            ("alg", json!("none")),
            ("kty", json!("oct")),
        ] {
            assert!(with(name, value.clone()).is_none(), "{name}: {value}");
        }
        let curve = json!({"kty": "EC", "crv": "P-521", "x": "AQAB", "y": "AQAB"});
        assert!(PublicKey::from_jwk(&curve).is_none());
        assert!(PublicKey::from_jwk(&json!({"kty": "oct", "k": "c2VjcmV0"})).is_none());
    }
}
