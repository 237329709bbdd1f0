//! The route manifest as types, parsed once at start from `operations.txt`.
//!
//! ```
//! use tracegate::classify::Manifest;
//! use tracegate::wire::{CanonicalPath, Method};
//!
//! let manifest = Manifest::builtin().unwrap();
//! let path = CanonicalPath::parse("/ajax-api/3.0/mlflow/traces/get").unwrap();
//! let matched = manifest.classify(Method::Get, &path).unwrap().unwrap();
//! assert_eq!(matched.operation.name, "trace.get");
//! assert_eq!(matched.operation.needs[0].to_string(), "trace.read@trace:query.trace_id");
//! ```

mod listing;
mod parse;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;

use super::router::Router;
use super::shape::{Shape, parse_shapes};
use crate::access::Privilege;
use crate::wire::{CanonicalPath, Malformed, Method};

/// Who may call an operation before any securable is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// No caller needed: health, version, discovery.
    Public,
    /// Any authenticated caller; touches no securable.
    Authenticated,
    /// Every need must be allowed.
    Needs,
    /// Never forwarded: routes that hand out store URLs.
    Refused,
}

/// What kind of id a need's sources hold; decides how it is resolved to securables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// The workspace itself. It has no id; with a source, the need counts only when the source is given.
    Workspace,
    Experiment,
    ExperimentName,
    Trace,
    Run,
    LoggedModel,
    Dataset,
    Issue,
    LabelSchema,
    ReviewQueue,
    PromptJob,
    /// A path under the artifact proxy.
    Artifact,
    /// A path of the Files API: in a volume, or among the artifacts of an experiment.
    File,
    RegisteredModel,
    /// The artifact URI a model version is made from.
    ModelSource,
    /// `prompts:/NAME/VERSION` or `prompts:/NAME@ALIAS`.
    PromptUri,
}

impl Target {
    const NAMES: [(&'static str, Self); 16] = [
        ("workspace", Self::Workspace),
        ("experiment", Self::Experiment),
        ("experiment_name", Self::ExperimentName),
        ("trace", Self::Trace),
        ("run", Self::Run),
        ("logged_model", Self::LoggedModel),
        ("dataset", Self::Dataset),
        ("issue", Self::Issue),
        ("label_schema", Self::LabelSchema),
        ("review_queue", Self::ReviewQueue),
        ("prompt_job", Self::PromptJob),
        ("artifact", Self::Artifact),
        ("file", Self::File),
        ("registered_model", Self::RegisteredModel),
        ("model_source", Self::ModelSource),
        ("prompt_uri", Self::PromptUri),
    ];

    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(_, target)| *target == self).map_or("", |(name, _)| name)
    }
}

/// Where in a request an id stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Path(String),
    Query(String),
    Header(String),
    Json(Vec<Step>),
}

/// One step into a JSON body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Field(String),
    /// `[]`: into every element.
    Each,
    /// `()`: into the JSON that a string holds.
    Embedded,
}

/// One privilege on the securables that an id names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    pub privilege: Privilege,
    /// Suffices instead of `privilege` on a trace that the caller started itself.
    pub own: Option<Privilege>,
    pub target: Target,
    /// All of these that are present must name the same id, unless `many`.
    pub sources: Vec<Source>,
    /// The sources hold lists: every id counts.
    pub many: bool,
    /// The id may be absent.
    pub optional: bool,
}

