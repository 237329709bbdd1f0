//! Tokens: everybody's own; other people's with `identity.manage`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Call, Refusal, Trail, demand, sent_as};
use crate::access::{Check, PolicyChange, Principal, Privilege, Scope, Securable};
use crate::http::changes::settle;
use crate::http::governors;
use crate::identity::{IdentityError, Wanted};
use crate::store::{TokenKind, TokenRecord};
use crate::wire::Malformed;

/// A token to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewToken {
    /// Whose token (`user:NAME` or `service_principal:NAME`); the caller's own if absent.
    #[schemars(with = "Option<String>")]
    principal: Option<Principal>,
    /// What it is for, in its owner's words.
    #[serde(default = "unnamed")]
    name: String,
    /// How long it is valid, in seconds. If absent, without end, or as long as `identity.token_max_days` allows.
    ttl_seconds: Option<u64>,
    /// What it is for: `{"privilege": "CAN_INGEST", "securable": "experiment:1"}` each. For all that its owner
    /// may do if absent.
    scopes: Option<Vec<Scope>>,
}

/// A token, without itself.
#[derive(Serialize, JsonSchema)]
pub(super) struct Token {
    id: String,
    principal: String,
    name: String,
    created_at_ms: i64,
    created_by: String,
    expires_at_ms: Option<i64>,
    last_used_at_ms: Option<i64>,
    revoked_at_ms: Option<i64>,
    principal_active: bool,
    kind: TokenKind,
    /// What it is for, if for less than all that its owner may do.
    scopes: Option<Vec<Scope>>,
    /// The client secret or trust rule that an access token was got for.
    source: Option<String>,
}

impl From<TokenRecord> for Token {
    fn from(record: TokenRecord) -> Self {
        Self {
            id: record.id,
            principal: record.principal.to_string(),
            name: record.name,
            created_at_ms: record.created_at.0,
            created_by: record.created_by,
            expires_at_ms: record.expires_at.map(|time| time.0),
            last_used_at_ms: record.last_used_at.map(|time| time.0),
            revoked_at_ms: record.revoked_at.map(|time| time.0),
            principal_active: record.principal_active,
            kind: record.kind,
            scopes: record.scopes,
            source: record.source,
        }
    }
}

/// The tokens of a principal.
#[derive(Serialize, JsonSchema)]
pub(super) struct Tokens {
    tokens: Vec<Token>,
}

/// A token that was made.
#[derive(Serialize, JsonSchema)]
pub(super) struct Made {
    /// The token itself, which is in this answer and nowhere else.
    token: String,
    record: Token,
}

/// A token that was revoked.
#[derive(Serialize, JsonSchema)]
pub(super) struct Revoked {
    /// Its id.
    revoked: String,
}

fn unnamed() -> String {
    "unnamed".to_owned()
}

fn manage_identities(call: &Call<'_>) -> Result<(), Refusal> {
    demand(call, Check::new(Privilege::IdentityManage, Securable::workspace()))
}

/// `GET tokens?principal=P&kind=personal|oauth`
pub(super) async fn list(call: &Call<'_>) -> Result<Tokens, Refusal> {
    let whose = match call.head.query.one("principal")? {
        Some(text) => text.parse::<Principal>()?,
        None => call.caller.principal.clone(),
    };
    let kind = match call.head.query.one("kind")? {
        None | Some("personal") => TokenKind::Personal,
        Some("oauth") => TokenKind::Oauth,
        Some(_) => {
            return Err(Malformed::new("query parameter `kind`", "must be `personal` or `oauth`").into());
        }
    };
    if whose != call.caller.principal {
        manage_identities(call)?;
    }
    let tokens = call.app.store.tokens(Some(&whose), kind).await?;
    Ok(Tokens { tokens: tokens.into_iter().map(Token::from).collect() })
}

