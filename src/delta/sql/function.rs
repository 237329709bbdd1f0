//! Functions of the catalog: one expression over its parameters, put where it is called.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, cast,
};
use datafusion::sql::planner::{ParserOptions, PlannerContext, SqlToRel};

use super::context::Context;
use super::{Function, SqlError, failure};

/// Parts of an expression once its functions are written out.
const SIZE: usize = 20_000;

/// A function that was planned over its parameters.
#[derive(Debug)]
pub(super) struct Planned {
    parameters: Vec<(String, DataType)>,
    returns: DataType,
    /// Columns in it are parameters.
    body: Expr,
}

impl Planned {
    /// `context` has the functions that the body calls.
    pub fn new(
        function: &Function,
        body: datafusion::sql::sqlparser::ast::Expr,
        context: &Context<'_>,
    ) -> Result<Self, SqlError> {
        let planner = SqlToRel::new_with_options(context, options(context));
        let mut parameters = Vec::new();
        for (name, sql_type) in &function.parameters {
            let name = name.to_lowercase();
            if parameters.iter().any(|(known, _)| *known == name) {
                return Err(broken(function, "two parameters have one name"));
            }
            parameters.push((name, type_of(&planner, sql_type)?));
        }
        let returns = type_of(&planner, &function.returns)?;
        let fields: Vec<Field> =
            parameters.iter().map(|(name, data_type)| Field::new(name, data_type.clone(), true)).collect();
        let schema = DFSchema::try_from(Schema::new(fields)).map_err(failure::planning)?;
        let body =
            planner.sql_to_expr(body, &schema, &mut PlannerContext::new()).map_err(failure::planning)?;
        let mut unfit = false;
        body.apply(|part| {
            unfit |= matches!(
                part,
                Expr::AggregateFunction(_)
                    | Expr::WindowFunction(_)
                    | Expr::ScalarSubquery(_)
                    | Expr::InSubquery(_)
                    | Expr::Exists(_)
                    | Expr::Unnest(_)
                    | Expr::OuterReferenceColumn(..)
                    | Expr::Placeholder(_)
            );
            Ok(TreeNodeRecursion::Continue)
        })
        .map_err(failure::planning)?;
        if unfit {
            return Err(broken(function, "its body is more than one expression over its parameters"));
        }
        Ok(Self { parameters, returns, body: inline(body).map_err(failure::planning)? })
    }

    pub fn arity(&self) -> usize {
        self.parameters.len()
    }

    /// The body with arguments for its parameters.
    pub fn call(&self, arguments: &[Expr]) -> datafusion::common::Result<Expr> {
        if arguments.len() != self.parameters.len() {
            return Err(DataFusionError::Plan(format!(
                "the function takes {} arguments, not {}",
                self.parameters.len(),
                arguments.len()
            )));
        }
        let large = size(&self.body).saturating_mul(arguments.iter().map(size).sum::<usize>().max(1));
        if large > SIZE {
            return Err(DataFusionError::Plan("the statement is too complex: its functions, written out, are too long".to_owned()));
        }
        let values: HashMap<&str, Expr> = self
            .parameters
            .iter()
            .zip(arguments)
            .map(|((name, data_type), argument)| (name.as_str(), cast(argument.clone(), data_type.clone())))
            .collect();
        let body = self.body.clone().transform_down(|part| match &part {
            Expr::Column(column) => match values.get(column.name.as_str()) {
                // What is put in is not looked into: it may name a column like a parameter.
                Some(value) => {
                    Ok(Transformed::new(value.clone(), true, TreeNodeRecursion::Jump))
                }
                None => Err(DataFusionError::Plan(format!("`{}` is no parameter", column.name))),
            },
            _ => Ok(Transformed::no(part)),
        })?;
        Ok(cast(body.data, self.returns.clone()))
    }
}

/// How the planner sees a function of the catalog, until its call is replaced.
#[derive(Debug)]
pub(super) struct Called {
    name: String,
    signature: Signature,
    planned: Planned,
}

impl Called {
    pub fn udf(name: String, planned: Planned) -> Arc<ScalarUDF> {
        // Whatever the arguments' types are: each is cast to its parameter's.
        let signature = match planned.arity() {
            0 => Signature::nullary(Volatility::Volatile),
            arity => Signature::any(arity, Volatility::Volatile),
        };
        Arc::new(ScalarUDF::new_from_impl(Self { name, signature, planned }))
    }
}

impl PartialEq for Called {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Called {}

impl std::hash::Hash for Called {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Called {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> datafusion::common::Result<DataType> {
        Ok(self.planned.returns.clone())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> datafusion::common::Result<ColumnarValue> {
        Err(DataFusionError::Internal("a function of the catalog was not replaced by its body".to_owned()))
    }
}

/// Replaces calls of the catalog's functions by their bodies.
fn inline(expression: Expr) -> datafusion::common::Result<Expr> {
    expression
        .transform_up(|part| {
            let Expr::ScalarFunction(call) = &part else { return Ok(Transformed::no(part)) };
            match (call.func.inner().as_ref() as &dyn std::any::Any).downcast_ref::<Called>() {
                Some(called) => called.planned.call(&call.args).map(Transformed::yes),
                None => Ok(Transformed::no(part)),
            }
        })
        .map(|done| done.data)
}

pub(super) fn inline_all(plan: LogicalPlan) -> datafusion::common::Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| {
        let names = NamePreserver::new(&node);
        node.map_expressions(|expression| {
            let name = names.save(&expression);
            let before = expression.clone();
            let inlined = inline(expression)?;
            Ok(if inlined == before {
                Transformed::no(inlined)
            } else {
                Transformed::yes(name.restore(inlined))
            })
        })
    })
    .map(|done| done.data)
}

pub(super) fn options(context: &Context<'_>) -> ParserOptions {
    ParserOptions::from(&context.state.config_options().sql_parser)
}

/// The type that a cast to it has.
fn type_of(planner: &SqlToRel<'_, Context<'_>>, sql_type: &str) -> Result<DataType, SqlError> {
    use datafusion::sql::sqlparser::ast;
    let null = ast::Expr::value(ast::Value::Null);
    let cast = super::rewrite::cast(ast::CastKind::Cast, null, sql_type)?;
    let schema = DFSchema::empty();
    let planned =
        planner.sql_to_expr(cast, &schema, &mut PlannerContext::new()).map_err(failure::planning)?;
    planned.get_type(&schema).map_err(failure::planning)
}

fn broken(function: &Function, why: &str) -> SqlError {
    SqlError::Statement(format!("the function `{}` cannot be used: {why}", function.name))
}

fn size(expression: &Expr) -> usize {
    let mut parts = 0;
    // Counting does not fail.
    let _ = expression.apply(|_| {
        parts += 1;
        Ok(TreeNodeRecursion::Continue)
    });
    parts
}
