//! Rows in the forms that the SQL Statement Execution API has.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, IntervalUnit, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, DurationFormat, FormatOptions};
use serde_json::Value;

use super::SqlError;

/// A column as a statement's manifest describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnInfo {
    pub name: String,
    pub position: usize,
    /// Such as `DECIMAL(10,2)`.
    pub type_text: String,
    /// Such as `DECIMAL`, or `LONG` for a BIGINT.
    pub type_name: String,
    pub type_precision: Option<i32>,
    pub type_scale: Option<i32>,
}

/// The columns in Databricks' words.
pub fn columns(schema: &Schema) -> Vec<ColumnInfo> {
    schema
        .fields()
        .iter()
        .enumerate()
        .map(|(position, field)| {
            let (type_precision, type_scale) = match field.data_type() {
                DataType::Decimal32(precision, scale)
                | DataType::Decimal64(precision, scale)
                | DataType::Decimal128(precision, scale)
                | DataType::Decimal256(precision, scale) => {
                    (Some(i32::from(*precision)), Some(i32::from(*scale)))
                }
                _ => (None, None),
            };
            ColumnInfo {
                name: field.name().clone(),
                position,
                type_text: type_text(field.data_type()),
                type_name: type_name(field.data_type()).to_owned(),
                type_precision,
                type_scale,
            }
        })
        .collect()
}

/// A type as SQL has it.
pub fn type_text(data_type: &DataType) -> String {
    match data_type {
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Int16 | DataType::UInt8 => "SMALLINT".to_owned(),
        DataType::Int32 | DataType::UInt16 => "INT".to_owned(),
        DataType::Int64 | DataType::UInt32 => "BIGINT".to_owned(),
        DataType::UInt64 => "DECIMAL(20,0)".to_owned(),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => format!("DECIMAL({precision},{scale})"),
        DataType::Timestamp(_, None) => "TIMESTAMP_NTZ".to_owned(),
        DataType::Null => "VOID".to_owned(),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::ListView(field)
        | DataType::LargeListView(field) => format!("ARRAY<{}>", type_text(field.data_type())),
        DataType::Struct(fields) => {
            let inside: Vec<String> = fields
                .iter()
                .map(|field| format!("{}: {}", field.name(), type_text(field.data_type())))
                .collect();
            format!("STRUCT<{}>", inside.join(", "))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => {
                format!("MAP<{}, {}>", type_text(fields[0].data_type()), type_text(fields[1].data_type()))
            }
            _ => "MAP<STRING, STRING>".to_owned(),
        },
        DataType::Dictionary(_, values) => type_text(values),
        DataType::RunEndEncoded(_, values) => type_text(values.data_type()),
        DataType::Interval(_) | DataType::Duration(_) => "INTERVAL".to_owned(),
        other => type_name(other).to_owned(),
    }
}

fn type_name(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Boolean => "BOOLEAN",
        DataType::Int8 => "BYTE",
        DataType::Int16 | DataType::UInt8 => "SHORT",
        DataType::Int32 | DataType::UInt16 => "INT",
        DataType::Int64 | DataType::UInt32 => "LONG",
        DataType::UInt64
        | DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => "DECIMAL",
        DataType::Float16 | DataType::Float32 => "FLOAT",
        DataType::Float64 => "DOUBLE",
        DataType::Date32 | DataType::Date64 => "DATE",
        DataType::Timestamp(..) => "TIMESTAMP",
        DataType::Interval(_) | DataType::Duration(_) => "INTERVAL",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "BINARY"
        }
        DataType::List(_)
        | DataType::LargeList(_)
        | DataType::FixedSizeList(..)
        | DataType::ListView(_)
        | DataType::LargeListView(_) => "ARRAY",
        DataType::Struct(_) => "STRUCT",
        DataType::Map(..) => "MAP",
        DataType::Null => "NULL",
        DataType::Dictionary(_, values) => type_name(values),
        DataType::RunEndEncoded(_, values) => type_name(values.data_type()),
        _ => "STRING",
    }
}

/// All values as text, or null.
pub fn json_rows(batch: &RecordBatch) -> Vec<Vec<Option<String>>> {
    let mut rows = vec![Vec::with_capacity(batch.num_columns()); batch.num_rows()];
    for column in batch.columns() {
        for (row, values) in rows.iter_mut().enumerate() {
            values.push(text(column.as_ref(), row));
        }
    }
    rows
}

