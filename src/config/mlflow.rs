//! `[mlflow]`: the MLflow tracking server that permitted calls are forwarded to, or where Tracegate's own
//! store keeps what it holds when there is none.
//!
//! ```toml
//! [mlflow]
//! url = "https://mlflow.internal:5000/base"
//! username = "tracegate"
//! password_file = "/run/secrets/mlflow"
//! ```

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use serde::Deserialize;

use crate::secret::SecretText;

/// Where the MLflow server is, who the gateway is to it, and how long it may take.
#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MlflowConfig {
    /// Base URL of an MLflow tracking server, `http` or `https`; may have a base path. Without it Tracegate
    /// keeps experiments, runs and traces in a store of its own.
    pub url: Option<String>,
    /// Where the own store keeps artifacts and the payload of very large traces: a directory, or
    /// `s3://BUCKET/PREFIX` (credentials and region from the usual `AWS_…` variables). A directory below
    /// `server.data_dir` if absent; several replicas need one that all of them see.
    pub artifacts: Option<String>,
    /// Whether the own store keeps an index of what spans hold, so that searching for rare words is fast. It
    /// takes about a third of the room of the spans; on SQLite it is a file of its own beside the traces.
    pub content_index: bool,
    /// Days that the own store keeps a trace, counted from its start; for ever if absent. An experiment's tag
    /// `tracegate.retention.days` says otherwise for its traces.
    pub retention_days: Option<u32>,
    /// Traces that the own store keeps of each experiment, the newest; all if absent. An experiment's tag
    /// `tracegate.retention.traces` says otherwise for its traces.
    pub retention_traces: Option<u64>,
    /// The gateway's own user name at the MLflow server (HTTP Basic).
    pub username: Option<String>,
    /// The password that goes with `username`.
    pub password: Option<SecretText>,
    /// A file that holds the password, instead of `password`.
    pub password_file: Option<PathBuf>,
    /// The gateway's own bearer token at the MLflow server, instead of a user name.
    pub token: Option<SecretText>,
    /// A file that holds the token, instead of `token`.
    pub token_file: Option<PathBuf>,
    /// `Host` header to send; by default the authority of `url`.
    pub host_header: Option<String>,
    /// Milliseconds for connecting (name resolution included), and for the TLS handshake.
    pub connect_timeout_ms: u64,
    /// Milliseconds from the last byte of the request until the response headers.
    pub response_timeout_ms: u64,
    /// Milliseconds between two chunks of a response body.
    pub idle_timeout_ms: u64,
    /// Milliseconds an unused connection is kept. Below the server's own (uvicorn: 5000), so that a
    /// request is never sent into a connection that is just being closed.
    pub keep_alive_ms: u64,
    /// Connections to the MLflow server, per worker thread.
    pub max_connections_per_worker: usize,
    /// Consecutive connection failures and timeouts that open the circuit breaker.
    pub breaker_failures: u32,
    /// Milliseconds the circuit breaker stays open before one request probes again.
    pub breaker_open_ms: u64,
    /// Milliseconds for one look-up of the gateway's own (an id's owner, an experiment), in all.
    pub lookup_timeout_ms: u64,
}

impl Default for MlflowConfig {
    fn default() -> Self {
        Self {
            url: None,
            artifacts: None,
            content_index: true,
            retention_days: None,
            retention_traces: None,
            username: None,
            password: None,
            password_file: None,
            token: None,
            token_file: None,
            host_header: None,
            connect_timeout_ms: 2_000,
            response_timeout_ms: 60_000,
            idle_timeout_ms: 30_000,
            keep_alive_ms: 4_000,
            max_connections_per_worker: 100,
            breaker_failures: 5,
            breaker_open_ms: 5_000,
            lookup_timeout_ms: 5_000,
        }
    }
}

