//! `[telemetry]`: logs, and our own traces and metrics.

use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryConfig {
    /// What is logged, such as `info` or `tracegate=debug,warn`.
    pub log: String,
    /// `text` for people or `json` for machines.
    pub format: LogFormat,
    /// Base URL of an OTLP/HTTP receiver for Tracegate's own traces and metrics; nothing is sent without it.
    pub otlp_endpoint: Option<String>,
    /// How often metrics are sent, in milliseconds.
    pub metrics_interval_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            log: "info".to_owned(),
            format: LogFormat::Text,
            otlp_endpoint: None,
            metrics_interval_ms: 15_000,
        }
    }
}

impl TelemetryConfig {
    pub fn validate(&self, problems: &mut Vec<String>) {
        if let Some(url) = &self.otlp_endpoint
            && !(url.starts_with("http://") || url.starts_with("https://"))
        {
            problems.push(format!(
                "`telemetry.otlp_endpoint` is `{url}`: expected a URL such as `http://collector:4318`"
            ));
        }
    }
}
