//! Levels as data: which privileges each bundles.

use std::collections::{HashMap, HashSet};

use crate::access::{LEVELS, Privilege, is_level};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("levels file, line {line}: {problem}")]
pub struct LevelsError {
    pub line: u64,
    pub problem: String,
}

/// Which privileges a level gives. `ALL` gives every privilege; a privilege's name gives just itself.
#[derive(Debug, Clone)]
pub struct Levels {
    bundles: HashMap<String, HashSet<Privilege>>,
}

impl Levels {
    /// The levels as shipped in `policies/levels.csv`.
    pub fn builtin() -> Result<Self, LevelsError> {
        Self::parse(include_str!("../../policies/levels.csv"))
    }

    /// Parses `level,privilege` lines. Every level must be there, and none that is unknown.
    pub fn parse(text: &str) -> Result<Self, LevelsError> {
        let mut bundles: HashMap<String, HashSet<Privilege>> = HashMap::new();
        let mut reader =
            csv::ReaderBuilder::new().comment(Some(b'#')).trim(csv::Trim::All).from_reader(text.as_bytes());
        for record in reader.records() {
            let record = record.map_err(|error| LevelsError {
                line: error.position().map_or(0, csv::Position::line),
                problem: error.to_string(),
            })?;
            let line = record.position().map_or(0, csv::Position::line);
            let refuse = |problem: String| LevelsError { line, problem };
            let (Some(level), Some(privilege), 2) = (record.get(0), record.get(1), record.len()) else {
                return Err(refuse("expected `level,privilege`".to_owned()));
            };
            if !LEVELS.contains(&level) {
                return Err(refuse(format!("`{level}` is not a level")));
            }
            let privilege = privilege.parse().map_err(|error| refuse(format!("{error}")))?;
            if !bundles.entry(level.to_owned()).or_default().insert(privilege) {
                return Err(refuse(format!("`{privilege}` is given twice for `{level}`")));
            }
        }
        for level in LEVELS {
            if !bundles.contains_key(level) {
                return Err(LevelsError { line: 0, problem: format!("`{level}` is missing") });
            }
        }
        if let Some(edit) = bundles.get("CAN_EDIT").cloned() {
            bundles.insert("CAN_RUN".to_owned(), edit);
        }
        bundles.insert("ALL".to_owned(), Privilege::ALL.iter().copied().collect());
        Ok(Self { bundles })
    }

    /// Whether a grant of `named` (a level, `ALL` or a privilege) gives `privilege`. Unknown gives nothing.
    pub fn gives(&self, named: &str, privilege: Privilege) -> bool {
        if is_level(named) {
            self.bundles.get(named).is_some_and(|bundle| bundle.contains(&privilege))
        } else {
            named == privilege.as_str()
        }
    }

    /// The levels that give a privilege, least first, for "what would help".
    pub fn giving(&self, privilege: Privilege) -> Vec<&'static str> {
        LEVELS.into_iter().filter(|level| self.gives(level, privilege)).collect()
    }
}
