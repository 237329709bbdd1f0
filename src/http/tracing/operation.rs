//! Searches as operations that a client polls. Ours are done when they are first answered; the name of one holds its
//! question, sealed for its caller, so that any replica can answer it again and nobody else can.

use serde_json::{Map, Value, json};

use super::search::{self, Search};
use crate::http::call::Call;
use crate::http::error::Refusal;
use crate::http::own::{answered, sent};
use crate::http::trail::Trail;
use crate::store::Purpose;
use crate::wire::Reply;

/// A longer name does not fit into a path, and no client asks for an operation that is done.
const LONGEST: usize = 4000;

pub(super) async fn start(call: &mut Call<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    let body = sent(call).await?;
    let found = search::run(call, trail, &Search::of(&body)?).await?;
    let question = serde_json::to_vec(&body).map_err(|error| Refusal::Internal(error.to_string()))?;
    let ring = call.app.keys.ring(Purpose::Sealing);
    let sealed = ring.seal(call.app.clock.now(), &context(call), &question);
    let name = sealed.ok().filter(|name| name.len() <= LONGEST);
    answered(&done(&name.unwrap_or_else(|| uuid::Uuid::new_v4().to_string()), &found))
}

pub(super) async fn get(call: &mut Call<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    let name = call.param("name").to_owned();
    let missing = || Refusal::NotFound(format!("operation `{name}` does not exist, or is not yours"));
    let ring = call.app.keys.ring_for(Purpose::Sealing, &name).await;
    let question = ring.open(&context(call), &name).map_err(|_| missing())?;
    let body: Map<String, Value> = serde_json::from_slice(&question).map_err(|_| missing())?;
    let found = search::run(call, trail, &Search::of(&body)?).await?;
    answered(&done(&name, &found))
}

fn done(name: &str, found: &Map<String, Value>) -> Value {
    json!({"name": name, "done": true, "metadata": {"state": "SUCCEEDED"}, "response": found})
}

fn context(call: &Call<'_>) -> String {
    let actor = call.caller.actor.as_ref().map(|actor| actor.principal.to_string());
    format!("{} {} tracing.search", call.caller.principal, actor.unwrap_or_default())
}
