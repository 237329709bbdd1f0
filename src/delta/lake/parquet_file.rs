//! A Parquet file of rows, and what the log says of it.

use std::collections::HashMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::{max, max_string, min, min_string};
use arrow::datatypes::{DataType, Int64Type, SchemaRef, TimeUnit, TimestampMicrosecondType};
use deltalake_core::kernel::Add;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde_json::{Map, Value, json};

use crate::LakeError;

/// Texts longer than this have no bounds in the log.
const LONGEST_BOUND: usize = 64;

pub(super) struct Encoded {
    pub add: Add,
    pub bytes: Vec<u8>,
}

fn internal(error: impl std::fmt::Display) -> LakeError {
    LakeError::Internal(error.to_string())
}

pub(super) fn encode(schema: &SchemaRef, batches: &[RecordBatch], now_ms: i64) -> Result<Encoded, LakeError> {
    let level = ZstdLevel::try_new(1).map_err(internal)?;
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
    let mut writer =
        ArrowWriter::try_new(Vec::new(), SchemaRef::clone(schema), Some(properties)).map_err(internal)?;
    for batch in batches {
        writer.write(batch).map_err(internal)?;
    }
    let bytes = writer.into_inner().map_err(internal)?;
    let add = Add {
        path: format!("part-00000-{}-c000.zstd.parquet", uuid::Uuid::new_v4()),
        partition_values: HashMap::new(),
        size: i64::try_from(bytes.len()).map_err(internal)?,
        modification_time: now_ms,
        data_change: true,
        stats: Some(stats(schema, batches).to_string()),
        tags: None,
        deletion_vector: None,
        base_row_id: None,
        default_row_commit_version: None,
        clustering_provider: None,
    };
    Ok(Encoded { add, bytes })
}

/// How many rows, and the bounds of those columns by which readers look for rows.
fn stats(schema: &SchemaRef, batches: &[RecordBatch]) -> Value {
    let (mut least, mut most, mut nulls) = (Map::new(), Map::new(), Map::new());
    for field in schema.fields() {
        let columns: Vec<_> = batches.iter().filter_map(|batch| batch.column_by_name(field.name())).collect();
        let bounds = match field.data_type() {
            DataType::Int64 => {
                let low = columns.iter().filter_map(|column| min(column.as_primitive::<Int64Type>())).min();
                let high = columns.iter().filter_map(|column| max(column.as_primitive::<Int64Type>())).max();
                low.zip(high).map(|(low, high)| (json!(low), json!(high)))
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                let all = || columns.iter().map(|column| column.as_primitive::<TimestampMicrosecondType>());
                let low = all().filter_map(min).min().and_then(|micros| millis(micros.div_euclid(1000)));
                // Bounds are in milliseconds; the upper one must not lie below a row.
                let high = all().filter_map(max).max().and_then(|micros| millis(micros.div_euclid(1000) + 1));
                low.zip(high)
            }
            DataType::Utf8 => {
                let all = || columns.iter().map(|column| column.as_string::<i32>());
                let (low, high) = (all().filter_map(min_string).min(), all().filter_map(max_string).max());
                let short = |text: &&str| text.len() <= LONGEST_BOUND;
                low.filter(short).zip(high.filter(short)).map(|(low, high)| (json!(low), json!(high)))
            }
            _ => continue,
        };
        let missing: usize = columns.iter().map(|column| column.null_count()).sum();
        nulls.insert(field.name().clone(), json!(missing));
        if let Some((low, high)) = bounds {
            least.insert(field.name().clone(), low);
            most.insert(field.name().clone(), high);
        }
    }
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    json!({"numRecords": rows, "minValues": least, "maxValues": most, "nullCount": nulls})
}

fn millis(millis: i64) -> Option<Value> {
    Some(json!(jiff::Timestamp::from_millisecond(millis).ok()?.to_string()))
}
