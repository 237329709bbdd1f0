use super::super::{EmbeddedShared, problem::Problem, request::Request};
use crate::wire::Reply;
pub(super) async fn get(_store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    Err(Problem::not_offered(&request.operation))
}
pub(super) async fn batch_get(_store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    Err(Problem::not_offered(&request.operation))
}
