//! OTLP, as rows.

use arrow::array::RecordBatch;

use crate::LakeError;

/// The spans of an `ExportTraceServiceRequest` as rows, and what an audit record needs of them.
pub struct SpanRows {
    /// As [`crate::schemas::spans`], or [`crate::schemas::spans_v1`].
    pub rows: RecordBatch,
    /// 32 hexadecimal digits each, each once, in the order of their first span.
    pub trace_ids: Vec<String>,
}

/// Which version of the tables rows are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V1,
    V2,
}

/// Reads an export request in protobuf. `now_nanos` is when it came.
pub fn spans(request: &[u8], version: Version, now_nanos: i64) -> Result<SpanRows, LakeError> {
    let _ = (request, version, now_nanos);
    unimplemented!()
}
