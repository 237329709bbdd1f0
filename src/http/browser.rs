//! Signing in and out with a browser, and the sessions of those who did.
//!
//! Pages are plain HTML without scripts. What they say to somebody who is refused is one of a few sentences
//! and the decision's id; the reason stands in the audit record.

mod account;
mod guard;
mod next;
mod sign_in;
mod sign_out;

pub(super) use guard::{for_browsers, prove_own_page, starts_over};

use super::call::Call;
use super::error::Refusal;
use super::own::Open;
use super::trail::Trail;
use crate::access::{PolicyChange, Principal};
use crate::app::App;
use crate::wire::{Malformed, Reply};

/// What a caller may ask.
pub(super) async fn answer(call: &mut Call<'_>, trail: &Trail) -> Result<Reply, Refusal> {
    match call.operation.name.as_str() {
        "browser.account" => account::show(call).await,
        "browser.end_session" => account::end_session(call, trail).await,
        _ => Err(Refusal::UnknownEndpoint),
    }
}

/// What needs no caller.
pub(super) async fn open(open: Open<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    match open.operation {
        "browser.sign_in" => sign_in::begin(open).await,
        "browser.callback" => sign_in::finish(open, trail).await,
        "browser.sign_out_page" => sign_out::ask(open).await,
        "browser.sign_out" => sign_out::sign_out(open, trail).await,
        "browser.backchannel_sign_out" => sign_out::told_by_issuer(open, trail).await,
        _ => Err(Refusal::UnknownEndpoint),
    }
}

/// Records sessions that were ended.
pub(super) async fn record_ended(
    app: &App,
    trail: &Trail,
    ended: &[(String, Principal)],
    why: &str,
) -> Result<(), Refusal> {
    for (id, principal) in ended {
        let state =
            |ended: bool| serde_json::json!({ "session": id, "principal": principal, "ended": ended });
        let mut after = state(true);
        after["why"] = why.into();
        let change = PolicyChange { action: "session.end".to_owned(), before: state(false), after };
        trail.policy_change(change, app.policy.version()).await?;
    }
    Ok(())
}

/// The URL of one of our pages as browsers see it. Never made of the `Host` that somebody sent.
fn own_url(app: &App, path: &str) -> Result<String, Refusal> {
    let base = app.config.server.public_url.as_deref();
    let base =
        base.ok_or_else(|| Refusal::NotOffered("nobody can sign in with a browser here".to_owned()))?;
    Ok(format!("{}{path}", base.trim_end_matches('/')))
}

/// The fields of a form, each once.
struct Form(Vec<(String, String)>);

impl Form {
    fn parse(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).into_owned().collect())
    }

    fn one(&self, name: &str) -> Result<&str, Refusal> {
        let mut values = self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(value),
            _ => Err(Malformed::new(format!("form field `{name}`"), "must be sent once").into()),
        }
    }
}

fn forged() -> Refusal {
    Refusal::Denied("the form was not sent from a page of this session".to_owned())
}
