//! MLflow's permissions in terms of grants, and back.
//!
//! Its basic-auth knows READ, USE, EDIT, MANAGE and DENY on a resource by its id, or on all of a type (`*`). A permission
//! is written as the fewest grants that give no more than it; what is read back is the nearest permission that does
//! not overstate what the grants give.
//!
//! ```
//! use tracegate::access::Principal;
//! use tracegate::policy::Levels;
//! use tracegate::policy::mlflow_permissions::{Permission, Resource};
//!
//! let analysts = Principal::group("analysts").unwrap();
//! let resource = Resource::parse("experiment", "12").unwrap();
//! let grants = resource.grants(&Levels::builtin().unwrap(), &analysts, Permission::Edit).unwrap();
//! assert_eq!(grants[0].privilege, "CAN_EDIT");
//! assert_eq!(grants[0].securable.to_string(), "experiment:12");
//! ```

mod reading;

pub use reading::{Row, rows};

use super::levels::{Levels, PrivilegeSet};
use crate::access::{Effect, ExperimentId, NewGrant, Principal, Privilege, Securable, SecurableKind};

/// Types that MLflow has and that are granted on nothing here.
const ELSEWHERE: [&str; 14] = [
    "scorer",
    "gateway_secret",
    "gateway_endpoint",
    "gateway_model_definition",
    "mcp_server",
    "run",
    "trace",
    "assessment",
    "logged_model",
    "review_queue",
    "registered_model_version",
    "prompt_version",
    "scorer_version",
    "mcp_server_version",
];
/// How a grant's reason begins that stands for a permission; the type and the permission follow.
const MARK: &str = "MLflow permission: ";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    Deny,
    Read,
    Use,
    Edit,
    Manage,
}

impl Permission {
    pub const ALL: [Self; 5] = [Self::Deny, Self::Read, Self::Use, Self::Edit, Self::Manage];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "DENY",
            Self::Read => "READ",
            Self::Use => "USE",
            Self::Edit => "EDIT",
            Self::Manage => "MANAGE",
        }
    }

    pub fn parse(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|one| one.as_str() == text).ok_or_else(|| {
            format!(
                "`{}` is not a permission that can be granted; use READ, USE, EDIT, MANAGE or DENY",
                text.chars().take(80).collect::<String>()
            )
        })
    }

    /// The level that is granted for it. USE lets its holder do nothing more than READ to experiments and models: it
    /// is for gateway endpoints. So it is the same grant, and its reason tells the two apart.
    fn level(self) -> &'static str {
        match self {
            Self::Read | Self::Use => "CAN_READ",
            Self::Edit => "CAN_EDIT",
            Self::Manage => "CAN_MANAGE",
            Self::Deny => "ALL",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceType {
    Experiment,
    RegisteredModel,
    Prompt,
    Workspace,
}

impl ResourceType {
    pub const ALL: [Self; 4] = [Self::Experiment, Self::RegisteredModel, Self::Prompt, Self::Workspace];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Experiment => "experiment",
            Self::RegisteredModel => "registered_model",
            Self::Prompt => "prompt",
            Self::Workspace => "workspace",
        }
    }

    /// What a permission on such a resource is about.
    fn concerns(self, privilege: Privilege) -> bool {
        match self {
            Self::Workspace => true,
            // Levels have privileges of warehouses too, which are no part of any experiment.
            Self::Experiment => !is_of_models(privilege) && privilege.applies_to(SecurableKind::Experiment),
            Self::RegisteredModel | Self::Prompt => is_of_models(privilege),
        }
    }

    fn part(self, levels: &Levels, level: &str) -> PrivilegeSet {
        let every = Privilege::ALL.iter().copied();
        PrivilegeSet::of(every.filter(|one| self.concerns(*one) && levels.gives(level, *one)))
    }

    /// The nearest permission that does not overstate a set of privileges.
    pub fn nearest(self, levels: &Levels, has: PrivilegeSet) -> Option<Permission> {
        [Permission::Manage, Permission::Edit, Permission::Read].into_iter().find(|permission| {
            let needed = self.part(levels, permission.level());
            !needed.is_empty() && needed.minus(has).is_empty()
        })
    }
}

fn is_of_models(privilege: Privilege) -> bool {
    matches!(
        privilege,
        Privilege::ModelRead | Privilege::ModelWrite | Privilege::ModelDelete | Privilege::ModelManage
    )
}

/// A resource as MLflow names it: a type, and an id or `*` for all of the type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    pub kind: ResourceType,
    /// `None`: all of the type.
    pub id: Option<String>,
}

