//! From syntax to a plan in which every table was asked of the governor.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::{MemTable, ViewTable, provider_as_source};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, ScalarUDF, TableSource};
use datafusion::sql::planner::SqlToRel;
use datafusion::sql::sqlparser::ast;
use futures_util::future::BoxFuture;

use super::barrier::Barrier;
use super::context::Context;
use super::function::{self, Called, Planned};
use super::names::{self, Names};
use super::ruled::RuledTable;
use super::{
    Defaults, Function, Governor, Parameter, Relation, Rules, SqlError, TableName, Tables, failure, rewrite,
    syntax,
};
use crate::LakeError;

/// Views in views, and functions in functions.
const DEPTH: usize = 16;
/// Tables and views of a statement, through all views.
const RELATIONS: usize = 256;
/// Steps of a plan once names of WITH and views are written out.
const STEPS: u64 = 5_000;

pub(super) struct Planning<'a> {
    pub state: &'a SessionState,
    pub tables: &'a dyn Tables,
    pub governor: &'a dyn Governor,
    relations: usize,
    functions: usize,
    /// Whether rows or values of a table are kept from the caller.
    pub hidden: bool,
}

impl<'a> Planning<'a> {
    pub fn new(state: &'a SessionState, tables: &'a dyn Tables, governor: &'a dyn Governor) -> Self {
        Self { state, tables, governor, relations: 0, functions: 0, hidden: false }
    }