/// `POST tokens`: the secret is in this answer and nowhere else.
pub(super) async fn create(call: &mut Call<'_>, trail: &Trail) -> Result<Made, Refusal> {
    let wanted: NewToken = sent_as(call).await?;
    let whose = wanted.principal.unwrap_or_else(|| call.caller.principal.clone());
    may_make(call, &whose)?;
    if whose.kind == crate::access::PrincipalKind::Group {
        return Err(Malformed::new("principal", "a group cannot have a token").into());
    }
    let by = call.caller.principal.to_string();
    let ttl = lifetime(call, wanted.ttl_seconds)?;
    let change = call.app.store.ensure_principal(&whose, &by, call.app.clock.now()).await?;
    settle(call.app, trail, change).await?;
    let (secret, record) = make(call, trail, &whose, &wanted.name, ttl, wanted.scopes).await?;
    Ok(Made { token: secret, record: record.into() })
}

/// For oneself, whoever may make tokens; for others, who manages identities, and policy too where they govern it.
fn may_make(call: &Call<'_>, principal: &Principal) -> Result<(), Refusal> {
    if *principal == call.caller.principal {
        return demand(call, Check::new(Privilege::TokenUse, Securable::workspace()));
    }
    manage_identities(call)?;
    governors::store_for(call, &[principal]).map(|_| ())
}

/// Makes a token for a principal that is known, and records it.
pub(in crate::http) async fn make(
    call: &Call<'_>,
    trail: &Trail,
    principal: &Principal,
    name: &str,
    ttl_ms: Option<i64>,
    scopes: Option<Vec<Scope>>,
) -> Result<(String, TokenRecord), Refusal> {
    may_make(call, principal)?;
    let created_by = &call.caller.principal.to_string();
    let wanted = Wanted { principal, name, ttl_ms, scopes, created_by };
    let (secret, record) = call.app.identity.issue(wanted).await.map_err(asked_wrongly)?;
    record_change(call, trail, "token.create", json!(null), json!(record)).await?;
    Ok((secret, record))
}

/// The lifetime in milliseconds of what is asked for with one in seconds.
pub(in crate::http) fn lifetime(call: &Call<'_>, seconds: Option<u64>) -> Result<Option<i64>, Refusal> {
    let asked = seconds.map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000));
    call.app.identity.lifetime(asked).map_err(asked_wrongly)
}

/// What is refused of a token or secret that is asked for is the request's fault, not the caller's credential's.
pub(in crate::http) fn asked_wrongly(error: IdentityError) -> Refusal {
    match error {
        IdentityError::Refused { reason } => Malformed::new("token", reason).into(),
        other => other.into(),
    }
}

/// Records a change that leaves the policy version as it is.
pub(in crate::http) async fn record_change(
    call: &Call<'_>,
    trail: &Trail,
    action: &str,
    before: Value,
    after: Value,
) -> Result<(), Refusal> {
    let change = PolicyChange { action: action.to_owned(), before, after };
    Ok(trail.policy_change(change, call.app.policy.version()).await?)
}

/// `DELETE tokens/{id}`: refused from now on, by every replica within its cache time.
pub(super) async fn revoke(call: &Call<'_>, trail: &Trail) -> Result<Revoked, Refusal> {
    let id = call.param("id");
    let found = call.app.store.token(id).await?;
    if found.as_ref().is_none_or(|token| token.principal != call.caller.principal) {
        manage_identities(call)?;
    }
    let missing = || Refusal::NotFound(format!("token `{id}` does not exist or is revoked already"));
    revoke_known(call, trail, found.ok_or_else(missing)?).await?;
    Ok(Revoked { revoked: id.to_owned() })
}

/// Revokes a token that the caller may revoke, and records it.
pub(in crate::http) async fn revoke_known(
    call: &Call<'_>,
    trail: &Trail,
    token: TokenRecord,
) -> Result<(), Refusal> {
    if token.principal != call.caller.principal {
        governors::store_for(call, &[&token.principal])?;
    }
    let revoked = call.app.store.revoke_token(&token.id, call.app.clock.now()).await?;
    call.app.identity.forget();
    if !revoked {
        let id = token.id;
        return Err(Refusal::NotFound(format!("token `{id}` does not exist or is revoked already")));
    }
    let (before, now) = (json!(token), call.app.clock.now());
    let after = TokenRecord { revoked_at: Some(now), ..token };
    record_change(call, trail, "token.revoke", before, json!(after)).await
}
