//! Grants: who may (or may not) do what to which securable, since when, until when, and why.

use super::policy_edit::Rule;
use super::principal::Principal;
use super::securable::Securable;
use crate::clock::UnixMillis;

#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct GrantId(pub i64);

#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    Allow,
    Deny,
}

impl Effect {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// A grant to be written. `privilege` is a level (`CAN_READ`), a single privilege (`trace.read`) or `ALL`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewGrant {
    pub principal: Principal,
    pub securable: Securable,
    pub privilege: String,
    #[serde(default = "allow")]
    pub effect: Effect,
    #[serde(default)]
    pub reason: Option<String>,
    #[serde(default, rename = "expires_at_ms")]
    pub expires_at: Option<UnixMillis>,
}

fn allow() -> Effect {
    Effect::Allow
}

/// A grant in force or expired, as the store holds it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Grant {
    pub id: GrantId,
    #[serde(flatten)]
    pub grant: NewGrant,
    pub granted_by: String,
    #[serde(rename = "granted_at_ms")]
    pub granted_at: UnixMillis,
}

impl Grant {
    /// What of it decides.
    pub fn rule(&self) -> Rule {
        Rule {
            id: self.id,
            principal: self.grant.principal.clone(),
            securable: self.grant.securable.clone(),
            privilege: self.grant.privilege.clone(),
            effect: self.grant.effect,
            expires_at: self.grant.expires_at,
        }
    }
}
