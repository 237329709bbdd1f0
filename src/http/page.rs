//! Our few pages: plain HTML, everything escaped, nothing that runs.

use crate::wire::{Body, Headers, Reply};

const STYLE: &str = include_str!("page.css");

/// Text in HTML, in and out of attributes.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A page; `content` is HTML.
pub(super) fn page(status: u16, title: &str, content: &str) -> Reply {
    with_head(status, title, "", content)
}

/// A page that goes on to a URL by itself: a form's own redirect must stay here (`form-action`).
pub(super) fn page_that_leads_to(url: &str, title: &str, content: &str) -> Reply {
    let head = format!("<meta http-equiv=\"refresh\" content=\"1; url={}\">", escaped(url));
    with_head(200, title, &head, content)
}

fn with_head(status: u16, title: &str, head: &str, content: &str) -> Reply {
    let title = escaped(title);
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n{head}\n\
         <title>{title} · Tracegate</title>\n<style>{STYLE}</style>\n</head>\n\
         <body>\n<main>\n<p class=\"mark\">Tracegate</p>\n<h1>{title}</h1>\n{content}\n</main>\n</body>\n</html>\n"
    );
    let mut headers = guarded();
    headers.push("content-type", "text/html; charset=utf-8");
    Reply { status, headers, body: Body::memory(html) }
}

/// To another page; a local path, or a URL that was checked.
pub(super) fn redirect(location: &str) -> Reply {
    let mut headers = guarded();
    headers.push("location", location);
    Reply { status: 303, headers, body: Body::Empty }
}

/// What every answer of ours to a browser says.
fn guarded() -> Headers {
    let mut headers = Headers::new();
    headers.push("cache-control", "no-store");
    // The style is the only thing that is taken, by what it is.
    let policy = format!(
        "default-src 'none'; style-src '{}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        style_hash()
    );
    headers.push("content-security-policy", &policy);
    headers.push("x-frame-options", "DENY");
    // Nothing for others; with less, browsers would not say either that our own forms come from here.
    headers.push("referrer-policy", "same-origin");
    headers.push("cross-origin-opener-policy", "same-origin");
    headers
}

fn style_hash() -> String {
    use base64::Engine;
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(STYLE.as_bytes());
    format!("sha256-{}", base64::engine::general_purpose::STANDARD.encode(digest))
}

/// The page of a refusal. Its reason is in the audit record and not here.
pub(super) fn refusal(status: u16, decision_id: &str) -> Reply {
    let (title, what) = match status {
        401 => ("You are not signed in", "You could not be signed in, or your session is over."),
        403 => ("This was refused", "You may not do this, or it did not come from a page of Tracegate."),
        404 => ("There is no such page", "Nothing is here."),
        400 | 409 | 413 => ("This was not understood", "Something in the request is missing or wrong."),
        501 => ("This is not offered", "People cannot sign in with a browser here."),
        503 => (
            "This is not possible now",
            "Tracegate or the sign-in service cannot be reached. Try again soon.",
        ),
        _ => ("Something went wrong", "Try again soon."),
    };
    let content = format!(
        "<p>{what}</p>\n<p><a class=\"button\" href=\"/tracegate/login\">Sign in</a></p>\n\
         <p class=\"small\">An administrator can look this up as decision <code>{}</code>.</p>",
        escaped(decision_id)
    );
    page(status, title, &content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_told_becomes_markup() {
        let hostile = "<script>alert('1')</script>\"&";
        let shown = page(200, hostile, &escaped(hostile));
        let Body::Replay(body) = shown.body else { panic!("not in memory") };
        let html = String::from_utf8(body.as_memory().unwrap().to_vec()).unwrap();
        assert!(!html.contains("<script") && html.contains("&lt;script&gt;alert(&#39;1&#39;)"), "{html}");
        assert_eq!(html.matches("&quot;&amp;").count(), 3, "{html}");
    }

    #[test]
    fn no_page_may_be_kept_framed_or_run_anything() {
        for reply in [page(200, "t", ""), refusal(401, "d"), redirect("/"), page_that_leads_to("/", "t", "")]
        {
            assert_eq!(reply.headers.get("cache-control"), Some("no-store"));
            let policy = reply.headers.get("content-security-policy").unwrap();
            for part in ["default-src 'none'", "frame-ancestors 'none'", "form-action 'self'"] {
                assert!(policy.contains(part), "{policy}");
            }
            assert!(!policy.contains("unsafe") && !policy.contains("script-src"), "{policy}");
            assert_eq!(reply.headers.get("referrer-policy"), Some("same-origin"));
        }
    }

    #[test]
    fn a_refusal_tells_the_decision_and_no_reason() {
        let Body::Replay(body) = refusal(401, "0190-<b>").body else { panic!("not in memory") };
        let html = String::from_utf8(body.as_memory().unwrap().to_vec()).unwrap();
        assert!(html.contains("0190-&lt;b&gt;"), "{html}");
    }
}
