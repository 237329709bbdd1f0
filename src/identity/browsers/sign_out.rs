//! Signing out at the issuer too, and being told by the issuer that somebody signed out.

use serde_json::Value;

use super::super::error::IdentityError;
use super::super::jwt::Unverified;
use super::Browsers;
use crate::access::Principal;
use crate::store::{SessionRecord, Sessions};

/// A logout token older than this is not taken, whatever its end (milliseconds).
const OLDEST: i64 = 10 * 60_000;

impl Browsers {
    /// Where to send a browser whose session ended, so that its issuer signs it out too.
    pub async fn sign_out_url(&self, session: &SessionRecord, back_to: &str) -> Option<String> {
        let (_, provider) = self.provider(&session.issuer)?;
        let endpoint = provider.endpoints().await.ok()?.end_session.clone()?;
        let mut query = form_urlencoded::Serializer::new(String::new());
        if let Some(hint) = self.kept(session).await.id_token {
            query.append_pair("id_token_hint", &hint);
        }
        query.append_pair("client_id", &provider.client_id);
        query.append_pair("post_logout_redirect_uri", back_to);
        let separator = if endpoint.contains('?') { '&' } else { '?' };
        Some(format!("{endpoint}{separator}{}", query.finish()))
    }

    /// Which sessions a logout token (OpenID Connect Back-Channel Logout) ends: verified, nothing ended yet.
    pub async fn told_to_end(&self, token: &str) -> Result<ToldToEnd, IdentityError> {
        let refused = |reason: &str| IdentityError::refused(reason);
        let unverified = Unverified::read(token)?;
        let claimed = unverified.issuer().unwrap_or_default();
        let (issuer, provider) =
            self.provider(claimed).ok_or_else(|| refused("the token's issuer is not trusted here"))?;
        let (audience, now) = ([provider.client_id.clone()], self.clock.now());
        let claims = issuer.verify(token, &unverified.header, &audience, now, self.skew_ms).await?.claims;
        if !unverified.is_of_sign_out() || claims.contains_key("nonce") {
            return Err(refused("the token is not a logout token"));
        }
        let issued = claims.get("iat").and_then(Value::as_f64).unwrap_or_default() * 1000.0;
        #[expect(clippy::cast_precision_loss, reason = "times of this age are exact")]
        let age = now.0 as f64 - issued;
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        if age > OLDEST as f64 {
            return Err(refused("the logout token is too old"));
        }
        let text = |name: &str| claims.get(name).and_then(Value::as_str).map(str::to_owned);
        let (session, subject) = (text("sid"), text("sub"));
        if session.is_none() && subject.is_none() {
            return Err(refused("the logout token names nobody"));
        }
        Ok(ToldToEnd { issuer: issuer.name.clone(), session, subject })
    }

    pub async fn end_as_told(&self, told: &ToldToEnd) -> Result<Vec<(String, Principal)>, IdentityError> {
        let issuer = told.issuer.as_str();
        let which = match (&told.session, &told.subject) {
            (Some(session), _) => Sessions::OfIssuerSession { issuer, session },
            (None, Some(subject)) => Sessions::OfSubject { issuer, subject },
            (None, None) => return Ok(Vec::new()),
        };
        self.end(which, "signed out at the issuer").await
    }
}

/// What a logout token says.
#[derive(Debug)]
pub struct ToldToEnd {
    issuer: String,
    session: Option<String>,
    subject: Option<String>,
}
