//! The fields of MLflow's schema that may be asked for: root fields with the ids that they name, and
//! nested fields, none of which takes arguments or leaves the experiment, save model versions.

use std::collections::HashSet;

use graphql_parser::query::{Field, Value as Literal};
use serde_json::{Map, Value};

use super::{GraphQlError, GraphQlNeed};
use crate::access::Privilege;
use crate::classify::manifest::Target;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Query,
    Mutation,
}

/// The field of a run that shows model versions made from it.
pub(super) const MODEL_VERSIONS: &str = "modelVersions";

struct Root {
    name: &'static str,
    operations: &'static [Operation],
    privilege: Privilege,
    target: Target,
    /// Input fields that hold the id; where there are several they are names of the same.
    ids: &'static [&'static str],
    /// Whether it is a list of ids.
    many: bool,
    /// The other input fields.
    others: &'static [&'static str],
}

const ROOTS: [Root; 6] = [
    Root {
        name: "mlflowGetExperiment",
        operations: &[Operation::Query],
        privilege: Privilege::ExperimentView,
        target: Target::Experiment,
        ids: &["experimentId"],
        many: false,
        others: &[],
    },
    Root {
        name: "mlflowGetRun",
        operations: &[Operation::Query],
        privilege: Privilege::RunRead,
        target: Target::Run,
        ids: &["runId", "runUuid"],
        many: false,
        others: &[],
    },
    Root {
        name: "mlflowListArtifacts",
        operations: &[Operation::Query],
        privilege: Privilege::ArtifactRead,
        target: Target::Run,
        ids: &["runId", "runUuid"],
        many: false,
        others: &["path", "pageToken"],
    },
    Root {
        name: "mlflowGetMetricHistoryBulkInterval",
        operations: &[Operation::Query],
        privilege: Privilege::RunRead,
        target: Target::Run,
        ids: &["runIds"],
        many: true,
        others: &["metricKey", "startStep", "endStep", "maxResults"],
    },
    Root {
        name: "mlflowSearchRuns",
        operations: &[Operation::Query, Operation::Mutation],
        privilege: Privilege::RunRead,
        target: Target::Experiment,
        ids: &["experimentIds"],
        many: true,
        others: &["filter", "runViewType", "maxResults", "orderBy", "pageToken"],
    },
    Root {
        name: "mlflowSearchDatasets",
        operations: &[Operation::Mutation],
        privilege: Privilege::RunRead,
        target: Target::Experiment,
        ids: &["experimentIds"],
        many: true,
        others: &[],
    },
];

/// Whether a field below the root may be asked for. `experiment` of a run is the one that it is in.
pub(super) fn is_nested(name: &str) -> bool {
    matches!(
        name,
        "__typename" | "apiError" | "code" | "message" | "helpUrl" | "nextPageToken"
            // experiments
            | "experiment" | "experimentId" | "name" | "artifactLocation" | "lifecycleStage" | "lastUpdateTime"
            | "creationTime" | "tags" | "key" | "value" | "effectiveTraceArchivalRetention" | "workspace"
            // runs
            | "run" | "runs" | "info" | "data" | "inputs" | "outputs" | "runId" | "runUuid" | "runName" | "userId"
            | "status" | "startTime" | "endTime" | "artifactUri" | "metrics" | "params" | "timestamp" | "step"
            | "datasetName" | "datasetDigest" | "modelId" | "datasetInputs" | "modelInputs" | "modelOutputs"
            | "dataset" | "digest" | "sourceType" | "source" | "schema" | "profile"
            // artifacts and datasets
            | "rootUri" | "files" | "path" | "isDir" | "fileSize" | "datasetSummaries" | "context"
            // model versions of a run
            | MODEL_VERSIONS | "version" | "creationTimestamp" | "lastUpdatedTimestamp" | "currentStage"
            | "description" | "statusMessage" | "runLink" | "aliases" | "modelParams" | "modelMetrics"
            | "deploymentJobState" | "jobId" | "jobState" | "runState" | "currentTaskName"
    )
}

