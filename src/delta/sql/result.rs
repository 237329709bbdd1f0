//! Results, as clients of SQL read them.

use arrow::datatypes::Schema;

/// A column in the words of the statement API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnInfo {
    pub name: String,
    pub type_text: String,
    pub type_name: Option<&'static str>,
    pub type_precision: Option<i32>,
    pub type_scale: Option<i32>,
}

pub fn columns(schema: &Schema) -> Vec<ColumnInfo> {
    let _ = schema;
    unimplemented!()
}
