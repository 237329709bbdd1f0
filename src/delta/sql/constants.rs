//! What the constants of a statement may come to. They are computed while it is planned, before it has memory of its
//! own, and are then repeated for the rows of a batch, in memory that nobody counts.

use std::cell::Cell;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::functions::makes_much;
use super::wide::payload;

/// Rows of a batch.
pub(super) const BATCH: usize = 8192;
/// Bytes that all constants of a statement may come to, each as often as a batch has rows.
const REPEATED: usize = 512 << 20;
/// Bytes that functions may make of constants while a statement is planned.
const FOLDED: usize = 128 << 20;

thread_local! {
    static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Does what computes constants of one statement.
pub(super) fn folding<T>(plan: impl FnOnce() -> T) -> T {
    struct Ended;
    impl Drop for Ended {
        fn drop(&mut self) {
            LEFT.set(None);
        }
    }
    let _ended = Ended;
    LEFT.set(Some(FOLDED));
    plan()
}

/// A function is about to make so many bytes of constants.
pub(super) fn folds(bytes: usize) -> Result<()> {
    let Some(left) = LEFT.get() else { return Ok(()) };
    LEFT.set(Some(left.checked_sub(bytes).ok_or_else(too_much)?));
    Ok(())
}

/// Refuses an optimized plan whose constants are too large for what it does with them.
pub(super) fn check(plan: &LogicalPlan) -> Result<()> {
    let mut sum = 0usize;
    plan.apply_with_subqueries(|node| {
        let rows = match node {
            LogicalPlan::Values(_) => 1,
            LogicalPlan::Projection(one) if matches!(*one.input, LogicalPlan::EmptyRelation(_)) => 1,
            _ => BATCH,
        };
        node.apply_expressions(|expression| {
            sum = sum.saturating_add(constants(expression)?.saturating_mul(rows));
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    if sum > REPEATED { Err(too_much()) } else { Ok(()) }
}

fn constants(expression: &Expr) -> Result<usize> {
    let mut sum = 0usize;
    expression.apply(|part| {
        match part {
            Expr::Literal(value, _) => sum = sum.saturating_add(payload(value)),
            // What a column is compared with is there once.
            Expr::InList(list) => {
                sum = sum.saturating_add(constants(&list.expr)?);
                return Ok(TreeNodeRecursion::Jump);
            }
            // It could not be computed: it would be too much, or it failed, and would do so for every row.
            Expr::ScalarFunction(call)
                if makes_much(call.name())
                    && call.args.iter().all(|argument| matches!(argument, Expr::Literal(..))) =>
            {
                return Err(too_much());
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(sum)
}

fn too_much() -> DataFusionError {
    DataFusionError::ResourcesExhausted("the constants of the statement come to too much".to_owned())
}
