//! `CREATE TABLE`: an object of the catalog, and its files.

use std::sync::Arc;

use serde_json::{Value, json};

use super::names::place;
use super::{Stopped, done, failed, made, permit, rest, without_nulls};
use crate::access::{Privilege, Securable};
use crate::app::statements::Rows;
use crate::http::call::Call;
use crate::http::catalog;
use crate::http::error::Refusal;
use crate::http::sql::failure;
use crate::http::trail::Trail;
use crate::lake::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use crate::store::CatalogObject;

pub(super) async fn create_table(
    call: &mut Call<'_>,
    trail: &Trail,
    named: &Securable,
    columns: Vec<(String, String, bool, Option<String>)>,
    location: Option<String>,
    comment: Option<String>,
    if_not_exists: bool,
) -> Result<Rows, Stopped> {
    let mut fields = Vec::new();
    let mut listed = Vec::new();
    for (position, (name, of, nullable, comment)) in columns.iter().enumerate() {
        let (data_type, type_name) = column_type(of)?;
        fields.push(Field::new(name, data_type, *nullable));
        listed.push(json!({
            "name": name, "type_text": of.to_lowercase(), "type_name": type_name, "position": position,
            "nullable": nullable, "comment": comment,
        }));
    }
    if fields.is_empty() && location.is_none() {
        return Err(failed("42601", "[INVALID_STATEMENT] a table needs at least one column"));
    }
    let mut body = place(named);
    let external = location.is_some();
    body.insert("table_type".to_owned(), json!(if external { "EXTERNAL" } else { "MANAGED" }));
    body.insert("data_source_format".to_owned(), json!("DELTA"));
    body.insert("storage_location".to_owned(), json!(location));
    body.insert("columns".to_owned(), listed.into_iter().map(without_nulls).collect());
    body.insert("comment".to_owned(), json!(comment));
    let created = rest(call, trail, "tables", "create", "", &[], Value::Object(body)).await;
    if created.is_err() {
        return made(created, if_not_exists);
    }
    if fields.is_empty() {
        // What lies there already has its columns.
        return Ok(done());
    }
    let (object, _) = catalog::seen(call, named, true).await?;
    let laid = lay(call, &object, Arc::new(Schema::new(fields))).await;
    if let Err(stopped) = laid {
        // Without its files it is no table.
        rest(call, trail, "tables", "delete", &named.id, &[], Value::Null).await?;
        return Err(stopped);
    }
    Ok(done())
}

/// Makes the files of a table that its maker just made.
async fn lay(call: &Call<'_>, object: &CatalogObject, columns: SchemaRef) -> Result<(), Stopped> {
    let permit = permit(call, Privilege::Manage, &object.securable)?;
    let place =
        object.location.as_ref().ok_or_else(|| Refusal::Internal("a table lies nowhere".to_owned()))?;
    let created = call.app.lake.create(&permit, place, columns, &object.properties).await;
    created.map_err(|error| Stopped::Failed(failure::of_lake(error)))
}

/// The types that tables are made with.
pub(super) fn column_type(of: &str) -> Result<(DataType, &'static str), Stopped> {
    use crate::lake::arrow::datatypes::TimeUnit::Microsecond;
    let upper: String = of.to_uppercase().split_whitespace().collect();
    if let Some(numbers) = upper.strip_prefix("DECIMAL(").and_then(|rest| rest.strip_suffix(')')) {
        let (precision, scale) = numbers.split_once(',').unwrap_or((numbers, "0"));
        if let (Ok(precision @ 1..=38), Ok(scale)) = (precision.parse::<u8>(), scale.parse::<i8>())
            && (0..=precision.cast_signed()).contains(&scale)
        {
            return Ok((DataType::Decimal128(precision, scale), "DECIMAL"));
        }
    }
    Ok(match upper.as_str() {
        "STRING" | "VARIANT" => (DataType::Utf8, "STRING"),
        "BIGINT" | "LONG" => (DataType::Int64, "LONG"),
        "INT" | "INTEGER" => (DataType::Int32, "INT"),
        "SMALLINT" | "SHORT" => (DataType::Int16, "SHORT"),
        "TINYINT" | "BYTE" => (DataType::Int8, "BYTE"),
        "DOUBLE" => (DataType::Float64, "DOUBLE"),
        "FLOAT" | "REAL" => (DataType::Float32, "FLOAT"),
        "BOOLEAN" => (DataType::Boolean, "BOOLEAN"),
        "DATE" => (DataType::Date32, "DATE"),
        "BINARY" => (DataType::Binary, "BINARY"),
        "DECIMAL" | "DEC" | "NUMERIC" => (DataType::Decimal128(10, 0), "DECIMAL"),
        "TIMESTAMP" => (DataType::Timestamp(Microsecond, Some("UTC".into())), "TIMESTAMP"),
        "TIMESTAMP_NTZ" => (DataType::Timestamp(Microsecond, None), "TIMESTAMP_NTZ"),
        _ => {
            let shown: String = of.chars().take(60).collect();
            return Err(failed(
                "0A000",
                format!("[UNSUPPORTED_DATATYPE] no table is made with `{shown}` here"),
            ));
        }
    })
}