impl fmt::Debug for MlflowConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("MlflowConfig")
            .field("url", &self.url)
            .field("artifacts", &self.artifacts)
            .field("content_index", &self.content_index)
            .field("retention_days", &self.retention_days)
            .field("retention_traces", &self.retention_traces)
            .field("username", &self.username)
            .field("password", &self.password)
            .field("password_file", &self.password_file)
            .field("token", &self.token)
            .field("token_file", &self.token_file)
            .field("host_header", &self.host_header)
            .field("connect_timeout_ms", &self.connect_timeout_ms)
            .field("response_timeout_ms", &self.response_timeout_ms)
            .field("idle_timeout_ms", &self.idle_timeout_ms)
            .field("keep_alive_ms", &self.keep_alive_ms)
            .field("max_connections_per_worker", &self.max_connections_per_worker)
            .field("breaker_failures", &self.breaker_failures)
            .field("breaker_open_ms", &self.breaker_open_ms)
            .field("lookup_timeout_ms", &self.lookup_timeout_ms)
            .finish()
    }
}

impl MlflowConfig {
    /// Adds one line for each value that cannot work.
    pub fn validate(&self, problems: &mut Vec<String>) {
        if let Some(Err(problem)) = self.url.as_deref().map(UpstreamUrl::parse) {
            problems.push(format!("`mlflow.url` {problem}"));
        }
        let of_a_server = [
            ("username", self.username.is_some()),
            ("password", self.password.is_some()),
            ("password_file", self.password_file.is_some()),
            ("token", self.token.is_some()),
            ("token_file", self.token_file.is_some()),
            ("host_header", self.host_header.is_some()),
        ];
        // Whoever means a server and loses its URL must not be given an empty store instead.
        if let Some((key, _)) = of_a_server.iter().find(|(_, set)| self.url.is_none() && *set) {
            problems.push(format!(
                "`mlflow.{key}` is set without `mlflow.url`; name the server, or leave both out to keep traces here"
            ));
        }
        if self.password.is_some() && self.password_file.is_some() {
            problems.push("`mlflow.password` and `mlflow.password_file` exclude each other".to_owned());
        }
        if self.token.is_some() && self.token_file.is_some() {
            problems.push("`mlflow.token` and `mlflow.token_file` exclude each other".to_owned());
        }
        let password = self.password.is_some() || self.password_file.is_some();
        if self.username.is_some() != password {
            problems.push("`mlflow.username` and `mlflow.password` go together".to_owned());
        }
        if self.username.is_some() && (self.token.is_some() || self.token_file.is_some()) {
            problems.push("`mlflow.username` and `mlflow.token` exclude each other".to_owned());
        }
        if self.username.as_ref().is_some_and(|name| name.contains(':')) {
            problems.push("`mlflow.username` may not hold a colon".to_owned());
        }
        if self.host_header.as_ref().is_some_and(|host| !is_authority(host)) {
            problems.push("`mlflow.host_header` must be a host with an optional port".to_owned());
        }
        for (name, value) in [
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("response_timeout_ms", self.response_timeout_ms),
            ("idle_timeout_ms", self.idle_timeout_ms),
            ("breaker_open_ms", self.breaker_open_ms),
            ("lookup_timeout_ms", self.lookup_timeout_ms),
            ("max_connections_per_worker", self.max_connections_per_worker as u64),
            ("breaker_failures", u64::from(self.breaker_failures)),
        ] {
            if value == 0 {
                problems.push(format!("`mlflow.{name}` must be at least 1"));
            }
        }
    }

    /// The `Authorization` header of the gateway at the MLflow server. Reads the secret's file.
    pub fn authorization(&self) -> std::io::Result<Option<String>> {
        if let Some(token) = secret(self.token.as_ref(), self.token_file.as_deref())? {
            return Ok(Some(format!("Bearer {}", token.expose())));
        }
        let Some(username) = &self.username else { return Ok(None) };
        let password = secret(self.password.as_ref(), self.password_file.as_deref())?.unwrap_or_default();
        let pair =
            base64::engine::general_purpose::STANDARD.encode(format!("{username}:{}", password.expose()));
        Ok(Some(format!("Basic {pair}")))
    }
}

fn secret(value: Option<&SecretText>, file: Option<&Path>) -> std::io::Result<Option<SecretText>> {
    match (value, file) {
        (Some(value), _) => Ok(Some(value.clone())),
        (None, Some(path)) => {
            let text = SecretText::from(std::fs::read_to_string(path)?);
            Ok(Some(text.expose().trim_end().into()))
        }
        (None, None) => Ok(None),
    }
}

