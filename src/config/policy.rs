//! `[policy]`: what levels mean and how old a policy may be.

use std::path::PathBuf;

use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyConfig {
    /// A levels file in place of the built-in one (`policies/levels.csv`).
    pub levels_file: Option<PathBuf>,
    /// A casbin model that must mean the same as the built-in one (`policies/model.conf`); with any other the
    /// gateway does not start. For those who keep their policy under review outside.
    pub model_file: Option<PathBuf>,
    /// A policy that could not be confirmed for so long answers 503, in milliseconds.
    pub max_staleness_ms: u64,
    /// How often the policy version is confirmed with the database, in milliseconds. PostgreSQL also tells
    /// of each change at once.
    pub poll_ms: u64,
    /// Of so many live decisions one is made again by casbin, in the background; 0 for none. Default: 100.
    pub casbin_sample: u64,
    /// How long a break-glass grant may last at most, in minutes; 0 turns it off.
    pub break_glass_minutes: u64,
    /// Whether callers without any credentials pass too, as `user:anonymous`, on experiments in shadow mode: for
    /// clients of a server that asked for none. On all others they are refused as ever.
    pub shadow_anonymous: bool,
    /// The administrator made at the first start, whose token is printed once.
    pub first_administrator: String,
}

impl Default for PolicyConfig {
    fn default() -> Self {
        Self {
            levels_file: None,
            model_file: None,
            max_staleness_ms: 5_000,
            poll_ms: 500,
            casbin_sample: 100,
            break_glass_minutes: 60,
            shadow_anonymous: false,
            first_administrator: "admin".to_owned(),
        }
    }
}

impl PolicyConfig {
    pub fn validate(&self, problems: &mut Vec<String>) {
        if self.poll_ms == 0 || self.poll_ms >= self.max_staleness_ms {
            problems.push(format!(
                "`policy.poll_ms` is {}: expected more than 0 and less than `policy.max_staleness_ms` ({})",
                self.poll_ms, self.max_staleness_ms
            ));
        }
    }
}
