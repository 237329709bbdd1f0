//! Privileges: one thing that one may do to a securable. Levels bundle them (`policies/levels.csv`).

use std::fmt;
use std::str::FromStr;

use super::ids::MalformedId;

macro_rules! privileges {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Privilege { $($(#[$doc])* $variant,)* }

        impl Privilege {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

privileges! {
    /// See that an experiment exists, its name and its tags.
    ExperimentView = "experiment.view",
    /// Rename an experiment and change its tags.
    ExperimentEdit = "experiment.edit",
    ExperimentDelete = "experiment.delete",
    /// Change an experiment's ACL and limits.
    ExperimentManage = "experiment.manage",
    /// On the workspace or a folder: create experiments in it.
    ExperimentCreate = "experiment.create",
    RunRead = "run.read",
    RunWrite = "run.write",
    RunDelete = "run.delete",
    ArtifactRead = "artifact.read",
    ArtifactWrite = "artifact.write",
    /// See that traces exist: ids, times, state, sizes; nothing that was said.
    TraceList = "trace.list",
    /// Read what a trace holds: inputs, outputs, spans, previews.
    TraceRead = "trace.read",
    /// Write spans and start traces.
    TraceWrite = "trace.write",
    TraceTag = "trace.tag",
    TraceDelete = "trace.delete",
    AssessmentRead = "assessment.read",
    AssessmentWrite = "assessment.write",
    ScorerRead = "scorer.read",
    ScorerWrite = "scorer.write",
    DatasetWrite = "dataset.write",
    LabelSchemaWrite = "label_schema.write",
    MonitoringManage = "monitoring.manage",
    ModelRead = "model.read",
    ModelWrite = "model.write",
    ModelDelete = "model.delete",
    ModelManage = "model.manage",
    /// On the workspace: create registered models and prompts.
    ModelCreate = "model.create",
    GatewayManage = "gateway.manage",
    WebhookManage = "webhook.manage",
    McpManage = "mcp.manage",
    JobManage = "job.manage",
    AssistantUse = "assistant.use",
    WorkspaceManage = "workspace.manage",
    /// Users, groups, roles and other people's tokens.
    IdentityManage = "identity.manage",
    /// On the workspace: make tokens of one's own.
    TokenUse = "token.use",
    PolicyRead = "policy.read",
    PolicyManage = "policy.manage",
    AuditRead = "audit.read",
    /// Give oneself access for minutes, with a written reason.
    BreakGlassUse = "break_glass.use",
    /// Call on behalf of users, with no more than both may do.
    PrincipalActFor = "principal.act_for",
    /// On a SQL warehouse: run statements.
    WarehouseUse = "warehouse.use",
    /// On a SQL warehouse: see what others run.
    WarehouseMonitor = "warehouse.monitor",
    WarehouseManage = "warehouse.manage",
    UseCatalog = "USE_CATALOG",
    UseSchema = "USE_SCHEMA",
    Select = "SELECT",
    Modify = "MODIFY",
    ReadVolume = "READ_VOLUME",
    WriteVolume = "WRITE_VOLUME",
    Execute = "EXECUTE",
    Refresh = "REFRESH",
    /// See that something exists, its comment and its tags, without the right to use it.
    Browse = "BROWSE",
    /// Grant, revoke, transfer and drop; it gives no data.
    Manage = "MANAGE",
    ApplyTag = "APPLY_TAG",
    CreateCatalog = "CREATE_CATALOG",
    CreateExternalLocation = "CREATE_EXTERNAL_LOCATION",
    CreateSchema = "CREATE_SCHEMA",
    CreateTable = "CREATE_TABLE",
    CreateMaterializedView = "CREATE_MATERIALIZED_VIEW",
    CreateVolume = "CREATE_VOLUME",
    CreateFunction = "CREATE_FUNCTION",
    CreateModel = "CREATE_MODEL",
    ExternalUseSchema = "EXTERNAL_USE_SCHEMA",
    ExternalUseLocation = "EXTERNAL_USE_LOCATION",
    CreateExternalTable = "CREATE_EXTERNAL_TABLE",
    CreateExternalVolume = "CREATE_EXTERNAL_VOLUME",
    CreateManagedStorage = "CREATE_MANAGED_STORAGE",
    ReadFiles = "READ_FILES",
    WriteFiles = "WRITE_FILES",
    /// Pass through a catalog in order to manage what is in it; never granted by itself.
    EnterCatalog = "catalog.enter",
    /// Pass through a schema in order to manage what is in it; never granted by itself.
    EnterSchema = "schema.enter",
}

impl fmt::Display for Privilege {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Privilege {
    type Err = MalformedId;

    fn from_str(text: &str) -> Result<Self, MalformedId> {
        // Catalog clients write `USE CATALOG` as often as `USE_CATALOG`.
        let same = |name: &str| {
            name.len() == text.len()
                && name
                    .bytes()
                    .zip(text.bytes())
                    .all(|(ours, theirs)| ours == theirs || (ours == b'_' && theirs == b' '))
        };
        Self::ALL.iter().copied().find(|privilege| same(privilege.as_str())).ok_or_else(|| MalformedId {
            value: text.chars().take(80).collect(),
            expected: "a privilege (such as `trace.read` or `SELECT`)",
        })
    }
}

impl serde::Serialize for Privilege {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for Privilege {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
