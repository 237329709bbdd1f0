//! A store to search in, for arbitrary filters, orders and page tokens.

#![allow(clippy::unwrap_used, reason = "a failure is what is looked for")]

use std::future::Future;
use std::sync::Arc;

use sqlx::AssertSqlSafe;

use super::EmbeddedShared;
pub(crate) use super::otlp::fuzz::kept_spans;
pub(crate) use super::search::fuzz::{Asks, page_token, search, what_it_asks};
use crate::clock::ManualClock;
use crate::config::Config;

const ROWS: &str = r#"INSERT INTO traces (trace_no, trace_id, experiment_id, request_time, duration, state, tags, metadata)
VALUES (1, 'a', 0, 1000, 5, 'OK', '{"k": "v"}', '{"m": "n"}'),
       (2, 'b', 0, 1001, NULL, 'ERROR', '{}', '{"mlflow.trace.session": "s"}'),
       (3, 'c', 0, 1002, 7, 'OK', '{"mlflow.traceName": "n", "k": "w"}', '{"mlflow.sourceRun": "r"}')"#;

pub(super) struct Scratch {
    runtime: tokio::runtime::Runtime,
    shared: Arc<EmbeddedShared>,
    _directory: tempfile::TempDir,
}

impl Scratch {
    fn open() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::from_sources(None, std::iter::empty()).unwrap();
        config.server.data_dir = directory.path().to_owned();
        let clock = Arc::new(ManualClock::at(1_795_322_417_000));
        let shared = runtime.block_on(async {
            let shared = EmbeddedShared::open(&config, clock).await.unwrap();
            sqlx::query(AssertSqlSafe(ROWS)).execute(&shared.database.writer).await.unwrap();
            shared
        });
        Self { runtime, shared, _directory: directory }
    }
}

thread_local! {
    static SCRATCH: Scratch = Scratch::open();
}

/// Does something with a store that has a few traces.
pub(super) fn with_store<F: Future<Output = ()>>(work: impl FnOnce(Arc<EmbeddedShared>) -> F) {
    SCRATCH.with(|scratch| scratch.runtime.block_on(work(Arc::clone(&scratch.shared))));
}
