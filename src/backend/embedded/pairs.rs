//! Keys with values: tags and parameters, which many things have and MLflow sends as lists of `{key, value}`.
//! Each kind has a table of its own with the columns of a [`Table`].

use std::collections::HashMap;

use serde_json::{Value, json};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row as _};

use super::rows::{self, placeholders};

/// Owners of one statement; databases limit how many values one may bind.
const OWNERS: usize = 1000;

pub type Pair = (String, String);

/// A table with a column for the number of the owner, and `key` and `value`.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    pub name: &'static str,
    pub owner: &'static str,
}

/// Of pairs with the same key the last one.
pub fn last_of_each(pairs: Vec<Pair>) -> Vec<Pair> {
    let mut place = HashMap::with_capacity(pairs.len());
    let mut kept: Vec<Pair> = Vec::with_capacity(pairs.len());
    for (key, value) in pairs {
        match place.get(&key) {
            Some(&at) => kept[at] = (key, value),
            None => {
                place.insert(key.clone(), kept.len());
                kept.push((key, value));
            }
        }
    }
    kept
}

pub fn to_json(pairs: &[Pair]) -> Value {
    pairs.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect()
}

impl Table {
    /// Writes pairs with different keys over those that are there.
    pub async fn put(self, connection: &mut AnyConnection, owner: i64, pairs: &[Pair]) -> sqlx::Result<()> {
        let Self { name, owner: column } = self;
        for some in pairs.chunks(rows::CHUNK) {
            let insert = format!("INSERT INTO {name} ({column}, key, value) VALUES");
            let again = format!("ON CONFLICT ({column}, key) DO UPDATE SET value = excluded.value");
            let mut query = rows::many(&insert, some.len(), 3, &again);
            for (key, value) in some {
                query = query.bind(owner).bind(key.clone()).bind(value.clone());
            }
            query.execute(&mut *connection).await?;
        }
        Ok(())
    }

    /// Removes a pair, and says whether it was there.
    pub async fn delete(self, connection: &mut AnyConnection, owner: i64, key: &str) -> sqlx::Result<bool> {
        let Self { name, owner: column } = self;
        let statement = format!("DELETE FROM {name} WHERE {column} = $1 AND key = $2");
        let deleted = sqlx::query(AssertSqlSafe(statement)).bind(owner).bind(key).execute(connection).await?;
        Ok(deleted.rows_affected() > 0)
    }

    /// The pairs of many owners, in the order of their keys.
    pub async fn of(
        self,
        connection: &mut AnyConnection,
        owners: &[i64],
    ) -> sqlx::Result<HashMap<i64, Vec<Pair>>> {
        let Self { name, owner: column } = self;
        let select = format!("SELECT {column}, key, value FROM {name}");
        let mut found: HashMap<i64, Vec<Pair>> = HashMap::new();
        for row in rows_of(connection, &select, column, "key", owners).await? {
            found.entry(row.try_get(0)?).or_default().push((row.try_get(1)?, row.try_get(2)?));
        }
        Ok(found)
    }
}

/// The rows of `select` whose `column` is one of `numbers`, in the order of `order` for each of them.
pub async fn rows_of(
    connection: &mut AnyConnection,
    select: &str,
    column: &str,
    order: &str,
    numbers: &[i64],
) -> sqlx::Result<Vec<AnyRow>> {
    let mut found = Vec::new();
    for some in numbers.chunks(OWNERS) {
        let list = placeholders(1, some.len());
        let statement = format!("{select} WHERE {column} IN {list} ORDER BY {column}, {order}");
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for number in some {
            query = query.bind(number);
        }
        found.extend(query.fetch_all(&mut *connection).await?);
    }
    Ok(found)
}
