//! Policy as code: what a written policy would change, and who would gain or lose what by it.
//!
//! A [`Document`] is held against the policy in force ([`Matching`]); the [`Difference`] is both what the store is to
//! do and how the snapshot after it comes about. [`Effects`] compares the two snapshots, [`failures`] holds written
//! expectations against one, [`replay`] decides past calls under both. Nothing here changes anything.

mod difference;
mod document;
mod effects;
mod expectations;
mod listing;
mod replay;
mod safety;

pub use difference::{Change, Difference, How, Matching, Terms};
pub use document::{Document, Expectation, GroupMembers, Problem, Scope, SecurableGrants, WrittenGrant};
pub use effects::{Bounds, Effects, Pair};
pub use expectations::{Failure, failures, questions};
pub use listing::{ListedGrant, Listing};
pub use replay::{PastCall, Replay, Replayed, replay};
pub use safety::{loses_the_last_administrator, refusals};

#[cfg(test)]
mod tests;
