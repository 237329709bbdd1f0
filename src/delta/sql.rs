//! SQL over the lake. A statement is parsed once; what is not known to be harmless is refused.

mod allowed;
mod barrier;
mod budget;
mod commands;
mod comparison;
mod constants;
mod context;
mod failure;
mod function;
mod functions;
mod interrupt;
mod names;
mod plan;
mod reader;
pub mod result;
mod rewrite;
mod ruled;
mod run;
mod syntax;
#[cfg(test)]
mod tests;
mod through;
mod total;
mod wide;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures_util::stream::BoxStream;

use crate::LakeError;
pub use run::{Engine, Tables};

/// A table's or view's full name, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    pub catalog: String,
    pub schema: String,
    pub table: String,
}

/// What a name of the catalog means to the caller. Whoever answers has authorized it.
#[derive(Debug, Clone)]
pub enum Relation {
    Table {
        /// Where it lies.
        place: String,
        rules: Rules,
    },
    /// Its definition is planned with the same governor, below this view.
    View { definition: String },
    /// Rows of ours, such as those of `information_schema` and `system.access`.
    Rows(RecordBatch),
}

/// What every reader of a table is subject to.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    pub row_filter: Option<Call>,
    /// By the column's name: what is shown instead of its value.
    pub masks: BTreeMap<String, Call>,
}

/// A function of columns, as the catalog holds it.
#[derive(Debug, Clone)]
pub struct Call {
    pub function: Function,
    /// Names of the table's columns; for a mask the masked column comes first.
    pub arguments: Vec<String>,
}

/// A function whose body is one SQL expression over its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    /// Name and SQL type.
    pub parameters: Vec<(String, String)>,
    pub returns: String,
    pub body: String,
}

/// Why a name is nothing to the caller. Hidden and missing are one.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("[TABLE_OR_VIEW_NOT_FOUND] the table or view `{0}` cannot be found")]
    Missing(String),
    #[error("[INSUFFICIENT_PERMISSIONS] {0}")]
    Denied(String),
    /// Policy or the store cannot be asked now.
    #[error("{0}")]
    Unavailable(String),
}

/// Says what each name means to one caller, while a statement is planned.
#[async_trait]
pub trait Governor: Send + Sync {
    /// `through`: the views that led here, outermost first; empty if the statement itself names the table.
    async fn relation(&self, name: &TableName, through: &[TableName]) -> Result<Relation, Refused>;
    /// A function that a statement calls by its full name.
    async fn function(&self, name: &TableName) -> Result<Function, Refused>;
    /// What `current_user()` answers.
    fn current_user(&self) -> String;
    /// Whether `is_account_group_member(…)` and `is_member(…)` hold.
    fn is_member(&self, group: &str) -> bool;
}

/// A value for `:name` in a statement.
#[derive(Debug, Clone)]
pub struct Parameter {
    pub name: String,
    /// Nothing is NULL.
    pub value: Option<String>,
    /// An SQL type; `STRING` if absent.
    pub sql_type: Option<String>,
}

/// How much one statement may use.
#[derive(Debug, Clone)]
pub struct QueryLimits {
    pub memory_bytes: usize,
    pub time: Duration,
    /// Rows after which the answer is cut off.
    pub rows: Option<u64>,
    /// Bytes after which the answer is cut off.
    pub bytes: Option<u64>,
    /// Kept for as long as a thread works for the statement, which may be longer than anybody waits for it: a function
    /// that takes its time with one batch is not interrupted.
    pub held: Option<Arc<()>>,
}

#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// The statement is wrong, or something that is not done here.
    #[error("{0}")]
    Statement(String),
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It used more than it may; which limit, and its value.
    #[error("{0}")]
    Exhausted(String),
    #[error(transparent)]
    Lake(#[from] LakeError),
    #[error("{0}")]
    Internal(String),
}

/// A statement that was read: a query to be run, or a command that whoever holds the catalog does.
#[derive(Debug, Clone)]
pub enum Statement {
    Query(Query),
    Command(Command),
}

/// Something that only reads.
#[derive(Debug, Clone)]
pub struct Query {
    pub text: String,
}

/// Names as the statement has them, one to three parts, in lower case.
pub type Name = Vec<String>;

/// What statements do besides reading. Nothing of it is done here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    CreateCatalog {
        name: Name,
        if_not_exists: bool,
        comment: Option<String>,
    },
    CreateSchema {
        name: Name,
        if_not_exists: bool,
        comment: Option<String>,
    },
    /// Columns are name, SQL type, nullable, comment.
    CreateTable {
        name: Name,
        if_not_exists: bool,
        columns: Vec<(String, String, bool, Option<String>)>,
        location: Option<String>,
        comment: Option<String>,
    },
    CreateView {
        name: Name,
        or_replace: bool,
        if_not_exists: bool,
        definition: String,
        comment: Option<String>,
    },
    CreateVolume {
        name: Name,
        if_not_exists: bool,
        location: Option<String>,
        comment: Option<String>,
    },
    CreateFunction {
        name: Name,
        or_replace: bool,
        function: FunctionText,
    },
    /// `kind` is CATALOG, SCHEMA, TABLE, VIEW, VOLUME or FUNCTION.
    Drop {
        kind: String,
        name: Name,
        if_exists: bool,
        cascade: bool,
    },
    Grant {
        privileges: Vec<String>,
        kind: String,
        name: Name,
        principal: String,
    },
    Revoke {
        privileges: Vec<String>,
        kind: String,
        name: Name,
        principal: String,
    },
    ShowGrants {
        principal: Option<String>,
        kind: String,
        name: Name,
    },
    ShowCatalogs {
        like: Option<String>,
    },
    ShowSchemas {
        catalog: Option<Name>,
        like: Option<String>,
    },
    ShowTables {
        schema: Option<Name>,
        like: Option<String>,
    },
    ShowVolumes {
        schema: Option<Name>,
        like: Option<String>,
    },
    /// `kind` is CATALOG, SCHEMA, TABLE, VOLUME or FUNCTION.
    Describe {
        kind: String,
        name: Name,
        extended: bool,
    },
    SetOwner {
        kind: String,
        name: Name,
        owner: String,
    },
    /// `None` drops it.
    SetRowFilter {
        table: Name,
        filter: Option<(Name, Vec<String>)>,
    },
    /// Columns as for a table that is made; a row that is there has none of them.
    AddColumns {
        table: Name,
        columns: Vec<(String, String, bool, Option<String>)>,
    },
    SetMask {
        table: Name,
        column: String,
        mask: Option<(Name, Vec<String>)>,
    },
    /// The rows of `query`, or of VALUES, to be appended.
    Insert {
        table: Name,
        columns: Vec<String>,
        query: String,
    },
}

/// What CREATE FUNCTION says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionText {
    pub parameters: Vec<(String, String)>,
    pub returns: String,
    pub body: String,
    pub comment: Option<String>,
}

/// Rows as they come. Dropping them ends the query.
pub struct Rows {
    pub schema: SchemaRef,
    pub batches: BoxStream<'static, Result<RecordBatch, SqlError>>,
    pub truncated: Truncated,
}

/// Whether rows were cut off by a limit. Final once the batches have ended.
#[derive(Debug, Clone, Default)]
pub struct Truncated(Arc<AtomicBool>);

impl Truncated {
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn set(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// What a statement that has no catalog or schema in a name means.
#[derive(Debug, Clone, Default)]
pub struct Defaults {
    pub catalog: Option<String>,
    pub schema: Option<String>,
}

/// Reads one statement. Several at once are refused.
pub fn parse(text: &str) -> Result<Statement, SqlError> {
    syntax::parse(text)
}
