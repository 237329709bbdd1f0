//! Tags of a trace: each a row, set anew or deleted by a row that comes later.

use serde_json::json;

use super::annotation::{Annotation, Kind};
use super::{access, info, time};
use crate::access::Privilege;
use crate::classify::reserved;
use crate::http::call::Call;
use crate::http::edit::text;
use crate::http::error::Refusal;
use crate::http::own::{answered, sent};
use crate::http::trail::Trail;
use crate::wire::{Malformed, Reply};

const LONGEST_KEY: usize = 250;
const LONGEST_VALUE: usize = 8000;

pub(super) async fn set(call: &mut Call<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    let body = sent(call).await?;
    let (_, trace) = info::trace(call)?;
    let needed = |field: &'static str| {
        text(&body, field)?.map(str::to_owned).ok_or_else(|| Malformed::new(field, "is missing"))
    };
    let (key, value) = (needed("key")?, needed("value")?);
    if value.len() > LONGEST_VALUE {
        return Err(Malformed::new("value", format!("is longer than {LONGEST_VALUE} bytes")).into());
    }
    checked(&key)?;
    let (by, at) = (call.caller.principal.to_string(), time::next_micros(call.app.clock.now()));
    write(call, trail, Annotation::only(&trace, Kind::Tag, &key, json!(value), &by, at)).await
}

pub(super) async fn delete(call: &mut Call<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    let (_, trace) = info::trace(call)?;
    let key = call.param("key").to_owned();
    checked(&key)?;
    let (by, at) = (call.caller.principal.to_string(), time::next_micros(call.app.clock.now()));
    let tag = Annotation::only(&trace, Kind::Tag, &key, json!(null), &by, at);
    write(call, trail, tag.deleted(&by, at)).await
}

fn checked(key: &str) -> Result<(), Refusal> {
    if key.is_empty() || key.len() > LONGEST_KEY || key.chars().any(char::is_control) {
        let problem = format!("must have 1 to {LONGEST_KEY} bytes and no control characters");
        return Err(Malformed::new("key", problem).into());
    }
    if reserved::reserved_trace_tag(key) {
        return Err(Refusal::Denied(format!("tag `{key}` is reserved and cannot be set by clients")));
    }
    Ok(())
}

async fn write(call: &Call<'_>, trail: &mut Trail, tag: Annotation) -> Result<Reply, Refusal> {
    let (place, trace) = info::trace(call)?;
    trail.named_traces([place.trace(&trace)]);
    let needs = [(Privilege::Modify, place.table(place.notes()))];
    let (permit, objects) = access::tables(call, trail, &needs).await?;
    info::append(call, &permit, &place, &objects, &[tag]).await?;
    answered(&json!({}))
}
