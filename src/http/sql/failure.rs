//! How a statement failed, in the codes that clients of the Statement Execution API know.

use crate::app::statements::Failure;
use crate::http::error::{CatalogFault, Refusal};
use crate::lake::LakeError;
use crate::lake::sql::{Refused, SqlError};

pub(super) fn bad(sql_state: &'static str, message: String) -> Failure {
    Failure { code: "BAD_REQUEST", sql_state, message }
}

pub(super) fn of_sql(error: SqlError) -> Failure {
    match error {
        SqlError::Refused(refused) => of_refused(&refused),
        SqlError::Statement(problem) if problem.starts_with('[') => bad("42601", problem),
        SqlError::Statement(problem) => bad("42601", format!("[INVALID_STATEMENT] {problem}")),
        SqlError::Exhausted(problem) => {
            Failure { code: "RESOURCE_EXHAUSTED", sql_state: "53000", message: problem }
        }
        SqlError::Lake(error) => of_lake(error),
        SqlError::Internal(problem) => internal(&problem),
    }
}

pub(super) fn of_refused(refused: &Refused) -> Failure {
    match refused {
        Refused::Missing(_) => bad("42P01", refused.to_string()),
        Refused::Denied(_) => bad("42501", refused.to_string()),
        Refused::Unavailable(problem) => {
            Failure { code: "TEMPORARILY_UNAVAILABLE", sql_state: "58000", message: problem.clone() }
        }
    }
}

/// What lies where is nothing for who reads.
pub(super) fn of_lake(error: LakeError) -> Failure {
    match error {
        LakeError::Malformed(problem) => bad("22000", format!("[INVALID_ROWS] {problem}")),
        LakeError::Unsupported(problem) => bad("0A000", format!("[UNSUPPORTED_TABLE] {problem}")),
        LakeError::NoTable(place) => {
            tracing::warn!(place, "a table of the catalog has no data");
            bad("42K03", "[DELTA_TABLE_NOT_FOUND] the table has no data: its files are not there".to_owned())
        }
        LakeError::Internal(problem) => internal(&problem),
        other => {
            tracing::error!(error = %other, "the lake failed");
            Failure {
                code: "TEMPORARILY_UNAVAILABLE",
                sql_state: "58030",
                message: "the tables cannot be reached or written to now; run the statement again".to_owned(),
            }
        }
    }
}

fn internal(problem: &str) -> Failure {
    tracing::error!(problem, "a statement failed inside Tracegate");
    Failure { code: "INTERNAL_ERROR", sql_state: "XX000", message: "internal error".to_owned() }
}

/// A command that was refused failed; what has nothing to do with it is an error of the call.
pub(super) fn of_refusal(refusal: Refusal) -> Result<Failure, Refusal> {
    match refusal {
        Refusal::Catalog { fault, code, message } => Ok(match fault {
            CatalogFault::Missing => {
                let state = if code.starts_with("TABLE_") { "42P01" } else { "42704" };
                bad(state, format!("[{}] {message}", code.replace("DOES_NOT_EXIST", "NOT_FOUND")))
            }
            CatalogFault::Denied => bad("42501", format!("[INSUFFICIENT_PERMISSIONS] {message}")),
            CatalogFault::Taken => {
                Failure { code: "ALREADY_EXISTS", sql_state: "42P07", message: format!("[{code}] {message}") }
            }
            CatalogFault::Refused => bad("2BP01", format!("[{code}] {message}")),
            CatalogFault::Away => Failure { code: "TEMPORARILY_UNAVAILABLE", sql_state: "58000", message },
        }),
        Refusal::Malformed(problem) => Ok(bad("42601", format!("[INVALID_STATEMENT] {problem}"))),
        Refusal::Denied(message) => Ok(bad("42501", format!("[INSUFFICIENT_PERMISSIONS] {message}"))),
        other => Err(other),
    }
}
