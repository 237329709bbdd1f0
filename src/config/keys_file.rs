//! The file of `server.keys_file`: for each purpose the keys that are accepted, and the one that makes.
//!
//! ```toml
//! [token]
//! active = "2026-11"
//! [token.keys]
//! 2026-05 = "32 bytes in base64, as `openssl rand -base64 32` writes them"
//! 2026-11 = "…"
//! ```

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::secret::{SecretKey, SecretText};

/// Keys of one purpose at most: each is one more hash for every unknown token.
const MOST_KEYS: usize = 4;
const LONGEST_ID: usize = 32;
/// Larger files are no keys (bytes).
const LARGEST: usize = 64 * 1024;

/// Keys by purpose, checked.
#[derive(Debug, Default)]
pub struct KeysFile {
    pub purposes: BTreeMap<String, FileKeys>,
}

/// The keys of one purpose; `active` is one of them.
#[derive(Debug)]
pub struct FileKeys {
    pub active: String,
    pub keys: BTreeMap<String, SecretKey>,
}

/// As written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    active: String,
    keys: BTreeMap<String, SecretText>,
}

/// A file as it was read: not yet looked at.
pub struct KeysText {
    text: SecretText,
    /// Whether others than its owner and group may read it.
    pub readable_by_others: bool,
}

impl KeysText {
    pub fn read(path: &Path) -> Result<Self, String> {
        let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
        if bytes.len() > LARGEST {
            return Err(format!("it is larger than {LARGEST} bytes"));
        }
        // Not with the error: that has the bytes.
        let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        Ok(Self { text: text.into(), readable_by_others: readable_by_others(path) })
    }

    /// Says that it is the same, not what it is.
    pub fn digest(&self) -> [u8; 32] {
        use sha2::{Digest as _, Sha256};
        Sha256::digest(self.text.expose().as_bytes()).into()
    }

    /// The keys, for purposes of these names.
    pub fn parse(&self, purposes: &[&str]) -> Result<KeysFile, String> {
        // What the parser says quotes the line, which may hold a key: only where it is may be told.
        let written: BTreeMap<String, Written> = toml::from_str(self.text.expose()).map_err(|error| {
            let before = error.span().map_or(0, |span| span.start);
            let line = self.text.expose().bytes().take(before).filter(|byte| *byte == b'\n').count() + 1;
            format!(
                "line {line} is not as `[token]`, `active = \"ID\"`, `[token.keys]`, `ID = \"BASE64\"` are"
            )
        })?;
        let (mut file, mut seen) = (KeysFile::default(), HashSet::new());
        for (purpose, written) in written {
            if !purposes.contains(&purpose.as_str()) {
                return Err(format!("`[{purpose}]` is none of {}", purposes.join(", ")));
            }
            let keys = checked(&purpose, written, &mut seen)?;
            file.purposes.insert(purpose, keys);
        }
        if file.purposes.is_empty() {
            return Err("it has no keys; leave `server.keys_file` out for those of the database".to_owned());
        }
        Ok(file)
    }
}

fn checked(purpose: &str, written: Written, seen: &mut HashSet<[u8; 32]>) -> Result<FileKeys, String> {
    let mut keys = BTreeMap::new();
    for (id, text) in written.keys {
        let at = format!("`{purpose}.keys.{id}`");
        if !is_id(&id) {
            return Err(format!(
                "`{purpose}.keys` has an id that is not 1 to {LONGEST_ID} of a-z, 0-9 and `-`, or is one of the \
                 database's (`k` and a number)"
            ));
        }
        let bytes = STANDARD.decode(text.expose().trim()).unwrap_or_default();
        let key = SecretKey::from_bytes(bytes)
            .ok_or_else(|| format!("{at} is not 32 bytes in base64; `openssl rand -base64 32` makes one"))?;
        let distinct: HashSet<u8> = key.expose().iter().copied().collect();
        if distinct.len() < 8 {
            return Err(format!("{at} is not random; `openssl rand -base64 32` makes one"));
        }
        if !seen.insert(*key.expose()) {
            return Err(format!("{at} is there twice; every id of every purpose has a key of its own"));
        }
        keys.insert(id, key);
    }
    if keys.len() > MOST_KEYS {
        return Err(format!("`{purpose}.keys` has more than {MOST_KEYS}; take out what is no longer needed"));
    }
    if !keys.contains_key(&written.active) {
        return Err(format!("`{purpose}.active` is none of `{purpose}.keys`"));
    }
    Ok(FileKeys { active: written.active, keys })
}

/// Ids stand before what is sealed, and must not be taken for those of the database.
fn is_id(id: &str) -> bool {
    let letters = id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let of_database = id.strip_prefix('k').is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
    (1..=LONGEST_ID).contains(&id.len()) && letters && !of_database
}

#[cfg(unix)]
fn readable_by_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
fn readable_by_others(_: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const PURPOSES: [&str; 2] = ["sealing", "token"];

    fn key(first: u8) -> String {
        let bytes: Vec<u8> = (0..32).map(|index| first.wrapping_add(index)).collect();
        STANDARD.encode(bytes)
    }

    fn parse(text: &str) -> Result<KeysFile, String> {
        KeysText { text: text.to_owned().into(), readable_by_others: false }.parse(&PURPOSES)
    }

    #[test]
    fn a_file_has_keys_by_purpose_and_one_that_makes() {
        let text = format!(
            "[token]\nactive = \"2026-11\"\n[token.keys]\n2026-05 = \"{}\"\n2026-11 = \"{}\"\n",
            key(1),
            key(2)
        );
        let file = parse(&text).unwrap();
        let token = &file.purposes["token"];
        assert_eq!((token.active.as_str(), token.keys.len()), ("2026-11", 2));
        assert_eq!(token.keys["2026-05"].expose()[0], 1);
        assert!(!format!("{file:?}").contains(&key(1)));
    }

    #[test]
    fn a_bad_file_is_refused_and_what_is_said_holds_no_key() {
        let good = key(1);
        let with = |id: &str, key: &str, active: &str| {
            format!("[token]\nactive = \"{active}\"\n[token.keys]\n{id} = \"{key}\"\n")
        };
        let many: String = (1..6).map(|n| format!("a{n} = \"{}\"\n", key(n))).collect();
        for bad in [
            String::new(),
            "nonsense".to_owned(),
            with("a", &good, "b"),
            with("k1", &good, "k1"),
            with("k", &good, "k"),
            with("A", &good, "A"),
            with("a_b", &good, "a_b"),
            with("a", &good[1..], "a"),
            with("a", &STANDARD.encode([7; 32]), "a"),
            with("a", &STANDARD.encode(b"too short"), "a"),
            with("a", &good, "a").replace("token", "tokens"),
            format!("{}b = \"{good}\"\n", with("a", &good, "a")),
            format!("{}\n[sealing]\nactive = \"a\"\nkeys = {{ a = \"{good}\" }}", with("a", &good, "a")),
            format!("[token]\nactive = \"a1\"\n[token.keys]\n{many}"),
            format!("[token]\nactive = \"a\"\nmore = 1\n[token.keys]\na = \"{good}\"\n"),
            format!("[token]\nactive = \"a\"\n[token.keys]\na = \"{good}\n"),
            format!("[token]\nactive = \"a\"\n[token.keys]\na = [\"{good}\"]\n"),
        ] {
            let problem = parse(&bad).unwrap_err();
            assert!(!problem.contains(&good[4..20]), "{problem}");
        }
    }
}
