//! URLs that stand for a caller: sealed for one method, path and query, for a time, and verified as one more
//! way to identify; what the caller may do is decided anew when the URL is used, so a revoked grant ends it.
//!
//! The seal travels in a header beside the URL, where no log of paths shows it.

use serde::{Deserialize, Serialize};

use super::error::Refusal;
use crate::access::{Caller, Principal, Proof, Scheme};
use crate::app::App;
use crate::wire::{Head, Malformed, Method};

/// The header that carries the seal.
pub(super) const HEADER: &str = "x-tracegate-signature";

/// How long a signed URL is good, in milliseconds: time enough to send what a client has begun.
const LIFETIME_MS: i64 = 3_600_000;

#[derive(Serialize, Deserialize)]
struct Signed {
    principal: String,
    /// Groups that the first credential asserted.
    groups: Vec<String>,
    /// The credential that the URL was asked for with.
    credential: String,
    expires_at: i64,
}

/// Signs `method` of `target` (path and query as they will be sent) for a caller.
pub(super) fn sign(app: &App, caller: &Caller, method: Method, target: &str) -> Result<String, Refusal> {
    let signed = Signed {
        principal: caller.principal.to_string(),
        groups: caller.asserted_groups.iter().map(Principal::to_string).collect(),
        credential: caller.proof.credential.clone(),
        expires_at: app.clock.now().0 + LIFETIME_MS,
    };
    let content = serde_json::to_vec(&signed).map_err(|error| Refusal::Internal(error.to_string()))?;
    let sealed = app.sealer.seal(&context(method, target), &content);
    sealed.map_err(|error| Refusal::Internal(error.to_string()))
}

/// The caller that a request is signed for; nothing if it is not signed.
pub(super) fn caller(app: &App, head: &Head) -> Result<Option<Caller>, Refusal> {
    let Some(seal) = head.headers.one(HEADER)? else { return Ok(None) };
    if head.headers.get("authorization").is_some() {
        let problem = format!("comes with `{HEADER}`: send one of them");
        return Err(Malformed::new("header `authorization`", problem).into());
    }
    let refuse = |problem: &str| Refusal::Unauthenticated(format!("the signature {problem}"));
    let query = head.query.to_encoded();
    let separator = if query.is_empty() { "" } else { "?" };
    let target = format!("{}{separator}{query}", head.path.to_encoded());
    let opened = app.sealer.open(&context(head.method, &target), seal);
    let content = opened.map_err(|_| refuse("is not one that was made for this request"))?;
    let signed: Signed = serde_json::from_slice(&content).map_err(|_| refuse("cannot be read"))?;
    if signed.expires_at <= app.clock.now().0 {
        return Err(refuse("has expired; begin the upload again"));
    }
    let principal = |text: &String| text.parse::<Principal>();
    Ok(Some(Caller {
        principal: principal(&signed.principal)?,
        asserted_groups: signed.groups.iter().map(principal).collect::<Result<_, _>>()?,
        proof: Proof { scheme: Scheme::SignedUrl, credential: signed.credential },
    }))
}

fn context(method: Method, target: &str) -> String {
    format!("signed {method} {target}")
}
