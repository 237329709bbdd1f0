//! What tables say of traces: statements of ours, run as the caller's own would be.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::access;
use super::annotation::Annotation;
use super::fold::{self, Notes};
use super::place::{Part, Place};
use super::span::{self, Span};
use crate::access::Privilege;
use crate::http::call::Call;
use crate::http::error::Refusal;
use crate::http::sql;
use crate::http::trail::Trail;
use crate::lake::sql::Parameter;
use crate::policy::Permit;

/// A row by column.
pub(super) type Row = Map<String, Value>;

/// Bytes of rows that one call reads, in memory.
const MOST_BYTES: u64 = 128 * 1024 * 1024;

/// The right to read a place, and what reading it takes.
pub(super) struct Reader<'c> {
    pub place: Place,
    call: &'c Call<'c>,
    permit: Permit,
}

/// What tables say of one trace.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub notes: Notes,
    /// By when they began.
    pub spans: Vec<Span>,
}

impl Found {
    pub fn is_nothing(&self) -> bool {
        self.spans.is_empty() && self.notes.head.is_none()
    }
}

impl<'c> Reader<'c> {
    /// Lets in who may read the spans of a place and what is said of them.
    pub async fn open(call: &'c Call<'c>, trail: &mut Trail, place: Place) -> Result<Self, Refusal> {
        let needs = [Part::Spans, place.notes()].map(|part| (Privilege::Select, place.table(part)));
        let (permit, _) = access::tables(call, trail, &needs).await?;
        Ok(Self { place, call, permit })
    }

    pub async fn rows(&self, statement: &str, parameters: &[Parameter]) -> Result<Vec<Row>, Refusal> {
        sql::rows(self.call, &self.permit, statement, parameters, MOST_BYTES).await
    }

    /// What is said of traces, by trace. The ids are hexadecimal digits.
    pub async fn notes(&self, hexes: &[String]) -> Result<BTreeMap<String, Notes>, Refusal> {
        if hexes.is_empty() {
            return Ok(BTreeMap::new());
        }
        let version = self.place.version();
        let rows = self.rows(&Annotation::select(&self.place, &listed(hexes)), &[]).await?;
        Ok(fold::fold(rows.iter().filter_map(|row| Annotation::of_selected(version, row))))
    }

    /// The spans of traces, each once, by trace; `only_roots`: those without a parent.
    pub async fn spans(
        &self,
        hexes: &[String],
        only_roots: bool,
    ) -> Result<BTreeMap<String, Vec<Span>>, Refusal> {
        if hexes.is_empty() {
            return Ok(BTreeMap::new());
        }
        let roots = if only_roots { " AND (parent_span_id IS NULL OR parent_span_id = '')" } else { "" };
        let statement = format!("{}{roots}", span::select(&self.place, Part::Spans, &listed(hexes)));
        let version = self.place.version();
        let mut spans: BTreeMap<String, BTreeMap<String, Span>> = BTreeMap::new();
        for row in self.rows(&statement, &[]).await? {
            let Some(span) = Span::of_row(version, row) else { continue };
            let of_trace = spans.entry(span.trace.clone()).or_default();
            // Exporters send again what they got no answer for, and a span again when it ends.
            if of_trace.get(&span.id).is_none_or(|known| known.end_nanos <= span.end_nanos) {
                of_trace.insert(span.id.clone(), span);
            }
        }
        let sorted = spans.into_iter().map(|(trace, spans)| {
            let mut spans: Vec<Span> = spans.into_values().collect();
            spans.sort_by(|one, other| (one.start_nanos, &one.id).cmp(&(other.start_nanos, &other.id)));
            (trace, spans)
        });
        Ok(sorted.collect())
    }

    /// All that there is of traces, in the order asked; what is not there is left out.
    pub async fn traces(&self, hexes: &[String]) -> Result<Vec<(String, Found)>, Refusal> {
        let mut notes = self.notes(hexes).await?;
        let mut spans = self.spans(hexes, false).await?;
        let found = hexes.iter().map(|hex| {
            let notes = notes.remove(hex).unwrap_or_default();
            (hex.clone(), Found { notes, spans: spans.remove(hex).unwrap_or_default() })
        });
        Ok(found.filter(|(_, found)| !found.is_nothing()).collect())
    }
}

/// `IN (…)` of hexadecimal digits.
fn listed(hexes: &[String]) -> String {
    let quoted: Vec<String> = hexes.iter().map(|hex| format!("'{hex}'")).collect();
    format!("IN ({})", quoted.join(", "))
}
