//! `tracegate migrate`: brings the databases to this version, before a process that serves is started on them.
//!
//! A process that starts does the same, so that this is for those who want it done, and seen to be done, before:
//! a job of an upgrade. Two at once are one after the other.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::json;

use super::print_line;
use crate::backend;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::store::Store;

pub(super) fn run(config: Option<&Path>, json: bool) -> anyhow::Result<()> {
    let config = Config::load(config)?;
    actix_web::rt::System::new().block_on(async {
        let data_dir = &config.server.data_dir;
        std::fs::create_dir_all(data_dir)
            .with_context(|| format!("`server.data_dir` `{}` cannot be made", data_dir.display()))?;
        let mut done = vec!["state", "audit index"];
        let state = Store::open(&config.database, data_dir).await.context("the state")?;
        let version = state.policy_version().await.context("the state")?;
        let index = crate::audit::open_index(config.database.url.as_deref(), data_dir)
            .await
            .context("the audit index")?;
        index.close().await;
        if config.mlflow.url.is_none() {
            let clock: Arc<dyn Clock> = Arc::new(SystemClock);
            backend::Shared::open(&config, &clock).await.context("the traces")?;
            done.push("traces");
        }
        print_line(&if json {
            json!({ "migrated": done, "policy_version": version }).to_string()
        } else {
            format!("{}: at this version", done.join(", "))
        });
        Ok(())
    })
}
