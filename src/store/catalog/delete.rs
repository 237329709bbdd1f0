//! Ending an object, with what is granted on it, and with all that lies in it if that was said.

use serde_json::json;
use sqlx::Row;

use super::CatalogError;
use super::create::remove_all;
use super::read::{below, find};
use crate::access::{Location, Securable, SecurableKind};
use crate::clock::UnixMillis;
use crate::store::Store;
use crate::store::change::Change;

/// What may go along with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// The object goes if nothing lies in it.
    IfEmpty,
    WithAllInIt,
}

impl Store {
    /// Ends an object. Its files stay where they are.
    pub async fn delete_catalog_object(
        &self,
        named: &Securable,
        how: Deletion,
        by: &str,
        now: UnixMillis,
    ) -> Result<Change, CatalogError> {
        let mut policy = self.begin_policy().await?;
        let object = find(&mut policy, named).await?;
        let inside = below(&mut policy.transaction, named).await?;
        let used = named.kind == SecurableKind::ExternalLocation
            && lies_in_use(&mut policy, object.location.as_ref(), &object.id).await?;
        if how == Deletion::IfEmpty && (!inside.is_empty() || used) {
            return Err(CatalogError::NotEmpty(named.id.clone()));
        }
        // Those of what lies in it, and those that were written for names that nothing has.
        let removed = remove_all(&mut policy, named).await?;
        let ids = inside.iter().map(|(id, _)| id.as_str()).chain([object.id.as_str()]);
        for id in ids {
            sqlx::query("DELETE FROM catalog_objects WHERE id = $1")
                .bind(id)
                .execute(&mut *policy.transaction)
                .await?;
        }
        let with: Vec<_> =
            inside.iter().map(|(id, securable)| json!({ "id": id, "securable": securable })).collect();
        let before = json!({ "object": object, "with": with, "grants": removed });
        Ok(policy.commit(by, now, "catalog.delete", before, json!({ "object": null })).await?)
    }
}

/// Whether tables, volumes or managed data lie in an external location.
pub(super) async fn lies_in_use(
    policy: &mut crate::store::change::PolicyTransaction,
    url: Option<&Location>,
    but: &str,
) -> Result<bool, CatalogError> {
    let Some(url) = url else { return Ok(false) };
    let row = sqlx::query(
        "SELECT COUNT(*) FROM catalog_objects WHERE claim IS NOT NULL AND id <> $2 \
         AND (claim = $1 OR substr(claim, 1, length($1) + 1) = $1 || '/')",
    )
    .bind(url.as_str())
    .bind(but)
    .fetch_one(&mut *policy.transaction)
    .await?;
    Ok(row.try_get::<i64, _>(0)? > 0)
}
