//! The Ed25519 key that signs checkpoints, and how one key hands over to the next.
//!
//! The key file is PEM: a `PRIVATE KEY` block (PKCS#8, as `openssl genpkey -algorithm ed25519` writes
//! it) and then one `TRACEGATE KEY NOTICE` block for each rotation that led to it, oldest first. So the
//! new key and the old one's word for it are one file, replaced at once. The old private key is gone
//! after a rotation: who takes the host later cannot sign anew what it signed.
//!
//! ```text
//! tracegate audit key 1
//! key: 64 hex digits of the new public key
//! previous: 64 hex digits of the old one
//! time_ms: 1767225600000
//! ```

use std::fmt;
use std::io;
use std::path::Path;

use aws_lc_rs::encoding::AsBigEndian as _;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::directory;
use crate::clock::UnixMillis;

const PRIVATE: &str = "PRIVATE KEY";
const NOTICE: &str = "TRACEGATE KEY NOTICE";
/// What stands before the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo.
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the signing key `{path}` cannot be used: {source}")]
    Io { path: String, source: io::Error },
    #[error("`{path}` is no Ed25519 key: {problem}")]
    Malformed { path: String, problem: &'static str },
    #[error(
        "the signing key `{0}` is missing, and this record was signed before: put the key back, or make a \
         new one with `tracegate audit rotate-key --old-key-lost`"
    )]
    Missing(String),
    #[error(
        "the signing key `{path}` is not key `{current}`, which signs this record, nor announced by it: put \
         that key back and rotate it, or make a new one with `tracegate audit rotate-key --old-key-lost`"
    )]
    Unannounced { path: String, current: String },
    #[error("an Ed25519 key cannot be made")]
    NoRandomness,
}

/// The public half of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// The first 32 hex digits of the SHA-256 of the key.
    pub fn id(&self) -> String {
        hex::encode(&Sha256::digest(self.0)[..16])
    }

    pub fn verifies(&self, statement: &str, signature: &str) -> bool {
        let Ok(signature) = hex::decode(signature) else { return false };
        UnparsedPublicKey::new(&ED25519, self.0).verify(statement.as_bytes(), &signature).is_ok()
    }

    pub fn from_hex(text: &str) -> Option<Self> {
        hex::decode(text).ok()?.try_into().ok().map(Self)
    }

    /// A key as people keep it: PEM (`openssl pkey -pubout`), 64 hex digits, or a line of the file `keys`.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(bytes) = pem_blocks(text).into_iter().find(|(label, _)| label == "PUBLIC KEY") {
            return bytes.1.strip_prefix(&SPKI_PREFIX)?.try_into().ok().map(Self);
        }
        let text = text.trim();
        if let Ok(notice) = serde_json::from_str::<KeyNotice>(text) {
            return Self::from_hex(&notice.public_key);
        }
        Self::from_hex(text)
    }

    pub fn to_pem(self) -> String {
        pem("PUBLIC KEY", &[SPKI_PREFIX.as_slice(), &self.0].concat())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

/// Says which key signs from here on. The payload of a `key` record, and a line of the file `keys`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct KeyNotice {
    #[serde(rename = "time_ms")]
    pub time: UnixMillis,
    pub key_id: String,
    /// Hex.
    pub public_key: String,
    /// The public key that signed until now, and its signature of the statement, in hex. Absent for
    /// the first key, and for one made after the old one was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

impl KeyNotice {
    pub fn of_first(key: PublicKey, time: UnixMillis) -> Self {
        Self { time, key_id: key.id(), public_key: key.to_string(), previous: None, signature: None }
    }

    fn statement(key: PublicKey, previous: PublicKey, time: UnixMillis) -> String {
        format!("tracegate audit key 1\nkey: {key}\nprevious: {previous}\ntime_ms: {}\n", time.0)
    }

    /// The key that it names, if the notice is one.
    pub fn key(&self) -> Option<PublicKey> {
        PublicKey::from_hex(&self.public_key).filter(|key| key.id() == self.key_id)
    }

    /// Whether `previous` signed it.
    pub fn is_announced_by(&self, previous: PublicKey) -> bool {
        let (Some(key), Some(signature)) = (self.key(), &self.signature) else { return false };
        self.previous.as_deref() == Some(&previous.to_string())
            && previous.verifies(&Self::statement(key, previous, self.time), signature)
    }
}

/// The key that signs, and the notices that led to it.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    pub history: Vec<KeyNotice>,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SigningKey({})", self.public().id())
    }
}

