//! `[limits]`: how large a call may be, and how much of an experiment may be used. Over a limit the answer
//! names it.

use serde::Deserialize;

const MIB: u64 = 1024 * 1024;

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// The largest JSON body that is read to classify a call, in bytes.
    pub json_body_bytes: u64,
    /// The largest OTLP body as sent, in bytes.
    pub otlp_body_bytes: u64,
    /// The largest OTLP body after decompression, in bytes.
    pub otlp_decompressed_bytes: u64,
    /// The most spans in one OTLP body.
    pub otlp_spans: u64,
    /// The most traces that one OTLP body may write to.
    pub otlp_traces: usize,
    /// How much of a body is held in memory before it spills to a file, in bytes.
    pub spill_bytes: usize,
    /// The largest page that is read whole before it is released, in bytes.
    pub page_bytes: u64,
    /// How many upstream pages one narrowed search may read to fill its page.
    pub refill_pages: u32,
    /// What every experiment is limited to until somebody sets its own: `off` for nothing, or
    /// `reference-platform` for 100,000 traces and 60 requests a second.
    pub profile: LimitsProfile,
    /// The most traces that an experiment holds, instead of the profile's.
    pub traces_per_experiment: Option<u64>,
    /// The most calls that an experiment takes in a second, instead of the profile's.
    pub requests_per_second: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitsProfile {
    Off,
    ReferencePlatform,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            json_body_bytes: 32 * MIB,
            otlp_body_bytes: 128 * MIB,
            otlp_decompressed_bytes: 512 * MIB,
            otlp_spans: 200_000,
            otlp_traces: 10_000,
            spill_bytes: 64 * 1024,
            page_bytes: 64 * MIB,
            refill_pages: 20,
            profile: LimitsProfile::Off,
            traces_per_experiment: None,
            requests_per_second: None,
        }
    }
}

impl LimitsConfig {
    /// What an experiment holds at most, unless it has a limit of its own.
    pub fn default_traces_per_experiment(&self) -> Option<u64> {
        self.traces_per_experiment.or(match self.profile {
            LimitsProfile::Off => None,
            LimitsProfile::ReferencePlatform => Some(100_000),
        })
    }

    /// What an experiment takes in a second at most, unless it has a limit of its own.
    pub fn default_requests_per_second(&self) -> Option<u64> {
        self.requests_per_second.or(match self.profile {
            LimitsProfile::Off => None,
            LimitsProfile::ReferencePlatform => Some(60),
        })
    }

    pub fn validate(&self, problems: &mut Vec<String>) {
        for (key, value) in [
            ("json_body_bytes", self.json_body_bytes),
            ("otlp_body_bytes", self.otlp_body_bytes),
            ("otlp_decompressed_bytes", self.otlp_decompressed_bytes),
            ("otlp_spans", self.otlp_spans),
            ("page_bytes", self.page_bytes),
            ("refill_pages", u64::from(self.refill_pages)),
            ("traces_per_experiment", self.traces_per_experiment.unwrap_or(1)),
            ("requests_per_second", self.requests_per_second.unwrap_or(1)),
        ] {
            if value == 0 {
                problems.push(format!("`limits.{key}` is 0: everything would be refused"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_off_until_it_is_named_and_single_values_beat_it() {
        let mut config = LimitsConfig::default();
        assert_eq!(
            (config.default_traces_per_experiment(), config.default_requests_per_second()),
            (None, None)
        );
        config.requests_per_second = Some(5);
        assert_eq!(
            (config.default_traces_per_experiment(), config.default_requests_per_second()),
            (None, Some(5))
        );
        config.profile = LimitsProfile::ReferencePlatform;
        assert_eq!(
            (config.default_traces_per_experiment(), config.default_requests_per_second()),
            (Some(100_000), Some(5))
        );
    }

    #[test]
    fn a_limit_of_nothing_is_a_mistake() {
        let config = LimitsConfig {
            traces_per_experiment: Some(0),
            requests_per_second: Some(0),
            ..Default::default()
        };
        let mut problems = Vec::new();
        config.validate(&mut problems);
        assert_eq!(problems.len(), 2, "{problems:?}");
    }
}
