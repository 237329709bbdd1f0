//! The columns of the tables that hold traces. Semi-structured columns are JSON text: `docs/LAKE.md` says why.

use arrow::datatypes::SchemaRef;

/// `{prefix}_otel_spans` (version 2 of the OpenTelemetry tables).
pub fn spans() -> SchemaRef {
    unimplemented!()
}

/// `{prefix}_otel_logs`.
pub fn logs() -> SchemaRef {
    unimplemented!()
}

/// `{prefix}_otel_metrics`.
pub fn metrics() -> SchemaRef {
    unimplemented!()
}

/// `{prefix}_otel_annotations`.
pub fn annotations() -> SchemaRef {
    unimplemented!()
}

/// `mlflow_experiment_trace_otel_spans` (version 1: attributes are maps of text).
pub fn spans_v1() -> SchemaRef {
    unimplemented!()
}

/// `mlflow_experiment_trace_otel_logs`.
pub fn logs_v1() -> SchemaRef {
    unimplemented!()
}

/// `mlflow_experiment_trace_otel_metrics`.
pub fn metrics_v1() -> SchemaRef {
    unimplemented!()
}

/// A trace of an experiment as its archive holds it.
pub fn archive() -> SchemaRef {
    unimplemented!()
}