/// What is done beside forwarding. Each variant is one module under `http/handle`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Handling {
    /// Forward, stream the answer.
    Pass,
    /// A page of traces: ids recorded, page token sealed, masked for those who may only list.
    TracePage,
    /// Several traces by id: streamed, the ids asked for are recorded.
    Traces,
    StartTraceV2,
    StartTraceV3,
    EndTrace,
    Otlp,
    /// A trace tag is written or deleted: reserved keys refused.
    TraceTag,
    /// Links prompts to a trace: each prompt is authorized.
    LinkPrompts,
    /// An assessment is written: the source of a HUMAN one is stamped.
    AssessmentWrite,
    /// A run is created or tagged: `mlflow.user` is stamped or refused.
    RunCreate,
    RunTag,
    ExperimentCreate,
    ExperimentUpdate,
    ExperimentTag,
    ExperimentByName,
    ExperimentSearch,
    /// A page of runs, logged models, datasets …: page token sealed.
    Page,
    ModelCreate,
    ModelRename,
    ModelDelete,
    ModelSearch,
    ModelVersionSearch,
    ScorerList,
    ScorerConfigs,
    DatasetRead,
    MetricHistoryBulk,
    ArtifactWrite,
    ArtifactRead,
    /// An upload in parts: its URLs are ours, and signed.
    Multipart,
    GraphQl,
    ServerInfo,
    /// Answered by Tracegate itself, never forwarded.
    Own,
}

impl Handling {
    const NAMES: [(&'static str, Self); 33] = [
        ("pass", Self::Pass),
        ("trace_page", Self::TracePage),
        ("traces", Self::Traces),
        ("start_trace_v2", Self::StartTraceV2),
        ("start_trace_v3", Self::StartTraceV3),
        ("end_trace", Self::EndTrace),
        ("otlp", Self::Otlp),
        ("trace_tag", Self::TraceTag),
        ("link_prompts", Self::LinkPrompts),
        ("assessment_write", Self::AssessmentWrite),
        ("run_create", Self::RunCreate),
        ("run_tag", Self::RunTag),
        ("experiment_create", Self::ExperimentCreate),
        ("experiment_update", Self::ExperimentUpdate),
        ("experiment_tag", Self::ExperimentTag),
        ("experiment_by_name", Self::ExperimentByName),
        ("experiment_search", Self::ExperimentSearch),
        ("page", Self::Page),
        ("model_create", Self::ModelCreate),
        ("model_rename", Self::ModelRename),
        ("model_delete", Self::ModelDelete),
        ("model_search", Self::ModelSearch),
        ("model_version_search", Self::ModelVersionSearch),
        ("scorer_list", Self::ScorerList),
        ("scorer_configs", Self::ScorerConfigs),
        ("dataset_read", Self::DatasetRead),
        ("metric_history_bulk", Self::MetricHistoryBulk),
        ("artifact_write", Self::ArtifactWrite),
        ("artifact_read", Self::ArtifactRead),
        ("multipart", Self::Multipart),
        ("graph_ql", Self::GraphQl),
        ("server_info", Self::ServerInfo),
        ("own", Self::Own),
    ];

    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(_, handling)| *handling == self).map_or("", |(name, _)| name)
    }
}

#[derive(Debug, Clone)]
pub struct Operation {
    /// `trace.get`, `experiment.search` …: unique per line.
    pub name: String,
    pub methods: Vec<Method>,
    /// The template as written; `~` stands for `/api` and `/ajax-api`.
    pub template: String,
    pub access: Access,
    pub needs: Vec<Need>,
    pub handling: Handling,
    /// Whether the request has a JSON object as its body.
    pub json_body: bool,
    /// What MLflow's parser accepts as the body: a body that it would read only half is refused.
    pub body_shape: Option<Shape>,
    /// Whether it changes anything: intent is synced before forwarding, and it is never retried.
    pub mutates: bool,
}

/// A request matched to its operation.
#[derive(Debug, Clone)]
pub struct Matched<'m> {
    pub operation: &'m Operation,
    /// Path parameters by name, decoded.
    pub params: Vec<(String, String)>,
}

#[derive(Debug)]
pub struct Manifest {
    operations: Vec<Operation>,
    by_name: HashMap<String, usize>,
    router: Router,
}

impl Manifest {
    /// Parses the built-in manifest; a mistake in it is a start-up error naming the line.
    pub fn builtin() -> Result<Self, String> {
        Self::parse(include_str!("operations.txt"), include_str!("bodies.txt"))
    }

