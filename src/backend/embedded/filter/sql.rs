//! SQL for both databases, built piece by piece: text of ours, and the caller's values bound.
//!
//! ```ignore
//! let mut query = Query::new(dialect, "SELECT run_id FROM runs r WHERE r.experiment_id = ");
//! query.bind(experiment).push(" AND ");
//! query.compare("r.name", Comparator::Like, &Value::Text("train%".into()))?;
//! let rows = query.fetch_all(&store.database.reader).await?;
//! ```

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::{Any, AssertSqlSafe, Executor};

use super::super::problem::Problem;
use super::Comparator;
use super::value::{Number, Value};
use crate::database::Dialect;

/// Values that one statement takes; SQLite knows 32,766.
const MAX_BINDS: usize = 10_000;
/// Bytes of a pattern; SQLite refuses longer ones.
const MAX_PATTERN: usize = 50_000;

/// A value for a place in a statement.
#[derive(Debug, Clone, PartialEq)]
pub enum Bind {
    Integer(i64),
    Float(f64),
    Text(String),
}

impl From<i64> for Bind {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<f64> for Bind {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Bind {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Bind {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<Number> for Bind {
    fn from(value: Number) -> Self {
        match value {
            Number::Integer(number) => Self::Integer(number),
            Number::Float(number) => Self::Float(number),
        }
    }
}

/// A statement that grows, with its values.
#[derive(Debug, Clone)]
pub struct Query {
    pub dialect: Dialect,
    pub(super) text: String,
    binds: Vec<Bind>,
}

impl Query {
    pub fn new(dialect: Dialect, text: &str) -> Self {
        Self { dialect, text: text.to_owned(), binds: Vec::new() }
    }

    /// Text of ours. Never a caller's.
    pub fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// What `build` pushes, not pushed: text for several places, whose values are bound once.
    pub fn aside(&mut self, build: impl FnOnce(&mut Self) -> Result<(), Problem>) -> Result<String, Problem> {
        let end = self.text.len();
        build(self)?;
        Ok(self.text.split_off(end))
    }

    /// The placeholder of a value, for text that is pushed later, perhaps several times.
    pub fn place(&mut self, value: impl Into<Bind>) -> String {
        let value = value.into();
        let number = self.binds.len() + 1;
        // A statement is kept by its text, with the types of those values that it first got: a float in the
        // place of a whole number would be read as one.
        let is_float = matches!(value, Bind::Float(_)) && self.dialect == Dialect::Postgres;
        self.binds.push(value);
        if is_float { format!("CAST(${number} AS DOUBLE PRECISION)") } else { format!("${number}") }
    }

    /// A value in this place.
    pub fn bind(&mut self, value: impl Into<Bind>) -> &mut Self {
        let place = self.place(value);
        self.push(&place)
    }

    /// `($1, $2, …)`.
    pub fn bind_all<T: Into<Bind>>(&mut self, values: impl IntoIterator<Item = T>) -> &mut Self {
        self.push("(");
        for (index, value) in values.into_iter().enumerate() {
            if index > 0 {
                self.push(", ");
            }
            self.bind(value);
        }
        self.push(")")
    }

    /// `column comparator value`, with letters of either case told apart except by ILIKE. `column` is an
    /// expression of ours. Not IS NULL: what that means differs by noun. On SQLite not RLIKE: it knows no
    /// regular expressions.
    pub fn compare(&mut self, column: &str, comparator: Comparator, value: &Value) -> Result<(), Problem> {
        match (comparator, value) {
            (Comparator::Like | Comparator::ILike, Value::Text(pattern)) => {
                self.like(column, comparator == Comparator::ILike, pattern)?;
            }
            (Comparator::RLike, Value::Text(pattern)) if self.dialect == Dialect::Postgres => {
                self.push(column).push(" ~ ").bind(pattern.as_str());
            }
            (Comparator::In | Comparator::NotIn, Value::Texts(texts)) => {
                self.push(column).push(" ").push(comparator.text()).push(" ");
                self.bind_all(texts.iter().map(String::as_str));
            }
            (
                Comparator::Equal
                | Comparator::NotEqual
                | Comparator::Less
                | Comparator::LessOrEqual
                | Comparator::Greater
                | Comparator::GreaterOrEqual,
                Value::Text(_) | Value::Number(_),
            ) => {
                self.push(column).push(" ").push(comparator.text()).push(" ");
                match value {
                    Value::Number(number) => self.bind(*number),
                    Value::Text(text) => self.bind(text.as_str()),
                    Value::Texts(_) => self,
                };
            }
            _ => {
                return Err(Problem::invalid(format!(
                    "Invalid comparator '{}' for this kind of value",
                    comparator.text()
                )));
            }
        }
        if self.binds.len() > MAX_BINDS {
            return Err(Problem::invalid(format!(
                "The filter has more than {MAX_BINDS} values; ask for them in several searches"
            )));
        }
        Ok(())
    }

    fn like(&mut self, column: &str, any_case: bool, pattern: &str) -> Result<(), Problem> {
        if pattern.len() > MAX_PATTERN {
            return Err(Problem::invalid(format!(
                "The pattern has {} bytes; at most {MAX_PATTERN} are taken",
                pattern.len()
            )));
        }
        match (self.dialect, any_case) {
            // SQLite's LIKE takes ASCII letters of either case for the same; GLOB does not.
            (Dialect::Sqlite, true) => self.push(column).push(" LIKE ").bind(pattern),
            (Dialect::Sqlite, false) => self.push(column).push(" GLOB ").bind(glob(pattern)),
            // There a backslash would escape; in SQLite it is itself.
            (Dialect::Postgres, any_case) => self
                .push(column)
                .push(if any_case { " ILIKE " } else { " LIKE " })
                .bind(pattern.replace('\\', "\\\\")),
        };
        Ok(())
    }

    fn arguments(&self) -> Result<AnyArguments, Problem> {
        use sqlx::Arguments as _;
        let mut arguments = AnyArguments::default();
        for bind in &self.binds {
            match bind {
                Bind::Integer(value) => arguments.add(*value),
                Bind::Float(value) => arguments.add(*value),
                Bind::Text(value) => arguments.add(value.clone()),
            }
            .map_err(Problem::internal)?;
        }
        Ok(arguments)
    }

    pub async fn fetch_all<'e>(
        &self,
        executor: impl Executor<'e, Database = Any>,
    ) -> Result<Vec<AnyRow>, Problem> {
        let arguments = self.arguments()?;
        Ok(sqlx::query_with(AssertSqlSafe(self.text.clone()), arguments).fetch_all(executor).await?)
    }
}

/// A pattern of LIKE as one of GLOB.
fn glob(pattern: &str) -> String {
    let mut glob = String::with_capacity(pattern.len());
    for character in pattern.chars() {
        match character {
            '%' => glob.push('*'),
            '_' => glob.push('?'),
            '*' => glob.push_str("[*]"),
            '?' => glob.push_str("[?]"),
            '[' => glob.push_str("[[]"),
            other => glob.push(other),
        }
    }
    glob
}
