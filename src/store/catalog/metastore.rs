//! Which metastore this is: one id, the same for every replica.

use super::CatalogError;
use crate::access::Principal;
use crate::clock::UnixMillis;
use crate::store::{Store, rows};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metastore {
    /// A UUID.
    pub id: String,
    pub created_at: UnixMillis,
    pub owner: Option<Principal>,
}

impl Store {
    /// The metastore. `fresh` is the id that it has from now on if it had none.
    pub async fn metastore(&self, fresh: &str, now: UnixMillis) -> Result<Metastore, CatalogError> {
        const READ: &str = "SELECT m.metastore_id, m.created_at_ms, g.principal AS owner \
             FROM catalog_metastore m LEFT JOIN grants g \
             ON g.securable = 'metastore:default' AND g.privilege = 'OWNER' AND g.effect = 'allow'";
        let mut row = sqlx::query(READ).fetch_optional(&self.database.reader).await?;
        if row.is_none() {
            sqlx::query(
                "INSERT INTO catalog_metastore (id, metastore_id, created_at_ms) VALUES (1, $1, $2) \
                 ON CONFLICT (id) DO NOTHING",
            )
            .bind(fresh)
            .bind(now.0)
            .execute(&self.database.writer)
            .await?;
            row = sqlx::query(READ).fetch_optional(&self.database.writer).await?;
        }
        let row = row.ok_or_else(|| CatalogError::Missing("metastore".to_owned()))?;
        Ok(Metastore {
            id: rows::text(&row, "metastore_id")?,
            created_at: rows::time(&row, "created_at_ms")?,
            owner: rows::optional_parsed(&row, "owner")?,
        })
    }
}
