//! Rows as a table's columns want them.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;

use crate::LakeError;

/// Rows with the table's columns in the table's order. What the rows lack is null; what the table lacks, or cannot
/// hold, is refused by name.
pub(super) fn fit(rows: &RecordBatch, columns: &SchemaRef) -> Result<RecordBatch, LakeError> {
    let given = rows.schema();
    for field in given.fields() {
        if columns.field_with_name(field.name()).is_err() {
            return Err(LakeError::Malformed(format!("the table has no column `{}`", field.name())));
        }
    }
    let column = |field: &Arc<arrow::datatypes::Field>| -> Result<ArrayRef, LakeError> {
        let Some(found) = rows.column_by_name(field.name()) else {
            return Ok(new_null_array(field.data_type(), rows.num_rows()));
        };
        if found.data_type() == field.data_type() {
            return Ok(Arc::clone(found));
        }
        cast(found, field.data_type()).map_err(|_| {
            let problem = format!("column `{}` is of another type than the table's", field.name());
            LakeError::Malformed(problem)
        })
    };
    let fitted: Vec<ArrayRef> = columns.fields().iter().map(column).collect::<Result<_, _>>()?;
    RecordBatch::try_new(Arc::clone(columns), fitted)
        .map_err(|error| LakeError::Malformed(format!("the rows do not fit the table: {error}")))
}
