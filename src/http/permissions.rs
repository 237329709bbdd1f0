//! Databricks' permissions API: the level grants on one object, read and written as an access control list.
//!
//! What such a list cannot say stays as it is: denials, single privileges, and the ends of grants that are
//! confirmed. Grants higher up in the tree are shown as inherited, and are not changed from below.

mod change;
mod object;
mod show;

use super::call::Call;
use super::error::Refusal;
use super::trail::Trail;
use crate::wire::Reply;
use object::Object;

/// What a caller may ask.
pub(super) async fn answer(call: &mut Call<'_>, trail: &Trail) -> Result<Reply, Refusal> {
    let object = Object::named(call.param("kind"), call.param("id"))?;
    let verb = call.operation.name.split('.').nth(1).unwrap_or_default();
    match verb.trim_end_matches("_of_path") {
        "levels" => Ok(show::levels(object.kind)),
        "get" => {
            object.admit(call).await?;
            show::list(call, &object).await
        }
        "set" => change::change(call, trail, &object, true).await,
        "update" => change::change(call, trail, &object, false).await,
        _ => Err(Refusal::UnknownEndpoint),
    }
}
