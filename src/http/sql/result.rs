//! Rows in the forms that clients ask for.

use serde_json::{Value, json};

use crate::lake::LakeError;
use crate::lake::arrow::array::{Array, BinaryArray, RecordBatch, StringArray, StringViewArray};
use crate::lake::arrow::compute::cast;
use crate::lake::arrow::datatypes::{DataType, IntervalUnit, Schema, SchemaRef};
use crate::lake::arrow::ipc::writer::StreamWriter;
use crate::lake::arrow::util::display::{ArrayFormatter, FormatOptions};

/// Name, text, precision and scale of a type.
struct Named {
    name: &'static str,
    text: String,
    decimal: Option<(u8, i8)>,
}

fn named(of: &DataType) -> Named {
    let plain = |name, text: &str| Named { name, text: text.to_owned(), decimal: None };
    match of {
        DataType::Null => plain("NULL", "VOID"),
        DataType::Boolean => plain("BOOLEAN", "BOOLEAN"),
        DataType::Int8 => plain("BYTE", "TINYINT"),
        DataType::Int16 | DataType::UInt8 => plain("SHORT", "SMALLINT"),
        DataType::Int32 | DataType::UInt16 => plain("INT", "INT"),
        DataType::Int64 | DataType::UInt32 => plain("LONG", "BIGINT"),
        DataType::UInt64 => {
            Named { name: "DECIMAL", text: "DECIMAL(20,0)".to_owned(), decimal: Some((20, 0)) }
        }
        DataType::Float16 | DataType::Float32 => plain("FLOAT", "FLOAT"),
        DataType::Float64 => plain("DOUBLE", "DOUBLE"),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => Named {
            name: "DECIMAL",
            text: format!("DECIMAL({precision},{scale})"),
            decimal: Some((*precision, *scale)),
        },
        DataType::Date32 | DataType::Date64 => plain("DATE", "DATE"),
        DataType::Timestamp(_, Some(_)) => plain("TIMESTAMP", "TIMESTAMP"),
        DataType::Timestamp(_, None) => plain("TIMESTAMP", "TIMESTAMP_NTZ"),
        DataType::Interval(IntervalUnit::YearMonth) => plain("INTERVAL", "INTERVAL YEAR TO MONTH"),
        DataType::Interval(_) | DataType::Duration(_) => plain("INTERVAL", "INTERVAL DAY TO SECOND"),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            plain("BINARY", "BINARY")
        }
        DataType::List(inner) | DataType::LargeList(inner) | DataType::FixedSizeList(inner, _) => {
            plain("ARRAY", &format!("ARRAY<{}>", named(inner.data_type()).text))
        }
        DataType::Struct(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|field| format!("{}: {}", field.name(), named(field.data_type()).text))
                .collect();
            plain("STRUCT", &format!("STRUCT<{}>", fields.join(", ")))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => plain(
                "MAP",
                &format!("MAP<{}, {}>", named(fields[0].data_type()).text, named(fields[1].data_type()).text),
            ),
            _ => plain("MAP", "MAP<STRING, STRING>"),
        },
        DataType::Dictionary(_, values) => named(values),
        _ => plain("STRING", "STRING"),
    }
}

/// The columns, as a manifest lists them.
pub(super) fn columns(schema: &Schema) -> Vec<Value> {
    let column = |(position, field): (usize, &std::sync::Arc<crate::lake::arrow::datatypes::Field>)| {
        let of = named(field.data_type());
        let mut column = json!({
            "name": field.name(), "position": position, "type_name": of.name, "type_text": of.text,
        });
        if let Some((precision, scale)) = of.decimal {
            column["type_precision"] = json!(precision);
            column["type_scale"] = json!(scale);
        }
        column
    };
    schema.fields().iter().enumerate().map(column).collect()
}

fn internal(error: impl std::fmt::Display) -> LakeError {
    LakeError::Internal(error.to_string())
}

/// Each value of a column as text, or nothing.
fn texts(column: &dyn Array) -> Result<Vec<Option<String>>, LakeError> {
    use base64::Engine as _;
    let length = column.len();
    match column.data_type() {
        DataType::List(_)
        | DataType::LargeList(_)
        | DataType::FixedSizeList(..)
        | DataType::Struct(_)
        | DataType::Map(..) => {
            let field = crate::lake::arrow::datatypes::Field::new("v", column.data_type().clone(), true);
            let schema = std::sync::Arc::new(Schema::new(vec![field]));
            let sliced = column.slice(0, length);
            let batch = RecordBatch::try_new(schema, vec![sliced]).map_err(internal)?;
            let rows = crate::lake::json_rows(&batch)?;
            Ok(rows.into_iter().map(|mut row| row.remove("v").map(|value| value.to_string())).collect())
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            let bytes = cast(column, &DataType::Binary).map_err(internal)?;
            let bytes = bytes.as_any().downcast_ref::<BinaryArray>().ok_or_else(|| internal("no bytes"))?;
            let encoded = |value: &[u8]| base64::engine::general_purpose::STANDARD.encode(value);
            Ok(bytes.iter().map(|value| value.map(encoded)).collect())
        }
        _ => {
            let options = FormatOptions::default()
                .with_timestamp_tz_format(Some("%Y-%m-%dT%H:%M:%S%.3fZ"))
                .with_timestamp_format(Some("%Y-%m-%dT%H:%M:%S%.3f"));
            let shown = ArrayFormatter::try_new(column, &options).map_err(internal)?;
            let text = |row| match column.is_null(row) {
                true => Ok(None),
                false => shown.value(row).try_to_string().map(Some).map_err(internal),
            };
            (0..length).map(text).collect()
        }
    }
}

