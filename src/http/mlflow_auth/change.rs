//! Changes of policy that are worked out from what is in force and applied at exactly that version.

use std::sync::Arc;

use crate::http::call::Call;
use crate::http::changes::settle;
use crate::http::error::Refusal;
use crate::http::trail::Trail;
use crate::policy::Snapshot;
use crate::store::{StoreError, Wanted};

/// Times that somebody else's change may come between.
const ATTEMPTS: usize = 8;

/// Does what `plan` wants. It is asked anew whenever policy has moved on, so that what it checked still holds when its
/// steps are taken.
pub(super) async fn change(
    call: &Call<'_>,
    trail: &Trail,
    plan: impl AsyncFn(Arc<Snapshot>) -> Result<Vec<Wanted>, Refusal>,
) -> Result<(), Refusal> {
    let app = call.app;
    let by = call.caller.principal.to_string();
    for _ in 0..ATTEMPTS {
        app.confirm_policy().await?;
        let snapshot = Arc::clone(call.view()?.snapshot());
        let version = snapshot.version();
        let wanted = plan(snapshot).await?;
        if wanted.is_empty() {
            return Ok(());
        }
        match app.store.apply_policy(Some(version), &wanted, &by, app.clock.now()).await {
            Ok(change) => return settle(app, trail, change).await,
            Err(StoreError::Moved { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Refusal::Conflict("policy changes too fast; send the request again".to_owned()))
}
