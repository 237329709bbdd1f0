//! What comes to tables: OTLP as columns, beside what the classifier reads in it, and the text of a statement.

#![allow(clippy::unwrap_used, reason = "a failure is what is looked for")]

use std::collections::BTreeSet;

use crate::classify::otlp::fuzz::{PROTOBUF, rewritten};
use crate::lake::otlp::{self, Version};
use crate::lake::sql::{self, Statement};

const NOW: i64 = 1_700_000_000_000_000_000;

/// Rows are of the traces that the record names, one for each span, in both versions of the tables; and another reader
/// of the same bytes finds the same traces.
pub(super) fn otlp_columns(data: &[u8]) {
    let read = |version| otlp::spans(data, version, NOW).ok();
    let (Some(first), Some(second)) = (read(Version::V1), read(Version::V2)) else {
        assert!(read(Version::V1).is_none() && read(Version::V2).is_none(), "one version alone takes it");
        return;
    };
    assert_eq!((first.rows.num_rows(), &first.trace_ids), (second.rows.num_rows(), &second.trace_ids));
    let named: BTreeSet<&str> = second.trace_ids.iter().map(String::as_str).collect();
    assert_eq!(named.len(), second.trace_ids.len());
    let Some(export) = rewritten(data, PROTOBUF) else { return };
    let classified: BTreeSet<&str> =
        export.traces.iter().map(|trace| trace.trace.as_str().trim_start_matches("tr-")).collect();
    assert_eq!(named, classified);
    assert_eq!(second.rows.num_rows() as u64, export.spans);
}

/// A statement is one thing, and stays it: what is taken for a query when it comes is one when it is planned.
pub(super) fn statement(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(Statement::Query(query)) = sql::parse(text) else { return };
    assert_eq!(query.text, text);
    assert!(matches!(sql::parse(&query.text), Ok(Statement::Query(_))), "{text:?}");
}
