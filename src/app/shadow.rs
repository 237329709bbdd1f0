//! What is said of shadow mode while anything is in it: it must not be forgotten.

use std::sync::Arc;
use std::time::Duration;

use super::App;
use crate::policy::Unavailable;

const DAY: Duration = Duration::from_secs(86_400);

impl App {
    /// Counts the experiments in shadow mode.
    pub fn note_shadows(&self) -> Result<usize, Unavailable> {
        let count = self.policy.view()?.shadowed_experiments().len();
        self.metrics.shadow_experiments.set(i64::try_from(count).unwrap_or(i64::MAX));
        Ok(count)
    }

    /// Says at the start and each day that experiments are in shadow mode, until the task is aborted.
    pub async fn keep_telling_of_shadows(self: Arc<Self>) {
        loop {
            if let Ok(count @ 1..) = self.note_shadows() {
                let anonymous = self.config.policy.shadow_anonymous;
                tracing::warn!(
                    experiments = count,
                    anonymous,
                    "experiments are in shadow mode: what policy denies there passes"
                );
            }
            tokio::time::sleep(DAY).await;
        }
    }
}
