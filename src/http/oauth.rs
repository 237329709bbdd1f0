//! OAuth as databricks-sdk calls it: discovery, access tokens for service principals, their secrets, and
//! Databricks' APIs of tokens.

mod discovery;
mod form;
mod secrets;
mod token;
mod token_api;
mod token_management;

pub(super) use discovery::WORKSPACE;

use serde_json::{Map, Value};

use super::call::Call;
use super::error::Refusal;
use super::own::Open;
use super::pages;
use super::trail::Trail;
use crate::access::Scope;
use crate::wire::{Malformed, Reply};

/// Stands for every right that the principal has.
const ALL_APIS: &str = "all-apis";

/// What a caller may ask.
pub(super) async fn answer(call: &mut Call<'_>, trail: &Trail) -> Result<Reply, Refusal> {
    let object = match call.operation.name.as_str() {
        "oauth.personal_token.create" => token_api::create(call, trail).await?,
        "oauth.personal_token.list" => token_api::list(call).await?,
        "oauth.personal_token.delete" => token_api::delete(call, trail).await?,
        "oauth.token_management.list" => token_management::list(call).await?,
        "oauth.token_management.get" => token_management::get(call).await?,
        "oauth.token_management.delete" => token_management::delete(call, trail).await?,
        "oauth.token_management.create_for" => token_management::create_for(call, trail).await?,
        "oauth.secret.list" => secrets::list(call).await?,
        "oauth.secret.create" => secrets::create(call, trail).await?,
        "oauth.secret.delete" => secrets::delete(call, trail).await?,
        _ => return Err(Refusal::UnknownEndpoint),
    };
    Ok(pages::written(200, &object))
}

/// What needs no caller.
pub(super) async fn open(open: Open<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    match open.operation {
        "oauth.config" => discovery::config(&open),
        "oauth.metadata" | "oauth.openid_metadata" => discovery::metadata(&open),
        "oauth.authorize" => Err(Refusal::NotOffered(
            "people do not sign in to command-line tools here; make a token and use that".to_owned(),
        )),
        "oauth.token" => token::give(open, trail).await,
        _ => Err(Refusal::UnknownEndpoint),
    }
}

/// Whether an operation reads what is in `Authorization` itself: a client's id and secret, not a caller's token.
pub(super) fn reads_credentials(operation: &str) -> bool {
    operation == "oauth.token"
}

/// The scopes that texts name; nothing if they name every right.
fn scopes<'t>(texts: impl Iterator<Item = &'t str>) -> Result<Option<Vec<Scope>>, Malformed> {
    let texts: Vec<&str> = texts.collect();
    if texts.is_empty() || texts == [ALL_APIS] {
        return Ok(None);
    }
    let scope = |text: &&str| text.parse().map_err(|error| Malformed::new("scope", format!("{error}")));
    texts.iter().map(scope).collect::<Result<_, _>>().map(Some)
}

/// Scopes as this API has them: texts.
fn written(scopes: Option<&[Scope]>) -> Vec<String> {
    match scopes {
        None => vec![ALL_APIS.to_owned()],
        Some(scopes) => scopes.iter().map(Scope::to_string).collect(),
    }
}

/// An empty answer, as these APIs give where nothing is to be said.
fn nothing() -> Map<String, Value> {
    Map::new()
}
