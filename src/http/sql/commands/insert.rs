//! `INSERT INTO … SELECT`.

use std::sync::Arc;

use futures_util::StreamExt;

use super::{Stopped, failed, permit, table};
use crate::access::{Privilege, Securable};
use crate::app::statements::Rows;
use crate::http::call::Call;
use crate::http::catalog;
use crate::http::error::Refusal;
use crate::http::sql::failure;
use crate::http::sql::statements::{Asked, planned};
use crate::http::trail::Trail;
use crate::lake::arrow::array::{ArrayRef, RecordBatch, new_null_array};
use crate::lake::arrow::compute::{cast, concat_batches};
use crate::lake::arrow::datatypes::{Field, SchemaRef};
use crate::lake::sql::{Query, SqlError};
use crate::policy::Permit;
use crate::store::Detail;

/// Appends what a query gives to a table that the caller may modify, in one commit.
pub(super) async fn insert(
    call: &mut Call<'_>,
    trail: &mut Trail,
    permit_of_warehouse: &Permit,
    named: &Securable,
    columns: &[String],
    query: String,
    asked: &Asked,
) -> Result<Rows, Stopped> {
    let found = call.app.store.catalog_object(named).await?;
    call.app.at_least(found.version).await?;
    trail.demands(named.to_string(), Privilege::Modify.to_string());
    let object = found.found.ok_or_else(|| catalog::missing(named))?;
    let target =
        permit(call, Privilege::Modify, &object.securable).map_err(|stopped| {
            match catalog::sight(call, &object.securable) {
                Ok(catalog::Sight::Hidden) => catalog::missing(named).into(),
                _ => stopped,
            }
        })?;
    let Detail::Table { .. } = &object.detail else {
        return Err(failed("42809", format!("[WRONG_COMMAND_FOR_OBJECT_TYPE] `{}` is a view", named.id)));
    };
    let place =
        object.location.as_ref().ok_or_else(|| Refusal::Internal("a table lies nowhere".to_owned()))?;
    let aside = trail.aside();
    let query = Query { text: query };
    let (mut rows, governor) = planned(call.app, call.caller, permit_of_warehouse, &query, asked, &aside)
        .await
        .map_err(Stopped::Failed)?;
    for (securable, privilege) in governor.witness().demands {
        trail.demands(securable, privilege);
    }
    let (mut batches, mut bytes) = (Vec::new(), 0);
    let most = call.app.config.lake.result_bytes_per_principal;
    while let Some(batch) = rows.batches.next().await {
        let batch = batch.map_err(|error| Stopped::Failed(failure::of_sql(error)))?;
        bytes += batch.get_array_memory_size();
        if bytes > most {
            return Err(failed(
                "53000",
                format!("[RESULT_TOO_LARGE] more than {most} bytes are not inserted at once"),
            ));
        }
        batches.push(batch);
    }
    if rows.truncated.get() {
        return Err(failed(
            "53000",
            "[RESULT_TOO_LARGE] more rows than `lake.query_rows` are not inserted at once",
        ));
    }
    let of_lake = |error| Stopped::Failed(failure::of_lake(error));
    let schema = call.app.lake.columns(&target, place).await.map_err(of_lake)?;
    let whole = concat_batches(&rows.schema, &batches).map_err(|error| internal(&error))?;
    let fitted = fitted(&whole, columns, &schema)?;
    let inserted = fitted.num_rows();
    if inserted > 0 {
        call.app.lake.append(&target, place, fitted).await.map_err(of_lake)?;
    }
    let count = inserted.to_string();
    Ok(table(&["num_affected_rows", "num_inserted_rows"], vec![vec![Some(count.clone()), Some(count)]]))
}

fn internal(error: &dyn std::fmt::Display) -> Stopped {
    Stopped::Failed(failure::of_sql(SqlError::Internal(error.to_string())))
}

/// Rows by place, as columns of the table: those that are named, or all of them in their order.
fn fitted(rows: &RecordBatch, columns: &[String], schema: &SchemaRef) -> Result<RecordBatch, Stopped> {
    let names: Vec<String> = match columns {
        [] => schema.fields().iter().map(|field| field.name().clone()).collect(),
        named => named.to_vec(),
    };
    if names.len() != rows.num_columns() {
        return Err(failed(
            "42802",
            format!(
                "[INSERT_COLUMN_ARITY_MISMATCH] {} columns get {} values",
                names.len(),
                rows.num_columns()
            ),
        ));
    }
    let unknown = names
        .iter()
        .find(|name| !schema.fields().iter().any(|field| field.name().eq_ignore_ascii_case(name)));
    let twice = names
        .iter()
        .enumerate()
        .find(|(place, name)| names[..*place].iter().any(|other| other.eq_ignore_ascii_case(name)));
    if let Some(name) = unknown.or(twice.map(|(_, name)| name)) {
        return Err(failed(
            "42703",
            format!("[UNRESOLVED_COLUMN] `{name}` is no column of the table, or named twice"),
        ));
    }
    let mut fitted: Vec<ArrayRef> = Vec::new();
    for field in schema.fields() {
        let given = names.iter().position(|name| name.eq_ignore_ascii_case(field.name()));
        let values = match given {
            None => new_null_array(field.data_type(), rows.num_rows()),
            Some(place) => {
                let given = rows.column(place);
                let values = cast(given, field.data_type()).map_err(|_| not_of(field))?;
                // A value that cannot be cast would become null unsaid.
                if values.null_count() != given.null_count() && !given.data_type().is_null() {
                    return Err(not_of(field));
                }
                values
            }
        };
        if !field.is_nullable() && values.null_count() > 0 {
            return Err(failed(
                "23502",
                format!("[NOT_NULL_CONSTRAINT_VIOLATION] `{}` cannot be null", field.name()),
            ));
        }
        fitted.push(values);
    }
    RecordBatch::try_new(Arc::clone(schema), fitted).map_err(|error| internal(&error))
}

fn not_of(field: &Field) -> Stopped {
    failed("22018", format!("[CAST_INVALID_INPUT] a value for `{}` is not of its type", field.name()))
}
