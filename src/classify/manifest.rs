//! The route manifest as types, parsed once at start from `operations.txt`.

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
    /// The workspace itself; has no source.
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
    RegisteredModel,
    /// The artifact URI a model version is made from.
    ModelSource,
}

/// Where in a request an id stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Path(String),
    Query(String),
    Header(String),
    /// Steps into a JSON body; `[]` steps into every element.
    Json(Vec<String>),
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
    GraphQl,
    ServerInfo,
    /// Answered by Tracegate itself, never forwarded.
    Own,
}

#[derive(Debug, Clone, PartialEq, Eq)]
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
}

impl Manifest {
    /// Parses the built-in manifest; a mistake in it is a start-up error naming the line.
    pub fn builtin() -> Result<Self, String> {
        todo!()
    }

    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// `Ok(None)`: no such method and path. Unknown means deny.
    pub fn classify(&self, _method: Method, _path: &CanonicalPath) -> Result<Option<Matched<'_>>, Malformed> {
        todo!()
    }
}