/// What a root field needs.
pub(super) fn root_needs<'q>(
    operation: Operation,
    field: &'q Field<'q, &'q str>,
    variables: &Map<String, Value>,
) -> Result<Vec<GraphQlNeed>, GraphQlError> {
    let unavailable = || GraphQlError::Field(field.name.to_owned());
    if field.name == "__typename" {
        return if field.arguments.is_empty() { Ok(Vec::new()) } else { Err(unavailable()) };
    }
    let root = ROOTS
        .iter()
        .find(|root| root.name == field.name && root.operations.contains(&operation))
        .ok_or_else(unavailable)?;
    let refuse = |problem: String| GraphQlError::Argument { field: field.name.to_owned(), problem };
    let [("input", input)] = field.arguments.as_slice() else {
        return Err(refuse("takes the one argument `input`".to_owned()));
    };
    let ids = read_ids(root, input, variables).map_err(refuse)?;
    Ok(ids.into_iter().map(|id| GraphQlNeed { privilege: root.privilege, target: root.target, id }).collect())
}

/// The ids in an `input`, all of them and at least one.
fn read_ids<'q>(
    root: &Root,
    input: &'q Literal<'q, &'q str>,
    variables: &Map<String, Value>,
) -> Result<Vec<String>, String> {
    let variable = |name: &str| variables.get(name).ok_or_else(|| format!("variable `${name}` is not given"));
    let mut given: Vec<(&str, Value)> = Vec::new();
    match input {
        Literal::Variable(name) => match variable(name)? {
            Value::Object(object) => {
                given.extend(object.iter().map(|(key, value)| (key.as_str(), value.clone())))
            }
            _ => return Err(format!("variable `${name}` must be an object")),
        },
        Literal::Object(object) => {
            for (key, literal) in object {
                // Only ids are resolved; the rest may be what it likes.
                let value = if root.ids.contains(key) { resolve(literal, &variable)? } else { Value::Null };
                given.push((key, value));
            }
        }
        _ => return Err("`input` must be an object".to_owned()),
    }
    if let Some((key, _)) =
        given.iter().find(|(key, _)| !root.ids.contains(key) && !root.others.contains(key))
    {
        return Err(format!("`input` has no field `{key}`"));
    }
    let mut ids = Vec::new();
    for (key, value) in given.iter().filter(|(key, value)| root.ids.contains(key) && !value.is_null()) {
        let problem = || format!("`{key}` must hold ids as strings");
        match value {
            Value::String(id) => ids.push(id.clone()),
            Value::Array(list) if root.many => {
                for id in list {
                    ids.push(id.as_str().ok_or_else(problem)?.to_owned());
                }
            }
            _ => return Err(problem()),
        }
    }
    if ids.is_empty() || ids.iter().any(String::is_empty) {
        return Err(format!("`{}` must be given", root.ids[0]));
    }
    if !root.many && ids.iter().any(|id| *id != ids[0]) {
        return Err(format!("`{}` name different things", root.ids.join("` and `")));
    }
    let mut seen = HashSet::new();
    ids.retain(|id| seen.insert(id.clone()));
    Ok(ids)
}

fn resolve<'q, 'v>(
    literal: &Literal<'q, &'q str>,
    variable: &impl Fn(&str) -> Result<&'v Value, String>,
) -> Result<Value, String> {
    Ok(match literal {
        Literal::Variable(name) => variable(name)?.clone(),
        Literal::String(text) => Value::String(text.clone()),
        Literal::Null => Value::Null,
        Literal::List(list) => {
            Value::Array(list.iter().map(|item| resolve(item, variable)).collect::<Result<_, _>>()?)
        }
        // Numbers, enums and objects are no ids.
        _ => return Err("an id must be a string".to_owned()),
    })
}
