//! Policy changes: made in the store, put in force here, recorded with before and after.

use super::error::Refusal;
use super::trail::Trail;
use crate::access::{Grant, GrantId, NewGrant, Principal};
use crate::app::App;
use crate::store::Change;

pub(super) async fn add_grant(
    app: &App,
    trail: &Trail,
    grant: &NewGrant,
    by: &Principal,
) -> Result<Grant, Refusal> {
    let (grant, change) = app.store.add_grant(grant, &by.to_string(), app.clock.now()).await?;
    settle(app, trail, change).await?;
    Ok(grant)
}

pub(super) async fn remove_grant(
    app: &App,
    trail: &Trail,
    grant: GrantId,
    by: &Principal,
) -> Result<bool, Refusal> {
    match app.store.remove_grant(grant, &by.to_string(), app.clock.now()).await? {
        Some(change) => {
            settle(app, trail, change).await?;
            Ok(true)
        }
        None => Ok(false),
    }
}

/// Puts a committed change in force on this replica and records it.
pub(super) async fn settle(app: &App, trail: &Trail, change: Change) -> Result<(), Refusal> {
    if change.changed {
        app.confirm_policy().await?;
        trail.policy_change(change.policy_change, change.version).await?;
    }
    Ok(())
}
