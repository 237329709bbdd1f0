//! Errors of the engine in words for the caller. What a row holds, and where a file lies, is in none of them.

use arrow::error::ArrowError;
use datafusion::common::DataFusionError;

use super::syntax::short;
use super::{Refused, SqlError};

/// What a statement is planned with: its tables are open, none of their rows was read.
pub(super) fn planning(error: DataFusionError) -> SqlError {
    match innermost(error) {
        DataFusionError::External(inner) => external(inner),
        DataFusionError::Plan(text) | DataFusionError::NotImplemented(text) => SqlError::Statement(plain(&text)),
        DataFusionError::SchemaError(error, _) => SqlError::Statement(plain(&error.to_string())),
        DataFusionError::SQL(error, _) => super::syntax::wrong(*error),
        DataFusionError::ResourcesExhausted(_) => SqlError::Exhausted("[RESOURCE_EXHAUSTED] the statement needs more memory than it may use".to_owned()),
        // Constants are computed while a plan is made.
        DataFusionError::ArrowError(error, _) => arrow(&error, true),
        DataFusionError::Execution(text) => SqlError::Statement(plain(&text)),
        DataFusionError::Configuration(_) => SqlError::Statement("this is not done here".to_owned()),
        other => inner(&other),
    }
}

/// What running it failed with. `hidden`: rows or values of a table are kept from the caller, so not even what a
/// value looks like is told.
pub(super) fn running(error: DataFusionError, hidden: bool) -> SqlError {
    match innermost(error) {
        DataFusionError::External(inner) => external(inner),
        DataFusionError::ResourcesExhausted(_) => SqlError::Exhausted("[RESOURCE_EXHAUSTED] the statement needs more memory than it may use".to_owned()),
        DataFusionError::ArrowError(error, _) => arrow(&error, !hidden),
        DataFusionError::Execution(text) if !hidden && !text.contains('/') => SqlError::Statement(plain(&text)),
        DataFusionError::Execution(_) => computed(),
        other => inner(&other),
    }
}

fn innermost(error: DataFusionError) -> DataFusionError {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => innermost(*inner),
        DataFusionError::Collection(mut all) if !all.is_empty() => innermost(all.swap_remove(0)),
        DataFusionError::ArrowError(error, trace) => match *error {
            ArrowError::ExternalError(inner) => match inner.downcast::<DataFusionError>() {
                Ok(inner) => innermost(*inner),
                Err(inner) => DataFusionError::External(inner),
            },
            error => DataFusionError::ArrowError(Box::new(error), trace),
        },
        DataFusionError::External(inner) => match inner.downcast::<DataFusionError>() {
            Ok(inner) => innermost(*inner),
            Err(inner) => DataFusionError::External(inner),
        },
        DataFusionError::Shared(shared) => match shared.as_ref() {
            DataFusionError::ResourcesExhausted(text) => DataFusionError::ResourcesExhausted(text.clone()),
            DataFusionError::Execution(text) => DataFusionError::Execution(text.clone()),
            DataFusionError::Plan(text) => DataFusionError::Plan(text.clone()),
            DataFusionError::ArrowError(..) => DataFusionError::Execution("/".to_owned()),
            _ => DataFusionError::Internal(String::new()),
        },
        other => other,
    }
}

fn external(error: Box<dyn std::error::Error + Send + Sync>) -> SqlError {
    match error.downcast::<SqlError>() {
        Ok(ours) => *ours,
        Err(error) => match error.downcast::<Refused>() {
            Ok(refused) => SqlError::Refused(*refused),
            Err(_) => SqlError::Internal("the table's storage could not be read".to_owned()),
        },
    }
}

fn arrow(error: &ArrowError, tell: bool) -> SqlError {
    match error {
        ArrowError::MemoryError(_) => {
            SqlError::Exhausted("[RESOURCE_EXHAUSTED] the statement needs more memory than it may use".to_owned())
        }
        ArrowError::DivideByZero => SqlError::Statement("[DIVIDE_BY_ZERO] division by zero".to_owned()),
        ArrowError::CastError(text)
        | ArrowError::ComputeError(text)
        | ArrowError::ParseError(text)
        | ArrowError::ArithmeticOverflow(text)
        | ArrowError::InvalidArgumentError(text)
            if tell && !text.contains('/') =>
        {
            SqlError::Statement(plain(text))
        }
        ArrowError::CastError(_)
        | ArrowError::ComputeError(_)
        | ArrowError::ParseError(_)
        | ArrowError::ArithmeticOverflow(_)
        | ArrowError::InvalidArgumentError(_)
        | ArrowError::JsonError(_)
        | ArrowError::CsvError(_) => computed(),
        _ => SqlError::Internal("the table's storage could not be read".to_owned()),
    }
}

fn computed() -> SqlError {
    SqlError::Statement(
        "a value could not be computed: a cast, a division, an overflow or a wrong argument. try_cast() gives NULL \
         instead"
            .to_owned(),
    )
}

fn inner(error: &DataFusionError) -> SqlError {
    match error {
        DataFusionError::ParquetError(_) | DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => {
            SqlError::Internal("the table's storage could not be read".to_owned())
        }
        _ => SqlError::Internal("the statement could not be run".to_owned()),
    }
}

/// The first line, without what the engine says about itself.
fn plain(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    short(line.split("This issue was likely caused by a bug").next().unwrap_or_default().trim())
}
