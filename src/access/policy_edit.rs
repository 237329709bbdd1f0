//! One step of a policy change, as the ordered log of changes carries it to every replica.

use serde::{Deserialize, Serialize};

use super::grant::{Effect, GrantId};
use super::principal::Principal;
use super::securable::Securable;
use crate::clock::UnixMillis;

/// What of a grant decides: who, what, on what, allow or deny, until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    pub id: GrantId,
    pub principal: Principal,
    pub securable: Securable,
    /// A level, bundle or privilege; one that this version does not know gives nothing.
    pub privilege: String,
    pub effect: Effect,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<UnixMillis>,
}

/// One version of policy may consist of several of these; they apply in order and all at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "edit", rename_all = "snake_case")]
pub enum PolicyEdit {
    /// A principal became known, or may authenticate from now on or no more.
    Principal {
        principal: Principal,
        active: bool,
    },
    /// A grant was written; one of the same id on the same securable is replaced. None moves to another.
    Grant(Rule),
    Revoke(Rule),
    Join {
        group: Principal,
        member: Principal,
    },
    Leave {
        group: Principal,
        member: Principal,
    },
    /// A securable was put at its place in the tree.
    Place {
        securable: Securable,
        parent: Securable,
    },
    /// A securable's own place was forgotten: it lies where its name says.
    Unplace {
        securable: Securable,
    },
}