impl SigningKey {
    pub fn generate() -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::generate().map_err(|_| KeyError::NoRandomness)?;
        Ok(Self { pair, history: Vec::new() })
    }

    pub fn public(&self) -> PublicKey {
        let mut key = [0; 32];
        key.copy_from_slice(self.pair.public_key().as_ref());
        PublicKey(key)
    }

    /// Hex.
    pub fn sign(&self, statement: &str) -> String {
        hex::encode(self.pair.sign(statement.as_bytes()).as_ref())
    }

    /// `None` if there is no such file.
    pub fn load(path: &Path) -> Result<Option<Self>, KeyError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text)
                .map(Some)
                .map_err(|problem| KeyError::Malformed { path: path.display().to_string(), problem }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(KeyError::Io { path: path.display().to_string(), source }),
        }
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let blocks = pem_blocks(text);
        let (_, private) = blocks
            .iter()
            .find(|(label, _)| label == PRIVATE)
            .ok_or("it has no `PRIVATE KEY` block; `openssl genpkey -algorithm ed25519` makes one")?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(private)
            .map_err(|_| "its `PRIVATE KEY` block is not an Ed25519 key in PKCS#8")?;
        let history: Option<Vec<KeyNotice>> = blocks
            .iter()
            .filter(|(label, _)| label == NOTICE)
            .map(|(_, bytes)| serde_json::from_slice(bytes).ok())
            .collect();
        Ok(Self { pair, history: history.ok_or("one of its notices is malformed")? })
    }

    /// Writes the key file, readable by its owner alone, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<(), KeyError> {
        let failed = |source| KeyError::Io { path: path.display().to_string(), source };
        let seed = self.pair.seed().map_err(|_| KeyError::NoRandomness)?;
        let seed = seed.as_be_bytes().map_err(|_| KeyError::NoRandomness)?;
        // PKCS#8 version 1: what every OpenSSL reads.
        let prefix =
            [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
        let mut text = pem(PRIVATE, &[prefix.as_slice(), seed.as_ref()].concat());
        for notice in &self.history {
            text.push_str(&pem(
                NOTICE,
                &serde_json::to_vec(notice).map_err(io::Error::from).map_err(failed)?,
            ));
        }
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
            failed(io::Error::new(io::ErrorKind::InvalidInput, "it must be the name of a file"))
        })?;
        directory::write_whole(directory, name, text.as_bytes()).map_err(failed)
    }

    /// A new key that this one announces.
    pub fn rotated(&self, time: UnixMillis) -> Result<Self, KeyError> {
        let mut next = Self::generate()?;
        let (key, previous) = (next.public(), self.public());
        next.history.clone_from(&self.history);
        next.history.push(KeyNotice {
            previous: Some(previous.to_string()),
            signature: Some(self.sign(&KeyNotice::statement(key, previous, time))),
            ..KeyNotice::of_first(key, time)
        });
        Ok(next)
    }

    /// A new key that no other one vouches for: the old one was lost. Verifiers must be told of it.
    pub fn unannounced(time: UnixMillis) -> Result<Self, KeyError> {
        let mut key = Self::generate()?;
        key.history.push(KeyNotice::of_first(key.public(), time));
        Ok(key)
    }

    /// What must go on record before this key signs, where `current` signed until now.
    pub fn notices_after(&self, current: Option<PublicKey>, now: UnixMillis) -> Option<Vec<KeyNotice>> {
        let own = self.public();
        let Some(current) = current else { return Some(vec![KeyNotice::of_first(own, now)]) };
        if current == own {
            return Some(Vec::new());
        }
        let announced = self.history.iter().position(|notice| notice.is_announced_by(current));
        // Not announced, but said to be so on purpose, and at the start of what led to this key.
        let lost = self.history.iter().position(|notice| notice.previous.is_none());
        announced.or(lost).map(|start| self.history[start..].to_vec())
    }
}

