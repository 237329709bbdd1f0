//! One statement for many rows: lists of ids as one parameter, and rows by the hundred.

use std::ops::Range;

use crate::database::Dialect;

/// A subquery that yields the texts of the JSON list in parameter `number`.
pub fn texts(dialect: Dialect, number: usize) -> String {
    match dialect {
        Dialect::Sqlite => format!("(SELECT value FROM json_each(${number}))"),
        Dialect::Postgres => format!("(SELECT json_array_elements_text(CAST(${number} AS json)))"),
    }
}

/// As [`texts`], of whole numbers.
pub fn integers(dialect: Dialect, number: usize) -> String {
    match dialect {
        Dialect::Sqlite => format!("(SELECT value FROM json_each(${number}))"),
        Dialect::Postgres => {
            format!("(SELECT CAST(json_array_elements_text(CAST(${number} AS json)) AS BIGINT))")
        }
    }
}

/// A list as the one parameter of [`texts`] or [`integers`].
pub fn list<T: serde::Serialize>(items: &[T]) -> String {
    serde_json::to_string(items).unwrap_or_else(|_| "[]".to_owned())
}

/// `($1, $2), ($3, $4)` …
pub fn placeholders(rows: usize, columns: usize) -> String {
    let mut text = String::with_capacity(rows * columns * 6);
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..columns {
            if column > 0 {
                text.push_str(", ");
            }
            text.push('$');
            text.push_str(&(row * columns + column + 1).to_string());
        }
        text.push(')');
    }
    text
}

/// As [`placeholders`], with columns of floats in these places.
///
/// PostgreSQL would learn another type of such a parameter from a row that has none, and keep it for the next;
/// it is handed the number as a text ([`bind_float`]).
pub fn placeholders_with_floats(
    dialect: Dialect,
    rows: usize,
    columns: usize,
    floats: Range<usize>,
) -> String {
    if dialect == Dialect::Sqlite {
        return placeholders(rows, columns);
    }
    let row = |row: usize| {
        let all: Vec<String> = (0..columns)
            .map(|column| match (row * columns + column + 1, floats.contains(&column)) {
                (number, true) => float(dialect, number),
                (number, false) => format!("${number}"),
            })
            .collect();
        format!("({})", all.join(", "))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

/// The placeholder of a float that may be absent.
pub fn float(dialect: Dialect, number: usize) -> String {
    match dialect {
        Dialect::Sqlite => format!("${number}"),
        Dialect::Postgres => format!("CAST(CAST(${number} AS TEXT) AS DOUBLE PRECISION)"),
    }
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Any, sqlx::any::AnyArguments>;

/// Binds the parameter of [`float`].
pub fn bind_float(query: Query<'_>, dialect: Dialect, value: Option<f64>) -> Query<'_> {
    match dialect {
        Dialect::Sqlite => query.bind(value),
        // The shortest digits that read back the same.
        Dialect::Postgres => query.bind(value.map(|float| format!("{float:e}"))),
    }
}

/// Cuts rows into pieces of few different sizes: each size is a statement that the database has to parse
/// and that a connection keeps.
pub fn pieces<T>(rows: &[T]) -> impl Iterator<Item = &[T]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let size = [256, 64, 16].into_iter().find(|size| rest.len() >= *size).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(size);
        rest = after;
        (size > 0).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_hold_all_rows_in_order_and_have_few_sizes() {
        assert_eq!(placeholders(2, 3), "($1, $2, $3), ($4, $5, $6)");
        let rows: Vec<usize> = (0..1000).collect();
        for length in 0..rows.len() {
            let cut: Vec<&[usize]> = pieces(&rows[..length]).collect();
            assert_eq!(cut.concat(), &rows[..length]);
            assert!(cut.iter().all(|piece| piece.len() <= 16 || matches!(piece.len(), 64 | 256)));
        }
    }
}
