//! A table with rules, as the planner sees it: its rows are those that the filter leaves, its masked columns are what
//! the masks make of them, and there is no other way to read it.
//!
//! Of the caller's predicates it takes in only comparisons of unmasked columns with constants of the same type. They
//! cannot fail and take the same time on each row, so it tells nothing that they may be evaluated on a row that the
//! filter hides, or skip a file by its statistics. All others are evaluated above the [`super::barrier`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, DataFusionError, Result, ScalarValue};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{BinaryExpr, Expr, TableProviderFilterPushDown, TableType, cast};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;

use super::barrier::BarrierExec;
use super::comparison::{self, is_comparison};
use super::function::Planned;
use super::{Call, Refused, Rules, SqlError, failure};

#[derive(Debug)]
pub(super) struct RuledTable {
    inner: Arc<dyn TableProvider>,
    schema: SchemaRef,
    filter: Option<Expr>,
    /// By the column's place.
    masks: BTreeMap<usize, Expr>,
}

impl RuledTable {
    /// `planned`: the functions of the rules, by name. Rules that do not fit the table let nobody read it.
    pub fn new(
        inner: Arc<dyn TableProvider>,
        rules: &Rules,
        planned: &HashMap<String, Planned>,
    ) -> Result<Self, SqlError> {
        let columns = inner.schema();
        let filter = match &rules.row_filter {
            Some(call) => Some(cast(apply(call, &columns, planned)?, DataType::Boolean)),
            None => None,
        };
        let mut masks = BTreeMap::new();
        for (name, call) in &rules.masks {
            let places = places(&columns, name);
            if places.is_empty() {
                return Err(unfit("a mask is on a column that the table does not have"));
            }
            let mask = apply(call, &columns, planned)?;
            for place in places {
                masks.insert(place, cast(mask.clone(), columns.field(place).data_type().clone()));
            }
        }
        let fields: Vec<Field> = columns
            .fields()
            .iter()
            .enumerate()
            .map(|(place, field)| {
                // A mask may make nulls, and what is said about a column besides its type may tell of its values.
                if masks.contains_key(&place) {
                    Field::new(field.name(), field.data_type().clone(), true)
                } else {
                    field.as_ref().clone()
                }
            })
            .collect();
        Ok(Self { inner, schema: Arc::new(Schema::new(fields)), filter, masks })
    }

    /// Whether a predicate of the caller may be evaluated on rows that the filter hides.
    fn harmless(&self, predicate: &Expr) -> bool {
        comparison::with_constants(predicate, &|column| {
            let (place, field) = self.schema.fields().find(&column.name)?;
            (!self.masks.contains_key(&place)).then(|| field.data_type().clone())
        })
    }
}

/// All columns of this name: names that differ in their case alone are one to whoever sets a mask.
fn places(columns: &SchemaRef, name: &str) -> Vec<usize> {
    let wanted = name.to_lowercase();
    (0..columns.fields().len())
        .filter(|place| columns.field(*place).name().to_lowercase() == wanted)
        .collect()
}

