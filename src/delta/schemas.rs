//! The columns of the tables that hold traces. Semi-structured columns are JSON text: `docs/LAKE.md` says why.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

fn field(name: &str, kind: DataType) -> Field {
    Field::new(name, kind, true)
}

fn text(name: &str) -> Field {
    field(name, DataType::Utf8)
}

fn int(name: &str) -> Field {
    field(name, DataType::Int32)
}

fn long(name: &str) -> Field {
    field(name, DataType::Int64)
}

fn double(name: &str) -> Field {
    field(name, DataType::Float64)
}

fn time(name: &str) -> Field {
    field(name, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())))
}

fn record(name: &str, fields: Vec<Field>) -> Field {
    field(name, DataType::Struct(Fields::from(fields)))
}

fn list(name: &str, item: DataType) -> Field {
    field(name, DataType::List(Arc::new(Field::new("element", item, true))))
}

fn list_of(name: &str, fields: Vec<Field>) -> Field {
    list(name, DataType::Struct(Fields::from(fields)))
}

/// `MAP<STRING, STRING>`.
pub(crate) fn texts(name: &str) -> Field {
    let entry = Fields::from(vec![Field::new("key", DataType::Utf8, false), text("value")]);
    let entries = Arc::new(Field::new("key_value", DataType::Struct(entry), false));
    field(name, DataType::Map(entries, false))
}

/// How attributes are held: JSON text in version 2, a map of texts in version 1.
type Attributes = fn(&str) -> Field;

fn resource(attributes: Attributes) -> Field {
    record("resource", vec![attributes("attributes"), int("dropped_attributes_count")])
}

fn scope(attributes: Attributes) -> Field {
    let fields =
        vec![text("name"), text("version"), attributes("attributes"), int("dropped_attributes_count")];
    record("instrumentation_scope", fields)
}

/// What rows of version 2 begin with.
fn beginning() -> Vec<Field> {
    vec![text("record_id"), time("time"), field("date", DataType::Date32), text("service_name")]
}

fn schema(fields: Vec<Field>) -> SchemaRef {
    Arc::new(Schema::new(fields))
}

fn span_fields(attributes: Attributes) -> Vec<Field> {
    let event =
        vec![long("time_unix_nano"), text("name"), attributes("attributes"), int("dropped_attributes_count")];
    let link = vec![
        text("trace_id"),
        text("span_id"),
        text("trace_state"),
        attributes("attributes"),
        int("dropped_attributes_count"),
        int("flags"),
    ];
    vec![
        text("trace_id"),
        text("span_id"),
        text("trace_state"),
        text("parent_span_id"),
        int("flags"),
        text("name"),
        text("kind"),
        long("start_time_unix_nano"),
        long("end_time_unix_nano"),
        attributes("attributes"),
        int("dropped_attributes_count"),
        list_of("events", event),
        int("dropped_events_count"),
        list_of("links", link),
        int("dropped_links_count"),
        record("status", vec![text("message"), text("code")]),
        resource(attributes),
        text("resource_schema_url"),
        scope(attributes),
        text("span_schema_url"),
    ]
}

fn log_fields(attributes: Attributes) -> Vec<Field> {
    vec![
        text("event_name"),
        text("trace_id"),
        text("span_id"),
        long("time_unix_nano"),
        long("observed_time_unix_nano"),
        text("severity_number"),
        text("severity_text"),
        text("body"),
        attributes("attributes"),
        int("dropped_attributes_count"),
        int("flags"),
        resource(attributes),
        text("resource_schema_url"),
        scope(attributes),
        text("log_schema_url"),
    ]
}

