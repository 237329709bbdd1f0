//! The objects that have an access control list, and what can be written in it.

use crate::access::{Check, ExperimentId, Privilege, Securable, SecurableKind};
use crate::http::call::Call;
use crate::http::error::Refusal;
use crate::policy::managing;
use crate::wire::Malformed;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Experiment,
    /// A folder, by its path without the first slash; `0` is the workspace, the root of all.
    Directory,
    RegisteredModel,
    Warehouse,
    /// Who may have tokens of their own.
    Tokens,
    /// Who may sign in with a password: a setting, not a grant.
    Passwords,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Object {
    pub kind: Kind,
    pub securable: Securable,
    /// As answers name it.
    pub path: String,
}

/// A level and what it is for.
type Level = (&'static str, &'static str);

const OF_EXPERIMENTS: &[Level] = &[
    ("CAN_LIST", "See that traces exist: when, how long, in which state. Nothing of what was said"),
    ("CAN_READ", "Read runs, traces, assessments and artifacts"),
    ("CAN_ASSESS", "As CAN_READ, and assess traces"),
    ("CAN_INGEST", "Write traces of one's own, and read none: for deployed agents"),
    ("CAN_EDIT", "As CAN_ASSESS, and change or delete runs, traces, tags and artifacts"),
    ("CAN_MANAGE", "As CAN_EDIT, and delete it, or give access to others"),
];
const OF_WAREHOUSES: &[Level] = &[
    ("CAN_USE", "Run statements"),
    ("CAN_MONITOR", "As CAN_USE, and see what others run"),
    ("CAN_MANAGE", "As CAN_MONITOR, and give access to others"),
];
const OF_TOKENS: &[Level] = &[("CAN_USE", "Make tokens of one's own")];
const OF_PASSWORDS: &[Level] = &[("CAN_USE", "Sign in with a password")];

impl Kind {
    pub fn levels(self) -> &'static [Level] {
        match self {
            Self::Experiment | Self::Directory | Self::RegisteredModel => OF_EXPERIMENTS,
            Self::Warehouse => OF_WAREHOUSES,
            Self::Tokens => OF_TOKENS,
            Self::Passwords => OF_PASSWORDS,
        }
    }

    /// How answers call the type.
    pub fn object_type(self) -> &'static str {
        match self {
            Self::Experiment => "mlflowExperiment",
            Self::Directory => "directory",
            Self::RegisteredModel => "registered-model",
            Self::Warehouse => "warehouses",
            Self::Tokens => "tokens",
            Self::Passwords => "passwords",
        }
    }

    /// The level that a grant of this gives here, if it is one.
    pub fn level_of(self, granted: &str) -> Option<&'static str> {
        let level = match (self, granted) {
            (Self::Tokens, _) => return (granted == Privilege::TokenUse.as_str()).then_some("CAN_USE"),
            (Self::Passwords, _) => return None,
            (Self::Experiment | Self::Directory | Self::RegisteredModel, "CAN_RUN") => "CAN_EDIT",
            (_, "ALL") => "CAN_MANAGE",
            (_, other) => other,
        };
        self.levels().iter().map(|(name, _)| *name).find(|name| *name == level)
    }

    /// What is granted for a level that a client writes.
    pub fn granted_for(self, level: &str) -> Option<&'static str> {
        let level = if self.levels() == OF_EXPERIMENTS && level == "CAN_RUN" { "CAN_EDIT" } else { level };
        let known = self.levels().iter().map(|(name, _)| *name).find(|name| *name == level)?;
        Some(if self == Self::Tokens { Privilege::TokenUse.as_str() } else { known })
    }
}

impl Object {
    /// The object of a type and an id of the path.
    pub fn named(kind: &str, id: &str) -> Result<Self, Refusal> {
        let of = |kind, securable, path: String| Ok(Self { kind, securable, path });
        match (kind, id) {
            ("experiments", id) => {
                let parsed = ExperimentId::parse(id).map_err(|_| missing("experiment", id))?;
                of(Kind::Experiment, Securable::experiment(&parsed), format!("/experiments/{id}"))
            }
            ("directories", "0") => of(Kind::Directory, Securable::workspace(), "/directories/0".to_owned()),
            ("directories", id) => {
                let path = if id.starts_with('/') { id.to_owned() } else { format!("/{id}") };
                let folder = Securable::new(SecurableKind::Folder, &path)?;
                let path = path_of(&folder);
                of(Kind::Directory, folder, path)
            }
            ("registered-models", id) => {
                let model = Securable::registered_model(id).map_err(|_| missing("registered model", id))?;
                of(Kind::RegisteredModel, model, format!("/registered-models/{id}"))
            }
            ("warehouses", id) => Self::warehouse(id),
            ("sql", id) if id.starts_with("warehouses/") => {
                Self::warehouse(id.strip_prefix("warehouses/").unwrap_or_default())
            }
            ("authorization", "tokens") => {
                of(Kind::Tokens, Securable::workspace(), "/authorization/tokens".to_owned())
            }
            ("authorization", "passwords") => {
                of(Kind::Passwords, Securable::workspace(), "/authorization/passwords".to_owned())
            }
            ("notebooks", _) => Err(Malformed::new(
                "object type",
                "`notebooks` are not kept here; set the permissions of the experiment, or of its directory",
            )
            .into()),
            (other, id) => {
                let other: String = other.chars().take(80).collect();
                Err(missing(&format!("object of the type `{other}`"), id))
            }
        }
    }

