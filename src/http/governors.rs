//! Who manages identities must not come to govern policy by it: not by joining a group that does, not by a
//! credential of somebody who does, nor by leaving a group that was denied it.

use super::call::Call;
use super::error::Refusal;
use crate::access::{Check, Principal, Privilege, Securable};
use crate::store::Store;

/// The store for a change of these principals by this caller: of their memberships, credentials, whether they are
/// active. Where it is allowed only because none of them governs anything, it is so at this version of policy alone.
pub(super) fn store_for(call: &Call<'_>, touched: &[&Principal]) -> Result<Store, Refusal> {
    let view = call.view()?;
    if view.allows(call.caller, Check::new(Privilege::PolicyManage, Securable::workspace()))? {
        return Ok(call.app.store.clone());
    }
    match touched.iter().find(|principal| view.snapshot().governs(principal)) {
        Some(governor) => Err(Refusal::Denied(format!(
            "`{}` may manage identities, but `{governor}` governs policy or is denied to: that takes \
             `policy.manage` too",
            call.caller.principal
        ))),
        None => Ok(call.app.store.at_version(view.version())),
    }
}
