//! OAuth as databricks-sdk calls it: discovery, tokens for service principals, their secrets.

use super::call::Call;
use super::error::Refusal;
use super::own::Open;
use super::trail::Trail;
use crate::wire::Reply;

/// What a caller may ask.
pub(super) async fn answer(_call: &mut Call<'_>, _trail: &Trail) -> Result<Reply, Refusal> {
    Err(Refusal::UnknownEndpoint)
}

/// What needs no caller.
pub(super) async fn open(_open: Open<'_>, _trail: &mut Trail) -> Result<Reply, Refusal> {
    Err(Refusal::UnknownEndpoint)
}
