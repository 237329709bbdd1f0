//! Keeps the policy fresh: at each notification of a change, and on each poll in case none comes.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::App;
use crate::policy::Compared;
use crate::store::{FeedEvent, PolicyFeed};

/// Between attempts to hear of changes when the first connection for it cannot be made.
const PAUSE: Duration = Duration::from_secs(5);

impl App {
    /// Confirms the policy again and again, until the task is aborted.
    pub async fn keep_policy_fresh(self: Arc<Self>) {
        // Beside each other: a connection that hangs must not keep the polls from being made.
        tokio::join!(self.poll(), self.listen());
    }

    async fn poll(&self) {
        let mut tick = tokio::time::interval(Duration::from_millis(self.config.policy.poll_ms));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.confirm_or_warn().await;
            let gauge = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
            self.metrics.audit_backlog.set(gauge(self.records.backlog()));
            self.metrics.audit_mirror_lag.set(gauge(self.records.mirror_lag()));
            let Compared { compared, mismatched } = self.policy.compared();
            self.metrics.decisions_compared.set(gauge(compared));
            self.metrics.decisions_mismatched.set(gauge(mismatched));
            for (issuer, times) in self.identity.key_failures() {
                self.metrics.issuer_keys_failed(issuer, times);
            }
        }
    }

    async fn listen(&self) {
        loop {
            match self.store.policy_feed().await {
                Ok(feed) => self.follow(feed).await,
                Err(error) => tracing::warn!(%error, "policy changes are not notified; polling goes on"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn follow(&self, mut feed: PolicyFeed) {
        // What changed before the feed was open.
        self.confirm_or_warn().await;
        loop {
            match feed.next().await {
                // Mostly our own change, which was put in force before its notification came back.
                FeedEvent::Changed(version) if version <= self.policy.version() => {}
                FeedEvent::Changed(_) | FeedEvent::Lost => self.confirm_or_warn().await,
            }
        }
    }

    async fn confirm_or_warn(&self) {
        if let Err(error) = self.confirm_policy().await {
            tracing::warn!(%error, "the policy could not be confirmed");
        }
    }
}