/// The parts of `mlflow.url`: scheme, authority, and a base path without its trailing slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamUrl {
    pub https: bool,
    pub authority: String,
    pub base_path: String,
}

impl UpstreamUrl {
    /// Parses a base URL; the message continues "`mlflow.url` …".
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (https, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err("must start with `http://` or `https://`"),
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        if authority.contains('@') {
            return Err("may not hold credentials; use `username` and `password` or `token`");
        }
        if !is_authority(authority) {
            return Err("must name a host, with an optional port");
        }
        let base_path = path.strip_suffix('/').unwrap_or(path);
        let plain = |segment: &str| {
            !matches!(segment, "" | "." | "..")
                && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
        };
        if !base_path.is_empty() && !base_path[1..].split('/').all(plain) {
            return Err("may have a base path of plain segments only, and neither query nor fragment");
        }
        Ok(Self { https, authority: authority.to_ascii_lowercase(), base_path: base_path.to_owned() })
    }

    /// `http://host:port`, without the base path.
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.https { "https" } else { "http" }, self.authority)
    }
}

fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => match port.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None => return false,
        },
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let bracketed = text.starts_with('[');
    let host_fits = |byte: u8| {
        if bracketed {
            byte.is_ascii_hexdigit() || b":.".contains(&byte)
        } else {
            byte.is_ascii_alphanumeric() || b"-._".contains(&byte)
        }
    };
    !host.is_empty()
        && host.bytes().all(host_fits)
        && port.is_none_or(|port| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_has_a_scheme_a_host_and_perhaps_a_base_path() {
        let url = UpstreamUrl::parse("https://MLflow.internal:5000/a/b/").unwrap();
        assert_eq!(url.origin(), "https://mlflow.internal:5000");
        assert_eq!(url.base_path, "/a/b");
        assert_eq!(UpstreamUrl::parse("http://[::1]:5000").unwrap().base_path, "");
        assert_eq!(UpstreamUrl::parse("http://host/").unwrap().base_path, "");
        for bad in [
            "",
            "mlflow:5000",
            "ftp://x",
            "http://",
            "http:///x",
            "http://u:p@h",
            "http://h:99999",
            "http://h:+1",
            "http://h?x",
            "http://h/x?y",
            "http://h/x#y",
            "http://h/../x",
            "http://h//x",
            "http://h/%2e",
            "http://h\r\nx",
            "http://[::1]x",
        ] {
            assert!(UpstreamUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_bad_value_is_reported_and_no_secret_is_printed() {
        let config: MlflowConfig = toml::from_str(
            "url = 'nope'\nusername = 'a:b'\ntoken = 'tok-secret'\npassword = 'pw-secret'\npassword_file = '/x'\n\
             host_header = 'a b'\nbreaker_failures = 0",
        )
        .unwrap();
        let mut problems = Vec::new();
        config.validate(&mut problems);
        assert_eq!(problems.len(), 6, "{problems:#?}");
        assert!(!format!("{config:?}").contains("secret"));
        problems.clear();
        MlflowConfig::default().validate(&mut problems);
        assert!(problems.is_empty());
        assert!(toml::from_str::<MlflowConfig>("ulr = 'http://x'").is_err());
    }

    #[test]
    fn a_server_that_lost_its_url_is_no_store_of_our_own() {
        let config: MlflowConfig = toml::from_str("token_file = '/run/secrets/mlflow'").unwrap();
        let mut problems = Vec::new();
        config.validate(&mut problems);
        assert!(
            problems
                .iter()
                .any(|problem| problem.contains("`mlflow.token_file` is set without `mlflow.url`"))
        );
    }

    #[test]
    fn the_credential_comes_from_the_value_or_its_file() {
        let mut config = MlflowConfig { token: Some("t".into()), ..MlflowConfig::default() };
        assert_eq!(config.authorization().unwrap().unwrap(), "Bearer t");
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        std::fs::write(&file, "pass\n").unwrap();
        config = MlflowConfig {
            username: Some("me".to_owned()),
            password_file: Some(file),
            ..MlflowConfig::default()
        };
        assert_eq!(config.authorization().unwrap().unwrap(), "Basic bWU6cGFzcw==");
        config.password_file = Some(directory.path().join("missing"));
        assert!(config.authorization().is_err());
    }
}
