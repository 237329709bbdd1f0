//! `POST /oidc/v1/token`: an access token for a client's secret (RFC 6749, 4.4) or for another issuer's token
//! (RFC 8693).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::form::Form;
use crate::access::{Durability, Principal, Scope};
use crate::app::App;
use crate::http::error::Refusal;
use crate::http::own::Open;
use crate::http::trail::Trail;
use crate::identity::{Claimant, ExchangeError};
use crate::wire::{Body, Headers, Malformed, Reply};

/// The grant type of token exchange.
pub(super) const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT_TYPES: [&str; 2] =
    ["urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token"];
const ACCESS_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:access_token";

pub(super) async fn give(mut open: Open<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    if !open.head.query.pairs().is_empty() {
        // Queries are written to logs on the way.
        return Err(Malformed::new("query", "must be empty: send the form in the body").into());
    }
    let body = open.body().await?;
    trail.bytes_in(body.len() as u64);
    let form = Form::parse(&open.head.headers, &body)?;
    let basic = basic(&open.head.headers)?;
    let scopes = scopes(&form)?;
    let (claimant, is_exchange) = match form.text("grant_type") {
        Some("client_credentials") => (by_secret(open.app, &form, basic, trail).await?, false),
        Some(EXCHANGE) => (by_token(open.app, &form, basic, trail).await?, true),
        _ => {
            return Err(Refusal::OAuth {
                error: "unsupported_grant_type",
                message: format!("`grant_type` must be `client_credentials` or `{EXCHANGE}`"),
            });
        }
    };
    trail.caller(&claimant.caller);
    trail.begin(Durability::Synced).await?;
    let scope = claimant.narrowed(scopes).map_err(told)?;
    let (token, record) =
        open.app.identity.give(&claimant, scope, trail.source_address()).await.map_err(told)?;
    trail.note(format!("gave `{}`", record.id));
    let lives = record.expires_at.map_or(0, |end| end.0.saturating_sub(record.created_at.0) / 1000);
    let mut answer = json!({
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": lives,
        "scope": super::written(record.scopes.as_deref()).join(" "),
    });
    if is_exchange {
        answer["issued_token_type"] = ACCESS_TOKEN_TYPE.into();
    }
    let mut headers = Headers::new();
    headers.push("content-type", "application/json");
    headers.push("cache-control", "no-store");
    headers.push("pragma", "no-cache");
    Ok(Reply { status: 200, headers, body: Body::memory(answer.to_string()) })
}

/// A client by its id and secret, from the header or from the form.
async fn by_secret(
    app: &App,
    form: &Form,
    basic: Option<(String, String)>,
    trail: &mut Trail,
) -> Result<Claimant, Refusal> {
    if ["subject_token", "subject_token_type", "requested_token_type"].iter().any(|name| form.has(name)) {
        return Err(malformed("fields of a token exchange are sent with another grant type"));
    }
    let (client, secret) = match (basic, form.text("client_id"), form.text("client_secret")) {
        (Some(_), _, Some(_)) => {
            return Err(malformed("the secret is sent twice: in the header and in the form"));
        }
        (Some((client, _)), Some(other), None) if client != other => {
            return Err(malformed("the header and the form name different clients"));
        }
        (Some(basic), _, None) => basic,
        (None, Some(client), Some(secret)) => (client.to_owned(), secret.to_owned()),
        (None, _, _) => return Err(told(ExchangeError::Client)),
    };
    match app.identity.client(&client, &secret, trail.source_address()).await {
        Ok(claimant) => Ok(claimant),
        Err(error) => {
            claimed(app, &client, trail).await;
            Err(told(error))
        }
    }
}

/// A workload by a token of its own issuer.
async fn by_token(
    app: &App,
    form: &Form,
    basic: Option<(String, String)>,
    trail: &mut Trail,
) -> Result<Claimant, Refusal> {
    if basic.is_some() || form.has("client_secret") {
        return Err(malformed("a token exchange needs no secret; send none"));
    }
    if form.text("requested_token_type").is_some_and(|kind| kind != ACCESS_TOKEN_TYPE) {
        return Err(malformed("only access tokens are given"));
    }
    if !form.text("subject_token_type").is_some_and(|kind| JWT_TYPES.contains(&kind)) {
        return Err(malformed(&format!("`subject_token_type` must be `{}`", JWT_TYPES[0])));
    }
    let token = form.text("subject_token").ok_or_else(|| malformed("`subject_token` is missing"))?;
    let client = form.text("client_id");
    match app.identity.workload(token, client).await {
        Ok(claimant) => Ok(claimant),
        Err(error) => {
            if let Some(client) = client {
                claimed(app, client, trail).await;
            }
            if let ExchangeError::Grant(reason) = &error {
                tracing::info!(reason, "a foreign token was not exchanged");
                trail.note(reason.clone());
            }
            Err(told(error))
        }
    }
}

/// Notes in whose name a bad credential came, if that is the name of one; other names may be secrets.
async fn claimed(app: &App, client: &str, trail: &mut Trail) {
    if let Ok(principal) = Principal::service_principal(client)
        && let Ok(Some(_)) = app.store.is_active(&principal).await
    {
        trail.claimed(&principal);
    }
}

/// The id and secret of `Authorization: Basic`, as clients send them: as they are.
fn basic(headers: &Headers) -> Result<Option<(String, String)>, Refusal> {
    let Some(header) = headers.one("authorization")? else { return Ok(None) };
    let read = || {
        let (scheme, value) = header.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") || value.len() > 8192 {
            return None;
        }
        let text = String::from_utf8(STANDARD.decode(value.trim_matches(' ')).ok()?).ok()?;
        let (client, secret) = text.split_once(':')?;
        Some((client.to_owned(), secret.to_owned()))
    };
    read().map(Some).ok_or_else(|| told(ExchangeError::Client))
}

fn scopes(form: &Form) -> Result<Option<Vec<Scope>>, Refusal> {
    let words = form.text("scope").unwrap_or_default().split(' ').filter(|word| !word.is_empty());
    super::scopes(words).map_err(|_| Refusal::OAuth {
        error: "invalid_scope",
        message: format!(
            "`scope` is `{}`, or scopes such as `CAN_INGEST@experiment:1` between spaces",
            super::ALL_APIS
        ),
    })
}

fn malformed(problem: &str) -> Refusal {
    Malformed::new("request", problem).into()
}

/// What a stranger is told.
fn told(error: ExchangeError) -> Refusal {
    let (error, message) = match error {
        ExchangeError::Client => ("invalid_client", error.to_string()),
        ExchangeError::Grant(_) => {
            ("invalid_grant", "the subject token is not one that is exchanged here".to_owned())
        }
        ExchangeError::Scope(reason) => ("invalid_scope", reason),
        ExchangeError::TooMany { retry_after_ms } => {
            let message = format!("{error}; try again later");
            return Refusal::Limited { code: "REQUEST_LIMIT_EXCEEDED", message, retry_after_ms };
        }
        ExchangeError::Identity(error) => return error.into(),
    };
    Refusal::OAuth { error, message }
}
