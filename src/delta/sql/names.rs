//! Which tables and functions a query names. The names are made full and folded, so that the planner and whoever
//! authorizes read the same name.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectName, ObjectNamePart, Query, VisitMut, VisitorMut};

use super::reader::part;
use super::{Defaults, SqlError, TableName};

/// How often tables and views may be named in one query.
const RELATIONS: usize = 64;

#[derive(Default)]
pub(super) struct Names {
    pub tables: BTreeSet<TableName>,
    pub functions: BTreeSet<TableName>,
}

/// Finds the names of a query, and writes each table's in full.
pub(super) fn of_query(query: &mut Query, defaults: &Defaults) -> Result<Names, SqlError> {
    find(query, defaults)
}

pub(super) fn of_expression(expression: &mut Expr, defaults: &Defaults) -> Result<Names, SqlError> {
    find(expression, defaults)
}

fn find(syntax: &mut impl VisitMut, defaults: &Defaults) -> Result<Names, SqlError> {
    let mut search = Search { defaults, names: Names::default(), scopes: Vec::new(), relations: 0 };
    match syntax.visit(&mut search) {
        ControlFlow::Continue(()) => Ok(search.names),
        ControlFlow::Break(why) => Err(why),
    }
}

/// The names that WITH gives, of one query. They are visited first and in order, and each is seen by what comes after
/// it, not by its own query: `WITH t AS (SELECT * FROM t)` reads the table.
#[derive(Default)]
struct Scope {
    to_come: std::collections::VecDeque<String>,
    seen: Vec<String>,
}

struct Search<'a> {
    defaults: &'a Defaults,
    names: Names,
    scopes: Vec<Scope>,
    relations: usize,
}

impl Search<'_> {
    fn is_cte(&self, name: &str) -> bool {
        self.scopes.iter().any(|scope| scope.seen.iter().any(|seen| seen == name))
    }
}

impl VisitorMut for Search<'_> {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<SqlError> {
        let mut scope = Scope::default();
        for cte in query.with.iter_mut().flat_map(|with| &mut with.cte_tables) {
            let name = match part(&cte.alias.name.value) {
                Ok(name) => name,
                Err(why) => return ControlFlow::Break(why),
            };
            cte.alias.name = Ident::with_quote('`', &name);
            scope.to_come.push_back(name);
        }
        self.scopes.push(scope);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<SqlError> {
        self.scopes.pop();
        if let Some(parent) = self.scopes.last_mut()
            && let Some(name) = parent.to_come.pop_front()
        {
            parent.seen.push(name);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<SqlError> {
        self.relations += 1;
        if self.relations > RELATIONS {
            return ControlFlow::Break(SqlError::Statement(format!(
                "the statement is too complex: it names tables more than {RELATIONS} times"
            )));
        }
        let parts = match parts(relation) {
            Ok(parts) => parts,
            Err(why) => return ControlFlow::Break(why),
        };
        if let [name] = parts.as_slice()
            && self.is_cte(name)
        {
            *relation = written(&[name]);
            return ControlFlow::Continue(());
        }
        match full(&parts, self.defaults) {
            Ok(name) => {
                *relation = written(&[&name.catalog, &name.schema, &name.table]);
                self.names.tables.insert(name);
                ControlFlow::Continue(())
            }
            Err(why) => ControlFlow::Break(why),
        }
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<SqlError> {
        if let Expr::Function(function) = expression
            && function.name.0.len() > 1
        {
            match parts(&function.name).and_then(|parts| full(&parts, self.defaults)) {
                Ok(name) => {
                    function.name = written(&[&key(&name)]);
                    self.names.functions.insert(name);
                }
                Err(why) => return ControlFlow::Break(why),
            }
        }
        ControlFlow::Continue(())
    }
}

/// How the planner is asked for a function of the catalog. No function of its own has a dot.
pub(super) fn key(name: &TableName) -> String {
    format!("{}.{}.{}", name.catalog, name.schema, name.table)
}

fn parts(name: &ObjectName) -> Result<Vec<String>, SqlError> {
    name.0
        .iter()
        .map(|piece| match piece {
            ObjectNamePart::Identifier(ident) if matches!(ident.quote_style, None | Some('`')) => part(&ident.value),
            ObjectNamePart::Identifier(_) => Err(SqlError::Statement(
                "a text in quotes is no table; files are not read by SQL here".to_owned(),
            )),
            ObjectNamePart::Function(_) => Err(SqlError::Statement("IDENTIFIER() is not done here".to_owned())),
        })
        .collect()
}

fn written(parts: &[&str]) -> ObjectName {
    ObjectName(parts.iter().map(|part| ObjectNamePart::Identifier(Ident::with_quote('`', *part))).collect())
}

pub(super) fn full(parts: &[String], defaults: &Defaults) -> Result<TableName, SqlError> {
    let lower = |part: &Option<String>| part.as_ref().map(|part| part.to_lowercase());
    let missing = |what: &str| {
        SqlError::Statement(format!(
            "`{}` has no {what}: write `catalog.schema.name`, or say the {what} with the statement",
            parts.join(".")
        ))
    };
    match parts {
        [catalog, schema, table] => {
            Ok(TableName { catalog: catalog.clone(), schema: schema.clone(), table: table.clone() })
        }
        [schema, table] => Ok(TableName {
            catalog: lower(&defaults.catalog).ok_or_else(|| missing("catalog"))?,
            schema: schema.clone(),
            table: table.clone(),
        }),
        [table] => Ok(TableName {
            catalog: lower(&defaults.catalog).ok_or_else(|| missing("catalog"))?,
            schema: lower(&defaults.schema).ok_or_else(|| missing("schema"))?,
            table: table.clone(),
        }),
        _ => Err(SqlError::Statement(format!("the name `{}` has too many parts", parts.join(".")))),
    }
}
