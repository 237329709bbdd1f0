//! On behalf of: a service principal that may act for users names one in a header, and the call is then the
//! user's, made by the service principal. It needs the rights of both; the record names both.
//!
//! `X-Tracegate-On-Behalf-Of: user:ann`

use std::sync::Arc;

use super::error::Refusal;
use crate::access::{Caller, Check, Principal, PrincipalKind, Privilege, Scheme, Securable};
use crate::app::App;
use crate::wire::{Headers, Malformed};

const HEADER: &str = "x-tracegate-on-behalf-of";

/// The caller, as whoever the header names if there is one. Nobody without the privilege learns from the answer
/// whether a user exists.
pub(super) async fn acting(
    app: &App,
    headers: &Headers,
    caller: Option<Caller>,
) -> Result<Option<Caller>, Refusal> {
    let Some(named) = headers.one(HEADER)? else { return Ok(caller) };
    let Some(actor) = caller else {
        return Err(Refusal::Unauthenticated(format!("`{HEADER}` came without a credential of who acts")));
    };
    // A browser's session and a signed URL are one person's own, whoever sends them along.
    let by_itself = matches!(actor.proof.scheme, Scheme::Token | Scheme::Jwt) && actor.actor.is_none();
    if actor.principal.kind != PrincipalKind::ServicePrincipal || !by_itself {
        return Err(Refusal::Denied(format!(
            "only a service principal with a token of its own may act on behalf of users, and `{}` does not call \
             as one",
            actor.principal
        )));
    }
    if !app.policy.view()?.allows(&actor, Check::new(Privilege::PrincipalActFor, Securable::workspace()))? {
        return Err(Refusal::Denied(format!(
            "`{}` does not have `{}` on the workspace, or its token is not for it",
            actor.principal,
            Privilege::PrincipalActFor
        )));
    }
    let refuse = |problem: &str| Malformed::new(format!("header `{HEADER}`"), problem);
    let user: Principal = named.parse().map_err(|_| refuse("must name a user, as `user:NAME`"))?;
    if user.kind != PrincipalKind::User {
        return Err(refuse("must name a user: nobody acts for a group or another service principal").into());
    }
    if app.identity.standing(&user).await? != Some(true) {
        return Err(Refusal::Denied(format!(
            "`{user}` is not known here or deactivated, so nobody acts for it"
        )));
    }
    let mut caller = Caller::new(user, Vec::new(), actor.proof.clone());
    caller.actor = Some(Arc::new(actor));
    Ok(Some(caller))
}
