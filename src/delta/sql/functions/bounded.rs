//! Functions that make much of little. Memory that they take is not counted until it is there, so how much that will
//! be is estimated first.

use std::any::Any;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::Array;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

/// Bytes that one call may make of one batch of rows.
const MOST: usize = 128 * 1024 * 1024;

/// How much a function makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Makes {
    /// As much as its arguments together.
    Sum,
    /// The first argument as often as the second says.
    Times,
    /// A row as long as the second argument says.
    Wide,
    /// A list as long as the largest of its numbers.
    Range,
    /// The product of all arguments' sizes per row.
    Product,
}

fn makes(name: &str) -> Option<Makes> {
    Some(match name {
        "concat" | "concat_ws" | "array_concat" | "make_array" | "overlay" | "array_to_string" | "array_append" => {
            Makes::Sum
        }
        "repeat" | "array_repeat" => Makes::Times,
        "lpad" | "rpad" | "array_resize" => Makes::Wide,
        "range" | "generate_series" => Makes::Range,
        "replace" | "regexp_replace" | "translate" => Makes::Product,
        _ => return None,
    })
}

/// The function with its bound, if it needs one.
pub(super) fn bounded(function: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    match makes(function.name()) {
        Some(makes) => Arc::new(ScalarUDF::new_from_impl(Bounded { inner: function, makes, name: None })),
        None => function,
    }
}

/// `concat_strict` is `||`: NULL if one of them is.
pub(super) fn register(state: &mut SessionState) -> Result<()> {
    state.register_udf(Arc::new(ScalarUDF::new_from_impl(Strict {
        inner: state.udf("concat")?,
    })))?;
    Ok(())
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    makes: Makes,
    name: Option<String>,
}

impl Bounded {
    fn check(&self, args: &ScalarFunctionArgs) -> Result<()> {
        let rows = args.number_rows.max(1);
        let sizes: Vec<usize> = args.args.iter().map(bytes).collect();
        let numbers = || args.args.iter().skip(1).map(largest).max().unwrap_or(0);
        let constants = args.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let rows = if constants { 1 } else { rows };
        let estimate = match self.makes {
            Makes::Sum => args.args.iter().zip(&sizes).fold(0usize, |sum, (value, size)| {
                sum.saturating_add(if scalar(value) { size.saturating_mul(rows) } else { *size })
            }),
            Makes::Times => sizes.first().copied().unwrap_or(0).max(8).saturating_mul(numbers())
                .saturating_mul(match args.args.first() { Some(first) if scalar(first) => rows, _ => 1 }),
            Makes::Wide => numbers().saturating_mul(rows),
            Makes::Range => args.args.iter().map(largest).fold(0usize, usize::saturating_add).saturating_mul(8)
                .saturating_mul(rows),
            Makes::Product => {
                let text = sizes.first().copied().unwrap_or(0);
                let with = args.args.get(2).map_or(0, longest).max(1);
                let each = if args.args.first().is_some_and(scalar) { rows } else { 1 };
                text.saturating_add(1).saturating_mul(with).saturating_mul(each)
            }
        };
        within(estimate, self.inner.name())
    }
}

fn within(estimate: usize, name: &str) -> Result<()> {
    if estimate > MOST {
        return Err(DataFusionError::ResourcesExhausted(format!("{name}() would make more than {MOST} bytes")));
    }
    Ok(())
}

fn scalar(value: &ColumnarValue) -> bool {
    matches!(value, ColumnarValue::Scalar(_))
}

fn bytes(value: &ColumnarValue) -> usize {
    match value {
        ColumnarValue::Array(array) => array.get_array_memory_size(),
        ColumnarValue::Scalar(value) => value.size(),
    }
}

/// The longest text of a column, at most all of it.
fn longest(value: &ColumnarValue) -> usize {
    match value {
        ColumnarValue::Scalar(value) => value.size(),
        ColumnarValue::Array(array) => array.get_array_memory_size(),
    }
}

/// The largest number of a column; what is no number counts nothing.
fn largest(value: &ColumnarValue) -> usize {
    let of = |value: &ScalarValue| match value.cast_to(&DataType::Int64) {
        Ok(ScalarValue::Int64(Some(number))) => usize::try_from(number.unsigned_abs()).unwrap_or(usize::MAX),
        _ => 0,
    };
    match value {
        ColumnarValue::Scalar(ScalarValue::Utf8(_) | ScalarValue::Utf8View(_) | ScalarValue::LargeUtf8(_)) => 0,
        ColumnarValue::Scalar(value) => of(value),
        ColumnarValue::Array(array) if array.data_type().is_integer() => (0..array.len())
            .filter_map(|row| ScalarValue::try_from_array(array, row).ok())
            .map(|value| of(&value))
            .max()
            .unwrap_or(0),
        ColumnarValue::Array(_) => 0,
    }
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_else(|| self.inner.name())
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.check(&args)?;
        self.inner.invoke_with_args(args)
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Strict {
    inner: Arc<ScalarUDF>,
}

impl Hash for Strict {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.type_id().hash(state);
    }
}

impl ScalarUDFImpl for Strict {
    fn name(&self) -> &str {
        "concat_strict"
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let constants = args.args.iter().all(scalar);
        let inputs = args.args.clone();
        let joined = self.inner.invoke_with_args(args)?;
        let rows = if constants { 1 } else { rows };
        let mut nulls: Option<arrow::buffer::NullBuffer> = None;
        for input in &inputs {
            let input = input.to_array(rows)?;
            nulls = arrow::buffer::NullBuffer::union(nulls.as_ref(), input.logical_nulls().as_ref());
        }
        let Some(nulls) = nulls.filter(|nulls| nulls.null_count() > 0) else { return Ok(joined) };
        let array = joined.to_array(rows)?;
        let mask = arrow::array::BooleanArray::new(!nulls.inner(), None);
        let array = arrow::compute::nullif(&array, &mask)?;
        Ok(match constants {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?),
            false => ColumnarValue::Array(array),
        })
    }
}
