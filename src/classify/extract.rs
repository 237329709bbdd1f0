//! Reads the ids of the things that a request names, from path, query, header and JSON body.
//!
//! Whatever can be read in two ways is an error that names the field: an id given twice with different
//! values, a list where one is expected, a number where MLflow expects a string, both spellings of a field.

mod collect;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use super::manifest::{Matched, Need, Source, Target};
use crate::access::{ExperimentId, LoggedModelId, MalformedId, RunId, TraceId};
use crate::wire::{Head, Malformed};

/// How many ids one need may name.
const MAXIMUM_IDS: usize = 1_000;
const MAXIMUM_TRACE_IDS: usize = 10_000;

/// A thing that a request names, before it is resolved to securables.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Thing {
    pub target: Target,
    pub id: String,
}

/// A need and the thing that it is about.
#[derive(Debug, Clone)]
pub struct Named<'m> {
    pub need: &'m Need,
    pub thing: Thing,
}

/// Reads every id that the operation's needs name. A missing, doubled, contradictory or malformed id
/// is an error that names the field. A need without sources names the workspace, with an empty id.
///
/// Also refuses a body that the backend's parser would read only half (see [`super::shape`]).
pub fn extract<'m>(
    matched: &Matched<'m>,
    head: &Head,
    body: Option<&Map<String, Value>>,
) -> Result<Vec<Named<'m>>, Malformed> {
    if let (Some(shape), Some(body)) = (&matched.operation.body_shape, body) {
        shape.check(body)?;
    }
    let mut named = Vec::new();
    for need in &matched.operation.needs {
        let ids = if need.sources.is_empty() {
            vec![String::new()]
        } else if need.many {
            many(need, head, body)?
        } else {
            one(need, matched, head, body)?.into_iter().collect()
        };
        named.extend(ids.into_iter().map(|id| Named { need, thing: Thing { target: need.target, id } }));
    }
    Ok(named)
}

fn one(
    need: &Need,
    matched: &Matched<'_>,
    head: &Head,
    body: Option<&Map<String, Value>>,
) -> Result<Option<String>, Malformed> {
    let mut found: Option<(String, &Source)> = None;
    for source in &need.sources {
        let value = match source {
            Source::Path(name) => {
                matched.params.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
            }
            Source::Query(name) => head.query.one(name)?.map(str::to_owned),
            Source::Header(name) => head.headers.one(name)?.map(str::to_owned),
            Source::Json(steps) => collect::one(source, steps, body)?,
        };
        // Upstream takes an empty string for an absent value; an empty id names nothing.
        let Some(value) = value.filter(|value| !value.is_empty()) else { continue };
        validate(need.target, source, &value)?;
        match &found {
            Some((first, other)) if *first != value => {
                return Err(Malformed::new(
                    field(source),
                    format!("names another {} than {}", need.target.as_str(), field(other)),
                ));
            }
            Some(_) => {}
            None => found = Some((value, source)),
        }
    }
    match (found, need.sources.first()) {
        (Some((value, _)), _) => Ok(Some(value)),
        (None, Some(source)) if !need.optional => Err(Malformed::new(field(source), "is required")),
        (None, _) => Ok(None),
    }
}

fn many(need: &Need, head: &Head, body: Option<&Map<String, Value>>) -> Result<Vec<String>, Malformed> {
    let cap = if need.target == Target::Trace { MAXIMUM_TRACE_IDS } else { MAXIMUM_IDS };
    let mut ids: Vec<String> = Vec::new();
    for source in &need.sources {
        let found: Vec<String> = match source {
            Source::Query(name) => head.query.all(name).map(str::to_owned).collect(),
            Source::Json(steps) => collect::many(source, steps, body, need.optional)?,
            // The manifest's parser takes no list from either.
            Source::Path(_) | Source::Header(_) => Vec::new(),
        };
        if found.len() > cap {
            return Err(Malformed::new(field(source), format!("names more than {cap} things")));
        }
        for id in &found {
            validate(need.target, source, id)?;
        }
        ids.extend(found);
        if ids.is_empty() && !need.optional {
            return Err(Malformed::new(field(source), "must name at least one"));
        }
    }
    let mut seen = std::collections::HashSet::new();
    ids.retain(|id| seen.insert(id.clone()));
    Ok(ids)
}

/// What a source is called in an answer to the client.
fn field(source: &Source) -> String {
    match source {
        Source::Path(name) => format!("path parameter `{name}`"),
        Source::Query(name) => format!("query parameter `{name}`"),
        Source::Header(name) => format!("header `{name}`"),
        Source::Json(_) => format!("body field `{}`", source.to_string().trim_start_matches("json.")),
    }
}

fn validate(target: Target, source: &Source, id: &str) -> Result<(), Malformed> {
    let check = |result: Result<(), MalformedId>| {
        result.map_err(|error| Malformed::new(field(source), error.to_string()))
    };
    match target {
        Target::Experiment => check(ExperimentId::parse(id).map(drop)),
        Target::Trace => check(TraceId::parse(id).map(drop)),
        Target::Run => check(RunId::parse(id).map(drop)),
        Target::LoggedModel => check(LoggedModelId::parse(id).map(drop)),
        _ => {
            let most = match target {
                Target::Artifact | Target::File | Target::ModelSource | Target::PromptUri => 4_096,
                _ => 500,
            };
            if id.is_empty() || id.chars().count() > most || id.chars().any(char::is_control) {
                let problem = format!("must be 1 to {most} characters without control characters");
                return Err(Malformed::new(field(source), problem));
            }
            Ok(())
        }
    }
}
