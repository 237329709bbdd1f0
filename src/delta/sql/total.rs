//! Views whose expressions have a value on each row, whatever it holds. What is not known to have one has none.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, WindowFrame, WindowFrameBound,
    WindowFunctionDefinition,
};

use super::barrier::Barrier;
use super::comparison::{is_comparison, same_kind};

/// Functions that give null where others would fail.
const SCALAR: &[&str] = &[
    "coalesce",
    "nullif",
    "named_struct",
    "struct",
    "get_field",
    "json_as_text",
    "json_get_str",
    "json_get_int",
    "json_get_float",
    "json_get_bool",
    "json_get",
    "json_contains",
    "json_length",
    "lower",
    "upper",
    "starts_with",
    "character_length",
    "now",
];
/// Of numbers; a sum of whole ones goes round.
const AGGREGATE: &[&str] =
    &["min", "max", "count", "sum", "avg", "array_agg", "bool_and", "bool_or", "first_value", "last_value"];
const WINDOW: &[&str] = &["row_number", "rank", "dense_rank"];

/// Whether nothing that the plan computes can fail, on whatever part of its rows.
pub(super) fn never_fails(plan: &LogicalPlan) -> bool {
    let known = match plan {
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Aggregate(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Union(_)
        | LogicalPlan::TableScan(_)
        | LogicalPlan::EmptyRelation(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Distinct(_) => true,
        // Which rows are the first depends on all of them.
        LogicalPlan::Sort(sort) => sort.fetch.is_none(),
        LogicalPlan::Extension(extension) => Barrier::of(extension.node.as_ref()).is_some(),
        _ => false,
    };
    known && expressions_never_fail(plan) && plan.inputs().into_iter().all(never_fails)
}

fn expressions_never_fail(plan: &LogicalPlan) -> bool {
    let Some(schema) = seen_by(plan) else { return false };
    let mut all = true;
    let visited = plan.apply_expressions(|expression| {
        all = all && never(expression, &schema);
        Ok(if all { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    all && visited.is_ok()
}

/// The columns that the expressions of a step are about.
fn seen_by(plan: &LogicalPlan) -> Option<DFSchema> {
    if let LogicalPlan::TableScan(scan) = plan {
        return DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema()).ok();
    }
    let mut schema = DFSchema::empty();
    for input in plan.inputs() {
        schema.merge(input.schema());
    }
    Some(schema)
}

fn never(expression: &Expr, schema: &DFSchema) -> bool {
    let mut total = true;
    let visited = expression.apply(|part| {
        total = step(part, schema);
        Ok(if total { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    total && visited.is_ok()
}

/// One expression, without those that it is made of.
fn step(expression: &Expr, schema: &DFSchema) -> bool {
    match expression {
        Expr::Column(_)
        | Expr::Literal(..)
        | Expr::Alias(_)
        | Expr::Not(_)
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsTrue(_)
        | Expr::IsNotTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsNotFalse(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotUnknown(_)
        | Expr::Between(_)
        | Expr::InList(_)
        | Expr::Case(_)
        | Expr::TryCast(_) => true,
        Expr::BinaryExpr(binary) => operation(binary, schema),
        Expr::Like(like) => like.escape_char.is_none() && matches!(like.pattern.as_ref(), Expr::Literal(..)),
        Expr::Cast(cast) => cast.expr.get_type(schema).is_ok_and(|from| {
            same_kind(&from, cast.field.data_type()) || widens(&from, cast.field.data_type())
        }),
        Expr::ScalarFunction(called) => SCALAR.contains(&called.name()),
        Expr::AggregateFunction(called) => {
            AGGREGATE.contains(&called.func.name())
                && (adds_nothing(called.func.name())
                    || called.params.args.iter().all(|one| number(one, schema)))
        }
        Expr::WindowFunction(called) => {
            let name = called.fun.name();
            plain_frame(&called.params.window_frame)
                && match &called.fun {
                    WindowFunctionDefinition::WindowUDF(_) => WINDOW.contains(&name),
                    WindowFunctionDefinition::AggregateUDF(_) => {
                        AGGREGATE.contains(&name)
                            && (adds_nothing(name)
                                || called.params.args.iter().all(|one| number(one, schema)))
                    }
                }
        }
        _ => false,
    }
}

fn adds_nothing(aggregate: &str) -> bool {
    !matches!(aggregate, "sum" | "avg")
}

fn operation(binary: &BinaryExpr, schema: &DFSchema) -> bool {
    let numbers = || number(&binary.left, schema) && number(&binary.right, schema);
    match binary.op {
        op if is_comparison(op) => true,
        Operator::And | Operator::Or | Operator::IsDistinctFrom | Operator::IsNotDistinctFrom => true,
        Operator::Plus | Operator::Minus | Operator::Multiply => numbers(),
        Operator::Divide | Operator::Modulo => numbers() && not_zero(&binary.right),
        _ => false,
    }
}

/// Whole numbers go round, and the others have infinity.
fn number(expression: &Expr, schema: &DFSchema) -> bool {
    expression.get_type(schema).is_ok_and(|kind| kind.is_integer() || kind.is_floating())
}

/// Neither zero nor -1, by which the least whole number cannot be divided.
fn not_zero(expression: &Expr) -> bool {
    let Expr::Literal(value, _) = expression else { return false };
    match value.cast_to(&DataType::Float64) {
        Ok(ScalarValue::Float64(Some(value))) => value >= 1.0,
        _ => false,
    }
}

fn widens(from: &DataType, to: &DataType) -> bool {
    let signed = |kind: &DataType| match kind {
        DataType::Int8 => Some(1),
        DataType::Int16 => Some(2),
        DataType::Int32 => Some(3),
        DataType::Int64 => Some(4),
        _ => None,
    };
    match (signed(from), to) {
        (Some(_), DataType::Float64) => true,
        (Some(from), to) => signed(to).is_some_and(|to| from <= to),
        (None, _) => from == &DataType::Null,
    }
}

/// Without a width, which would be added to what is ordered by.
fn plain_frame(frame: &WindowFrame) -> bool {
    let plain =
        |bound: &WindowFrameBound| bound.is_unbounded() || matches!(bound, WindowFrameBound::CurrentRow);
    plain(&frame.start_bound) && plain(&frame.end_bound)
}
