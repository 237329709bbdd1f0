//! `/tracegate/account`: who one is here, and one's own sessions.

use super::super::call::Call;
use super::super::convert;
use super::super::error::Refusal;
use super::super::own::BODY_LIMIT;
use super::super::trail::Trail;
use super::sign_out::form;
use super::{Form, forged, record_ended};
use crate::access::Scheme;
use crate::clock::UnixMillis;
use crate::http::page::{escaped, page, redirect};
use crate::store::{SessionRecord, Sessions};
use crate::wire::{Body, Reply};

const PATH: &str = "/tracegate/account";
const END_PATH: &str = "/tracegate/account/end-session";

/// `GET /tracegate/account`
pub(super) async fn show(call: &mut Call<'_>) -> Result<Reply, Refusal> {
    let (app, caller) = (call.app, call.caller);
    let current = (caller.proof.scheme == Scheme::Session).then_some(caller.proof.credential.as_str());
    let now = app.clock.now();
    let sessions = app.store.sessions(Some(&caller.principal), now).await?;
    let since = current
        .and_then(|id| sessions.iter().find(|session| session.id == id))
        .map_or_else(|| "–".to_owned(), |session| ago(now, session.created_at));
    let mut groups: Vec<String> = groups_of(call)?;
    groups.sort();
    let groups = if groups.is_empty() { "–".to_owned() } else { groups.join(", ") };
    let mut content = format!(
        "<dl><dt>Name</dt><dd><strong>{}</strong></dd><dt>Groups</dt><dd>{}</dd>\
         <dt>Signed in</dt><dd>{}</dd></dl>\n",
        escaped(&caller.principal.name),
        escaped(&groups),
        escaped(&since)
    );
    content.push_str("<p><a href=\"/\">To the experiments</a></p>\n");
    if let Some(id) = current {
        let csrf = app.identity.browsers().csrf_token(id);
        content.push_str(&form("/tracegate/logout", &csrf, "", "", "Sign out"));
        content.push_str("<h2>Your sessions</h2>\n<table><tr><th>Browser</th><th>From</th><th>Began</th>");
        content.push_str("<th>Last used</th><th></th></tr>\n");
        for session in &sessions {
            content.push_str(&row(session, id, &csrf, now));
        }
        content.push_str("</table>\n");
    }
    Ok(page(200, "Your account", &content))
}

fn row(session: &SessionRecord, current: &str, csrf: &str, now: UnixMillis) -> String {
    let end = if session.id == current {
        "this one".to_owned()
    } else {
        let which = format!("<input type=\"hidden\" name=\"session\" value=\"{}\">", escaped(&session.id));
        form(END_PATH, csrf, &which, " class=\"quiet\"", "End")
    };
    format!(
        "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{end}</td></tr>\n",
        escaped(&browser_of(session.user_agent.as_deref().unwrap_or("–"))),
        escaped(session.source_address.as_deref().unwrap_or("–")),
        escaped(&ago(now, session.created_at)),
        escaped(&ago(now, session.last_used_at)),
    )
}

/// Groups from the issuer, and those that the person is put into here.
fn groups_of(call: &Call<'_>) -> Result<Vec<String>, Refusal> {
    let view = call.view()?;
    let snapshot = view.snapshot();
    let mut groups: Vec<String> =
        call.caller.asserted_groups.iter().map(|group| group.name.clone()).collect();
    for (group, member) in snapshot.memberships() {
        if *member == call.caller.principal && !groups.contains(&group.name) {
            groups.push(group.name.clone());
        }
    }
    Ok(groups)
}

/// A browser in the words of people who know theirs; what else it may be, as it calls itself.
fn browser_of(agent: &str) -> String {
    let names = [
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ];
    let systems = [
        ("Windows", "Windows"),
        ("Android", "Android"),
        ("iPhone", "iOS"),
        ("iPad", "iOS"),
        ("Mac OS X", "macOS"),
        ("Linux", "Linux"),
    ];
    let found = |list: &[(&str, &'static str)]| {
        list.iter().find(|(sign, _)| agent.contains(sign)).map(|(_, name)| *name)
    };
    match (found(&names), found(&systems)) {
        (Some(name), Some(system)) => format!("{name} on {system}"),
        (Some(name), None) => name.to_owned(),
        _ => agent.chars().take(60).collect(),
    }
}

fn ago(now: UnixMillis, then: UnixMillis) -> String {
    let minutes = now.0.saturating_sub(then.0).max(0) / 60_000;
    match minutes {
        0 => "just now".to_owned(),
        1 => "a minute ago".to_owned(),
        2..120 => format!("{minutes} minutes ago"),
        120..2880 => format!("{} hours ago", minutes / 60),
        _ => format!("{} days ago", minutes / 1440),
    }
}

/// `POST /tracegate/account/end-session`: one of one's own.
pub(super) async fn end_session(call: &mut Call<'_>, trail: &Trail) -> Result<Reply, Refusal> {
    let caller = call.caller;
    let (app, browsers) = (call.app, call.app.identity.browsers());
    let body = match std::mem::replace(&mut call.body, Body::Empty) {
        Body::Stream { stream, .. } => convert::collect(stream, BODY_LIMIT)
            .await
            .map_err(|error| Refusal::Client(error.to_string()))?
            .unwrap_or_default(),
        _ => bytes::Bytes::new(),
    };
    let form = Form::parse(&body);
    let session = caller.proof.scheme == Scheme::Session;
    if !session || !browsers.is_csrf_token(&caller.proof.credential, form.one("csrf")?).await {
        return Err(forged());
    }
    let id = form.one("session")?;
    let own = app.store.sessions(Some(&caller.principal), app.clock.now()).await?;
    if own.iter().any(|session| session.id == id) {
        const WHY: &str = "ended by its owner";
        let ended = browsers.end(Sessions::One(id), WHY).await?;
        record_ended(app, trail, &ended, WHY).await?;
    }
    Ok(redirect(PATH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_and_times_are_told_in_words() {
        let edge = "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/120.0 Safari/537.36 Edg/120.0";
        assert_eq!(browser_of(edge), "Edge on Windows");
        let phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Version/17.0 Safari/604.1";
        assert_eq!(browser_of(phone), "Safari on iOS");
        assert_eq!(browser_of(&"x".repeat(100)).len(), 60);
        for (minutes, said) in
            [(0, "just now"), (1, "a minute ago"), (5, "5 minutes ago"), (180, "3 hours ago")]
        {
            assert_eq!(ago(UnixMillis(minutes * 60_000), UnixMillis(0)), said);
        }
        // A replica's clock may be behind.
        assert_eq!(ago(UnixMillis(0), UnixMillis(5)), "just now");
    }
}
