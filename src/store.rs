//! store
use crate::access::{Grant, Principal, Securable};
#[derive(Debug, Clone, Default)]
pub struct PolicyState {
    pub version: i64,
    pub grants: Vec<Grant>,
    pub memberships: Vec<(Principal, Principal)>,
    pub parents: Vec<(Securable, Securable)>,
    pub inactive: Vec<Principal>,
}
