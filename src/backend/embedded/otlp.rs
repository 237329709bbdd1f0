//! To be written: otlp.

use std::sync::Arc;

use super::EmbeddedShared;
use super::problem::Problem;
use super::request::Request;
use crate::wire::Reply;

pub(super) async fn answer(_store: &Arc<EmbeddedShared>, request: Request) -> Result<Reply, Problem> {
    Err(Problem::not_offered(&request.operation))
}
