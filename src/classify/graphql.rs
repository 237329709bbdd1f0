//! Reads GraphQL queries: every field that names a securable becomes a need, all else is refused.
//!
//! MLflow's schema has five queries and two mutations that read experiments and runs; its pages ask for
//! `mlflowGetRun`, `mlflowGetExperiment`, `mlflowSearchRuns` and metric histories. MLflow takes the query
//! from a JSON body alone, of a `GET` as well, and never from the query string.

mod document;
mod fields;

use serde_json::{Map, Value};

use super::manifest::Target;
use crate::access::Privilege;

/// A privilege that a root field needs on a thing that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphQlNeed {
    pub privilege: Privilege,
    pub target: Target,
    pub id: String,
}

/// What a query needs and shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GraphQlReading {
    /// One per id and root field; an alias is a field of its own. Empty for `{ __typename }`.
    pub needs: Vec<GraphQlNeed>,
    /// Where the response (below `data`) shows model versions made from a run, which are securables of
    /// their own: response keys from the root; a step into a list goes into every element.
    pub model_version_paths: Vec<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphQlError {
    #[error("invalid GraphQL query: {0}")]
    Syntax(String),
    #[error("a GraphQL request must hold exactly one operation, the one that `operationName` names")]
    Operation,
    #[error("GraphQL subscriptions are not supported")]
    Subscription,
    #[error("GraphQL field `{0}` is not available")]
    Field(String),
    #[error("GraphQL directive `@{0}` is not available")]
    Directive(String),
    #[error("GraphQL fragment `{0}` is unknown or contains itself")]
    Fragment(String),
    #[error("GraphQL query is larger than {0}")]
    TooLarge(&'static str),
    #[error("GraphQL field `{field}`: {problem}")]
    Argument { field: String, problem: String },
}

/// Reads a query. Conditional fields (`@include`, `@skip`) count whatever their condition is; a variable
/// in the place of an id must be given, its default is not looked at.
pub fn read_query(
    query: &str,
    operation_name: Option<&str>,
    variables: &Map<String, Value>,
) -> Result<GraphQlReading, GraphQlError> {
    document::read(query, operation_name, variables)
}

#[cfg(test)]
mod tests;
