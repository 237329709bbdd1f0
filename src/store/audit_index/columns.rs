//! Rows gathered column by column, and the two ways in which databases take many of them at once:
//! PostgreSQL one array per column, SQLite rows of values, a few hundred a statement.

use serde_json::Value;
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Postgres, Sqlite};

/// Rows that one SQLite statement takes: few sizes, so that each is prepared once and then found again.
const SQLITE_ROWS: [usize; 3] = [128, 16, 1];

pub enum Column {
    Numbers(Vec<Option<i64>>),
    Texts(Vec<Option<String>>),
    Bytes(Vec<Option<Vec<u8>>>),
}

impl Column {
    pub fn numbers() -> Self {
        Self::Numbers(Vec::new())
    }

    pub fn texts() -> Self {
        Self::Texts(Vec::new())
    }

    pub fn bytes() -> Self {
        Self::Bytes(Vec::new())
    }

    pub fn number(&mut self, value: i64) {
        if let Self::Numbers(values) = self {
            values.push(Some(value));
        }
    }

    pub fn text(&mut self, value: &str) {
        if let Self::Texts(values) = self {
            values.push(Some(text(value)));
        }
    }

    pub fn maybe_text(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.text(value),
            None => self.none(),
        }
    }

    pub fn blob(&mut self, value: &[u8]) {
        if let Self::Bytes(values) = self {
            values.push(Some(value.to_vec()));
        }
    }

    pub fn none(&mut self) {
        match self {
            Self::Numbers(values) => values.push(None),
            Self::Texts(values) => values.push(None),
            Self::Bytes(values) => values.push(None),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Numbers(values) => values.len(),
            Self::Texts(values) => values.len(),
            Self::Bytes(values) => values.len(),
        }
    }

    fn element_type(&self) -> &'static str {
        match self {
            Self::Numbers(_) => "BIGINT",
            Self::Texts(_) => "TEXT",
            Self::Bytes(_) => "BYTEA",
        }
    }

    fn json(&self, row: usize) -> Value {
        match self {
            Self::Numbers(values) => values[row].into(),
            Self::Texts(values) => values[row].clone().into(),
            Self::Bytes(_) => Value::Null,
        }
    }
}

pub struct Table {
    name: &'static str,
    names: &'static [&'static str],
    columns: Vec<Column>,
}

impl Table {
    pub fn new<const N: usize>(
        name: &'static str,
        names: &'static [&'static str; N],
        columns: [Column; N],
    ) -> Self {
        Self { name, names, columns: columns.into() }
    }

    /// The columns, each of which must get one value more.
    pub fn row(&mut self) -> &mut [Column] {
        &mut self.columns
    }

    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, Column::len)
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The numbers in a column.
    pub fn numbers(&self, name: &str) -> impl Iterator<Item = i64> {
        let place = self.names.iter().position(|other| *other == name);
        let numbers = match place.map(|place| &self.columns[place]) {
            Some(Column::Numbers(values)) => values.as_slice(),
            _ => &[],
        };
        numbers.iter().copied().flatten()
    }

    /// The columns that [`to_json`](Self::to_json) tells, and their types.
    pub fn comparable(&self) -> Vec<(&'static str, &'static str)> {
        self.told().map(|(name, column)| (name, column.element_type())).collect()
    }

    /// Rows as arrays, but for the payloads and their hashes.
    pub fn to_json(&self) -> Value {
        let columns: Vec<&Column> = self.told().map(|(_, column)| column).collect();
        (0..self.rows()).map(|row| columns.iter().map(|column| column.json(row)).collect::<Value>()).collect()
    }

    fn told(&self) -> impl Iterator<Item = (&'static str, &Column)> {
        let all = self.names.iter().copied().zip(&self.columns);
        all.filter(|(name, column)| *name != "json" && !matches!(column, Column::Bytes(_)))
    }

    /// `INSERT INTO name (columns)`; made of names in these files alone, every value is bound.
    fn head(&self) -> String {
        format!("INSERT INTO {} ({})", self.name, self.names.join(", "))
    }

    pub async fn insert_postgres(
        self,
        connection: &mut sqlx::PgConnection,
        conflict: &str,
    ) -> Result<(), sqlx::Error> {
        let types: Vec<String> = self
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| format!("CAST(${} AS {}[])", index + 1, column.element_type()))
            .collect();
        let sql = format!("{} SELECT * FROM UNNEST({}) {conflict}", self.head(), types.join(", "));
        let mut query = sqlx::query::<Postgres>(AssertSqlSafe(sql));
        for column in self.columns {
            query = bind_column(query, column);
        }
        query.execute(connection).await?;
        Ok(())
    }

    pub async fn insert_sqlite(
        self,
        connection: &mut sqlx::SqliteConnection,
        conflict: &str,
    ) -> Result<(), sqlx::Error> {
        let rows = self.rows();
        let head = self.head();
        let place = format!("({})", vec!["?"; self.names.len()].join(", "));
        let mut columns: Vec<Values> = self.columns.into_iter().map(Values::of).collect();
        let mut done = 0;
        while done < rows {
            let size = SQLITE_ROWS.into_iter().find(|size| *size <= rows - done).unwrap_or(1);
            let sql = format!("{head} VALUES {} {conflict}", vec![place.as_str(); size].join(", "));
            let mut query = sqlx::query::<Sqlite>(AssertSqlSafe(sql));
            for _ in 0..size {
                for column in &mut columns {
                    query = column.bind_next(query);
                }
            }
            query.execute(&mut *connection).await?;
            done += size;
        }
        Ok(())
    }
}

type PostgresQuery<'q> = sqlx::query::Query<'q, Postgres, PgArguments>;
type SqliteQuery<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

fn bind_column(query: PostgresQuery<'_>, column: Column) -> PostgresQuery<'_> {
    match column {
        Column::Numbers(values) => query.bind(values),
        Column::Texts(values) => query.bind(values),
        Column::Bytes(values) => query.bind(values),
    }
}

/// A column whose values are taken out one after another.
enum Values {
    Numbers(std::vec::IntoIter<Option<i64>>),
    Texts(std::vec::IntoIter<Option<String>>),
    Bytes(std::vec::IntoIter<Option<Vec<u8>>>),
}

impl Values {
    fn of(column: Column) -> Self {
        match column {
            Column::Numbers(values) => Self::Numbers(values.into_iter()),
            Column::Texts(values) => Self::Texts(values.into_iter()),
            Column::Bytes(values) => Self::Bytes(values.into_iter()),
        }
    }

    fn bind_next<'q>(&mut self, query: SqliteQuery<'q>) -> SqliteQuery<'q> {
        match self {
            Self::Numbers(values) => query.bind(values.next().flatten()),
            Self::Texts(values) => query.bind(values.next().flatten()),
            Self::Bytes(values) => query.bind(values.next().flatten()),
        }
    }
}

/// PostgreSQL's text cannot hold NUL; one such value would keep a batch out for ever.
pub fn text(value: &str) -> String {
    value.replace('\0', "\u{fffd}")
}