/// One stream in Arrow's IPC format.
pub fn arrow_stream(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Vec<u8>, SqlError> {
    let broken = |_| SqlError::Internal("the rows could not be written as Arrow".to_owned());
    let mut writer = arrow::ipc::writer::StreamWriter::try_new(Vec::new(), schema).map_err(broken)?;
    for batch in batches {
        writer.write(batch).map_err(broken)?;
    }
    writer.finish().map_err(broken)?;
    writer.into_inner().map_err(broken)
}

/// Comma-separated values, the columns' names first if `header`. Null is empty, an empty text is `""`.
pub fn csv(schema: &SchemaRef, batches: &[RecordBatch], header: bool) -> Vec<u8> {
    let mut out = String::new();
    let line = |values: &mut dyn Iterator<Item = Option<String>>, out: &mut String| {
        for (place, value) in values.enumerate() {
            if place > 0 {
                out.push(',');
            }
            match value {
                Some(value) if value.is_empty() || value.contains([',', '"', '\n', '\r']) => {
                    out.push('"');
                    out.push_str(&value.replace('"', "\"\""));
                    out.push('"');
                }
                Some(value) => out.push_str(&value),
                None => (),
            }
        }
        out.push_str("\r\n");
    };
    if header {
        line(&mut schema.fields().iter().map(|field| Some(field.name().clone())), &mut out);
    }
    for batch in batches {
        for row in json_rows(batch) {
            line(&mut row.into_iter(), &mut out);
        }
    }
    out.into_bytes()
}

/// A value as Databricks writes it. Lists, structs and maps are JSON.
fn text(array: &dyn Array, row: usize) -> Option<String> {
    if array.is_null(row) {
        return None;
    }
    match array.data_type() {
        DataType::List(_)
        | DataType::LargeList(_)
        | DataType::FixedSizeList(..)
        | DataType::ListView(_)
        | DataType::LargeListView(_)
        | DataType::Struct(_)
        | DataType::Map(..) => Some(json(array, row).to_string()),
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            text(dictionary.values().as_ref(), *dictionary.normalized_keys().get(row)?)
        }
        DataType::Null => None,
        DataType::Union(..) => union_text(array, row),
        _ => scalar(array, row),
    }
}

fn union_text(array: &dyn Array, row: usize) -> Option<String> {
    let union = array.as_union_opt()?;
    let value = union.value(row);
    text(value.as_ref(), 0)
}

fn scalar(array: &dyn Array, row: usize) -> Option<String> {
    let with_zone = matches!(array.data_type(), DataType::Timestamp(_, Some(_)));
    if with_zone {
        return instant(array, row);
    }
    match array.data_type() {
        // JSON_ARRAY has binary values in Base64.
        DataType::Binary => Some(base64(array.as_binary::<i32>().value(row))),
        DataType::LargeBinary => Some(base64(array.as_binary::<i64>().value(row))),
        DataType::BinaryView => Some(base64(array.as_binary_view().value(row))),
        DataType::FixedSizeBinary(_) => Some(base64(array.as_fixed_size_binary().value(row))),
        DataType::Float64 => Some(double(array.as_primitive::<arrow::datatypes::Float64Type>().value(row))),
        DataType::Float32 => {
            let value = array.as_primitive::<arrow::datatypes::Float32Type>().value(row);
            Some(if value.is_finite() {
                format!("{value:?}").replace('e', "E")
            } else {
                double(f64::from(value))
            })
        }
        DataType::Timestamp(unit, None) => {
            timestamp(array, row, *unit).map(|text| text.trim_end_matches('Z').to_owned())
        }
        DataType::Interval(IntervalUnit::YearMonth | IntervalUnit::DayTime | IntervalUnit::MonthDayNano) => {
            shown(array, row)
        }
        _ => shown(array, row),
    }
}

fn shown(array: &dyn Array, row: usize) -> Option<String> {
    let options = FormatOptions::new()
        .with_display_error(true)
        .with_date_format(Some("%Y-%m-%d"))
        .with_duration_format(DurationFormat::ISO8601);
    ArrayFormatter::try_new(array, &options).ok().map(|formatter| formatter.value(row).to_string())
}

fn instant(array: &dyn Array, row: usize) -> Option<String> {
    match array.data_type() {
        DataType::Timestamp(unit, _) => timestamp(array, row, *unit),
        _ => None,
    }
}

