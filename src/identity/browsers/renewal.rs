//! Renewing a session at its issuer, when what the issuer said of the person no longer holds.
//!
//! One request has the turn, over all replicas; the others go on with what was known. An issuer that says
//! no ends the session. One that cannot be reached does not: people stay until the session's own end.

use std::sync::Arc;

use super::super::error::IdentityError;
use super::super::provider::{TokenError, Tokens};
use super::{Browsers, Kept};
use crate::clock::UnixMillis;
use crate::store::{SessionRecord, Sessions};

/// Whoever took the turn and did not come back has it for so long (milliseconds).
const LEASE: i64 = 20_000;
/// After an issuer could not be reached (milliseconds).
const PAUSE: i64 = 30_000;

impl Browsers {
    pub(super) async fn renew(
        &self,
        record: Arc<SessionRecord>,
    ) -> Result<Arc<SessionRecord>, IdentityError> {
        let Some(due) = record.refresh_at else { return Ok(record) };
        let now = self.clock.now();
        let lease = UnixMillis(now.0.saturating_add(LEASE));
        if !self.store.claim_renewal(&record.id, due, lease).await? {
            return Ok(record);
        }
        let kept = self.kept(&record).await;
        let (Some((_, provider)), Some(token)) = (self.provider(&record.issuer), kept.refresh_token.clone())
        else {
            return self.over(&record, "cannot be renewed").await;
        };
        let asked = provider.ask(&[("grant_type", "refresh_token"), ("refresh_token", &token)]).await;
        let renewed = match asked {
            Ok(tokens) => self.renewed(&record, kept, tokens).await,
            Err(TokenError::Refused(error)) if error == "invalid_grant" => {
                self.over(&record, "is not renewed by its issuer").await
            }
            Err(TokenError::Refused(reason) | TokenError::Unavailable(reason)) => {
                tracing::warn!(issuer = %record.issuer, %reason, "a session could not be renewed");
                let later = UnixMillis(self.clock.now().0.saturating_add(PAUSE));
                self.store.claim_renewal(&record.id, lease, later).await?;
                Ok(record)
            }
        };
        self.known.forget();
        renewed
    }

    async fn renewed(
        &self,
        record: &SessionRecord,
        kept: Kept,
        tokens: Tokens,
    ) -> Result<Arc<SessionRecord>, IdentityError> {
        let Some((issuer, provider)) = self.provider(&record.issuer) else {
            return self.over(record, "is of an issuer that is no longer trusted").await;
        };
        let (mut groups, mut good_for_ms) = (record.groups.clone(), tokens.expires_in_ms.unwrap_or(PAUSE));
        let mut id_token = kept.id_token;
        if let Some(fresh) = tokens.id_token {
            match self.person(issuer, provider, &fresh).await {
                Ok(person) if person.subject != record.subject || person.principal != record.principal => {
                    return self.over(record, "was renewed as somebody else").await;
                }
                Ok(person) => {
                    good_for_ms = self.good_for(&person, tokens.expires_in_ms);
                    groups = person.groups;
                    id_token = Some(fresh);
                }
                Err(IdentityError::Refused { reason }) => {
                    tracing::warn!(issuer = %record.issuer, %reason, "a renewed ID token is no good");
                    return self.over(record, "was renewed with a token that is no good").await;
                }
                // The keys cannot be had now; the token that renews next time must be kept all the same.
                Err(_) => good_for_ms = PAUSE,
            }
        }
        let kept = Kept { id_token, refresh_token: tokens.refresh_token.or(kept.refresh_token) };
        let refresh_at = UnixMillis(self.clock.now().0.saturating_add(good_for_ms.max(1000)));
        let sealed_tokens = self.sealed(&record.id, &kept)?;
        self.store.renew_session(&record.id, &groups, &sealed_tokens, Some(refresh_at)).await?;
        Ok(Arc::new(SessionRecord { groups, sealed_tokens, refresh_at: Some(refresh_at), ..record.clone() }))
    }

    async fn over(&self, record: &SessionRecord, why: &str) -> Result<Arc<SessionRecord>, IdentityError> {
        self.end(Sessions::One(&record.id), why).await?;
        Err(IdentityError::refused(format!("the session `{}` {why}; sign in again", record.id)))
    }
}
