//! A line in the plan that nothing of the caller's crosses. Below it a view's rows are chosen, or a table's rules
//! applied; an expression of the caller that fails, or takes its time, on a row it may not see would tell about it.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{DFSchemaRef, DataFusionError, Result};
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
};
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};
use futures_util::StreamExt;

/// The line above a view, in the logical plan. Columns nobody asks for are left out below it; filters but those that
/// [`super::through`] lets pass, limits and all else stay above.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Barrier {
    /// The view's name.
    label: String,
    input: Option<Arc<LogicalPlan>>,
    schema: DFSchemaRef,
}

impl PartialOrd for Barrier {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.label.partial_cmp(&other.label)
    }
}

impl Barrier {
    pub fn above(label: String, input: LogicalPlan) -> LogicalPlan {
        let schema = Arc::clone(input.schema());
        LogicalPlan::Extension(Extension {
            node: Arc::new(Self { label, input: Some(Arc::new(input)), schema }),
        })
    }

    pub fn of(node: &dyn UserDefinedLogicalNode) -> Option<&Self> {
        node.as_any().downcast_ref()
    }

    /// The view, unless the line was made to be shown alone.
    pub fn below(&self) -> Option<&Arc<LogicalPlan>> {
        self.input.as_ref()
    }

    /// The same line above other rows of the view.
    pub fn over(&self, view: LogicalPlan) -> LogicalPlan {
        Self::above(self.label.clone(), view)
    }

    /// The plan as it may be shown: nothing that is below a view.
    pub fn sealed(plan: LogicalPlan) -> Result<LogicalPlan> {
        plan.transform_down_with_subqueries(|node| {
            let LogicalPlan::Extension(Extension { node: inner }) = &node else {
                return Ok(Transformed::no(node));
            };
            let Some(barrier) = Self::of(inner.as_ref()) else { return Ok(Transformed::no(node)) };
            let sealed = Self { input: None, ..barrier.clone() };
            Ok(Transformed::new(
                LogicalPlan::Extension(Extension { node: Arc::new(sealed) }),
                true,
                TreeNodeRecursion::Jump,
            ))
        })
        .map(|done| done.data)
    }
}

impl UserDefinedLogicalNodeCore for Barrier {
    fn name(&self) -> &str {
        "View"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        self.input.iter().map(AsRef::as_ref).collect()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "View: {}", self.label)
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let input = inputs.pop();
        let schema =
            input.as_ref().map_or_else(|| Arc::clone(&self.schema), |input| Arc::clone(input.schema()));
        Ok(Self { label: self.label.clone(), input: input.map(Arc::new), schema })
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![output_columns.to_vec()])
    }
}

/// The same line when the query runs. It shows the optimizer no child: what is below was planned for itself, and
/// neither filters (those that joins and sorts find out while they run, too), limits nor statistics go through.
#[derive(Debug)]
pub(super) struct BarrierExec {
    input: Arc<dyn ExecutionPlan>,
    /// What it promises to those above; the input's may be less exact about which values are never null.
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl BarrierExec {
    pub fn new(input: Arc<dyn ExecutionPlan>, schema: SchemaRef) -> Self {
        use datafusion::physical_plan::Partitioning;
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
            input.pipeline_behavior(),
            input.boundedness(),
        ));
        Self { input, schema, properties }
    }
}

impl DisplayAs for BarrierExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Barrier")
    }
}

impl ExecutionPlan for BarrierExec {
    fn name(&self) -> &str {
        "Barrier"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if children.is_empty() {
            Ok(self)
        } else {
            Err(DataFusionError::Internal("a barrier has no children".to_owned()))
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let below = self.input.execute(partition, context)?;
        let schema = Arc::clone(&self.schema);
        let declared = Arc::clone(&self.schema);
        let batches = below.map(move |batch| {
            let batch = batch?;
            let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            RecordBatch::try_new_with_options(Arc::clone(&declared), batch.columns().to_vec(), &options)
                .map_err(DataFusionError::from)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }
}

/// Plans the line above views.
#[derive(Debug)]
pub(super) struct Planner;

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(Planner)])
            .create_physical_plan(plan, session)
            .await
    }
}

#[async_trait]
impl ExtensionPlanner for Planner {
    async fn plan_extension(
        &self,
        _: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _: &[&LogicalPlan],
        below: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        _: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(barrier) = Barrier::of(node) else { return Ok(None) };
        let [input] = below else {
            return Err(DataFusionError::Internal("a sealed view cannot be run".to_owned()));
        };
        // Optimized for itself, since the line hides it from the optimizer above.
        let input = DefaultPhysicalPlanner::default().optimize_physical_plan(
            Arc::clone(input),
            session,
            |_, _| {},
        )?;
        let schema = Arc::clone(barrier.schema.inner());
        Ok(Some(Arc::new(BarrierExec::new(input, schema))))
    }
}
