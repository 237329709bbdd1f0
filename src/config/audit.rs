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
    /// Whether segments stay after the index has taken them, until their time is over. Without them
    /// `audit verify` can check only what is left. Default: true.
    pub keep_segments: bool,
    /// Minutes between signed checkpoints; one is also made for each new segment and at the end.
    /// Default: 60.
    pub checkpoint_minutes: u32,
    /// File of the Ed25519 key that signs checkpoints, in PEM. Default: `audit-signing-key.pem` in the
    /// data directory, made at the first start.
    pub signing_key_file: Option<PathBuf>,
    /// Second place for checkpoints, out of this host's hands: `file:/path`, or a URL (http, https) to
    /// which each is sent by POST, in order. Default: none.
    pub checkpoint_mirror: Option<String>,
    /// Days after which records of reads go. Default: they stay.
    pub retention_days_reads: Option<u32>,
    /// Days after which records of changes and of policy go. Default: they stay.
    pub retention_days_changes: Option<u32>,
    /// Days after which records of refusals go. Default: they stay.
    pub retention_days_denials: Option<u32>,
    /// Why nothing may be removed now (text). While it is set no record is, of whatever age. Default: none.
    pub legal_hold: Option<String>,
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
            checkpoint_minutes: 60,
            signing_key_file: None,
            checkpoint_mirror: None,
            retention_days_reads: None,
            retention_days_changes: None,
            retention_days_denials: None,
            legal_hold: None,
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

    /// The key that signs checkpoints, given the data directory.
    pub fn signing_key_in(&self, data_dir: &Path) -> PathBuf {
        self.signing_key_file.clone().unwrap_or_else(|| data_dir.join("audit-signing-key.pem"))
    }

    /// Whether no segment is ever removed, so that a chain must be there from its first record on.
    pub fn keeps_everything(&self) -> bool {
        let retention = [self.retention_days_reads, self.retention_days_changes, self.retention_days_denials];
        self.keep_segments && retention.iter().all(Option::is_none)
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
        if self.checkpoint_minutes == 0 {
            problems.push("`audit.checkpoint_minutes` is 0; it must be at least 1".to_owned());
        }
        if let Some(mirror) = &self.checkpoint_mirror
            && !["file:/", "http://", "https://"].iter().any(|scheme| mirror.starts_with(scheme))
        {
            problems.push(
                "`audit.checkpoint_mirror` must be `file:` and an absolute path, or an http or https URL"
                    .to_owned(),
            );
        }
        for (key, days) in [
            ("reads", self.retention_days_reads),
            ("changes", self.retention_days_changes),
            ("denials", self.retention_days_denials),
        ] {
            if days == Some(0) {
                problems.push(format!("`audit.retention_days_{key}` is 0; it must be at least 1"));
            }
        }
        if self.legal_hold.as_deref().is_some_and(|reason| reason.trim().is_empty()) {
            problems.push("`audit.legal_hold` is empty; say why nothing may be removed".to_owned());
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

        let bad: AuditConfig = toml::from_str(
            "checkpoint_minutes = 0\ncheckpoint_mirror = 'ftp://x'\nretention_days_reads = 0\nlegal_hold = ' '",
        )
        .unwrap();
        bad.validate(&mut problems);
        assert_eq!(problems.len(), 8, "{problems:?}");
    }

    #[test]
    fn a_misspelled_key_is_refused() {
        assert!(toml::from_str::<AuditConfig>("segment_byte = 1").is_err());
    }
}