fn apply(call: &Call, columns: &SchemaRef, planned: &HashMap<String, Planned>) -> Result<Expr, SqlError> {
    let arguments = call
        .arguments
        .iter()
        .map(|name| match places(columns, name).as_slice() {
            [place] => {
                Ok(Expr::Column(datafusion::common::Column::new_unqualified(columns.field(*place).name())))
            }
            _ => Err(unfit("a row filter or mask takes a column that the table does not have, or has twice")),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let function = planned.get(&call.function.name).ok_or_else(|| unfit("a function is not there"))?;
    function.call(&arguments).map_err(failure::planning)
}

fn unfit(why: &str) -> SqlError {
    SqlError::Refused(Refused::Denied(format!(
        "the table cannot be read as long as its rules do not fit it: {why}"
    )))
}

#[async_trait]
impl TableProvider for RuledTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(filters
            .iter()
            .map(|filter| match self.harmless(filter) {
                true => TableProviderFilterPushDown::Exact,
                false => TableProviderFilterPushDown::Unsupported,
            })
            .collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        // What is pushed down here was said to be harmless; that it still is, is not taken on trust.
        if !filters.iter().all(|filter| self.harmless(filter)) {
            return Err(DataFusionError::Internal("a predicate came below a table's rules".to_owned()));
        }
        let columns = self.inner.schema();
        let whole = DFSchema::try_from(columns.as_ref().clone())?;
        let simplify = |expression: &Expr| simplified(expression, &whole, session);
        // The table's filter comes first; the caller's comparisons see what it leaves.
        let mut conditions = Vec::new();
        if let Some(filter) = &self.filter {
            conditions.extend(split_conjunction_owned(simplify(filter)?));
        }
        for filter in filters {
            conditions.push(simplify(filter)?);
        }
        conditions
            .retain(|condition| !matches!(condition, Expr::Literal(ScalarValue::Boolean(Some(true)), _)));
        let wanted: Vec<usize> =
            projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let masks = wanted
            .iter()
            .filter_map(|place| self.masks.get(place).map(|mask| Ok((*place, simplify(mask)?))))
            .collect::<Result<BTreeMap<usize, Expr>>>()?;

        // Only what is asked for, and what the rules look at, is read.
        let mut needed: BTreeSet<usize> =
            wanted.iter().copied().filter(|place| !masks.contains_key(place)).collect();
        for expression in conditions.iter().chain(masks.values()) {
            for column in expression.column_refs() {
                needed.insert(columns.index_of(&column.name)?);
            }
        }
        let needed: Vec<usize> = needed.into_iter().collect();
        let hints: Vec<Expr> = conditions.iter().filter(|condition| self.hint(condition)).cloned().collect();
        let supported = self.inner.supports_filters_pushdown(&hints.iter().collect::<Vec<_>>())?;
        let hints: Vec<Expr> = hints
            .into_iter()
            .zip(supported)
            .filter(|(_, supported)| *supported != TableProviderFilterPushDown::Unsupported)
            .map(|(hint, _)| hint)
            .collect();
        let limit = if conditions.is_empty() { limit } else { None };
        let mut plan = self.inner.scan(session, Some(&needed), &hints, limit).await?;

        let below = DFSchema::try_from(plan.schema().as_ref().clone())?;
        if let Some(condition) = conjunction(conditions) {
            plan = Arc::new(FilterExec::try_new(session.create_physical_expr(condition, &below)?, plan)?);
        }
        let shown = wanted
            .iter()
            .map(|place| {
                let field = self.schema.field(*place);
                let expression = match masks.get(place) {
                    Some(mask) => session.create_physical_expr(mask.clone(), &below)?,
                    None => expressions::col(field.name(), &plan.schema())?,
                };
                let expression = expressions::cast(expression, &plan.schema(), field.data_type().clone())?;
                Ok((expression, field.name().clone()))
            })
            .collect::<Result<Vec<(Arc<dyn PhysicalExpr>, String)>>>()?;
        let plan = Arc::new(ProjectionExec::try_new(shown, plan)?);
        Ok(Arc::new(BarrierExec::new(plan, Arc::new(self.schema.project(&wanted)?))))
    }
}

impl RuledTable {
    /// Whether the table's files may be chosen by a condition, before it is applied once more to the rows.
    fn hint(&self, condition: &Expr) -> bool {
        let plain = |expression: &Expr| matches!(expression, Expr::Column(_) | Expr::Literal(..));
        match condition {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                is_comparison(*op) && plain(left) && plain(right)
            }
            Expr::InList(list) => plain(&list.expr) && list.list.iter().all(plain),
            Expr::Between(between) => plain(&between.expr) && plain(&between.low) && plain(&between.high),
            Expr::IsNull(inner) | Expr::IsNotNull(inner) => plain(inner),
            _ => false,
        }
    }
}

/// With the types made equal and constants computed.
fn simplified(expression: &Expr, schema: &DFSchema, session: &dyn Session) -> Result<Expr> {
    let Some(state) = session.as_any().downcast_ref::<SessionState>() else {
        return Err(DataFusionError::Internal("rules are planned in a session of the engine".to_owned()));
    };
    let context = SimplifyContext::builder()
        .with_schema(Arc::new(schema.clone()))
        .with_config_options(Arc::clone(state.config_options()))
        .with_query_execution_start_time(state.execution_props().query_execution_start_time)
        .build();
    let simplifier = ExprSimplifier::new(context);
    let coerced = simplifier.coerce(unqualified(expression)?, schema)?;
    simplifier.simplify(coerced)
}

/// The planner names columns by the table as the statement has it; below there is one table only.
fn unqualified(expression: &Expr) -> Result<Expr> {
    use datafusion::common::tree_node::{Transformed, TreeNode};
    expression
        .clone()
        .transform_up(|part| match part {
            Expr::Column(column) if column.relation.is_some() => {
                Ok(Transformed::yes(Expr::Column(datafusion::common::Column::new_unqualified(column.name))))
            }
            other => Ok(Transformed::no(other)),
        })
        .map(|done| done.data)
}
