//! How wide rows are, and operators that give a row again and again: joins, UNNEST, windows. What they make is in no
//! statement's budget, so it is bounded before they make it.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, AsArray, OffsetSizeTrait, RecordBatch};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::window::WindowExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PiecewiseMergeJoinExec, SortMergeJoinExec,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt, stream};

use super::constants::BATCH;

/// Bytes that an operator may make of one row.
const REPEATED: usize = 1 << 30;
/// Bytes of the rows that come together out of an operator, unless one row has more.
const TOGETHER: usize = 64 << 20;

/// Bytes of a constant.
pub(super) fn payload(value: &ScalarValue) -> usize {
    match value {
        ScalarValue::Utf8(text) | ScalarValue::Utf8View(text) | ScalarValue::LargeUtf8(text) => {
            text.as_ref().map_or(0, String::len)
        }
        ScalarValue::Binary(bytes) | ScalarValue::BinaryView(bytes) | ScalarValue::LargeBinary(bytes) => {
            bytes.as_ref().map_or(0, Vec::len)
        }
        other if other.data_type().is_primitive() => 8,
        other => other.size(),
    }
}

/// Bytes of a column's values, texts that are shared with others included.
pub(super) fn total(array: &dyn Array) -> usize {
    let shared = match array.data_type() {
        DataType::Utf8View => array.as_string_view().lengths().map(|length| length as usize).sum(),
        DataType::BinaryView => array.as_binary_view().lengths().map(|length| length as usize).sum(),
        // Views may be in there.
        kind if kind.is_nested() => widest(array, true).saturating_mul(array.len()),
        _ => 0,
    };
    let own = array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size());
    own.saturating_add(shared)
}

/// Bytes that the widest value of a column has at most. A view is a place of 16 bytes where `views` are none of it.
pub(super) fn widest(array: &dyn Array, views: bool) -> usize {
    match array.data_type() {
        DataType::Utf8 => longest(array.as_string::<i32>().offsets()),
        DataType::LargeUtf8 => longest(array.as_string::<i64>().offsets()),
        DataType::Binary => longest(array.as_binary::<i32>().offsets()),
        DataType::LargeBinary => longest(array.as_binary::<i64>().offsets()),
        DataType::Utf8View if views => longest_view(array.as_string_view().lengths()),
        DataType::BinaryView if views => longest_view(array.as_binary_view().lengths()),
        DataType::Utf8View | DataType::BinaryView => 16,
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            longest(list.offsets()).saturating_mul(widest(list.values().as_ref(), views))
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            longest(list.offsets()).saturating_mul(widest(list.values().as_ref(), views))
        }
        DataType::Map(..) => {
            let map = array.as_map();
            longest(map.offsets()).saturating_mul(widest(map.entries(), views))
        }
        DataType::FixedSizeList(_, length) => {
            let values = array.as_fixed_size_list().values();
            usize::try_from(*length).unwrap_or(0).saturating_mul(widest(values.as_ref(), views))
        }
        DataType::Struct(_) => array
            .as_struct()
            .columns()
            .iter()
            .map(|column| widest(column.as_ref(), views))
            .fold(0, usize::saturating_add),
        DataType::Dictionary(..) => 8,
        kind => kind.primitive_width().unwrap_or_else(|| match kind {
            DataType::Null | DataType::Boolean => 1,
            DataType::FixedSizeBinary(width) => usize::try_from(*width).unwrap_or(0),
            _ => array.get_array_memory_size(),
        }),
    }
}

fn longest<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>) -> usize {
    offsets.lengths().max().unwrap_or(0)
}

fn longest_view(lengths: impl Iterator<Item = u32>) -> usize {
    lengths.max().unwrap_or(0) as usize
}

/// Puts the bounds into a plan.
#[derive(Debug)]
pub(super) struct Widths;

