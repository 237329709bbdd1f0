//! Signing out: here, at the issuer, and because the issuer says so.

use super::super::error::Refusal;
use super::super::own::Open;
use super::super::trail::Trail;
use super::{Form, forged, own_url, record_ended};
use crate::access::{Caller, Durability, Scheme};
use crate::http::page::{escaped, page, page_that_leads_to};
use crate::store::Sessions;
use crate::wire::{Headers, Reply};

const PATH: &str = "/tracegate/logout";
const WHY: &str = "signed out";

/// The session of whoever calls, if a browser's.
fn session_of<'a>(open: &Open<'a>) -> Option<&'a Caller> {
    open.caller.filter(|caller| caller.proof.scheme == Scheme::Session)
}

/// A form with one button, which shows that it comes from here.
pub(super) fn form(path: &str, csrf: &str, more: &str, class: &str, button: &str) -> String {
    format!(
        "<form method=\"post\" action=\"{path}\"><input type=\"hidden\" name=\"csrf\" value=\"{}\">{more}\
         <button{class}>{}</button></form>",
        escaped(csrf),
        escaped(button)
    )
}

/// `GET /tracegate/logout`: a page that asks; a link alone signs nobody out.
pub(super) async fn ask(open: Open<'_>) -> Result<Reply, Refusal> {
    let Some(caller) = session_of(&open) else { return Ok(signed_out(&open)) };
    let csrf = open.app.identity.browsers().csrf_token(&caller.proof.credential);
    let content = format!(
        "<p>You are signed in as <strong>{}</strong>.</p>\n{}",
        escaped(&caller.principal.name),
        form(PATH, &csrf, "", "", "Sign out")
    );
    Ok(page(200, "Sign out", &content))
}

/// `POST /tracegate/logout`
pub(super) async fn sign_out(mut open: Open<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    let Some(caller) = session_of(&open) else { return Ok(signed_out(&open)) };
    trail.caller(caller);
    let (app, browsers) = (open.app, open.app.identity.browsers());
    let form = Form::parse(&open.body().await?);
    if !browsers.is_csrf_token(&caller.proof.credential, form.one("csrf")?).await {
        return Err(forged());
    }
    trail.begin(Durability::Synced).await?;
    // Before its end, which also drops what the issuer gave.
    let session = browsers.session(&open.head.headers).await;
    let at_issuer = match &session {
        Some(session) => browsers.sign_out_url(session, &own_url(app, PATH)?).await,
        None => None,
    };
    let ended = browsers.end(Sessions::One(&caller.proof.credential), WHY).await?;
    record_ended(app, trail, &ended, WHY).await?;
    let mut reply = match at_issuer {
        None => return Ok(signed_out(&open)),
        Some(url) => page_that_leads_to(
            &url,
            "You are signed out",
            &format!(
                "<p>Now you are signed out where you signed in, too.</p>\n\
                 <p><a class=\"button\" href=\"{}\">Go on</a></p>",
                escaped(&url)
            ),
        ),
    };
    clear(&open, &mut reply.headers);
    Ok(reply)
}

fn signed_out(open: &Open<'_>) -> Reply {
    let content = "<p>You are not signed in here.</p>\n\
                   <p><a class=\"button\" href=\"/tracegate/login\">Sign in</a></p>";
    let mut reply = page(200, "You are signed out", content);
    clear(open, &mut reply.headers);
    reply
}

fn clear(open: &Open<'_>, headers: &mut Headers) {
    let browsers = open.app.identity.browsers();
    if browsers.has_cookie(&open.head.headers) {
        headers.push("set-cookie", &browsers.set_cookie(browsers.cookie_name(), None));
    }
}

/// `POST /tracegate/backchannel-logout`: from an issuer, not from a browser.
pub(super) async fn told_by_issuer(mut open: Open<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    let browsers = open.app.identity.browsers();
    let form = Form::parse(&open.body().await?);
    let wrong = |message: String| Refusal::OAuth { error: "invalid_request", message };
    let token = form.one("logout_token").map_err(|refusal| wrong(refusal.to_string()))?;
    let told = browsers.told_to_end(token).await.map_err(|error| match error {
        crate::identity::IdentityError::Refused { reason } => wrong(reason),
        other => other.into(),
    })?;
    trail.begin(Durability::Synced).await?;
    let ended = browsers.end_as_told(&told).await?;
    record_ended(open.app, trail, &ended, "signed out at the issuer").await?;
    let mut headers = Headers::new();
    headers.push("cache-control", "no-store");
    Ok(Reply { status: 200, headers, body: crate::wire::Body::Empty })
}
