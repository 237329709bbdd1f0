//! `[audit]`: where the record of every call is kept, and how much of it may wait for the index.

use std::path::{Path, PathBuf};

/// What MLflow itself calls the session and the end user of a trace.
const SUBJECT_KEYS: [&str; 2] = ["mlflow.trace.session", "mlflow.trace.user"];

#[derive(Debug, Clone, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditConfig {
    /// Directory of the spool. Default: `audit` in the data directory.
    pub directory: Option<PathBuf>,
    /// Bytes after which a segment file is closed and the next begun. Default: 64 MiB.
    pub segment_bytes: u64,
    /// Bytes of records that may wait for the index; beyond it calls are refused. Default: 10 GiB.
    pub max_spool_bytes: u64,
    /// Name of this replica in the record: letters, digits, `.`, `_` and `-`. It must differ between
    /// replicas and stay the same over restarts. Default: a random id kept in the directory.
    pub replica: Option<String>,
    /// Whether segments stay after the index has taken them. Without them `audit verify` can check
    /// only what is left. Default: true.
    pub keep_segments: bool,
    /// Tags, metadata and span attributes of traces whose values say whose a trace is: a session, an end
    /// user. By them one may ask who saw what of whom. At most 16. Default: `["mlflow.trace.session",
    /// "mlflow.trace.user"]`.
    pub subject_keys: Vec<String>,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self {
            directory: None,
            segment_bytes: 64 << 20,
            max_spool_bytes: 10 << 30,
            replica: None,
            keep_segments: true,
            subject_keys: SUBJECT_KEYS.map(str::to_owned).to_vec(),
        }
    }
}

impl AuditConfig {
    pub const LONGEST_REPLICA: usize = 64;
    const MOST_SUBJECT_KEYS: usize = 16;

    /// The spool's directory, given the data directory.
    pub fn directory_in(&self, data_dir: &Path) -> PathBuf {
        self.directory.clone().unwrap_or_else(|| data_dir.join("audit"))
    }

    /// Whether this may name a replica: it stands in file contents, cursors and database keys.
    pub fn is_replica_name(name: &str) -> bool {
        !name.is_empty()
            && name.len() <= Self::LONGEST_REPLICA
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    }

    pub fn validate(&self, problems: &mut Vec<String>) {
        if self.segment_bytes < 64 << 10 {
            problems.push(format!(
                "`audit.segment_bytes` is {}; it must be at least 65536 (64 KiB)",
                self.segment_bytes
            ));
        }
        if self.max_spool_bytes < self.segment_bytes {
            problems.push(format!(
                "`audit.max_spool_bytes` is {}; it must be at least `audit.segment_bytes` ({})",
                self.max_spool_bytes, self.segment_bytes
            ));
        }
        if let Some(name) = self.replica.as_deref().filter(|name| !Self::is_replica_name(name)) {
            problems.push(format!(
                "`audit.replica` is `{}`; it must be 1 to {} letters, digits, `.`, `_` or `-`",
                name.chars().take(80).collect::<String>(),
                Self::LONGEST_REPLICA
            ));
        }
        if self.subject_keys.len() > Self::MOST_SUBJECT_KEYS || self.subject_keys.iter().any(String::is_empty)
        {
            problems.push(format!(
                "`audit.subject_keys` must be at most {} keys, none of them empty",
                Self::MOST_SUBJECT_KEYS
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_every_bad_value_is_named() {
        let mut problems = Vec::new();
        AuditConfig::default().validate(&mut problems);
        assert!(problems.is_empty(), "{problems:?}");

        let bad: AuditConfig =
            toml::from_str("segment_bytes = 10\nmax_spool_bytes = 5\nreplica = 'a b'\nsubject_keys = ['']")
                .unwrap();
        bad.validate(&mut problems);
        assert_eq!(problems.len(), 4, "{problems:?}");
    }

    #[test]
    fn a_misspelled_key_is_refused() {
        assert!(toml::from_str::<AuditConfig>("segment_byte = 1").is_err());
    }
}
