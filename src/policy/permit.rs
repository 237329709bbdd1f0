//! The typed proof of an allow.

use crate::access::{Caller, Check};

/// What an operation requires before it may be forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requirement {
    /// A listed public operation.
    Public,
    /// Any authenticated caller.
    Authenticated,
    /// Every one of these, and at least one.
    All(Vec<Check>),
}

/// Proof that policy allowed a call. It can be made by [`View::authorize`](super::View::authorize)
/// alone and is spent by forwarding.
#[derive(Debug)]
#[must_use = "a permit is spent by forwarding the call it was made for"]
pub struct Permit {
    caller: Option<Caller>,
    policy_version: i64,
}

impl Permit {
    pub(super) fn new(caller: Option<Caller>, policy_version: i64) -> Self {
        Self { caller, policy_version }
    }

    pub fn caller(&self) -> Option<&Caller> {
        self.caller.as_ref()
    }

    pub fn policy_version(&self) -> i64 {
        self.policy_version
    }

    /// A permit for tests of backends, which never look at how it was earned.
    #[cfg(test)]
    pub(crate) fn for_test() -> Self {
        Self::new(None, 1)
    }
}
