//! Password hashes in the form in which MLflow (werkzeug) writes them: `METHOD$SALT$HEX`.
//!
//! New ones are `scrypt:32768:8:1`. `pbkdf2:sha256:N` is read as well, for accounts that are as old. What a hash says of
//! its own cost is bounded: whoever may import one must not be able to stop the processor with it.

use std::fmt::Write as _;

use pbkdf2::pbkdf2_hmac;
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// What a new hash costs: 32 MiB and some tens of milliseconds.
const COST: &str = "scrypt:32768:8:1";
const SALT_CHARACTERS: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const SALT_LENGTH: usize = 16;
/// Characters of a hash in all.
const LONGEST: usize = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Scrypt { log_n: u8, r: u32, p: u32 },
    Pbkdf2 { rounds: u32 },
}

/// A hash that can be verified.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Hash {
    method: Method,
    salt: String,
    digest: Vec<u8>,
}

impl Hash {
    /// `None`: not a hash of these methods, or one that costs too much.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let mut parts = text.split('$');
        let (method, salt, hex) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || salt.is_empty() {
            return None;
        }
        let method = Method::parse(method)?;
        let digest = from_hex(hex)?;
        (digest.len() == method.length()).then(|| Self { method, salt: salt.to_owned(), digest })
    }

    /// Takes as long whether the password is right or not.
    pub fn verify(&self, password: &str) -> bool {
        let Some(digest) = self.method.digest(password, &self.salt) else { return false };
        digest.ct_eq(&self.digest).into()
    }

    /// Whether a new hash of the same password would be another one.
    pub fn is_outdated(&self) -> bool {
        Some(self.method) != Method::parse(COST)
    }
}

/// A new hash of a password, with a salt of its own.
pub(super) fn new(password: &str) -> Option<String> {
    let salt: String = (0..SALT_LENGTH)
        .map(|_| char::from(SALT_CHARACTERS[rand::random_range(0..SALT_CHARACTERS.len())]))
        .collect();
    let digest = Method::parse(COST)?.digest(password, &salt)?;
    let mut text = format!("{COST}${salt}$");
    digest.iter().for_each(|byte| {
        let _ = write!(text, "{byte:02x}");
    });
    Some(text)
}

impl Method {
    fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        match parts.as_slice() {
            ["scrypt", n, r, p] => {
                let n: u32 = n.parse().ok()?;
                let (r, p) = (r.parse().ok()?, p.parse().ok()?);
                let bounded = n.is_power_of_two() && (2..=1 << 17).contains(&n);
                let bounded = bounded && (1..=16).contains(&r) && (1..=4).contains(&p);
                bounded.then(|| Self::Scrypt { log_n: n.trailing_zeros() as u8, r, p })
            }
            ["pbkdf2", "sha256", rounds] => {
                let rounds = rounds.parse().ok()?;
                (1..=2_000_000).contains(&rounds).then_some(Self::Pbkdf2 { rounds })
            }
            _ => None,
        }
    }

    fn length(self) -> usize {
        match self {
            Self::Scrypt { .. } => 64,
            Self::Pbkdf2 { .. } => 32,
        }
    }

    fn digest(self, password: &str, salt: &str) -> Option<Vec<u8>> {
        let mut digest = vec![0; self.length()];
        match self {
            Self::Scrypt { log_n, r, p } => {
                let params = scrypt::Params::new(log_n, r, p).ok()?;
                scrypt::scrypt(password.as_bytes(), salt.as_bytes(), &params, &mut digest).ok()?;
            }
            Self::Pbkdf2 { rounds } => {
                pbkdf2_hmac::<Sha256>(password.as_bytes(), salt.as_bytes(), rounds, &mut digest);
            }
        }
        Some(digest)
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made by werkzeug 3.1's `generate_password_hash`.
    const BY_SCRYPT: &str = "scrypt:32768:8:1$cLsb2qkH0ok5dLIn$efe31f4cee9671f103ae57e7b674fc99e5255ab6842c2de57a6b0e3920e2eaa8e119ce4531416e535c7e8a7484bdbebcb7b1bd23336e0a5d06a6714dbb5c3434";
    const BY_PBKDF2: &str = "pbkdf2:sha256:2000$9ELife8wIH5uNa4V$8f1b7ee9f6bc89c59254e354c954c7c5f9370019dd3e7e28b4da7a22cd5d0e3a";

    #[test]
    fn hashes_of_another_implementation_are_verified() {
        for text in [BY_SCRYPT, BY_PBKDF2] {
            let hash = Hash::parse(text).unwrap();
            assert!(hash.verify("correct horse äöü"), "{text}");
            for wrong in ["correct horse aou", "", "correct horse äöü "] {
                assert!(!hash.verify(wrong), "{text}: {wrong}");
            }
        }
        assert!(!Hash::parse(BY_SCRYPT).unwrap().is_outdated());
        assert!(Hash::parse(BY_PBKDF2).unwrap().is_outdated());
    }

    #[test]
    fn a_new_hash_has_a_salt_of_its_own_and_verifies() {
        let (one, other) = (new("twelve letters").unwrap(), new("twelve letters").unwrap());
        assert_ne!(one, other);
        assert!(one.starts_with("scrypt:32768:8:1$"));
        let hash = Hash::parse(&one).unwrap();
        assert!(hash.verify("twelve letters") && !hash.verify("Twelve letters") && !hash.is_outdated());
    }

    #[test]
    fn what_is_no_hash_or_costs_too_much_is_not_taken() {
        let digest = "00".repeat(64);
        let short = "00".repeat(32);
        for bad in [
            String::new(),
            "plain".to_owned(),
            "hunter2$$".to_owned(),
            format!("scrypt:32768:8:1$${digest}"),
            format!("scrypt:32768:8:1$salt${short}"),
            format!("scrypt:32768:8:1$salt${digest}$more"),
            format!("scrypt:32768:8:1$salt$x{}", &digest[1..]),
            format!("scrypt:1048576:8:1$salt${digest}"),
            format!("scrypt:32768:800:1$salt${digest}"),
            format!("scrypt:32768:8:99$salt${digest}"),
            format!("scrypt:3:8:1$salt${digest}"),
            format!("pbkdf2:sha256:0$salt${short}"),
            format!("pbkdf2:sha256:900000000$salt${short}"),
            format!("pbkdf2:sha1:1000$salt${short}"),
            format!("pbkdf2:sha256:1000$salt${}", "é".repeat(32)),
            format!("scrypt:32768:8:1${}${digest}", "s".repeat(2000)),
        ] {
            assert!(Hash::parse(&bad).is_none(), "{bad}");
        }
    }
}
