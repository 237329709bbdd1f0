//! Configuration: one file per section, each key also as `TRACEGATE__SECTION__KEY`.
//!
//! The environment beats the file. All bad values are reported together, each naming its key and what
//! to do. Nothing else in the program reads the environment.

pub mod audit;
pub mod database;
#[cfg(test)]
mod describe;
pub mod identity;
pub mod keys_file;
pub mod lake;
pub mod limits;
pub mod mlflow;
pub mod network;
pub mod policy;
pub mod server;
pub mod telemetry;

use std::path::Path;

use serde::Deserialize;

/// The sections of a configuration file.
pub const SECTIONS: [&str; 9] =
    ["server", "identity", "database", "policy", "mlflow", "lake", "audit", "limits", "telemetry"];

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub server: server::ServerConfig,
    pub identity: identity::IdentityConfig,
    pub database: database::DatabaseConfig,
    pub policy: policy::PolicyConfig,
    pub mlflow: mlflow::MlflowConfig,
    pub lake: lake::LakeConfig,
    pub audit: audit::AuditConfig,
    pub limits: limits::LimitsConfig,
    pub telemetry: telemetry::TelemetryConfig,
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration file `{path}`: {error}")]
    Unreadable { path: String, error: std::io::Error },
    #[error("the configuration file `{path}` is not valid: {problem}")]
    Malformed { path: String, problem: String },
    #[error("the configuration is not valid:\n{}", .0.iter().map(|p| format!("  - {p}")).collect::<Vec<_>>().join("\n"))]
    Invalid(Vec<String>),
}

impl Config {
    /// Reads the file, if any, lays the environment over it and checks every section.
    #[expect(clippy::disallowed_methods, reason = "settings come through here")]
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        Self::from_sources(file, std::env::vars())
    }

    /// As [`load`](Self::load), with the environment passed in.
    pub fn from_sources(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let name = file.map_or_else(|| "environment".to_owned(), |path| path.display().to_string());
        let text = match file {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| ConfigError::Unreadable { path: name.clone(), error })?,
            None => String::new(),
        };
        let malformed = |problem: String| ConfigError::Malformed {
            path: name.clone(),
            problem: problem.trim().to_owned(),
        };
        let mut table: toml::Table =
            text.parse().map_err(|error: toml::de::Error| malformed(error.to_string()))?;
        let mut problems = Vec::new();
        for (key, value) in environment {
            let Some(rest) = key.strip_prefix("TRACEGATE__") else { continue };
            let path = rest.to_ascii_lowercase();
            match path.split_once("__") {
                Some((section, key)) if SECTIONS.contains(&section) => {
                    let section = table
                        .entry(section.to_owned())
                        .or_insert_with(|| toml::Value::Table(toml::Table::new()));
                    if let Some(section) = section.as_table_mut() {
                        section.insert(key.to_owned(), toml_value(&value));
                    }
                }
                _ => problems.push(format!(
                    "environment variable `{key}`: expected `TRACEGATE__SECTION__KEY` with one of the sections {}",
                    SECTIONS.join(", ")
                )),
            }
        }
        let config: Self = table.try_into().map_err(|error: toml::de::Error| malformed(error.to_string()))?;
        config.validate(&mut problems);
        if problems.is_empty() { Ok(config) } else { Err(ConfigError::Invalid(problems)) }
    }

    fn validate(&self, problems: &mut Vec<String>) {
        self.server.validate(problems);
        self.identity.validate(problems);
        self.database.validate(problems);
        self.policy.validate(problems);
        self.mlflow.validate(problems);
        self.lake.validate(problems);
        self.audit.validate(problems);
        self.limits.validate(problems);
        self.telemetry.validate(problems);
        let signs_in = self.identity.issuers.iter().any(|issuer| issuer.client_id.is_some());
        if signs_in && !self.server.has_public_origin() {
            problems.push(
                "`server.public_url` is needed for signing in with a browser, where an issuer has a \
                 `client_id`: `https://HOST`, to which issuers send people back, without a path"
                    .to_owned(),
            );
        }
    }
}

/// Where clients of a running gateway find it and how they prove themselves, from the environment.
#[expect(clippy::disallowed_methods, reason = "settings come through here")]
pub fn client_settings() -> (Option<String>, Option<String>) {
    (std::env::var("TRACEGATE_URL").ok(), std::env::var("TRACEGATE_TOKEN").ok())
}

/// A value from the environment: TOML where it reads as TOML (numbers, booleans, lists), else text.
fn toml_value(text: &str) -> toml::Value {
    let parsed: Option<toml::Table> = format!("value = {text}").parse().ok();
    parsed.and_then(|mut table| table.remove("value")).unwrap_or_else(|| toml::Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> std::vec::IntoIter<(String, String)> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn the_environment_beats_the_file_and_types_are_read_from_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("t.toml");
        std::fs::write(&file, "[server]\nlisten = \"127.0.0.1:1\"\nworkers = 1\n").unwrap();
        let pairs = [
            ("TRACEGATE__SERVER__LISTEN", "127.0.0.1:2"),
            ("TRACEGATE__SERVER__WORKERS", "3"),
            ("OTHER", "x"),
        ];
        let config = Config::from_sources(Some(&file), environment(&pairs)).unwrap();
        assert_eq!(config.server.listen, "127.0.0.1:2");
        assert_eq!(config.server.workers, Some(3));
    }

    #[test]
    fn every_bad_value_is_reported_at_once_and_an_unknown_key_is_refused() {
        let pairs = [
            ("TRACEGATE__SERVER__LISTEN", "nowhere"),
            ("TRACEGATE__MLFLOW__URL", "ftp://x"),
            ("TRACEGATE__NOPE__KEY", "1"),
        ];
        let error = Config::from_sources(None, environment(&pairs)).unwrap_err().to_string();
        for key in ["server.listen", "mlflow.url", "TRACEGATE__NOPE__KEY"] {
            assert!(error.contains(key), "{error}");
        }
        let unknown =
            Config::from_sources(None, environment(&[("TRACEGATE__SERVER__LISTNE", "x")])).unwrap_err();
        assert!(unknown.to_string().contains("listne"), "{unknown}");
    }
}
