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
    PolicyRead = "policy.read",
    PolicyManage = "policy.manage",
    AuditRead = "audit.read",
}

/// Every level, in the order in which people list them.
pub const LEVELS: [&str; 6] = ["CAN_LIST", "CAN_READ", "CAN_ASSESS", "CAN_INGEST", "CAN_EDIT", "CAN_MANAGE"];

/// Whether a grant may name this level. `CAN_RUN` is taken as `CAN_EDIT`; `ALL` is every privilege.
pub fn is_level(name: &str) -> bool {
    LEVELS.contains(&name) || name == "CAN_RUN" || name == "ALL"
}

impl fmt::Display for Privilege {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Privilege {
    type Err = MalformedId;

    fn from_str(text: &str) -> Result<Self, MalformedId> {
        Self::ALL.iter().copied().find(|privilege| privilege.as_str() == text).ok_or_else(|| MalformedId {
            value: text.chars().take(80).collect(),
            expected: "a privilege (such as `trace.read`)",
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