/// Rows of texts and nulls.
pub(super) fn json_rows(batch: &RecordBatch) -> Result<Vec<Vec<Option<String>>>, LakeError> {
    let columns: Vec<Vec<Option<String>>> =
        batch.columns().iter().map(|column| texts(column.as_ref())).collect::<Result<_, _>>()?;
    let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
    Ok((0..batch.num_rows())
        .map(|_| columns.iter_mut().map(|column| column.next().flatten()).collect())
        .collect())
}

pub(super) fn arrow_stream(schema: &SchemaRef, batch: &RecordBatch) -> Result<Vec<u8>, LakeError> {
    let mut writer = StreamWriter::try_new(Vec::new(), schema).map_err(internal)?;
    writer.write(batch).map_err(internal)?;
    writer.finish().map_err(internal)?;
    writer.into_inner().map_err(internal)
}

/// With a line of names in the first chunk.
pub(super) fn csv(schema: &Schema, batch: &RecordBatch, is_first: bool) -> Result<Vec<u8>, LakeError> {
    let schema = std::sync::Arc::new(schema.clone());
    Ok(crate::lake::sql::result::csv(&schema, std::slice::from_ref(batch), is_first))
}

/// The ids of traces that rows show in a column of that name.
pub(super) fn trace_ids(batch: &RecordBatch) -> Vec<String> {
    let mut ids = std::collections::BTreeSet::new();
    let schema = batch.schema();
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        if !field.name().eq_ignore_ascii_case("trace_id") {
            continue;
        }
        let Ok(column) = cast(column, &DataType::Utf8) else { continue };
        let values = column.as_any().downcast_ref::<StringArray>();
        ids.extend(values.into_iter().flatten().flatten().filter(|id| is_trace_id(id)).map(str::to_owned));
        let viewed = column.as_any().downcast_ref::<StringViewArray>();
        ids.extend(viewed.into_iter().flatten().flatten().filter(|id| is_trace_id(id)).map(str::to_owned));
    }
    ids.into_iter().collect()
}

/// What could be none is not written to a record that cannot be erased.
fn is_trace_id(text: &str) -> bool {
    let hex = text.rsplit(['-', '/']).next().unwrap_or_default();
    text.len() <= 200 && hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::lake::arrow::datatypes::{Field, Fields, TimeUnit};

    fn batch(fields: Vec<Field>, rows: Value) -> RecordBatch {
        let rows: Vec<Value> = rows.as_array().unwrap().clone();
        crate::lake::batch(Arc::new(Schema::new(fields)), &rows).unwrap()
    }

    #[test]
    fn values_are_texts_in_the_words_of_the_platform() {
        let inner = DataType::Struct(Fields::from(vec![Field::new("x", DataType::Int32, true)]));
        let batch = batch(
            vec![
                Field::new("n", DataType::Int64, true),
                Field::new("t", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
                Field::new("d", DataType::Date32, true),
                Field::new("s", inner, true),
                Field::new("b", DataType::Boolean, true),
            ],
            json!([{ "n": 1, "t": 1_700_000_000_123_000_i64, "d": 1, "s": { "x": 5 }, "b": true }, {}]),
        );
        let rows = json_rows(&batch).unwrap();
        let first: Vec<&str> = rows[0].iter().map(|value| value.as_deref().unwrap()).collect();
        assert_eq!(first, ["1", "2023-11-14T22:13:20.123Z", "1970-01-02", r#"{"x":5}"#, "true"]);
        assert!(rows[1].iter().all(Option::is_none), "{rows:?}");
        let types: Vec<Value> = columns(&batch.schema()).iter().map(|c| c["type_text"].clone()).collect();
        assert_eq!(types, ["BIGINT", "TIMESTAMP", "DATE", "STRUCT<x: INT>", "BOOLEAN"]);
        assert!(csv(&batch.schema(), &batch, true).unwrap().starts_with(b"n,t,d,s,b\r\n1,2023"));
        assert!(arrow_stream(&batch.schema(), &batch).unwrap().len() > 100);
    }

    #[test]
    fn ids_of_traces_are_told_and_nothing_else_is() {
        let id = "0123456789abcdef0123456789abcdef";
        let rows = json!([{ "Trace_ID": id }, { "Trace_ID": "ann@example.com" }, { "Trace_ID": id }, {}]);
        assert_eq!(trace_ids(&batch(vec![Field::new("Trace_ID", DataType::Utf8, true)], rows)), [id]);
        let other = batch(vec![Field::new("other", DataType::Utf8, true)], json!([{ "other": id }]));
        assert!(trace_ids(&other).is_empty());
    }
}
