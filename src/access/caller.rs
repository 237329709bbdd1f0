//! A caller: an authenticated principal and how it was proved.

use super::principal::Principal;

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    Jwt,
    Token,
    /// A URL that we signed for one request of a caller.
    SignedUrl,
}

impl Scheme {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::Token => "token",
            Self::SignedUrl => "signed_url",
        }
    }
}

/// How a caller was proved: enough to find the credential again, never the credential itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    pub scheme: Scheme,
    /// The token's id in our store, or the JWT's issuer and `jti`.
    pub credential: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub principal: Principal,
    /// Groups that the credential itself asserts (a JWT's group claim); local ones come from policy.
    pub asserted_groups: Vec<Principal>,
    pub proof: Proof,
}
