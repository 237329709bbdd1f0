//! Secrets in memory: never printed, and overwritten when they are dropped.
//!
//! ```
//! use tracegate::secret::{SecretKey, SecretText};
//!
//! let key = SecretKey::from([7; 32]);
//! assert_eq!(format!("{key:?}"), "[redacted]");
//! let text = SecretText::from("hunter2".to_owned());
//! assert_eq!((format!("{text:?}").as_str(), text.expose()), ("[redacted]", "hunter2"));
//! ```

use std::fmt;

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

const REDACTED: &str = "[redacted]";

/// A key of 32 bytes.
#[derive(Clone)]
pub struct SecretKey(Zeroizing<[u8; 32]>);

impl SecretKey {
    pub fn random() -> Self {
        Self(Zeroizing::new(rand::random()))
    }

    /// `None`: not 32 bytes. What was given is overwritten.
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        let bytes = Zeroizing::new(bytes);
        let mut key = Zeroizing::new([0; 32]);
        if bytes.len() != key.len() {
            return None;
        }
        key.copy_from_slice(&bytes);
        Some(Self(key))
    }

    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for SecretKey {
    fn from(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(REDACTED)
    }
}

/// A secret text.
#[derive(Clone, Default, serde::Deserialize)]
#[serde(from = "String")]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl From<&str> for SecretText {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl PartialEq for SecretText {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for SecretText {}

impl fmt::Debug for SecretText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(REDACTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_32_bytes_and_is_never_shown() {
        assert!(SecretKey::from_bytes(vec![1; 31]).is_none() && SecretKey::from_bytes(vec![1; 33]).is_none());
        let key = SecretKey::from_bytes(vec![65; 32]).unwrap();
        assert_eq!(key.expose(), &[65; 32]);
        let shown = format!("{key:?} {:#?} {:?}", Some(&key), SecretText::from("AAAA".to_owned()));
        assert!(!shown.contains("65") && !shown.contains("AA"), "{shown}");
        assert_ne!(SecretKey::random().expose(), SecretKey::random().expose());
    }
}