    fn warehouse(id: &str) -> Result<Self, Refusal> {
        let securable =
            Securable::new(SecurableKind::Warehouse, id).map_err(|_| missing("SQL warehouse", id))?;
        Ok(Self { kind: Kind::Warehouse, securable, path: format!("/sql/warehouses/{id}") })
    }

    /// Lets in who manages the object. To whoever may not even see it, it does not exist.
    pub async fn admit(&self, call: &Call<'_>) -> Result<(), Refusal> {
        let id = &self.securable.id;
        let (noun, seeing) = match self.kind {
            Kind::Experiment => ("experiment", Some(Privilege::ExperimentView)),
            Kind::RegisteredModel => ("registered model", Some(Privilege::ModelRead)),
            Kind::Warehouse => ("SQL warehouse", Some(Privilege::WarehouseUse)),
            Kind::Directory | Kind::Tokens | Kind::Passwords => ("directory", None),
        };
        if self.kind == Kind::Experiment {
            let id = ExperimentId::parse(id)?;
            let facts = call.app.owners.experiment(call.app, call.backend, &id).await?;
            facts.ok_or_else(|| missing(noun, id.as_str()))?;
        }
        let managing = managing(&self.securable);
        if call.allows(managing.clone())? {
            return Ok(());
        }
        match seeing {
            Some(seeing) if !call.allows(Check::new(seeing, self.securable.clone()))? => {
                Err(missing(noun, id))
            }
            _ => Err(call.denied(managing.privilege, &managing.securable)),
        }
    }
}

fn missing(noun: &str, id: &str) -> Refusal {
    let id: String = id.chars().take(200).collect();
    Refusal::NotFound(format!("there is no {noun} `{id}`"))
}

/// How answers name what something is inherited from.
pub(super) fn path_of(above: &Securable) -> String {
    match above.kind {
        SecurableKind::Folder => format!("/directories{}", above.id),
        _ => "/directories/0".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_have_one_name_and_what_is_not_kept_here_has_none() {
        for (kind, id, securable, path) in [
            ("experiments", "12", "experiment:12", "/experiments/12"),
            ("directories", "0", "workspace:default", "/directories/0"),
            ("directories", "Users/ann", "folder:/Users/ann", "/directories/Users/ann"),
            ("directories", "/Users/ann", "folder:/Users/ann", "/directories/Users/ann"),
            ("directories", "/0", "folder:/0", "/directories/0"),
            ("registered-models", "bot", "registered_model:bot", "/registered-models/bot"),
            ("sql", "warehouses/w1", "warehouse:w1", "/sql/warehouses/w1"),
            ("warehouses", "w1", "warehouse:w1", "/sql/warehouses/w1"),
        ] {
            let object = Object::named(kind, id).unwrap();
            assert_eq!((object.securable.to_string().as_str(), object.path.as_str()), (securable, path));
        }
        for (kind, id, status) in [
            ("experiments", "012", 404),
            ("experiments", "support-bot", 404),
            ("serving-endpoints", "e", 404),
            ("clusters", "c", 404),
            ("authorization", "admin", 404),
            ("sql", "dashboards/1", 404),
            ("notebooks", "1", 400),
            ("directories", "a//b", 400),
            ("directories", "", 400),
        ] {
            assert_eq!(Object::named(kind, id).unwrap_err().status(), status, "{kind} {id}");
        }
    }

    #[test]
    fn levels_are_taken_and_shown_in_one_spelling() {
        assert_eq!(Kind::Experiment.granted_for("CAN_RUN"), Some("CAN_EDIT"));
        assert_eq!(Kind::Experiment.level_of("CAN_RUN"), Some("CAN_EDIT"));
        assert_eq!(Kind::Experiment.level_of("ALL"), Some("CAN_MANAGE"));
        assert_eq!(Kind::Experiment.level_of("trace.read"), None);
        assert_eq!(Kind::Experiment.granted_for("CAN_USE"), None);
        assert_eq!(Kind::Warehouse.granted_for("CAN_READ"), None);
        assert_eq!(Kind::Tokens.granted_for("CAN_USE"), Some("token.use"));
        assert_eq!(Kind::Tokens.level_of("CAN_USE"), None);
        assert_eq!(Kind::Experiment.granted_for("can_read"), None);
    }
}
