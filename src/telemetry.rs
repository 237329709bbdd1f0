//! Logs, metrics and traces of Tracegate itself. Never a payload, never a token.

mod metrics;
mod otlp;

pub use metrics::{CallLabels, Metrics, Turned};
pub use otlp::{Telemetry, outgoing_traceparent, take_parent};
