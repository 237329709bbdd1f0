//! Access tokens are many and short-lived: those that ended are forgotten.

use std::sync::Arc;
use std::time::Duration;

use super::App;

const EVERY: Duration = Duration::from_secs(600);

impl App {
    /// Forgets them now and then, until the task is aborted. Which replica does it makes no difference.
    pub async fn forget_old_access_tokens(self: Arc<Self>) {
        loop {
            match self.identity.prune_access_tokens().await {
                Ok(0) => {}
                Ok(forgotten) => tracing::debug!(forgotten, "access tokens that ended were forgotten"),
                Err(error) => tracing::warn!(%error, "access tokens that ended could not be forgotten"),
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}
