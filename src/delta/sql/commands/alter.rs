//! ALTER: owners, columns, row filters and masks.

use super::{Applied, Words, one_word};
use crate::sql::{Command, SqlError};

impl Words<'_> {
    pub(super) fn alter(&mut self) -> Result<Command, SqlError> {
        let kind =
            self.reader.one_of(&["CATALOG", "SCHEMA", "DATABASE", "TABLE", "VIEW", "VOLUME", "FUNCTION"])?;
        let name = self.reader.name()?;
        if self.reader.words("OWNER TO") || self.reader.words("SET OWNER TO") {
            let owner = self.principal()?;
            return Ok(Command::SetOwner { kind: one_word(kind), name, owner });
        }
        if kind == "TABLE" {
            if self.reader.words("SET ROW FILTER") {
                let filter = self.applied(None)?;
                return Ok(Command::SetRowFilter { table: name, filter: Some(filter) });
            }
            if self.reader.words("DROP ROW FILTER") {
                return Ok(Command::SetRowFilter { table: name, filter: None });
            }
            if self.reader.words("ADD COLUMNS") || self.reader.words("ADD COLUMN") {
                return Ok(Command::AddColumns { table: name, columns: self.added_columns()? });
            }
            if self.reader.words("ALTER COLUMN") || self.reader.words("ALTER") {
                let column = self.reader.identifier()?.to_lowercase();
                if self.reader.words("SET MASK") {
                    let mask = self.applied(Some(&column))?;
                    return Ok(Command::SetMask { table: name, column, mask: Some(mask) });
                }
                self.reader.expect("DROP MASK")?;
                return Ok(Command::SetMask { table: name, column, mask: None });
            }
        }
        Err(SqlError::Statement(format!(
            "this change of a {} is not done here. What is: OWNER TO, and for tables ADD COLUMN, SET and DROP \
             ROW FILTER and, for their columns, SET and DROP MASK",
            kind.to_lowercase()
        )))
    }

    /// `function ON (columns)`, or for a mask `function USING COLUMNS (columns)`, the masked column coming first.
    fn applied(&mut self, masked: Option<&str>) -> Result<Applied, SqlError> {
        let function = self.reader.name()?;
        let columns = match masked {
            None => {
                self.reader.expect("ON")?;
                self.reader.list()?
            }
            Some(column) => {
                let mut columns = vec![column.to_owned()];
                if self.reader.words("USING COLUMNS") {
                    columns.extend(self.reader.list()?);
                }
                columns
            }
        };
        Ok((function, columns))
    }

    /// A principal's name as it is: people, groups and services are not folded.
    pub(super) fn principal(&mut self) -> Result<String, SqlError> {
        let name = self.reader.identifier()?;
        if name.is_empty() { Err(self.reader.unexpected("a principal")) } else { Ok(name) }
    }
}