fn pem(label: &str, bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    let mut lines = String::new();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        lines.push_str(line);
        lines.push('\n');
        rest = more;
    }
    format!("-----BEGIN {label}-----\n{lines}-----END {label}-----\n")
}

/// Label and content of every sound block.
fn pem_blocks(text: &str) -> Vec<(String, Vec<u8>)> {
    let mut blocks = Vec::new();
    for part in text.split("-----BEGIN ").skip(1) {
        let Some((label, rest)) = part.split_once("-----") else { continue };
        let Some((body, _)) = rest.split_once(&format!("-----END {label}-----")) else { continue };
        let body: String = body.split_whitespace().collect();
        if let Ok(bytes) = STANDARD.decode(body) {
            blocks.push((label.to_owned(), bytes));
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(5);

    #[test]
    fn a_key_file_is_read_back_and_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        assert!(SigningKey::load(&path).unwrap().is_none());
        let key = SigningKey::generate().unwrap().rotated(NOW).unwrap();
        key.save(&path).unwrap();
        let read = SigningKey::load(&path).unwrap().unwrap();
        assert_eq!((read.public(), &read.history), (key.public(), &key.history));
        assert!(key.public().verifies("x", &read.sign("x")) && !key.public().verifies("y", &read.sign("x")));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "nothing").unwrap();
        assert!(SigningKey::load(&path).unwrap_err().to_string().contains("PRIVATE KEY"));
    }

    /// Written by `openssl genpkey -algorithm ed25519`; the public half by `openssl pkey -pubout`.
    #[test]
    fn keys_of_openssl_are_read() {
        let private = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
        let key = SigningKey::parse(private).unwrap();
        // RFC 8032, 7.1, test 1.
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(key.public().to_string(), public);
        assert_eq!(PublicKey::parse(&format!("{public}\n")), Some(key.public()));
        assert_eq!(PublicKey::parse(&key.public().to_pem()), Some(key.public()));
        assert_eq!(PublicKey::parse("zz"), None);
        assert!(key.sign("").starts_with("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974"));
    }

    #[test]
    fn a_key_is_announced_by_the_one_before_and_by_no_other() {
        let first = SigningKey::generate().unwrap();
        let second = first.rotated(NOW).unwrap();
        let third = second.rotated(NOW).unwrap();
        let notices = third.notices_after(Some(first.public()), NOW).unwrap();
        assert_eq!(notices, third.history);
        assert!(notices[0].is_announced_by(first.public()) && notices[1].is_announced_by(second.public()));
        assert!(!notices[1].is_announced_by(first.public()));
        assert_eq!(third.notices_after(Some(second.public()), NOW).unwrap().len(), 1);
        assert!(third.notices_after(Some(third.public()), NOW).unwrap().is_empty());
        let stranger = SigningKey::generate().unwrap();
        assert_eq!(stranger.notices_after(Some(first.public()), NOW), None);
        let mut forged = notices[0].clone();
        forged.public_key = stranger.public().to_string();
        forged.key_id = stranger.public().id();
        assert!(!forged.is_announced_by(first.public()));
        let lost = SigningKey::unannounced(NOW).unwrap();
        assert_eq!(lost.notices_after(Some(first.public()), NOW).unwrap()[0].signature, None);
    }
}