fn metric_fields(attributes: Attributes) -> Vec<Field> {
    let exemplar = || {
        let fields = vec![
            long("time_unix_nano"),
            double("value"),
            text("span_id"),
            text("trace_id"),
            attributes("filtered_attributes"),
        ];
        list_of("exemplars", fields)
    };
    let point = |more: Vec<Field>| {
        let mut fields = vec![
            long("start_time_unix_nano"),
            long("time_unix_nano"),
            attributes("attributes"),
            int("flags"),
        ];
        fields.extend(more);
        fields
    };
    let number = || vec![double("value"), exemplar()];
    let buckets = |name: &str| record(name, vec![int("offset"), list("bucket_counts", DataType::Int64)]);
    let mut sum = point(number());
    sum.extend([text("aggregation_temporality"), field("is_monotonic", DataType::Boolean)]);
    let summed = || vec![long("count"), double("sum"), double("min"), double("max")];
    let mut histogram = point(summed());
    histogram.extend([
        list("bucket_counts", DataType::Int64),
        list("explicit_bounds", DataType::Float64),
        exemplar(),
        text("aggregation_temporality"),
    ]);
    let mut exponential = point(summed());
    exponential.extend([
        int("scale"),
        long("zero_count"),
        buckets("positive"),
        buckets("negative"),
        double("zero_threshold"),
        exemplar(),
        text("aggregation_temporality"),
    ]);
    let quantile = vec![double("quantile"), double("value")];
    let summary = point(vec![long("count"), double("sum"), list_of("quantile_values", quantile)]);
    vec![
        text("name"),
        text("description"),
        text("unit"),
        text("metric_type"),
        record("gauge", point(number())),
        record("sum", sum),
        record("histogram", histogram),
        record("exponential_histogram", exponential),
        record("summary", summary),
        attributes("metadata"),
        resource(attributes),
        text("resource_schema_url"),
        scope(attributes),
        text("metric_schema_url"),
    ]
}

fn second(fields: Vec<Field>) -> SchemaRef {
    let mut all = beginning();
    all.extend(fields);
    schema(all)
}

/// `{prefix}_otel_spans` (version 2 of the OpenTelemetry tables).
pub fn spans() -> SchemaRef {
    second(span_fields(text))
}

/// `{prefix}_otel_logs`.
pub fn logs() -> SchemaRef {
    second(log_fields(text))
}

/// `{prefix}_otel_metrics`.
pub fn metrics() -> SchemaRef {
    second(metric_fields(text))
}

/// `{prefix}_otel_annotations`.
pub fn annotations() -> SchemaRef {
    schema(vec![
        Field::new("annotation_id", DataType::Utf8, false),
        text("target_type"),
        text("target_id"),
        text("annotation_type"),
        text("name"),
        text("value"),
        text("comment"),
        text("metadata"),
        time("created_at"),
        text("created_by"),
        time("updated_at"),
        text("updated_by"),
        time("deleted_at"),
        text("deleted_by"),
        text("_change_type"),
    ])
}

/// `mlflow_experiment_trace_otel_spans` (version 1: attributes are maps of text).
pub fn spans_v1() -> SchemaRef {
    schema(span_fields(texts))
}

/// `mlflow_experiment_trace_otel_logs`.
pub fn logs_v1() -> SchemaRef {
    schema(log_fields(texts))
}

/// `mlflow_experiment_trace_otel_metrics`.
pub fn metrics_v1() -> SchemaRef {
    schema(metric_fields(texts))
}

/// A trace of an experiment as its archive holds it: one row each time it was archived.
pub fn archive() -> SchemaRef {
    let source = record("source", vec![text("source_id"), text("source_type")]);
    let assessment = vec![
        text("assessment_id"),
        text("trace_id"),
        text("assessment_name"),
        source,
        time("create_time"),
        time("last_update_time"),
        text("expectation"),
        text("feedback"),
        text("rationale"),
        texts("metadata"),
        text("span_id"),
    ];
    let event = vec![text("name"), long("timestamp"), text("attributes")];
    let span = vec![
        text("span_id"),
        text("trace_id"),
        text("parent_id"),
        long("start_time_unix_nano"),
        long("end_time_unix_nano"),
        text("status_code"),
        text("status_message"),
        text("name"),
        text("attributes"),
        list_of("events", event),
    ];
    let location = vec![text("type"), record("mlflow_experiment", vec![text("experiment_id")])];
    schema(vec![
        text("trace_id"),
        text("client_request_id"),
        time("request_time"),
        text("state"),
        double("execution_duration_ms"),
        text("request"),
        text("response"),
        texts("trace_metadata"),
        texts("tags"),
        record("trace_location", location),
        list_of("assessments", assessment),
        list_of("spans", span),
        time("archived_at"),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_the_columns_that_other_readers_look_for() {
        let names = |schema: SchemaRef| -> Vec<String> {
            schema.fields().iter().map(|field| field.name().clone()).collect()
        };
        let first = names(spans_v1());
        assert_eq!(names(spans())[4..], first[..]);
        assert_eq!(names(logs())[4..], names(logs_v1())[..]);
        for column in ["trace_id", "span_id", "parent_span_id", "attributes", "events", "status"] {
            assert!(first.iter().any(|name| name == column), "{column}");
        }
        assert!(matches!(spans().field_with_name("attributes").unwrap().data_type(), DataType::Utf8));
        assert!(matches!(spans_v1().field_with_name("attributes").unwrap().data_type(), DataType::Map(..)));
    }
}