impl PhysicalOptimizerRule for Widths {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let Some(watches) = watches(node.as_ref())? else { return Ok(Transformed::no(node)) };
            let children = node.children().into_iter().zip(watches);
            let children: Vec<_> = children.map(|(child, watch)| Watched::over(child, watch)).collect();
            let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep);
            let node = if children.is_empty() { node } else { node.replace_children(children, options)? };
            Ok(Transformed::yes(Watched::over(&node, Watch::Cuts)))
        })
        .map(|done| done.data)
    }

    fn name(&self) -> &str {
        "widths"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// What is looked at below an operator, if what comes out of it may be too much.
fn watches(node: &dyn ExecutionPlan) -> Result<Option<Vec<Watch>>> {
    let any = node as &dyn std::any::Any;
    let repeats = |views| Watch::Repeats { lists: Vec::new(), views };
    Ok(if any.is::<CrossJoinExec>() {
        // It repeats the rows on the left, with their texts.
        Some(vec![repeats(true), Watch::Cuts])
    } else if any.is::<HashJoinExec>()
        || any.is::<NestedLoopJoinExec>()
        || any.is::<SortMergeJoinExec>()
        || any.is::<PiecewiseMergeJoinExec>()
    {
        Some(vec![repeats(false), repeats(false)])
    } else if let Some(unnest) = any.downcast_ref::<UnnestExec>() {
        let lists = unnest.list_column_indices().iter().map(|list| list.index_in_input_schema);
        Some(vec![Watch::Repeats { lists: lists.collect(), views: false }])
    } else if let Some(window) = any.downcast_ref::<WindowAggExec>() {
        Some(vec![held(window.window_expr())?])
    } else if let Some(window) = any.downcast_ref::<BoundedWindowAggExec>() {
        Some(vec![held(window.window_expr())?])
    } else if node.children().is_empty() {
        // Texts of files may be long.
        Some(Vec::new())
    } else {
        None
    })
}

/// A window keeps its rows, and may give a text of one of them to each.
fn held(windows: &[Arc<dyn WindowExpr>]) -> Result<Watch> {
    let mut columns = Vec::new();
    for window in windows {
        if !window.field()?.data_type().is_primitive() {
            let of = window.expressions();
            columns.extend(of.iter().flat_map(collect_columns).map(|column| column.index()));
        }
    }
    Ok(Watch::Holds { columns })
}

/// What happens to rows above.
#[derive(Debug, Clone)]
enum Watch {
    /// Each may be repeated for all rows of a batch, and by UNNEST for each item of its longest list; `lists` are the
    /// columns that are taken apart.
    Repeats { lists: Vec<usize>, views: bool },
    /// All are kept, and values of these columns may be repeated for each of them.
    Holds { columns: Vec<usize> },
    /// So few go on together that what is made of them is not too much.
    Cuts,
}

/// An operator that lets rows through, if there may be so many of them.
#[derive(Debug)]
struct Watched {
    input: Arc<dyn ExecutionPlan>,
    watch: Watch,
}

impl Watched {
    fn over(input: &Arc<dyn ExecutionPlan>, watch: Watch) -> Arc<dyn ExecutionPlan> {
        Arc::new(Self { input: Arc::clone(input), watch })
    }
}

impl DisplayAs for Watched {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watched: {:?}", self.watch)
    }
}

impl ExecutionPlan for Watched {
    fn name(&self) -> &str {
        "Watched"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match children.pop() {
            Some(input) => Ok(Arc::new(Self { input, watch: self.watch.clone() })),
            None => Ok(self),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = self.input.execute(partition, Arc::clone(&context))?;
        let schema = rows.schema();
        let rows = match self.watch.clone() {
            Watch::Repeats { lists, views } => rows
                .map(move |batch| batch.and_then(|batch| repeatable(&batch, &lists, views).map(|()| batch)))
                .boxed(),
            Watch::Holds { columns } => {
                let held = MemoryConsumer::new("window").register(context.memory_pool());
                let mut width = 0;
                rows.map(move |batch| {
                    let batch = batch?;
                    let widths = columns.iter().map(|column| widest(batch.column(*column).as_ref(), true));
                    width = widths.fold(0, usize::saturating_add).max(width);
                    let own = of_batch(&batch);
                    held.try_grow(own.saturating_add(width.saturating_mul(batch.num_rows())))?;
                    Ok(batch)
                })
                .boxed()
            }
            Watch::Cuts => cuts(rows),
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}

fn repeatable(batch: &RecordBatch, lists: &[usize], views: bool) -> Result<()> {
    let (mut width, mut times) = (0usize, BATCH);
    for (place, column) in batch.columns().iter().enumerate() {
        if lists.contains(&place) {
            let length = match column.data_type() {
                DataType::List(_) => longest(column.as_list::<i32>().offsets()),
                DataType::LargeList(_) => longest(column.as_list::<i64>().offsets()),
                _ => 0,
            };
            times = times.max(length);
        } else {
            width = width.saturating_add(widest(column.as_ref(), views));
        }
    }
    if width.saturating_mul(times) > REPEATED {
        return Err(DataFusionError::ResourcesExhausted("a row is too wide to be repeated".to_owned()));
    }
    Ok(())
}

/// The same rows, so few of them at a time that what is made of them is not too much.
pub(super) fn cuts(
    rows: impl Stream<Item = Result<RecordBatch>> + Send + 'static,
) -> BoxStream<'static, Result<RecordBatch>> {
    let cut = |batch| {
        let mut parts = Vec::new();
        match batch {
            Ok(batch) => cut(batch, &mut parts),
            Err(error) => parts.push(Err(error)),
        }
        stream::iter(parts)
    };
    rows.flat_map(cut).boxed()
}

fn cut(batch: RecordBatch, parts: &mut Vec<Result<RecordBatch>>) {
    let rows = batch.num_rows();
    if rows <= 1 || rows <= BATCH && of_batch(&batch) <= TOGETHER {
        return parts.push(Ok(batch));
    }
    // Slices share what they are slices of.
    let middle = if rows > BATCH { rows.div_ceil(BATCH).div_euclid(2) * BATCH } else { rows / 2 };
    cut(batch.slice(0, middle), parts);
    cut(batch.slice(middle, rows - middle), parts);
}

fn of_batch(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| total(column.as_ref())).fold(0, usize::saturating_add)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, ListArray, StringArray, StringViewArray, StructArray};
    use arrow::datatypes::{Field, Int64Type, Schema};

