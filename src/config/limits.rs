//! `[limits]`: how large a call may be. Over a limit the answer names it.

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
        }
    }
}

impl LimitsConfig {
    pub fn validate(&self, problems: &mut Vec<String>) {
        for (key, value) in [
            ("json_body_bytes", self.json_body_bytes),
            ("otlp_body_bytes", self.otlp_body_bytes),
            ("otlp_decompressed_bytes", self.otlp_decompressed_bytes),
            ("otlp_spans", self.otlp_spans),
            ("page_bytes", self.page_bytes),
            ("refill_pages", u64::from(self.refill_pages)),
        ] {
            if value == 0 {
                problems.push(format!("`limits.{key}` is 0: everything would be refused"));
            }
        }
    }
}
