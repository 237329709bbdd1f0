//! Columns of a table as the catalog shows them.

use crate::lake::arrow::datatypes::Schema;
use crate::lake::sql::result;
use crate::store::Column;

pub(in crate::http) fn of(schema: &Schema) -> Vec<Column> {
    let columns = result::columns(schema).into_iter().zip(schema.fields()).enumerate();
    columns
        .map(|(position, (column, field))| Column {
            name: column.name,
            type_text: Some(column.type_text.to_lowercase()),
            type_json: None,
            type_name: Some(column.type_name),
            type_precision: column.type_precision.map(i64::from),
            type_scale: column.type_scale.map(i64::from),
            type_interval_type: None,
            position: position as i64,
            comment: None,
            nullable: field.is_nullable(),
            partition_index: None,
            mask: None,
        })
        .collect()
}
