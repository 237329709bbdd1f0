//! MLflow's own users, roles and permissions, answered from grants and groups.

use super::call::Call;
use super::error::Refusal;
use super::trail::Trail;
use crate::wire::Reply;

/// What a caller may ask.
pub(super) async fn answer(_call: &mut Call<'_>, _trail: &Trail) -> Result<Reply, Refusal> {
    Err(Refusal::UnknownEndpoint)
}
