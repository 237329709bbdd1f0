//! What a cookie needs that a header does not: browsers send it along by themselves, with whatever page asks.

use actix_web::HttpRequest;

use super::super::convert;
use super::super::error::Refusal;
use super::next;
use crate::access::{Caller, Scheme};
use crate::app::App;
use crate::http::page::redirect;
use crate::wire::{Head, Reply};

/// Whether a cookie that is no good is no matter: who signs in anew, or out, need not be signed in.
pub(in crate::http) fn starts_over(head: &Head) -> bool {
    let own = matches!(head.path.segments(), [first, second, ..]
        if first == "tracegate" && matches!(second.as_str(), "login" | "logout" | "backchannel-logout"));
    own && head.headers.get("authorization").is_none()
}

/// A call by cookie that is more than a reading must prove that a page of ours made it: by what the browser
/// says of that page, or by the session's token, which no other page can read.
pub(in crate::http) async fn prove_own_page(
    app: &App,
    caller: &Caller,
    head: &Head,
    mutates: bool,
) -> Result<(), Refusal> {
    if caller.proof.scheme != Scheme::Session || (head.method.is_read() && !mutates) {
        return Ok(());
    }
    if let Some(token) = head.headers.one("x-tracegate-csrf")?
        && app.identity.browsers().is_csrf_token(&caller.proof.credential, token).await
    {
        return Ok(());
    }
    let proved = match head.headers.one("sec-fetch-site")? {
        Some(site) => site == "same-origin",
        None => match head.headers.one("origin")? {
            Some(origin) => {
                is_own_origin(app.config.server.public_url.as_deref(), head.headers.one("host")?, origin)
            }
            None => false,
        },
    };
    if proved {
        return Ok(());
    }
    Err(Refusal::Denied(
        "a call with a session's cookie must come from a page of Tracegate; send the session's token as \
         `X-Tracegate-CSRF`, or call with a token instead"
            .to_owned(),
    ))
}

/// Scheme, host and port: a page over plain HTTP is not a page of ours over `https`.
fn is_own_origin(public_url: Option<&str>, host: Option<&str>, origin: &str) -> bool {
    match (public_url, host) {
        (Some(url), _) => {
            let mut parts = url.splitn(3, '/');
            let (scheme, _, rest) = (parts.next(), parts.next(), parts.next().unwrap_or_default());
            let authority = rest.split('/').next().unwrap_or_default();
            !authority.is_empty() && format!("{}//{authority}", scheme.unwrap_or_default()) == origin
        }
        (None, Some(host)) => origin == format!("http://{host}"),
        (None, None) => false,
    }
}

/// What a browser is told instead of "who are you?", where people can sign in: the way to do so if a person
/// went to a page, and otherwise nothing that makes it ask for a password. All other clients get the refusal.
pub(in crate::http) fn for_browsers(app: &App, request: &HttpRequest, mut refusal: Reply) -> Reply {
    if !app.identity.browsers().offers_sign_in() {
        return refusal;
    }
    if let Some(redirect) = to_sign_in(app, request) {
        return redirect;
    }
    if request.headers().contains_key("sec-fetch-mode") {
        refusal.headers.set("www-authenticate", "Bearer realm=\"tracegate\"");
    }
    refusal
}

fn to_sign_in(app: &App, request: &HttpRequest) -> Option<Reply> {
    let browsers = app.identity.browsers();
    let head = convert::head(request).ok()??;
    if request.method() != actix_web::http::Method::GET || head.headers.get("authorization").is_some() {
        return None;
    }
    let navigates = match head.headers.get("sec-fetch-mode") {
        Some(mode) => mode == "navigate",
        None => head.headers.get("accept").is_some_and(|kinds| kinds.contains("text/html")),
    };
    if !navigates || starts_over(&head) {
        return None;
    }
    let query = head.query.to_encoded();
    let separator = if query.is_empty() { "" } else { "?" };
    let wanted = format!("{}{separator}{query}", head.path.to_encoded());
    let query =
        form_urlencoded::Serializer::new(String::new()).append_pair("next", next::local(&wanted)).finish();
    let mut reply = redirect(&format!("/tracegate/login?{query}"));
    reply.status = 302;
    if browsers.has_cookie(&head.headers) {
        reply.headers.push("set-cookie", &browsers.set_cookie(browsers.cookie_name(), None));
    }
    Some(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_ours_by_scheme_host_and_port() {
        let own =
            |origin: &str| is_own_origin(Some("https://traces.example/x"), Some("traces.example"), origin);
        assert!(own("https://traces.example"));
        for other in [
            "http://traces.example",
            "https://traces.example:8443",
            "https://traces.example.evil",
            "https://evil.example",
            "https://traces.example/",
            "null",
            "",
        ] {
            assert!(!own(other), "{other}");
        }
        // What was configured decides; a `Host` that somebody sent does not.
        assert!(!is_own_origin(Some("https://traces.example"), Some("evil.example"), "https://evil.example"));
        assert!(is_own_origin(None, Some("127.0.0.1:5001"), "http://127.0.0.1:5001"));
        assert!(!is_own_origin(None, Some("127.0.0.1:5001"), "http://127.0.0.1:5002"));
        assert!(!is_own_origin(None, None, "http://"));
    }
}