    fn parse(operations: &str, bodies: &str) -> Result<Self, String> {
        let (mut operations, lines) = parse::operations(operations)?;
        let mut shapes = parse_shapes(bodies)?;
        let mut by_name = HashMap::new();
        let mut router = Router::default();
        for (index, (operation, line)) in operations.iter_mut().zip(lines).enumerate() {
            let fail = |problem: String| format!("operations, line {line}: {problem}");
            if by_name.insert(operation.name.clone(), index).is_some() {
                return Err(fail(format!("the name `{}` is taken", operation.name)));
            }
            if operation.json_body {
                operation.body_shape = match shapes.remove(&operation.name) {
                    Some(shape) => shape,
                    // Tracegate answers it, and holds the body to types of its own.
                    None if operation.handling == Handling::Own => None,
                    None => return Err(fail(format!("`{}` has no body in bodies.txt", operation.name))),
                };
            }
            for method in &operation.methods {
                for path in concrete(&operation.template) {
                    router.add(*method, &path, index).map_err(fail)?;
                }
            }
        }
        if let Some(name) = shapes.keys().next() {
            return Err(format!("bodies: `{name}` is not an operation with a JSON body"));
        }
        router.finish();
        Ok(Self { operations, by_name, router })
    }

    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    pub fn operation(&self, name: &str) -> Option<&Operation> {
        self.by_name.get(name).and_then(|index| self.operations.get(*index))
    }

    /// `Ok(None)`: no such method and path. Unknown means deny. `HEAD` is served where `GET` is.
    pub fn classify(&self, method: Method, path: &CanonicalPath) -> Result<Option<Matched<'_>>, Malformed> {
        let method = if method == Method::Head { Method::Get } else { method };
        let Some(route) = self.router.find(method, path.segments())? else { return Ok(None) };
        Ok(self.operations.get(route.operation).map(|operation| Matched { operation, params: route.params }))
    }
}

impl Operation {
    /// The paths that the template stands for: `~` is `/api` and `/ajax-api`, `SCIM` and `UC` each of their bases.
    pub fn paths(&self) -> Vec<String> {
        concrete(&self.template)
    }
}

/// Databricks' clients ask for the first, identity providers for a plain base.
const SCIM_BASES: [&str; 3] = ["/api/2.0/preview/scim/v2", "/api/2.0/scim/v2", "/scim/v2"];

/// The catalog's clients ask some things of the one, some of the other, and not all of them the same.
const CATALOG_BASES: [&str; 2] = ["/api/2.1/unity-catalog", "/api/2.0/unity-catalog"];

fn concrete(template: &str) -> Vec<String> {
    if let Some(rest) = template.strip_prefix("UC") {
        return CATALOG_BASES.iter().map(|base| format!("{base}{rest}")).collect();
    }
    if let Some(rest) = template.strip_prefix("SCIM") {
        return SCIM_BASES.iter().map(|base| format!("{base}{rest}")).collect();
    }
    match template.strip_prefix('~') {
        Some(rest) => vec![format!("/api{rest}"), format!("/ajax-api{rest}")],
        None => vec![template.to_owned()],
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(name) => write!(formatter, "path.{name}"),
            Self::Query(name) => write!(formatter, "query.{name}"),
            Self::Header(name) => write!(formatter, "header.{name}"),
            Self::Json(steps) => {
                formatter.write_str("json")?;
                steps.iter().try_for_each(|step| match step {
                    Step::Field(name) => write!(formatter, ".{name}"),
                    Step::Each => formatter.write_str("[]"),
                    Step::Embedded => formatter.write_str("()"),
                })
            }
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.privilege)?;
        if let Some(own) = self.own {
            write!(formatter, "~{own}")?;
        }
        if self.sources.is_empty() {
            return Ok(());
        }
        write!(formatter, "@{}", self.target.as_str())?;
        for (index, source) in self.sources.iter().enumerate() {
            write!(formatter, "{}{source}", if index == 0 { ':' } else { '=' })?;
        }
        formatter.write_str(if self.many { "*" } else { "" })?;
        formatter.write_str(if self.optional { "?" } else { "" })
    }
}
