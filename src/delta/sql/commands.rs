//! Statements that do something besides reading.

use datafusion::sql::sqlparser::tokenizer::TokenWithSpan;

use super::{Command, SqlError};

pub(super) fn read(_text: &str, _tokens: Vec<TokenWithSpan>) -> Result<Command, SqlError> {
    Err(SqlError::Statement("this statement is not done here".to_owned()))
}
