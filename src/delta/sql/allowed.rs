//! Which syntax is understood. What is not named here is refused, also if the planner would ignore it.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArguments, GroupByExpr, LimitClause, Query, Select, SelectFlavor, SetExpr, TableFactor,
    Value, Visit, Visitor,
};

use super::SqlError;

/// How deep expressions may be nested once they are read.
const DEPTH: usize = 300;
/// How deep queries may be nested in queries.
const QUERIES: usize = 32;

pub(super) fn query(query: &Query) -> Result<(), SqlError> {
    match query.visit(&mut Check::default()) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(why) => Err(why),
    }
}

/// The body of a function: one expression, without queries.
pub(super) fn expression(expression: &Expr) -> Result<(), SqlError> {
    let mut check = Check { no_queries: true, ..Check::default() };
    match expression.visit(&mut check) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(why) => Err(why),
    }
}

#[derive(Default)]
struct Check {
    depth: usize,
    queries: usize,
    no_queries: bool,
}

type Flow = ControlFlow<SqlError>;

fn refuse(what: &str) -> Flow {
    ControlFlow::Break(SqlError::Statement(format!("{what} is not done here")))
}

impl Visitor for Check {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &Query) -> Flow {
        if self.no_queries {
            return refuse("a query in a function's body");
        }
        self.queries += 1;
        if self.queries > QUERIES {
            return ControlFlow::Break(SqlError::Statement(format!(
                "the statement is too complex: queries are nested more than {QUERIES} deep"
            )));
        }
        if let Some(with) = &query.with {
            if with.recursive {
                return refuse("WITH RECURSIVE");
            }
            if with.cte_tables.iter().any(|cte| cte.from.is_some()) {
                return refuse("FROM in a WITH clause");
            }
        }
        if query.fetch.is_some() {
            return refuse("FETCH: write LIMIT; it");
        }
        if !query.locks.is_empty() {
            return refuse("FOR UPDATE or FOR SHARE");
        }
        if query.for_clause.is_some() || query.settings.is_some() || query.format_clause.is_some() {
            return refuse("FOR, SETTINGS or FORMAT");
        }
        if !query.pipe_operators.is_empty() {
            return refuse("the pipe syntax");
        }
        if let Some(LimitClause::LimitOffset { limit_by, .. }) = &query.limit_clause
            && !limit_by.is_empty()
        {
            return refuse("LIMIT … BY");
        }
        set(&query.body)
    }

    fn post_visit_query(&mut self, _: &Query) -> Flow {
        self.queries -= 1;
        Flow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> Flow {
        let Select {
            top,
            into,
            lateral_views,
            prewhere,
            connect_by,
            cluster_by,
            distribute_by,
            sort_by,
            value_table_mode,
            select_modifiers,
            flavor,
            group_by,
            optimizer_hints,
            ..
        } = select;
        if into.is_some() {
            return refuse("SELECT INTO");
        }
        if !lateral_views.is_empty() {
            return refuse("LATERAL VIEW and explode(): unnest() makes rows of a list; it");
        }
        if top.is_some() || prewhere.is_some() || !connect_by.is_empty() || value_table_mode.is_some() {
            return refuse("TOP, PREWHERE, CONNECT BY or SELECT AS");
        }
        if !cluster_by.is_empty() || !distribute_by.is_empty() || !sort_by.is_empty() {
            return refuse("CLUSTER BY, DISTRIBUTE BY or SORT BY");
        }
        // A hint is a comment.
        let _ = optimizer_hints;
        if select_modifiers.is_some() || !matches!(flavor, SelectFlavor::Standard) {
            return refuse("this form of SELECT");
        }
        if let GroupByExpr::Expressions(expressions, _) = group_by
            && expressions.len() > 200
        {
            return refuse("GROUP BY of more than 200 expressions");
        }
        Flow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> Flow {
        match factor {
            TableFactor::Table { args: Some(_), .. } | TableFactor::Function { .. } | TableFactor::TableFunction { .. } => {
                refuse("a function in FROM, such as read_files() or explode(),")
            }
            TableFactor::Table { version: Some(_), .. } => refuse("reading an earlier version of a table"),
            TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. } => {
                refuse("TABLESAMPLE")
            }
            TableFactor::Table { with_hints, with_ordinality, partitions, json_path, index_hints, .. } => {
                if !with_hints.is_empty()
                    || *with_ordinality
                    || !partitions.is_empty()
                    || json_path.is_some()
                    || !index_hints.is_empty()
                {
                    return refuse("a hint or a path after a table's name");
                }
                Flow::Continue(())
            }
            TableFactor::Derived { lateral: true, .. } => refuse("LATERAL"),
            TableFactor::Derived { .. } | TableFactor::NestedJoin { .. } => Flow::Continue(()),
            TableFactor::UNNEST { .. } => Flow::Continue(()),
            _ => refuse("this form of FROM"),
        }
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> Flow {
        self.depth += 1;
        if self.depth > DEPTH {
            return ControlFlow::Break(SqlError::Statement(format!(
                "the statement is too complex: expressions are nested more than {DEPTH} deep"
            )));
        }
        match expression {
            Expr::Function(function) => self::function(function),
            Expr::Value(value) => match &value.value {
                Value::Placeholder(name) if !name.starts_with(':') => {
                    refuse("a parameter without a name (`?`, `$1`, `@x`): write `:name`; it")
                }
                _ => Flow::Continue(()),
            },
            Expr::MatchAgainst { .. } | Expr::Prior(_) | Expr::OuterJoin(_) | Expr::MemberOf(_) => {
                refuse("this expression")
            }
            Expr::Lambda(_) => refuse("a function in an expression (`x -> …`)"),
            _ => Flow::Continue(()),
        }
    }

    fn post_visit_expr(&mut self, _: &Expr) -> Flow {
        self.depth -= 1;
        Flow::Continue(())
    }
}

fn set(body: &SetExpr) -> Flow {
    match body {
        SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) => Flow::Continue(()),
        SetExpr::SetOperation { left, right, .. } => {
            set(left)?;
            set(right)
        }
        SetExpr::Table(_) => refuse("TABLE as a query: write `SELECT * FROM`; it"),
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
            refuse("a change of rows in a query")
        }
    }
}

fn function(function: &Function) -> Flow {
    if function.uses_odbc_syntax || !matches!(function.parameters, FunctionArguments::None) {
        return refuse("this form of a function call");
    }
    if matches!(function.args, FunctionArguments::Subquery(_)) {
        return refuse("a query as the argument of a function");
    }
    if let [name] = function.name.0.as_slice()
        && let Some(name) = name.as_ident()
        && name.value.eq_ignore_ascii_case("identifier")
    {
        return refuse("IDENTIFIER()");
    }
    Flow::Continue(())
}
