//! Which experiments are archived, kept in memory as of a version of policy: a write to any other costs nothing.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::access::ExperimentId;
use crate::store::{Archive, Store, StoreError};

pub struct Archives {
    store: Store,
    known: ArcSwap<Known>,
}

#[derive(Default)]
struct Known {
    version: i64,
    by_experiment: HashMap<ExperimentId, Archive>,
}

impl Archives {
    pub fn new(store: Store) -> Self {
        let known = Known { version: -1, ..Known::default() };
        Self { store, known: ArcSwap::from_pointee(known) }
    }

    /// Reads which there are if policy is newer than what is known.
    pub async fn refresh(&self, policy_version: i64) -> Result<(), StoreError> {
        if self.known.load().version >= policy_version {
            return Ok(());
        }
        let (version, archives) = self.store.archives().await?;
        let by_experiment = archives.into_iter().map(|one| (one.experiment.clone(), one)).collect();
        let fresh = Arc::new(Known { version, by_experiment });
        // Of two that read at once, the older must not win.
        self.known.rcu(|now| if now.version < fresh.version { Arc::clone(&fresh) } else { Arc::clone(now) });
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.known.load().by_experiment.is_empty()
    }

    pub fn of(&self, experiment: &ExperimentId) -> Option<Archive> {
        self.known.load().by_experiment.get(experiment).cloned()
    }

    pub fn with_id(&self, id: &str) -> Option<Archive> {
        self.known.load().by_experiment.values().find(|archive| archive.id == id).cloned()
    }

    pub fn all(&self) -> Vec<Archive> {
        self.known.load().by_experiment.values().cloned().collect()
    }
}
