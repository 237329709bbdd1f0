//! The rows of a schema as JSON, out of one database and into another, of whichever kind.
//!
//! Both kinds have the same tables with the same columns, so that what one gave the other takes. Bytes are
//! `{"hex": "…"}`, all else is as JSON has it.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use serde_json::{Map, Value, json};
use sqlx::any::{AnyRow, AnyTypeInfoKind};
use sqlx::migrate::Migrator;
use sqlx::{
    Any, AnyConnection, AssertSqlSafe, Column as _, Connection, Row as _, Transaction, ValueRef as _,
};

use super::{OpenError, Schema};

/// A row by the names of its columns.
pub type JsonRow = Map<String, Value>;

/// How far the ids went that a table gives itself: none is given twice, not even that of a row that is gone.
pub type LastIds = BTreeMap<String, i64>;

#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error("`{table}.{column}` has a type that is not copied")]
    Type { table: String, column: String },
    #[error("a row of `{table}` is not one of its rows: {problem}")]
    Row { table: String, problem: String },
    #[error("`{0}` holds rows already; only an empty database takes others")]
    NotEmpty(String),
    #[error("{0}")]
    Other(String),
}

impl Schema {
    /// Its tables, each after those that it refers to: in the order of their making.
    pub fn tables(&self) -> Vec<String> {
        let made =
            |line: &str| Some(line.strip_prefix("CREATE TABLE ")?.split([' ', '(']).next()?.to_owned());
        let sql = self.migrations.iter().map(|one| one.sql.as_str());
        sql.flat_map(str::lines).filter_map(made).collect()
    }

    /// As it was at an earlier version.
    pub fn up_to(&self, version: i64) -> Migrator {
        let migrations = &self.migrations;
        Migrator {
            migrations: migrations.iter().filter(|one| one.version <= version).cloned().collect(),
            table_name: migrations.table_name.clone(),
            ..Migrator::DEFAULT
        }
    }

    /// Gives every row, table after table, all as they were at one moment.
    pub async fn dump(
        &self,
        each: &mut dyn FnMut(&str, JsonRow) -> Result<(), RowsError>,
    ) -> Result<LastIds, RowsError> {
        let mut connection = self.place.connect().await?;
        let sqlite = connection.backend_name() == "SQLite";
        let begin = if sqlite { "BEGIN" } else { "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" };
        let mut transaction = connection.begin_with(begin).await?;
        let mut last_ids = LastIds::new();
        for table in self.tables() {
            let all = format!("SELECT * FROM {table}");
            let mut rows = sqlx::query(AssertSqlSafe(all)).fetch(&mut *transaction);
            while let Some(row) = rows.try_next().await? {
                each(&table, read(&table, &row)?)?;
            }
            drop(rows);
            if let Some(last) = last_id(&mut transaction, &table, sqlite).await? {
                last_ids.insert(table, last);
            }
        }
        transaction.rollback().await?;
        connection.close().await?;
        Ok(last_ids)
    }

    /// Takes rows into a database that has none, all or nothing; `next` gives them in the order of
    /// [`tables`](Schema::tables). Whatever the migrations put there goes.
    pub async fn load(
        &self,
        last_ids: &LastIds,
        next: &mut dyn FnMut() -> Result<Option<(String, JsonRow)>, RowsError>,
    ) -> Result<(), RowsError> {
        let mut connection = self.place.connect().await?;
        let sqlite = connection.backend_name() == "SQLite";
        let mut transaction = connection.begin_with(if sqlite { "BEGIN IMMEDIATE" } else { "BEGIN" }).await?;
        let tables = self.tables();
        for table in tables.iter().rev() {
            let clear = format!("DELETE FROM {table}");
            sqlx::query(AssertSqlSafe(clear)).execute(&mut *transaction).await?;
        }
        while let Some((table, row)) = next()? {
            if !tables.contains(&table) {
                return Err(RowsError::Row { table, problem: "there is no such table".to_owned() });
            }
            insert(&mut transaction, &table, row, sqlite).await?;
        }
        for (table, last) in last_ids {
            if !tables.contains(table) {
                let problem = "there is no such table".to_owned();
                return Err(RowsError::Row { table: table.clone(), problem });
            }
            give_ids_after(&mut transaction, table, *last, sqlite).await?;
        }
        transaction.commit().await?;
        connection.close().await?;
        Ok(())
    }

    /// Refuses a schema that somebody used. What the migrations themselves put there does not count.
    pub async fn refuse_used(&self, used: &[&str]) -> Result<(), RowsError> {
        if self.state().await?.version.is_none() {
            return Ok(());
        }
        let mut connection = self.place.connect().await?;
        for table in used {
            let one = format!("SELECT COUNT(*) FROM {table}");
            let rows: i64 = sqlx::query_scalar(AssertSqlSafe(one)).fetch_one(&mut connection).await?;
            if rows > 0 {
                return Err(RowsError::NotEmpty((*table).to_owned()));
            }
        }
        connection.close().await?;
        Ok(())
    }

    /// Copies a SQLite file as it is at one moment, while others write to it.
    pub async fn snapshot(&self, to: &std::path::Path) -> Result<(), RowsError> {
        let path = to.to_str().ok_or_else(|| RowsError::Other(format!("`{}` is not UTF-8", to.display())))?;
        let mut connection = self.place.connect().await?;
        let copy = format!("VACUUM INTO '{}'", path.replace('\'', "''"));
        sqlx::query(AssertSqlSafe(copy)).execute(&mut connection).await?;
        connection.close().await?;
        Ok(())
    }
}