    /// `through`: the views whose definition this is, outermost first.
    pub fn query<'b>(
        &'b mut self,
        mut query: ast::Query,
        parameters: &'b [Parameter],
        defaults: &'b Defaults,
        through: &'b [TableName],
    ) -> BoxFuture<'b, Result<LogicalPlan, SqlError>> {
        Box::pin(async move {
            let Names { tables, functions } = names::of_query(&mut query, defaults)?;
            rewrite::query(&mut query, self.governor, parameters)?;
            let mut context = Context::new(self.state);
            for name in tables {
                let source = self.table(&name, through).await?;
                context.tables.insert(name, source);
            }
            context.functions = self.functions(functions, 0).await?;
            let planner = SqlToRel::new_with_options(&context, function::options(&context));
            let plan = planner
                .sql_statement_to_plan(ast::Statement::Query(Box::new(query)))
                .map_err(failure::planning)?;
            if weight(&plan, &mut HashMap::new()) > STEPS {
                return Err(SqlError::Statement(
                    "the statement is too complex: with its views and names of WITH written out, it has too many steps"
                        .to_owned(),
                ));
            }
            function::inline_all(plan).map_err(failure::planning)
        })
    }

    async fn table(
        &mut self,
        name: &TableName,
        through: &[TableName],
    ) -> Result<Arc<dyn TableSource>, SqlError> {
        self.relations += 1;
        if self.relations > RELATIONS {
            return Err(SqlError::Statement(format!(
                "the statement is too complex: with its views, it reads more than {RELATIONS} tables"
            )));
        }
        match self.governor.relation(name, through).await? {
            Relation::Table { place, rules } => {
                let provider = self.tables.provider(&place).await.map_err(unread)?;
                let provider = self.ruled(provider, &rules, name).await?;
                Ok(provider_as_source(provider))
            }
            Relation::Rows(rows) => {
                let table = MemTable::try_new(rows.schema(), vec![vec![rows]]).map_err(failure::planning)?;
                Ok(provider_as_source(Arc::new(table)))
            }
            Relation::View { definition } => {
                if through.contains(name) {
                    return Err(SqlError::Statement(format!("the view `{}` reads itself", names::key(name))));
                }
                if through.len() >= DEPTH {
                    return Err(SqlError::Statement(format!("views are nested more than {DEPTH} deep")));
                }
                self.hidden = true;
                let parsed = syntax::query(&definition)?;
                if parsed.explain {
                    return Err(SqlError::Statement(format!("the view `{}` is no query", names::key(name))));
                }
                let inside: Vec<TableName> = through.iter().chain([name]).cloned().collect();
                let defaults =
                    Defaults { catalog: Some(name.catalog.clone()), schema: Some(name.schema.clone()) };
                let plan = self.query(parsed.query, &[], &defaults, &inside).await?;
                let plan = Barrier::above(names::key(name), plan);
                Ok(provider_as_source(Arc::new(ViewTable::new(plan, None))))
            }
        }
    }

    async fn ruled(
        &mut self,
        provider: Arc<dyn TableProvider>,
        rules: &Rules,
        table: &TableName,
    ) -> Result<Arc<dyn TableProvider>, SqlError> {
        if rules.row_filter.is_none() && rules.masks.is_empty() {
            return Ok(provider);
        }
        self.hidden = true;
        let defaults = Defaults { catalog: Some(table.catalog.clone()), schema: Some(table.schema.clone()) };
        let mut planned = HashMap::new();
        for call in rules.row_filter.iter().chain(rules.masks.values()) {
            if !planned.contains_key(&call.function.name) {
                let function = self.planned(&call.function, &defaults, 0).await?;
                planned.insert(call.function.name.clone(), function);
            }
        }
        Ok(Arc::new(RuledTable::new(provider, rules, &planned)?))
    }

    fn planned<'b>(
        &'b mut self,
        function: &'b Function,
        defaults: &'b Defaults,
        depth: usize,
    ) -> BoxFuture<'b, Result<Planned, SqlError>> {
        Box::pin(async move {
            let mut body = syntax::expression(&function.body)?;
            let Names { functions, .. } = names::of_expression(&mut body, defaults)?;
            rewrite::expression(&mut body, self.governor)?;
            let mut context = Context::new(self.state);
            context.functions = self.functions(functions, depth + 1).await?;
            Planned::new(function, body, &context)
        })
    }

    async fn functions(
        &mut self,
        names: BTreeSet<TableName>,
        depth: usize,
    ) -> Result<HashMap<String, Arc<ScalarUDF>>, SqlError> {
        let mut found = HashMap::new();
        for name in names {
            self.functions += 1;
            if depth > DEPTH || self.functions > RELATIONS {
                return Err(SqlError::Statement(format!(
                    "functions call one another more than {DEPTH} deep, or are too many"
                )));
            }
            let function = self.governor.function(&name).await?;
            let defaults =
                Defaults { catalog: Some(name.catalog.clone()), schema: Some(name.schema.clone()) };
            let planned = self.planned(&function, &defaults, depth).await?;
            let key = names::key(&name);
            found.insert(key.clone(), Called::udf(key, planned));
        }
        Ok(found)
    }
}

/// The lake says where a table lies; that is not for whoever reads it.
fn unread(error: LakeError) -> SqlError {
    match error {
        LakeError::Unsupported(_) => SqlError::Lake(error),
        _ => SqlError::Internal("the table's storage could not be read".to_owned()),
    }
}

/// How many steps a plan has. A part that is used twice is counted twice but looked into once: names of WITH that
/// double one another would never be counted to the end.
fn weight(plan: &LogicalPlan, known: &mut HashMap<usize, u64>) -> u64 {
    let key = std::ptr::from_ref(plan) as usize;
    if let Some(weight) = known.get(&key) {
        return *weight;
    }
    let mut sum = 1u64;
    for input in plan.inputs() {
        sum = sum.saturating_add(weight(input, known));
    }
    // Counting does not fail.
    let _ = plan.apply_expressions(|expression| {
        expression.apply(|part| {
            let subquery = match part {
                Expr::ScalarSubquery(subquery) => Some(subquery),
                Expr::InSubquery(inner) => Some(&inner.subquery),
                Expr::Exists(inner) => Some(&inner.subquery),
                _ => None,
            };
            if let Some(subquery) = subquery {
                sum = sum.saturating_add(weight(&subquery.subquery, known));
            }
            Ok(TreeNodeRecursion::Continue)
        })
    });
    known.insert(key, sum);
    sum
}
