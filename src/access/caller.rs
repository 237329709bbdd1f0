//! A caller: an authenticated principal, how it was proved, and what narrows its rights for this call.

use std::sync::Arc;

use super::principal::Principal;
use super::scope::Scope;

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    Jwt,
    Token,
    /// A URL that we signed for one request of a caller.
    SignedUrl,
    /// A browser that signed in, by its cookie.
    Session,
    /// A user name and a password of Tracegate's own.
    Password,
    /// A service principal's id and secret, at the token endpoint.
    ClientSecret,
    /// A service principal's client certificate, in TLS.
    Certificate,
    /// Nothing: a caller that shadow mode lets pass without credentials.
    Anonymous,
}

impl Scheme {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::Token => "token",
            Self::SignedUrl => "signed_url",
            Self::Session => "session",
            Self::Password => "password",
            Self::ClientSecret => "client_secret",
            Self::Certificate => "certificate",
            Self::Anonymous => "anonymous",
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
    /// What the credential is for, if it is for less than all that the principal may do.
    pub scopes: Option<Arc<[Scope]>>,
    /// Who really calls, where it is on behalf of `principal`: a call then needs the rights of both.
    pub actor: Option<Arc<Caller>>,
}

impl Caller {
    /// A caller for itself, with all of its rights.
    pub fn new(principal: Principal, asserted_groups: Vec<Principal>, proof: Proof) -> Self {
        Self { principal, asserted_groups, proof, scopes: None, actor: None }
    }

    /// Whoever sent no credentials. It has nothing but what shadow mode lets pass.
    pub fn anonymous() -> Self {
        let proof = Proof { scheme: Scheme::Anonymous, credential: String::new() };
        Self::new(Principal::anonymous(), Vec::new(), proof)
    }

    pub fn is_anonymous(&self) -> bool {
        self.proof.scheme == Scheme::Anonymous
    }

    /// Whether a scope bounds the caller, or whoever acts for it.
    pub fn is_scoped(&self) -> bool {
        self.scopes.is_some() || self.actor.as_ref().is_some_and(|actor| actor.is_scoped())
    }
}
