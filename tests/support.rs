//! What the integration tests stand on.

pub mod callers;
pub mod directory;
pub mod fake_mlflow;
pub mod fake_upstream;
pub mod gateway;
pub mod logs;
pub mod otlp;
pub mod raw_http;
pub mod secure;