/// `2026-01-31T12:00:00.123Z`: three digits, or all six if there are more.
fn timestamp(array: &dyn Array, row: usize, unit: TimeUnit) -> Option<String> {
    use arrow::datatypes::{
        TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    };
    let nanos = match unit {
        TimeUnit::Second => {
            i128::from(array.as_primitive::<TimestampSecondType>().value(row)) * 1_000_000_000
        }
        TimeUnit::Millisecond => {
            i128::from(array.as_primitive::<TimestampMillisecondType>().value(row)) * 1_000_000
        }
        TimeUnit::Microsecond => {
            i128::from(array.as_primitive::<TimestampMicrosecondType>().value(row)) * 1_000
        }
        TimeUnit::Nanosecond => i128::from(array.as_primitive::<TimestampNanosecondType>().value(row)),
    };
    let at = jiff::Timestamp::from_nanosecond(nanos).ok()?;
    let digits = if nanos % 1_000_000 == 0 {
        3
    } else if nanos % 1_000 == 0 {
        6
    } else {
        9
    };
    Some(format!("{at:.digits$}"))
}

fn double(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity".to_owned() } else { "-Infinity".to_owned() }
    } else {
        format!("{value:?}").replace('e', "E")
    }
}

fn json(array: &dyn Array, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    let list = |values: Arc<dyn Array>| {
        Value::Array((0..values.len()).map(|at| json(values.as_ref(), at)).collect())
    };
    match array.data_type() {
        DataType::List(_) => list(array.as_list::<i32>().value(row)),
        DataType::LargeList(_) => list(array.as_list::<i64>().value(row)),
        DataType::FixedSizeList(..) => list(array.as_fixed_size_list().value(row)),
        DataType::Struct(fields) => {
            let columns = array.as_struct();
            Value::Object(
                fields
                    .iter()
                    .zip(columns.columns())
                    .map(|(field, column): (&Arc<Field>, _)| {
                        (field.name().clone(), json(column.as_ref(), row))
                    })
                    .collect(),
            )
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            let (keys, values) = (entries.column(0), entries.column(1));
            Value::Object(
                (0..entries.len())
                    .map(|at| (text(keys.as_ref(), at).unwrap_or_default(), json(values.as_ref(), at)))
                    .collect(),
            )
        }
        DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
        kind if kind.is_integer() => {
            scalar(array, row).and_then(|text| serde_json::from_str(&text).ok()).unwrap_or(Value::Null)
        }
        DataType::Float32 | DataType::Float64 => match scalar(array, row) {
            Some(text) => match text.parse::<f64>().ok().and_then(serde_json::Number::from_f64) {
                Some(number) => Value::Number(number),
                None => Value::String(text),
            },
            None => Value::Null,
        },
        _ => text(array, row).map_or(Value::Null, Value::String),
    }
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let number =
            three.iter().fold(0u32, |sum, byte| (sum << 8) | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let letter = LETTERS[(number >> (18 - 6 * place)) as usize & 63];
            out.push(if place <= three.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

/// Bytes of the rows themselves; a slice holds the whole batch in memory.
pub fn size(batch: &RecordBatch) -> u64 {
    let sum: usize = batch
        .columns()
        .iter()
        .map(|column| {
            column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
        })
        .sum();
    sum as u64
}

/// How many rows of a batch fit into so many bytes.
pub fn fitting(batch: &RecordBatch, bytes: u64) -> usize {
    if size(batch) <= bytes {
        return batch.num_rows();
    }
    let (mut fits, mut over) = (0, batch.num_rows());
    while over - fits > 1 {
        let middle = fits + (over - fits) / 2;
        if size(&batch.slice(0, middle)) <= bytes { fits = middle } else { over = middle }
    }
    fits
}

fn plain_field(field: &FieldRef) -> FieldRef {
    Arc::new(field.as_ref().clone().with_data_type(plain_type(field.data_type())))
}

fn plain_type(kind: &DataType) -> DataType {
    match kind {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(item) => DataType::List(plain_field(item)),
        DataType::LargeList(item) => DataType::LargeList(plain_field(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(plain_field(item), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain_field).collect()),
        DataType::Map(entries, sorted) => DataType::Map(plain_field(entries), *sorted),
        other => other.clone(),
    }
}

/// The columns as whoever asked gets them.
pub fn plain(schema: &Schema) -> SchemaRef {
    let fields: Fields = schema.fields().iter().map(plain_field).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// Rows with texts of their own. Those of a query may be views into pages of files: of a few rows all that was read would
/// be kept, nobody could say how large they are, and not every client reads them.
pub fn as_plain(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| match column.data_type() == field.data_type() {
            true => Ok(Arc::clone(column)),
            false => cast(column, field.data_type()),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}
