//! URLs that stand for a caller: sealed for one method, path and query, for a time, and verified as one more
//! way to identify; what the caller may do is decided anew when the URL is used, so a revoked grant ends it.
//!
//! The seal travels in a header beside the URL, where no log of paths shows it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::error::Refusal;
use crate::access::{Caller, Principal, Proof, Scheme, Scope};
use crate::app::App;
use crate::clock::UnixMillis;
use crate::keys::Ring;
use crate::seal::NotOurs;
use crate::store::Purpose;
use crate::wire::{Head, Malformed, Method, Query};

/// The header that carries the seal.
pub(super) const HEADER: &str = "x-tracegate-signature";

/// How long a signed URL is good, in milliseconds: time enough to send what a client has begun.
const LIFETIME_MS: i64 = 3_600_000;

#[derive(Serialize, Deserialize)]
struct Signed {
    caller: SignedCaller,
    expires_at: i64,
}

/// All that decides what a caller may do, so that a URL never stands for more than who asked for it.
#[derive(Serialize, Deserialize)]
struct SignedCaller {
    principal: Principal,
    /// Groups that the first credential asserted.
    groups: Vec<Principal>,
    /// The credential that the URL was asked for with.
    credential: String,
    scopes: Option<Vec<Scope>>,
    actor: Option<Box<SignedCaller>>,
}

impl SignedCaller {
    fn of(caller: &Caller) -> Self {
        Self {
            principal: caller.principal.clone(),
            groups: caller.asserted_groups.clone(),
            credential: caller.proof.credential.clone(),
            scopes: caller.scopes.as_ref().map(|scopes| scopes.to_vec()),
            actor: caller.actor.as_ref().map(|actor| Box::new(Self::of(actor))),
        }
    }

    fn into_caller(self) -> Caller {
        Caller {
            principal: self.principal,
            asserted_groups: self.groups,
            proof: Proof { scheme: Scheme::SignedUrl, credential: self.credential },
            scopes: self.scopes.map(Arc::from),
            actor: self.actor.map(|actor| Arc::new(actor.into_caller())),
        }
    }
}

/// Signs `method` of `target` (path and query as they will be sent) for a caller.
pub(super) fn sign(app: &App, caller: &Caller, method: Method, target: &str) -> Result<String, Refusal> {
    sign_until(app, caller, method, target, i64::MAX)
}

/// As [`sign`], ending at a time that the client chose, if that is sooner.
pub(super) fn sign_until(
    app: &App,
    caller: &Caller,
    method: Method,
    target: &str,
    until: i64,
) -> Result<String, Refusal> {
    let now = app.clock.now();
    let expires_at = until.min(now.0 + LIFETIME_MS);
    let sealed = seal(&app.keys.ring(Purpose::Sealing), caller, method, target, now, expires_at);
    sealed.map_err(|error| Refusal::Internal(error.to_string()))
}

/// A path, and until when, as a link that a client fetches without any header of its own.
pub(super) fn link(app: &App, caller: &Caller, path: &str, until: i64) -> Result<String, Refusal> {
    let seal = sign_until(app, caller, Method::Get, &linked(path), until)?;
    let mut query = Query::parse("")?;
    query.set(HEADER, &seal);
    Ok(format!("{path}?{}", query.to_encoded()))
}

/// What a link's seal is bound to. One that is meant for a header is none for a link.
fn linked(path: &str) -> String {
    format!("link {path}")
}

/// The caller that a request is signed for; nothing if it is not signed.
pub(super) async fn caller(app: &App, head: &Head) -> Result<Option<Caller>, Refusal> {
    if let Some(seal) = head.query.one(HEADER)? {
        if head.headers.get("authorization").is_some() {
            let problem = "is in the link already: send no `Authorization` with it";
            return Err(Malformed::new("header `authorization`", problem).into());
        }
        if head.query.pairs().len() != 1 {
            return Err(Malformed::new("query", "holds more than the link had").into());
        }
        let ring = app.keys.ring_for(Purpose::Sealing, seal).await;
        let target = linked(&head.path.to_encoded());
        let opened = open(&ring, seal, head.method, &target, app.clock.now());
        return opened.map(Some).map_err(|problem| Refusal::Unauthenticated(format!("the link {problem}")));
    }
    let Some(signature) = head.headers.one(HEADER)? else { return Ok(None) };
    if head.headers.get("authorization").is_some() {
        let problem = format!("comes with `{HEADER}`: send one of them");
        return Err(Malformed::new("header `authorization`", problem).into());
    }
    let query = head.query.to_encoded();
    let separator = if query.is_empty() { "" } else { "?" };
    let target = format!("{}{separator}{query}", head.path.to_encoded());
    let ring = app.keys.ring_for(Purpose::Sealing, signature).await;
    let opened = open(&ring, signature, head.method, &target, app.clock.now());
    opened.map(Some).map_err(|problem| Refusal::Unauthenticated(format!("the signature {problem}")))
}

pub(super) fn seal(
    ring: &Ring,
    caller: &Caller,
    method: Method,
    target: &str,
    now: UnixMillis,
    expires_at: i64,
) -> Result<String, NotOurs> {
    let signed = Signed { caller: SignedCaller::of(caller), expires_at };
    ring.seal(now, &context(method, target), &serde_json::to_vec(&signed).map_err(|_| NotOurs)?)
}

pub(super) fn open(
    ring: &Ring,
    signature: &str,
    method: Method,
    target: &str,
    now: UnixMillis,
) -> Result<Caller, &'static str> {
    const FOREIGN: &str = "is not one that was made for this request";
    let content = ring.open(&context(method, target), signature).map_err(|_| FOREIGN)?;
    let signed: Signed = serde_json::from_slice(&content).map_err(|_| FOREIGN)?;
    if signed.expires_at <= now.0 {
        return Err("has expired; ask for another one");
    }
    Ok(signed.caller.into_caller())
}

fn context(method: Method, target: &str) -> String {
    format!("signed {method} {target}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_for_one_request_of_one_caller_and_for_an_hour() {
        let ring = Ring::of(Purpose::Sealing, [3; 32]);
        let proof = Proof { scheme: Scheme::Token, credential: "tok_1".to_owned() };
        let caller =
            Caller::new(Principal::user("ann").unwrap(), vec![Principal::group("staff").unwrap()], proof);
        let target = "/api/tracegate/v1/multipart/1/a?upload_id=u&part_number=1";
        let signature =
            seal(&ring, &caller, Method::Put, target, UnixMillis(1_000), 1_000 + LIFETIME_MS).unwrap();
        let open = |method, target: &str, now| open(&ring, &signature, method, target, UnixMillis(now));
        let opened = open(Method::Put, target, 1_000 + LIFETIME_MS - 1).unwrap();
        assert_eq!((opened.principal, opened.asserted_groups), (caller.principal, caller.asserted_groups));
        assert_eq!(opened.proof.scheme, Scheme::SignedUrl);
        assert!(open(Method::Put, target, 1_000 + LIFETIME_MS).unwrap_err().contains("expired"));
        assert!(open(Method::Post, target, 1_000).is_err());
        for other in [target.replace("=1", "=2"), target.replace("/1/a", "/2/a"), format!("{target}&x=y")] {
            assert!(open(Method::Put, &other, 1_000).is_err(), "{other}");
        }
        // A page token of ours is sealed by the same key and is no signature.
        let page = ring.seal(UnixMillis(1_000), "user:ann trace.search", b"{}").unwrap();
        assert!(super::open(&ring, &page, Method::Put, target, UnixMillis(1_000)).is_err());
    }
}
