//! Comparisons of a caller that go through a view, so that a question about one trace does not compute all of them.
//!
//! Only [`super::comparison`]s of columns that the view hands on as a table has them, and only into views of which no
//! expression can fail ([`super::total`]): otherwise the caller would choose the rows on which the view fails, and learn
//! from it about rows that the view hides.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{JoinType, Result};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Filter, LogicalPlan};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use super::barrier::Barrier;
use super::{comparison, total};

#[derive(Debug)]
pub(super) struct ThroughViews;

impl OptimizerRule for ThroughViews {
    fn name(&self) -> &str {
        "comparisons_through_views"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Filter(filter) = &plan else { return Ok(Transformed::no(plan)) };
        let LogicalPlan::Extension(extension) = filter.input.as_ref() else {
            return Ok(Transformed::no(plan));
        };
        let Some((barrier, view)) =
            Barrier::of(extension.node.as_ref()).and_then(|barrier| Some((barrier, barrier.below()?)))
        else {
            return Ok(Transformed::no(plan));
        };
        let goes = |predicate: &Expr| {
            comparison::with_constants(predicate, &|column| {
                let place = view.schema().maybe_index_of_column(column)?;
                as_a_table_has_it(view, place).then(|| view.schema().field(place).data_type().clone())
            })
        };
        let (through, above): (Vec<Expr>, Vec<Expr>) =
            split_conjunction_owned(filter.predicate.clone()).into_iter().partition(goes);
        let Some(through) = conjunction(through).filter(|_| total::never_fails(view)) else {
            return Ok(Transformed::no(plan));
        };
        let view = LogicalPlan::Filter(Filter::try_new(through, Arc::clone(view))?);
        let view = barrier.over(view);
        Ok(Transformed::yes(match conjunction(above) {
            Some(above) => LogicalPlan::Filter(Filter::try_new(above, Arc::new(view))?),
            None => view,
        }))
    }
}

/// Whether a column of a plan is one of a table, unchanged.
fn as_a_table_has_it(plan: &LogicalPlan, place: usize) -> bool {
    let of = |expression: &Expr, input: &LogicalPlan| match expression.clone().unalias_nested().data {
        Expr::Column(column) => {
            input.schema().maybe_index_of_column(&column).is_some_and(|place| as_a_table_has_it(input, place))
        }
        _ => false,
    };
    match plan {
        LogicalPlan::TableScan(_) => true,
        LogicalPlan::Projection(step) => step.expr.get(place).is_some_and(|one| of(one, &step.input)),
        LogicalPlan::Aggregate(step) => step.group_expr.get(place).is_some_and(|one| of(one, &step.input)),
        LogicalPlan::Window(step) => {
            place < step.input.schema().fields().len() && as_a_table_has_it(&step.input, place)
        }
        LogicalPlan::Filter(step) => as_a_table_has_it(&step.input, place),
        LogicalPlan::Sort(step) => as_a_table_has_it(&step.input, place),
        LogicalPlan::SubqueryAlias(step) => as_a_table_has_it(&step.input, place),
        LogicalPlan::Union(step) => step.inputs.iter().all(|input| as_a_table_has_it(input, place)),
        LogicalPlan::Join(step) => {
            let left = step.left.schema().fields().len();
            match step.join_type {
                JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full if place >= left => {
                    as_a_table_has_it(&step.right, place - left)
                }
                JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
                    as_a_table_has_it(&step.left, place)
                }
                JoinType::LeftSemi | JoinType::LeftAnti => as_a_table_has_it(&step.left, place),
                JoinType::RightSemi | JoinType::RightAnti => as_a_table_has_it(&step.right, place),
                _ => false,
            }
        }
        LogicalPlan::Extension(extension) => Barrier::of(extension.node.as_ref())
            .and_then(Barrier::below)
            .is_some_and(|view| as_a_table_has_it(view, place)),
        _ => false,
    }
}
