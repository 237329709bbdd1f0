//! Sealed tokens: what we hand out for clients to hand back, unreadable and unforgeable.
//!
//! A page token is sealed with a key that all replicas share and bound to a context (who asked, which
//! operation, which request), so that another caller's token, an altered one, or one for another search
//! opens to nothing. What it carries about hidden rows cannot be read.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

const NONCE_BYTES: usize = 24;

/// The token was not sealed here, or not for this context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token is not one that was issued for this request")]
pub struct NotOurs;

pub struct Sealer {
    cipher: XChaCha20Poly1305,
}

impl Sealer {
    pub fn new(key: &[u8; 32]) -> Self {
        Self { cipher: XChaCha20Poly1305::new(&(*key).into()) }
    }

    /// Seals `content` for `context`. Two seals of one content differ.
    pub fn seal(&self, context: &str, content: &[u8]) -> Result<String, NotOurs> {
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let payload = Payload { msg: content, aad: context.as_bytes() };
        let sealed = self.cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| NotOurs)?;
        let mut token = nonce.to_vec();
        token.extend(sealed);
        Ok(URL_SAFE_NO_PAD.encode(token))
    }

    /// Opens a token that was sealed for exactly this context.
    pub fn open(&self, context: &str, token: &str) -> Result<Vec<u8>, NotOurs> {
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| NotOurs)?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_BYTES).ok_or(NotOurs)?;
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().map_err(|_| NotOurs)?;
        let payload = Payload { msg: sealed, aad: context.as_bytes() };
        self.cipher.decrypt(&XNonce::from(nonce), payload).map_err(|_| NotOurs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_in_its_own_context_and_nowhere_else() {
        let sealer = Sealer::new(&[7; 32]);
        let token = sealer.seal("user:alice trace.search", b"offset 40").unwrap();
        assert_eq!(sealer.open("user:alice trace.search", &token).unwrap(), b"offset 40");
        assert_eq!(sealer.open("user:bob trace.search", &token), Err(NotOurs));
        assert_eq!(Sealer::new(&[8; 32]).open("user:alice trace.search", &token), Err(NotOurs));
    }

    #[test]
    fn every_altered_or_foreign_token_is_refused() {
        let sealer = Sealer::new(&[7; 32]);
        let token = sealer.seal("c", b"secret").unwrap();
        for index in 0..token.len() {
            let mut altered = token.clone().into_bytes();
            altered[index] = if altered[index] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(altered).unwrap();
            // The last character may hold unused bits only; then decoding itself refuses it.
            assert_eq!(sealer.open("c", &altered), Err(NotOurs), "{index}");
        }
        for foreign in ["", "eyJvZmZzZXQiOiAwfQ==", "eyJvZmZzZXQiOiAwfQ", "!!!", &token[..20]] {
            assert_eq!(sealer.open("c", foreign), Err(NotOurs), "{foreign}");
        }
    }
}