    use super::*;

    fn batch(columns: Vec<Arc<dyn Array>>) -> RecordBatch {
        let field = |(place, column): (usize, &Arc<dyn Array>)| {
            Field::new(format!("c{place}"), column.data_type().clone(), true)
        };
        let fields: Vec<Field> = columns.iter().enumerate().map(field).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    }

    fn parts(batch: RecordBatch) -> Vec<usize> {
        let mut parts = Vec::new();
        cut(batch, &mut parts);
        parts.into_iter().map(|part| part.unwrap().num_rows()).collect()
    }

    #[test]
    fn the_widest_value_is_known_in_every_form() {
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([
            Some(vec![Some(1); 5]),
            None,
            Some(vec![Some(1); 2]),
        ]);
        let texts = || Arc::new(StringArray::from(vec![Some("abc"), None, Some("ab")])) as Arc<dyn Array>;
        let views = StringViewArray::from(vec!["a longer one than fits in", "b"]);
        let field = |name: &str, kind| Arc::new(Field::new(name, kind, true));
        let both: StructArray = vec![
            (field("t", DataType::Utf8), texts()),
            (field("l", lists.data_type().clone()), Arc::new(lists.clone())),
        ]
        .into();
        assert_eq!((widest(&lists, true), widest(texts().as_ref(), true), widest(&both, true)), (40, 3, 43));
        assert_eq!((widest(&views, true), widest(&views, false)), (25, 16));
        assert_eq!(widest(&Int64Array::from(vec![1]), true), 8);
        assert_eq!(total(&views), 25 + 1 + 32);
    }

    #[test]
    fn rows_are_cut_by_what_they_have_and_a_wide_one_parts_no_others() {
        let narrow = batch(vec![Arc::new(Int64Array::from(vec![1; BATCH * 3 + 1]))]);
        let cut = parts(narrow);
        assert_eq!(cut.iter().sum::<usize>(), BATCH * 3 + 1);
        assert!(cut.iter().all(|rows| *rows <= BATCH) && cut.len() <= 5, "{cut:?}");
        assert_eq!(parts(batch(vec![Arc::new(Int64Array::from(Vec::<i64>::new()))])), [0]);
        let wide = "x".repeat(TOGETHER / 2);
        let mut texts = vec!["y"; 1000];
        texts[500] = &wide;
        assert_eq!(parts(batch(vec![Arc::new(StringArray::from(texts))])), [1000]);
        // One text that is there a thousand times is as much as a thousand texts once somebody copies it.
        let shared = arrow::compute::take(
            &StringViewArray::from(vec![wide.as_str()]),
            &arrow::array::UInt32Array::from(vec![0; 1000]),
            None,
        );
        assert!(parts(batch(vec![shared.unwrap()])).iter().all(|rows| *rows <= 2));
    }
}
