//! `GET /tracegate/login` and the way back from the issuer.

use super::super::changes::settle;
use super::super::error::Refusal;
use super::super::own::Open;
use super::super::trail::Trail;
use super::{next, own_url, record_ended};
use crate::access::{Caller, Durability, PolicyChange, Proof, Scheme};
use crate::http::page::{escaped, page, redirect};
use crate::identity::Answered;
use crate::store::Sessions;
use crate::wire::Reply;

const CALLBACK: &str = "/tracegate/login/callback";

/// `GET /tracegate/login?next=…&issuer=…`: to the issuer, or a page to choose one.
pub(super) async fn begin(open: Open<'_>) -> Result<Reply, Refusal> {
    let browsers = open.app.identity.browsers();
    let choices = browsers.choices();
    let next = next::local(open.head.query.one("next")?.unwrap_or("/"));
    let issuer = match (open.head.query.one("issuer")?, &choices[..]) {
        (_, []) => return Err(Refusal::NotOffered("nobody can sign in with a browser here".to_owned())),
        (Some(wanted), _) => wanted,
        (None, [only]) => only.issuer.as_str(),
        (None, several) => {
            let link = |choice: &crate::identity::Choice| {
                let query = form_urlencoded::Serializer::new(String::new())
                    .append_pair("issuer", &choice.issuer)
                    .append_pair("next", next)
                    .finish();
                format!(
                    "<li><a class=\"button\" href=\"/tracegate/login?{}\">{}</a></li>",
                    escaped(&query),
                    escaped(&choice.name)
                )
            };
            let links: Vec<String> = several.iter().map(link).collect();
            let content = format!("<p>Sign in with</p>\n<ul class=\"choices\">{}</ul>", links.join("\n"));
            return Ok(page(200, "Sign in", &content));
        }
    };
    let begun = browsers.begin(issuer, &own_url(open.app, CALLBACK)?, next).await?;
    let mut reply = redirect(&begun.location);
    let cookie = browsers.set_cookie(browsers.sign_in_cookie_name(), Some(&begun.cookie));
    reply.headers.push("set-cookie", &cookie);
    Ok(reply)
}

/// `GET /tracegate/login/callback`: a new session, whatever session there was before.
pub(super) async fn finish(open: Open<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    let (app, browsers, query) = (open.app, open.app.identity.browsers(), &open.head.query);
    let answered = Answered {
        state: query.one("state")?,
        code: query.one("code")?,
        issuer: query.one("iss")?,
        error: query.one("error")?,
    };
    let signed_in = browsers.finish(browsers.sign_in_cookie(&open.head.headers)?, &answered).await?;
    let proof =
        Proof { scheme: Scheme::Session, credential: format!("{}#{}", signed_in.issuer, signed_in.subject) };
    let caller = Caller::new(signed_in.principal.clone(), signed_in.groups.clone(), proof);
    trail.caller(&caller);
    let known = browsers.admit(&signed_in).await?;
    trail.begin(Durability::Synced).await?;
    if !known {
        let entered = app.store.ensure_principal(&caller.principal, "enrolment", app.clock.now()).await?;
        app.identity.forget();
        settle(app, trail, entered).await?;
    }
    let before = browsers.session(&open.head.headers).await;
    let next = next::local(&signed_in.next).to_owned();
    let issuer = signed_in.issuer.clone();
    let agent = open.head.headers.get("user-agent").map(|agent| agent.chars().take(300).collect());
    let address = trail.source_address().map(str::to_owned);
    let session = browsers.start(signed_in, address, agent).await?;
    let after = serde_json::json!({
        "session": session.id,
        "principal": caller.principal,
        "issuer": issuer,
        "groups": caller.asserted_groups,
        "expires_at_ms": session.expires_at,
    });
    let change = PolicyChange { action: "session.create".to_owned(), before: serde_json::Value::Null, after };
    trail.policy_change(change, app.policy.version()).await?;
    if let Some(before) = before {
        const WHY: &str = "signed in again";
        let ended = browsers.end(Sessions::One(&before.id), WHY).await?;
        record_ended(app, trail, &ended, WHY).await?;
    }
    let mut reply = redirect(&next);
    let keep = browsers.set_cookie(browsers.cookie_name(), Some(&session.cookie));
    reply.headers.push("set-cookie", &keep);
    reply.headers.push("set-cookie", &browsers.set_cookie(browsers.sign_in_cookie_name(), None));
    Ok(reply)
}
