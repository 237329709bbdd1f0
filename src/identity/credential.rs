//! The one credential of a request: what follows `Bearer`, or the password of `Basic`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::error::IdentityError;
use crate::access::Principal;
use crate::wire::Headers;

/// Bytes of a credential; real JWTs with many groups have a few thousand.
pub(super) const LIMIT: usize = 16 * 1024;
/// The user name of `Basic` that stands for whomever the token names.
const ANY_USERNAME: &str = "token";

pub(super) struct Credential {
    pub secret: String,
    /// The user name sent with `Basic`, unless it was empty.
    pub username: Option<String>,
}

/// What the secret of `Basic` may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Secrets {
    Tokens,
    /// A password too, which has characters that no token has.
    Passwords,
}

impl Credential {
    /// `None`: nobody tried to identify himself.
    pub fn from_headers(headers: &Headers, secrets: Secrets) -> Result<Option<Self>, IdentityError> {
        let header = headers
            .one("authorization")
            .map_err(|_| IdentityError::refused("more than one `Authorization` header was sent"))?;
        let Some(header) = header else { return Ok(None) };
        let (scheme, value) = header.split_once(' ').unwrap_or((header, ""));
        let value = value.trim_matches(' ');
        let credential = if scheme.eq_ignore_ascii_case("bearer") {
            Self { secret: value.to_owned(), username: None }
        } else if scheme.eq_ignore_ascii_case("basic") {
            Self::from_basic(value)?
        } else {
            return Err(IdentityError::refused("the `Authorization` header must say `Bearer` or `Basic`"));
        };
        // The characters of RFC 6750: a comma would mean two headers that somebody joined into one.
        let permitted = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        let password = secrets == Secrets::Passwords && credential.may_be_password();
        if credential.secret.is_empty() || !password && !credential.secret.bytes().all(permitted) {
            return Err(IdentityError::refused("the token is empty or has characters that no token has"));
        }
        if credential.secret.len() > LIMIT {
            return Err(IdentityError::refused(format!("the token is longer than {LIMIT} bytes")));
        }
        Ok(Some(credential))
    }

    fn from_basic(value: &str) -> Result<Self, IdentityError> {
        let malformed =
            || IdentityError::refused("the `Basic` credential is not the base64 form of `username:token`");
        if value.len() > 2 * LIMIT {
            return Err(malformed());
        }
        let decoded = STANDARD.decode(value).map_err(|_| malformed())?;
        let text = String::from_utf8(decoded).map_err(|_| malformed())?;
        let (username, secret) = text.split_once(':').ok_or_else(malformed)?;
        let username = (!username.is_empty()).then(|| username.to_owned());
        Ok(Self { secret: secret.to_owned(), username })
    }

    /// Whether a secret is to be taken for a token, be it a good one or not.
    pub fn is_token(secret: &str) -> bool {
        // The header of a JWT is an object, and `{"` is `eyJ` in base64.
        let is_jwt = secret.starts_with("eyJ") && secret.bytes().filter(|byte| *byte == b'.').count() == 2;
        secret.starts_with("tg_") || is_jwt
    }

    /// Whether this is a user name and something that may be a password.
    pub fn may_be_password(&self) -> bool {
        self.username.is_some()
            && !Self::is_token(&self.secret)
            && !self.secret.is_empty()
            && !self.secret.chars().any(char::is_control)
    }

    /// Refuses a user name that is not the token's own: a log elsewhere would name the wrong person.
    pub fn check_username(&self, principal: &Principal) -> Result<(), IdentityError> {
        match &self.username {
            Some(name) if *name != principal.name && name != ANY_USERNAME => Err(IdentityError::refused(
                "the user name does not belong to the token; send the token's own or `token`",
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Result<Option<Credential>, IdentityError> {
        let mut headers = Headers::new();
        for value in values {
            headers.push("Authorization", value);
        }
        Credential::from_headers(&headers, Secrets::Tokens)
    }

    #[test]
    fn bearer_and_basic_carry_the_same_secret() {
        let basic = format!("Basic {}", STANDARD.encode("ann:abc"));
        for value in ["Bearer abc", "bearer   abc ", &basic] {
            assert_eq!(read(&[value]).unwrap().unwrap().secret, "abc");
        }
        assert!(read(&[]).unwrap().is_none());
    }

    #[test]
    fn anything_else_is_refused_and_never_taken_for_nobody() {
        let nul = format!("Basic {}", STANDARD.encode("ann:a\0b"));
        let two = format!("Basic {}", STANDARD.encode("ann:abc, Bearer def"));
        let long = format!("Bearer {}", "a".repeat(LIMIT + 1));
        for value in [
            "",
            " ",
            "Bearer",
            "Bearer ",
            "Bearer a b",
            "Bearer a,b",
            "Bearer a, Bearer b",
            "Digest x",
            "Bearer\tabc",
            "Basic",
            "Basic !",
            "Basic YWJj",
            "abc",
            &nul,
            &two,
            &long,
        ] {
            assert!(read(&[value]).is_err(), "{value:?}");
        }
        assert!(read(&["Bearer abc", "Bearer abc"]).is_err());
        assert!(read(&["Bearer abc", ""]).is_err());
    }
}
