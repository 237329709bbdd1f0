//! The views over the tables of a place that analysts read: one row a trace.

use super::place::{Part, Place};
use crate::access::Securable;
use crate::lake::otlp::Version;

/// The views of a place, with their definitions; version 1 has none, since its annotations lie in log events.
pub(super) fn of(place: &Place) -> Vec<(Securable, String)> {
    match place.version() {
        Version::V1 => Vec::new(),
        Version::V2 => vec![
            (place.view("_trace_metadata"), metadata(place)),
            (place.view("_trace_unified"), unified(place)),
        ],
    }
}

/// The rows of annotations that count: of each the latest, if that does not delete it.
fn live(place: &Place) -> String {
    format!(
        "live AS (SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY target_id, annotation_id \
         ORDER BY updated_at DESC, deleted_at DESC NULLS LAST) AS age FROM {}) AS aged \
         WHERE age = 1 AND deleted_at IS NULL)",
        place.quoted(Part::Annotations)
    )
}

/// By trace: client_request_id, tags, trace_metadata, assessments, the last three as JSON text.
fn notes() -> &'static str {
    "notes AS (SELECT target_id AS trace_id, \
     max(CASE WHEN annotation_type = 'METADATA' THEN value END) AS head, \
     array_agg(named_struct('key', name, 'value', value)) FILTER (WHERE annotation_type = 'TAG') AS tags, \
     array_agg(named_struct('assessment_id', annotation_id, 'name', name, 'type', annotation_type, 'value', value, \
     'rationale', comment, 'metadata', metadata, 'create_time', created_at, 'last_update_time', updated_at)) \
     FILTER (WHERE annotation_type IN ('FEEDBACK', 'EXPECTATION')) AS assessments \
     FROM live GROUP BY target_id)"
}

fn metadata(place: &Place) -> String {
    format!(
        "WITH {}, {} SELECT trace_id, get_json_object(head, '$.client_request_id') AS client_request_id, tags, \
         get_json_object(head, '$.trace_metadata') AS trace_metadata, assessments FROM notes",
        live(place),
        notes()
    )
}

fn unified(place: &Place) -> String {
    format!(
        "WITH {}, {}, roots AS (SELECT trace_id, min(time) AS request_time, \
         max(CASE WHEN status['code'] = 'STATUS_CODE_ERROR' THEN 'ERROR' ELSE 'OK' END) AS state, \
         max((end_time_unix_nano - start_time_unix_nano) / 1000000) AS execution_duration_ms, \
         max(get_json_object(attributes, '$[\"mlflow.spanInputs\"]')) AS request, \
         max(get_json_object(attributes, '$[\"mlflow.spanOutputs\"]')) AS response \
         FROM {spans} WHERE parent_span_id IS NULL OR parent_span_id = '' GROUP BY trace_id), \
         trees AS (SELECT trace_id, array_agg(named_struct('span_id', span_id, 'parent_span_id', parent_span_id, \
         'name', name, 'start_time_unix_nano', start_time_unix_nano, 'end_time_unix_nano', end_time_unix_nano, \
         'status', status, 'attributes', attributes)) AS spans FROM {spans} GROUP BY trace_id) \
         SELECT t.trace_id AS trace_id, get_json_object(n.head, '$.client_request_id') AS client_request_id, \
         r.request_time AS request_time, coalesce(get_json_object(n.head, '$.state'), r.state) AS state, \
         r.execution_duration_ms AS execution_duration_ms, r.request AS request, r.response AS response, \
         get_json_object(n.head, '$.trace_metadata') AS trace_metadata, n.tags AS tags, t.spans AS spans, \
         n.assessments AS assessments \
         FROM trees t LEFT JOIN roots r ON r.trace_id = t.trace_id LEFT JOIN notes n ON n.trace_id = t.trace_id",
        live(place),
        notes(),
        spans = place.quoted(Part::Spans),
    )
}