impl Resource {
    pub fn parse(kind: &str, pattern: &str) -> Result<Self, String> {
        let shown = |text: &str| text.chars().take(80).collect::<String>();
        let Some(kind) = ResourceType::ALL.into_iter().find(|one| one.as_str() == kind) else {
            return Err(match ELSEWHERE.contains(&kind) {
                true => format!(
                    "Tracegate has no grants on a `{kind}`; what experiments and models hold is granted with them, \
                     and gateway and MCP resources are for administrators"
                ),
                false => format!("`{}` is not a resource type", shown(kind)),
            });
        };
        if pattern == "*" {
            return Ok(Self { kind, id: None });
        }
        let resource = Self { kind, id: Some(pattern.to_owned()) };
        match resource.securable() {
            Ok(_) if kind == ResourceType::Workspace => {
                Err("a `workspace` permission is on `*`: there is one workspace".to_owned())
            }
            Ok(_) => Ok(resource),
            Err(problem) => Err(problem),
        }
    }

    pub fn pattern(&self) -> &str {
        self.id.as_deref().unwrap_or("*")
    }

    /// What it is granted on.
    pub fn securable(&self) -> Result<Securable, String> {
        let Some(id) = &self.id else { return Ok(Securable::workspace()) };
        match self.kind {
            ResourceType::Workspace => Ok(Securable::workspace()),
            ResourceType::Experiment => ExperimentId::parse(id).map(|id| Securable::experiment(&id)),
            ResourceType::RegisteredModel | ResourceType::Prompt => Securable::registered_model(id),
        }
        .map_err(|error| error.to_string())
    }

    /// The grants that a permission stands for; none of them gives more than it.
    pub fn grants(
        &self,
        levels: &Levels,
        principal: &Principal,
        permission: Permission,
    ) -> Result<Vec<NewGrant>, String> {
        let securable = self.securable()?;
        let names: Vec<&'static str> = match (self.kind, &self.id) {
            (ResourceType::Workspace, _) => workspace(permission)?,
            (_, Some(_)) => vec![permission.level()],
            // A level on the workspace would reach models as well.
            (ResourceType::Experiment, None) => {
                let level = if permission == Permission::Deny { "CAN_MANAGE" } else { permission.level() };
                self.kind.part(levels, level).iter().map(Privilege::as_str).collect()
            }
            (ResourceType::RegisteredModel | ResourceType::Prompt, None) => {
                return Err(OF_ALL_MODELS.to_owned());
            }
        };
        let effect = if permission == Permission::Deny { Effect::Deny } else { Effect::Allow };
        let reason = format!("{MARK}{} {}", self.kind.as_str(), permission.as_str());
        let grant = |name: &str| NewGrant {
            principal: principal.clone(),
            securable: securable.clone(),
            privilege: name.to_owned(),
            effect,
            reason: Some(reason.clone()),
            expires_at: None,
        };
        Ok(names.into_iter().map(grant).collect())
    }

    /// The grants of a permission on all models and all prompts together.
    pub fn grants_on_all_models(
        levels: &Levels,
        principal: &Principal,
        permission: Permission,
    ) -> Vec<NewGrant> {
        let level = if permission == Permission::Deny { "CAN_MANAGE" } else { permission.level() };
        let part = ResourceType::RegisteredModel.part(levels, level);
        let grant = |privilege: Privilege| NewGrant {
            principal: principal.clone(),
            securable: Securable::workspace(),
            privilege: privilege.to_string(),
            effect: if permission == Permission::Deny { Effect::Deny } else { Effect::Allow },
            reason: Some(format!("{MARK}registered_model {}", permission.as_str())),
            expires_at: None,
        };
        part.iter().map(grant).collect()
    }
}

const OF_ALL_MODELS: &str = "a prompt is a registered model here, so a grant on all of the one would be a grant on all of \
    both; grant on each by its name, or `model.read` and the like on `workspace:default` through Tracegate's own API";

/// Who may create, and who manages everything. MLflow's MANAGE lets one administer accounts too; that is
/// `identity.manage` here and is not given along.
fn workspace(permission: Permission) -> Result<Vec<&'static str>, String> {
    const CREATES: [&str; 2] = ["experiment.create", "model.create"];
    match permission {
        Permission::Use => Ok(CREATES.to_vec()),
        Permission::Manage => Ok([&CREATES[..], &["CAN_MANAGE"]].concat()),
        _ => Err("a `workspace` permission is USE or MANAGE".to_owned()),
    }
}

#[cfg(test)]
mod tests;
