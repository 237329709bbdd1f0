//! A decision: the verdict, what determined it, and the policy version it was made at.

use std::fmt;

use super::grant::GrantId;
use super::privilege::Privilege;
use super::securable::Securable;

/// One question to policy: may the caller do this to that?
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Check {
    pub privilege: Privilege,
    pub securable: Securable,
}

impl Check {
    pub fn new(privilege: Privilege, securable: Securable) -> Self {
        Self { privilege, securable }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}` on `{}`", self.privilege, self.securable)
    }
}

/// The id by which a caller, an administrator and the audit record speak of one decision (UUIDv7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DecisionId(pub uuid::Uuid);

impl fmt::Display for DecisionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Allow,
    Deny,
}

impl Verdict {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub verdict: Verdict,
    /// The grants that determined the verdict: those that allowed, or the deny that refused.
    pub deciding: Vec<GrantId>,
    /// The first check that was not allowed.
    pub refused: Option<Check>,
    /// What was missing, where an allow is shadow mode's: without it the call would be denied.
    pub shadowed: Vec<Check>,
    pub policy_version: i64,
}