fn read(table: &str, row: &AnyRow) -> Result<JsonRow, RowsError> {
    let mut object = JsonRow::new();
    for column in row.columns() {
        let (at, name) = (column.ordinal(), column.name());
        let raw = row.try_get_raw(at)?;
        let kind = raw.type_info().kind();
        let value = if raw.is_null() {
            Value::Null
        } else {
            match kind {
                AnyTypeInfoKind::SmallInt | AnyTypeInfoKind::Integer | AnyTypeInfoKind::BigInt => {
                    json!(row.try_get::<i64, _>(at)?)
                }
                AnyTypeInfoKind::Double => json!(row.try_get::<f64, _>(at)?),
                AnyTypeInfoKind::Text => json!(row.try_get::<String, _>(at)?),
                AnyTypeInfoKind::Blob => json!({ "hex": hex::encode(row.try_get::<Vec<u8>, _>(at)?) }),
                _ => return Err(RowsError::Type { table: table.to_owned(), column: name.to_owned() }),
            }
        };
        object.insert(name.to_owned(), value);
    }
    Ok(object)
}

async fn insert(
    transaction: &mut Transaction<'_, Any>,
    table: &str,
    row: JsonRow,
    sqlite: bool,
) -> Result<(), RowsError> {
    let wrong = |problem: &str| RowsError::Row { table: table.to_owned(), problem: problem.to_owned() };
    let is_name = |name: &String| {
        !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    if row.is_empty() || !row.keys().all(is_name) {
        return Err(wrong("a column's name is none"));
    }
    let columns: Vec<&str> = row.keys().map(String::as_str).collect();
    // A null that is bound would have a type, which PostgreSQL holds against that of the column.
    let mut bound = 0;
    let values: Vec<String> = row
        .values()
        .map(|value| {
            if value.is_null() {
                return "NULL".to_owned();
            }
            bound += 1;
            format!("${bound}")
        })
        .collect();
    let overriding = if sqlite { "" } else { "OVERRIDING SYSTEM VALUE " };
    let sql =
        format!("INSERT INTO {table} ({}) {overriding}VALUES ({})", columns.join(", "), values.join(", "));
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for value in row.values() {
        query = match value {
            Value::Null => query,
            Value::String(text) => query.bind(text.clone()),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => query.bind(whole),
                (None, Some(real)) => query.bind(real),
                _ => return Err(wrong("a number is too large")),
            },
            Value::Object(bytes) => {
                let text =
                    bytes.get("hex").and_then(Value::as_str).ok_or_else(|| wrong("a value is no value"))?;
                query.bind(hex::decode(text).map_err(|_| wrong("bytes are not hexadecimal"))?)
            }
            _ => return Err(wrong("a value is no value")),
        };
    }
    query.execute(&mut **transaction).await?;
    Ok(())
}

/// The column that PostgreSQL fills by itself.
async fn identity(connection: &mut AnyConnection, table: &str) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT CAST(column_name AS TEXT) FROM information_schema.columns \
         WHERE table_schema = current_schema() AND table_name = $1 AND is_identity = 'YES'",
    )
    .bind(table.to_owned())
    .fetch_optional(connection)
    .await
}

async fn last_id(
    transaction: &mut Transaction<'_, Any>,
    table: &str,
    sqlite: bool,
) -> Result<Option<i64>, RowsError> {
    if sqlite {
        let kept = "SELECT COUNT(*) FROM sqlite_master WHERE name = 'sqlite_sequence'";
        if sqlx::query_scalar::<_, i64>(kept).fetch_one(&mut **transaction).await? == 0 {
            return Ok(None);
        }
        let last =
            sqlx::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = $1").bind(table.to_owned());
        return Ok(last.fetch_optional(&mut **transaction).await?);
    }
    let Some(column) = identity(transaction, table).await? else { return Ok(None) };
    let last = format!(
        "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {}",
        sqlx::query_scalar::<_, String>("SELECT pg_get_serial_sequence($1, $2)")
            .bind(table.to_owned())
            .bind(column)
            .fetch_one(&mut **transaction)
            .await?
    );
    Ok(Some(sqlx::query_scalar(AssertSqlSafe(last)).fetch_one(&mut **transaction).await?))
}

async fn give_ids_after(
    transaction: &mut Transaction<'_, Any>,
    table: &str,
    last: i64,
    sqlite: bool,
) -> Result<(), RowsError> {
    if sqlite {
        sqlx::query("DELETE FROM sqlite_sequence WHERE name = $1")
            .bind(table.to_owned())
            .execute(&mut **transaction)
            .await?;
        sqlx::query("INSERT INTO sqlite_sequence (name, seq) VALUES ($1, $2)")
            .bind(table.to_owned())
            .bind(last)
            .execute(&mut **transaction)
            .await?;
    } else if let Some(column) = identity(transaction, table).await?
        && last > 0
    {
        sqlx::query("SELECT setval(CAST(pg_get_serial_sequence($1, $2) AS regclass), $3)")
            .bind(table.to_owned())
            .bind(column)
            .bind(last)
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}
