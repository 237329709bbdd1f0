//! `ALTER TABLE … ADD COLUMN`: for whoever manages the table; rows that are there have null.

use std::sync::Arc;

use super::create_table::column_type;
use super::{Stopped, done, failed, permit};
use crate::access::{Privilege, Securable};
use crate::app::statements::Rows;
use crate::http::call::Call;
use crate::http::catalog;
use crate::http::error::Refusal;
use crate::http::sql::failure;
use crate::http::trail::Trail;
use crate::lake::arrow::datatypes::{Field, Schema};
use crate::store::Column;

pub(super) async fn add_columns(
    call: &Call<'_>,
    trail: &mut Trail,
    table: &Securable,
    columns: Vec<(String, String, bool, Option<String>)>,
) -> Result<Rows, Stopped> {
    let (mut fields, mut shown) = (Vec::new(), Vec::new());
    for (name, of, nullable, comment) in columns {
        if !nullable {
            let message =
                format!("[INVALID_STATEMENT] `{name}` cannot be NOT NULL: rows that are there have none");
            return Err(failed("42601", message));
        }
        let (data_type, type_name) = column_type(&of)?;
        fields.push(Field::new(&name, data_type, true));
        shown.push(Column {
            name,
            type_text: Some(of.to_lowercase()),
            type_json: None,
            type_name: Some(type_name.to_owned()),
            type_precision: None,
            type_scale: None,
            type_interval_type: None,
            position: 0,
            comment,
            nullable: true,
            partition_index: None,
            mask: None,
        });
    }
    let object = catalog::may_add_columns(call, trail, table, &shown).await?;
    let permit = permit(call, Privilege::Manage, &object.securable)?;
    let place =
        object.location.as_ref().ok_or_else(|| Refusal::Internal("a table lies nowhere".to_owned()))?;
    // The files first: should the catalog fail, the same statement again makes it whole.
    let added = call.app.lake.add_columns(&permit, place, Arc::new(Schema::new(fields))).await;
    added.map_err(|error| Stopped::Failed(failure::of_lake(error)))?;
    catalog::add_columns(call, trail, table, &shown).await?;
    Ok(done())
}
