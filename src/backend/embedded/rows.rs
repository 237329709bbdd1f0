//! Pieces of SQL that say many rows at once, in both dialects.

use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe};

pub use super::many::placeholders;
use crate::database::Dialect;

/// Rows that one statement takes: a statement of so many is prepared once and kept.
pub const CHUNK: usize = 250;

/// A statement around the placeholders of a chunk of rows. Only that of a full chunk is worth keeping.
pub fn many<'q>(before: &str, rows: usize, columns: usize, after: &str) -> Query<'q, Any, AnyArguments> {
    let text = format!("{before} {} {after}", placeholders(rows, columns));
    sqlx::query(AssertSqlSafe(text)).persistent(rows == CHUNK || rows == 1)
}

/// The numbers of a JSON array that is bound as a text: `[1,2]`.
pub fn numbers_of(dialect: Dialect, placeholder: &str) -> String {
    let (before, after) = numbers_around(dialect);
    format!("{before}{placeholder}{after}")
}

/// What stands around the placeholder there.
pub fn numbers_around(dialect: Dialect) -> (&'static str, &'static str) {
    match dialect {
        Dialect::Sqlite => ("(SELECT value FROM json_each(", "))"),
        Dialect::Postgres => {
            ("(SELECT CAST(value AS BIGINT) FROM json_array_elements_text(CAST(", " AS JSON)))")
        }
    }
}

/// The texts of a JSON array that is bound as a text: `["a","b"]`.
pub fn texts_of(dialect: Dialect, placeholder: &str) -> String {
    match dialect {
        Dialect::Sqlite => format!("(SELECT value FROM json_each({placeholder}))"),
        Dialect::Postgres => {
            format!("(SELECT value FROM json_array_elements_text(CAST({placeholder} AS JSON)))")
        }
    }
}

/// What ends a `SELECT` of rows that the same transaction changes. SQLite has one writer.
pub fn for_update(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => "",
        Dialect::Postgres => " FOR UPDATE",
    }
}

/// What ends a `SELECT` of rows that must stay as they are until the transaction ends.
pub fn for_share(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => "",
        Dialect::Postgres => " FOR SHARE",
    }
}
