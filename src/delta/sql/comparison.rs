//! The predicates of a caller that tell nothing, wherever they are evaluated: comparisons of a column with constants of
//! the same type, and such joined by AND and OR. They cannot fail, and take the same time on each row.

use arrow::datatypes::DataType;
use datafusion::common::Column;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

/// `allowed`: the type of a column that may be compared.
pub(super) fn with_constants(predicate: &Expr, allowed: &dyn Fn(&Column) -> Option<DataType>) -> bool {
    let column = |expression: &Expr| match expression {
        Expr::Column(column) => allowed(column).filter(|kind| !kind.is_nested()),
        _ => None,
    };
    let constant = |expression: &Expr, wanted: &DataType| match expression {
        Expr::Literal(value, _) => same_kind(&value.data_type(), wanted),
        _ => false,
    };
    match predicate {
        // A short list of IN becomes comparisons joined by OR.
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And | Operator::Or, right }) => {
            with_constants(left, allowed) && with_constants(right, allowed)
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(*op) => {
            match (column(left), column(right)) {
                (Some(kind), None) => constant(right, &kind),
                (None, Some(kind)) => constant(left, &kind),
                _ => false,
            }
        }
        Expr::InList(list) => {
            column(&list.expr).is_some_and(|kind| list.list.iter().all(|value| constant(value, &kind)))
        }
        Expr::Between(between) => column(&between.expr)
            .is_some_and(|kind| constant(&between.low, &kind) && constant(&between.high, &kind)),
        Expr::IsNull(inner) | Expr::IsNotNull(inner) => column(inner).is_some(),
        _ => false,
    }
}

pub(super) fn is_comparison(op: Operator) -> bool {
    matches!(
        op,
        Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq
    )
}

pub(super) fn same_kind(left: &DataType, right: &DataType) -> bool {
    let text = |kind: &DataType| matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    left == right || (text(left) && text(right))
}
