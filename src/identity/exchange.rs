//! Access tokens: what the token endpoint gives for a client secret or for another issuer's token.
//!
//! They are opaque tokens of ours that end soon, and at once when what they were got for ends. Whoever claims
//! one is known first ([`Claimant`]), so that it can be recorded before a token is made.

use super::Identity;
use super::error::IdentityError;
use super::tokens::Wanted;
use crate::access::{Caller, Principal, Proof, Scheme, Scope};
use crate::clock::UnixMillis;
use crate::store::TokenRecord;

/// For so long it can still be said of an access token that it has expired, and not that nobody knows it.
const KEPT_MS: i64 = 3_600_000;

/// A service principal that proved who it is at the token endpoint.
pub struct Claimant {
    pub caller: Caller,
    /// The secret or the rule, which ends its tokens when it ends.
    source: String,
    /// What the secret is for, if for less than all.
    bound: Option<Vec<Scope>>,
    /// When the secret ends.
    expires_at: Option<UnixMillis>,
}

impl Claimant {
    /// The scopes of a token that is asked for with these: never more than the secret is for.
    pub fn narrowed(&self, asked: Option<Vec<Scope>>) -> Result<Option<Vec<Scope>>, ExchangeError> {
        match (asked, &self.bound) {
            (asked, None) => Ok(asked),
            (None, Some(bound)) => Ok(Some(bound.clone())),
            (Some(asked), Some(bound)) if asked.iter().all(|scope| bound.contains(scope)) => Ok(Some(asked)),
            (Some(_), Some(_)) => {
                let problem = "the secret is for less; ask for scopes of its own or leave `scope` out";
                Err(ExchangeError::Scope(problem.to_owned()))
            }
        }
    }
}

/// Why no access token is given.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// An unknown client or a wrong secret: which one is told to nobody.
    #[error("the client is not known or its secret is wrong")]
    Client,
    /// As [`Client`](Self::Client), from where too many came.
    #[error("too many wrong secrets come from this address")]
    TooMany { retry_after_ms: u64 },
    /// The reason is for the record. Strangers are told that the token is no good, not what would be.
    #[error("{0}")]
    Grant(String),
    /// More was asked for than there is.
    #[error("{0}")]
    Scope(String),
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl Identity {
    /// The client that an id and a secret prove.
    pub async fn client(
        &self,
        client_id: &str,
        secret: &str,
        address: Option<&str>,
    ) -> Result<Claimant, ExchangeError> {
        let Some(shown) = self.secrets.verify(client_id, secret).await? else {
            return Err(self.wrong_secret(address));
        };
        let proof = Proof { scheme: Scheme::ClientSecret, credential: shown.id.clone() };
        Ok(Claimant {
            caller: Caller::new(shown.principal, Vec::new(), proof),
            source: shown.id,
            bound: shown.scopes,
            expires_at: shown.expires_at,
        })
    }

    /// The service principal that another issuer's token stands for, by exactly one trust rule.
    pub async fn workload(&self, token: &str, client_id: Option<&str>) -> Result<Claimant, ExchangeError> {
        if token.len() > super::credential::LIMIT || token.bytes().filter(|byte| *byte == b'.').count() != 2 {
            return Err(ExchangeError::Grant("the subject token is not a JWT".to_owned()));
        }
        let found = self.jwts.rule(token, &self.federation, client_id).await;
        let rule = found.map_err(|error| match error {
            IdentityError::Refused { reason } => ExchangeError::Grant(reason),
            other => ExchangeError::Identity(other),
        })?;
        if self.store.is_active(&rule.principal).await.map_err(IdentityError::from)? != Some(true) {
            let reason =
                format!("`{}`, for whom the rule stands, is not known or deactivated", rule.principal);
            return Err(ExchangeError::Grant(reason));
        }
        let proof = Proof { scheme: Scheme::Jwt, credential: rule.id.clone() };
        Ok(Claimant {
            caller: Caller::new(rule.principal.clone(), Vec::new(), proof),
            source: rule.id.clone(),
            bound: None,
            expires_at: None,
        })
    }

    /// Makes an access token. It is in the answer and nowhere else.
    pub async fn give(
        &self,
        claimant: &Claimant,
        scopes: Option<Vec<Scope>>,
        address: Option<&str>,
    ) -> Result<(String, TokenRecord), ExchangeError> {
        let left = claimant.expires_at.map_or(i64::MAX, |end| end.0.saturating_sub(self.clock.now().0));
        let principal: &Principal = &claimant.caller.principal;
        let wanted = Wanted {
            principal,
            name: "access token",
            ttl_ms: Some(self.access_token_ms.min(left)),
            scopes,
            created_by: &principal.to_string(),
        };
        let issued = self.tokens.issue_access(wanted, &claimant.source).await;
        let issued = issued.map_err(|error| match error {
            IdentityError::Refused { reason } => ExchangeError::Scope(reason),
            other => ExchangeError::Identity(other),
        })?;
        // Nothing: the secret was revoked a moment ago.
        issued.ok_or_else(|| self.wrong_secret(address))
    }

    fn wrong_secret(&self, address: Option<&str>) -> ExchangeError {
        match self.attempts.failed(address) {
            Some(retry_after_ms) => ExchangeError::TooMany { retry_after_ms },
            None => ExchangeError::Client,
        }
    }

    /// Forgets access tokens that ended a while ago; answers how many.
    pub async fn prune_access_tokens(&self) -> Result<u64, IdentityError> {
        let before = UnixMillis(self.clock.now().0.saturating_sub(KEPT_MS));
        Ok(self.store.prune_access_tokens(before).await?)
    }
}
