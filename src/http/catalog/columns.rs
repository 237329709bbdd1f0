//! Columns that SQL adds to a table, as the catalog shows them.

use super::{at_one_version, sight};
use crate::access::{Privilege, Securable, SecurableKind};
use crate::http::call::Call;
use crate::http::error::Refusal;
use crate::http::trail::Trail;
use crate::store::{CatalogObject, Column, Detail, ObjectChange};
use crate::wire::Malformed;

/// The table, if the caller manages it and it has none of these columns.
pub(in crate::http) async fn may_add(
    call: &Call<'_>,
    trail: &mut Trail,
    table: &Securable,
    new: &[Column],
) -> Result<CatalogObject, Refusal> {
    trail.demands(table.to_string(), Privilege::Manage.to_string());
    let object = sight::managed(call, table).await?;
    with(&object.detail, new)?;
    Ok(object)
}

/// Shows columns that its files have by now.
pub(in crate::http) async fn add(
    call: &Call<'_>,
    trail: &Trail,
    table: &Securable,
    new: &[Column],
) -> Result<(), Refusal> {
    let by = call.caller.principal.to_string();
    at_one_version(call, trail, SecurableKind::Table, async |store| {
        let object = sight::managed(call, table).await?;
        let detail = Some(with(&object.detail, new)?);
        let change = ObjectChange { detail, ..ObjectChange::default() };
        Ok(store.change_catalog_object(&object.securable, &change, &by, call.app.clock.now()).await)
    })
    .await
}

fn with(detail: &Detail, new: &[Column]) -> Result<Detail, Refusal> {
    let Detail::Table { external, format, mut columns, row_filter } = detail.clone() else {
        return Err(Malformed::new("statement", "columns are added to tables alone").into());
    };
    for column in new {
        // A column in another spelling would be one that no mask covers.
        if columns.iter().any(|known| known.name.eq_ignore_ascii_case(&column.name)) {
            let problem = format!("adds `{}`, which is a column already, or is named twice", column.name);
            return Err(Malformed::new("statement", problem).into());
        }
        columns.push(Column { position: columns.len() as i64, ..column.clone() });
    }
    Ok(Detail::Table { external, format, columns, row_filter })
}
