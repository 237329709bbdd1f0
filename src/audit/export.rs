//! The record in the forms that other programs read, a line each.
//!
//! | format | a line is |
//! |---|---|
//! | `jsonl` | the record with its place in the chain and its hash: what was written, byte for byte. Whole [chains](jsonl) verify |
//! | `ocsf` | an API Activity event (class 6003) of the Open Cybersecurity Schema Framework |
//! | `cef` | an ArcSight Common Event Format message |
//! | `otlp` | an OpenTelemetry `ExportLogsServiceRequest` in JSON, of up to a hundred records |
//! | `databricks` | a row with the columns of Databricks' `system.access.audit` |
//!
//! All but the first leave out what the chain says of itself.

mod cef;
mod databricks;
pub mod jsonl;
mod ocsf;
mod otlp;
mod time;

use std::str::FromStr;

pub use time::instant;

use crate::access::Event;
use crate::store::audit_index::AuditEntry;

/// Whom SIEMs name as the source.
const PRODUCT: &str = "Tracegate";
const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Jsonl,
    Ocsf,
    Cef,
    Otlp,
    Databricks,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no export format; use `jsonl`, `ocsf`, `cef`, `otlp` or `databricks`")]
pub struct UnknownFormat(String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        match name {
            "jsonl" => Ok(Self::Jsonl),
            "ocsf" => Ok(Self::Ocsf),
            "cef" => Ok(Self::Cef),
            "otlp" => Ok(Self::Otlp),
            "databricks" => Ok(Self::Databricks),
            other => Err(UnknownFormat(other.chars().take(40).collect())),
        }
    }
}

impl Format {
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Cef => "text/plain; charset=utf-8",
            _ => "application/jsonl",
        }
    }

    /// Records as lines, each with its line feed.
    pub fn lines(self, entries: &[AuditEntry]) -> String {
        let mut lines = String::new();
        match self {
            Self::Jsonl => {
                for entry in entries {
                    push(&mut lines, &jsonl::chosen(entry));
                }
            }
            Self::Otlp => {
                for some in entries.chunks(otlp::MOST) {
                    let events: Vec<(&AuditEntry, Event)> = some.iter().filter_map(of_call).collect();
                    if !events.is_empty() {
                        push(&mut lines, &otlp::request(&events).to_string());
                    }
                }
            }
            Self::Ocsf | Self::Cef | Self::Databricks => {
                for (entry, event) in entries.iter().filter_map(of_call) {
                    let line = match self {
                        Self::Ocsf => ocsf::event(entry, &event).to_string(),
                        Self::Cef => cef::message(entry, &event),
                        _ => databricks::row(&event).to_string(),
                    };
                    push(&mut lines, &line);
                }
            }
        }
        lines
    }
}

fn push(lines: &mut String, line: &str) {
    lines.push_str(line);
    lines.push('\n');
}

fn of_call(entry: &AuditEntry) -> Option<(&AuditEntry, Event)> {
    Some((entry, entry.event()?))
}

#[cfg(test)]
mod tests;
