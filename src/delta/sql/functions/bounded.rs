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

use super::super::constants::folds;
use super::super::wide::{payload, total, widest};

/// Bytes that one call may make of one batch of rows.
const MOST: usize = 128 * 1024 * 1024;
/// Pairs of bytes that one call may compare, for one batch of rows; nothing ends it before.
const PAIRS: usize = 1 << 33;

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
    /// The third argument for each second one in the first.
    Swapped,
    /// The third argument at most once for each byte of the first.
    Replaced,
    /// The others at most once for each item of the first.
    Joined,
    /// A text for each pattern of the second argument.
    Formatted,
    /// Nothing much, but it may compare all of the first argument with all of the second.
    Pairs,
}

fn makes(name: &str) -> Option<Makes> {
    Some(match name {
        "concat" | "concat_ws" | "array_concat" | "make_array" | "overlay" | "array_append"
        | "array_prepend" | "array_union" | "named_struct" | "struct" | "map" => Makes::Sum,
        "repeat" | "array_repeat" => Makes::Times,
        "lpad" | "rpad" | "array_resize" => Makes::Wide,
        "range" | "generate_series" => Makes::Range,
        "replace" => Makes::Swapped,
        "regexp_replace" | "array_replace" | "array_replace_n" | "array_replace_all" => Makes::Replaced,
        "array_to_string" => Makes::Joined,
        "to_char" => Makes::Formatted,
        "array_has_all" | "array_has_any" | "strpos" | "btrim" | "ltrim" | "rtrim" | "translate"
        | "find_in_set" | "substr_index" => Makes::Pairs,
        _ => return None,
    })
}

/// Whether a function may make much of little.
pub(super) fn is_bounded(name: &str) -> bool {
    makes(name).is_some()
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
    state.register_udf(Arc::new(ScalarUDF::new_from_impl(Strict { inner: state.udf("concat")? })))?;
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
        // A constant is repeated for each row, be it before or after the call.
        let sizes: Vec<usize> = args.args.iter().map(|value| bytes(value, rows)).collect();
        let size = |place: usize| sizes.get(place).copied().unwrap_or(0);
        let numbers = || args.args.iter().skip(1).map(largest).max().unwrap_or(0);
        let wide = |place: usize| args.args.get(place).map_or(0, width);
        let (estimate, most) = match self.makes {
            Makes::Sum => (sizes.iter().copied().fold(0, usize::saturating_add), MOST),
            Makes::Times => (size(0).max(rows).saturating_mul(numbers()), MOST),
            Makes::Wide => (numbers().saturating_mul(rows), MOST),
            Makes::Range => {
                let numbers = args.args.iter().map(largest).fold(0usize, usize::saturating_add);
                (numbers.saturating_mul(8).saturating_mul(rows), MOST)
            }
            Makes::Swapped => {
                let given = args.args.get(1).filter(|value| scalar(value)).map_or(1, width).max(1);
                (size(0).saturating_add(rows).saturating_mul(wide(2).div_ceil(given).max(1)), MOST)
            }
            Makes::Replaced => (size(0).saturating_add(rows).saturating_mul(wide(2).max(1)), MOST),
            Makes::Joined => {
                // An empty text takes four bytes of a list.
                let items = size(0).div_euclid(4).saturating_add(1);
                (items.saturating_mul(wide(1).saturating_add(wide(2))).saturating_add(size(0)), MOST)
            }
            Makes::Formatted => (size(1).saturating_mul(16), MOST),
            Makes::Pairs => (size(0).saturating_mul(wide(1)), PAIRS),
        };
        within(estimate, most, self.inner.name())?;
        let constants = args.args.iter().all(scalar) && self.makes != Makes::Pairs;
        if constants { folds(estimate) } else { Ok(()) }
    }
}

fn within(estimate: usize, most: usize, name: &str) -> Result<()> {
    if estimate > most {
        return Err(DataFusionError::ResourcesExhausted(format!("{name}() would make more than {most}")));
    }
    Ok(())
}

fn scalar(value: &ColumnarValue) -> bool {
    matches!(value, ColumnarValue::Scalar(_))
}

fn bytes(value: &ColumnarValue, rows: usize) -> usize {
    match value {
        ColumnarValue::Array(array) => total(array.as_ref()),
        ColumnarValue::Scalar(value) => payload(value).saturating_mul(rows),
    }
}

/// The widest value of a column.
fn width(value: &ColumnarValue) -> usize {
    match value {
        ColumnarValue::Array(array) => widest(array.as_ref(), true),
        ColumnarValue::Scalar(value) => payload(value),
    }
}

/// The largest number of a column; what is no number counts nothing.
fn largest(value: &ColumnarValue) -> usize {
    let of = |value: &ScalarValue| match value.cast_to(&DataType::Int64) {
        Ok(ScalarValue::Int64(Some(number))) => usize::try_from(number.unsigned_abs()).unwrap_or(usize::MAX),
        _ => 0,
    };
    match value {
        ColumnarValue::Scalar(
            ScalarValue::Utf8(_) | ScalarValue::Utf8View(_) | ScalarValue::LargeUtf8(_),
        ) => 0,
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
