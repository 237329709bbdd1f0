//! Policy as code: what a written policy would change, and who would gain or lose what by it.

mod document;

pub use document::{Document, Expectation, GroupMembers, Problem, Scope, SecurableGrants, WrittenGrant};
