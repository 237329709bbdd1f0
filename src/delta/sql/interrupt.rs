//! Joins can compare for hours before they have a row to show, and look up at nobody meanwhile. Here they do.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec};
use datafusion::physical_plan::unnest::UnnestExec;
use tokio::time::Instant;

/// Whether a statement should end.
#[derive(Debug)]
pub(super) struct Interrupt {
    dropped: AtomicBool,
    deadline: Instant,
    time: Duration,
}

impl Interrupt {
    /// `time` is what the statement may take, until `deadline`.
    pub fn at(deadline: Instant, time: Duration) -> Arc<Self> {
        Arc::new(Self { dropped: AtomicBool::new(false), deadline, time })
    }

    pub fn now(&self) {
        self.dropped.store(true, Ordering::Release);
    }

    fn check(&self) -> Result<()> {
        if self.dropped.load(Ordering::Acquire) || Instant::now() >= self.deadline {
            return Err(DataFusionError::External(Box::new(super::run::late(self.time))));
        }
        Ok(())
    }
}

/// Puts the looking up into a plan.
#[derive(Debug)]
pub(super) struct Interrupts(pub Arc<Interrupt>);

impl PhysicalOptimizerRule for Interrupts {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let any = node.as_ref() as &dyn std::any::Any;
            if let Some(join) = any.downcast_ref::<NestedLoopJoinExec>() {
                let Some(filter) = join.filter() else {
                    return Ok(Transformed::yes(
                        Arc::new(CooperativeExec::new(node)) as Arc<dyn ExecutionPlan>
                    ));
                };
                let checked =
                    Checked { inner: Arc::clone(filter.expression()), interrupt: Arc::clone(&self.0) };
                let filter = JoinFilter::new(
                    Arc::new(checked),
                    filter.column_indices().to_vec(),
                    Arc::clone(filter.schema()),
                );
                let join = NestedLoopJoinExec::try_new(
                    Arc::clone(join.left()),
                    Arc::clone(join.right()),
                    Some(filter),
                    join.join_type(),
                    join.projection().as_ref().map(|places| places.to_vec()),
                )?;
                return Ok(Transformed::yes(Arc::new(CooperativeExec::new(Arc::new(join)))));
            }
            if any.is::<CrossJoinExec>() || any.is::<HashJoinExec>() || any.is::<UnnestExec>() {
                return Ok(Transformed::yes(Arc::new(CooperativeExec::new(node))));
            }
            Ok(Transformed::no(node))
        })
        .map(|done| done.data)
    }

    fn name(&self) -> &str {
        "interrupts"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// A condition of a join that looks up each time it is evaluated, and lets others have the thread's turn.
#[derive(Debug)]
struct Checked {
    inner: Arc<dyn PhysicalExpr>,
    interrupt: Arc<Interrupt>,
}

impl PartialEq for Checked {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for Checked {}

impl Hash for Checked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PhysicalExpr for Checked {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.inner.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.inner.nullable(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        self.interrupt.check()?;
        // The runtime gives this thread's other tasks to another thread meanwhile.
        tokio::task::block_in_place(|| self.inner.evaluate(batch))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        match children.pop() {
            Some(inner) => Ok(Arc::new(Self { inner, interrupt: Arc::clone(&self.interrupt) })),
            None => Ok(self),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}
