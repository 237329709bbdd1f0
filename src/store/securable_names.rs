//! What securables are called, as far as they were put under a name.

use std::collections::BTreeMap;

use sqlx::AssertSqlSafe;

use super::error::StoreError;
use super::{Store, rows};
use crate::access::Securable;

/// Names asked for by one statement; SQLite takes up to 32,766 values.
const CHUNK: usize = 500;

impl Store {
    /// The names of those of these securables that have one.
    pub async fn securable_names(
        &self,
        securables: &[Securable],
    ) -> Result<BTreeMap<Securable, String>, StoreError> {
        let mut names = BTreeMap::new();
        for chunk in securables.chunks(CHUNK) {
            let places: Vec<String> = (1..=chunk.len()).map(|place| format!("${place}")).collect();
            let statement = format!("SELECT id, name FROM securables WHERE id IN ({})", places.join(", "));
            let mut query = sqlx::query(AssertSqlSafe(statement));
            for securable in chunk {
                query = query.bind(securable.to_string());
            }
            for row in query.fetch_all(&self.database.reader).await? {
                names.insert(rows::parsed(&row, "id")?, rows::text(&row, "name")?);
            }
        }
        Ok(names)
    }
}
