//! What names, keys, aliases and version numbers may be, in MLflow's words.

use super::super::names::{self, NAME_LIMIT, check_length as length};
use super::super::pairs::Pair;
use super::super::problem::Problem;

/// Longest value of a tag, in characters.
const VALUE: usize = 100_000;
const ALIAS: usize = 255;
/// Longest name of a model, in characters: what an index of PostgreSQL surely takes.
const NAME: usize = 500;
/// The tag that holds the text of a prompt.
const PROMPT_TEXT: &str = "mlflow.prompt.text";

/// Checks the name of a model.
pub fn model(name: &str) -> Result<(), Problem> {
    if name.trim().is_empty() {
        return Err(Problem::invalid("Missing value for required parameter 'name'."));
    }
    if name.contains(['/', ':']) {
        return Err(Problem::invalid(format!(
            "Invalid model name '{name}'. Names cannot contain '/' or ':'."
        )));
    }
    // Any other character is fine here, so the name is checked for what it is as a path alone.
    names::check_path("name", name)
}

/// Checks the name of a model that is to be made.
pub fn made_model(name: &str) -> Result<(), Problem> {
    model(name)?;
    length("name", NAME, name)
}

/// Checks the name that a model is to get.
pub fn new_model(name: &str) -> Result<(), Problem> {
    if name.trim().is_empty() {
        return Err(Problem::invalid("Missing value for required parameter 'new_name'."));
    }
    made_model(name)
}

/// Checks the key of a tag.
pub fn tag_key(key: &str) -> Result<(), Problem> {
    names::check("key", key)
}

pub fn model_tag((key, value): &Pair) -> Result<(), Problem> {
    tag_key(key)?;
    length("key", NAME_LIMIT, key)?;
    length("value", VALUE, value)
}

pub fn version_tag((key, value): &Pair) -> Result<(), Problem> {
    tag_key(key)?;
    length("key", NAME_LIMIT, key)?;
    if key == PROMPT_TEXT && length("value", VALUE, value).is_err() {
        return Err(Problem::invalid(format!("Prompt text exceeds max length of {VALUE} characters.")));
    }
    length("value", VALUE, value)
}

/// Checks an alias that is looked for.
pub fn alias(alias: &str) -> Result<(), Problem> {
    let line = alias.strip_suffix('\n').unwrap_or(alias);
    if !line.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-')) {
        return Err(Problem::invalid(format!(
            "Invalid alias name: '{alias}'. Names may only contain alphanumerics, underscores (_), and dashes (-)."
        )));
    }
    length("Registered model alias name", ALIAS, alias)
}

/// Checks an alias that is given.
pub fn new_alias(name: &str) -> Result<(), Problem> {
    alias(name)?;
    if name.to_lowercase() == "latest" {
        return Err(Problem::invalid("'latest' alias name (case insensitive) is reserved."));
    }
    let digits = name.strip_suffix('\n').unwrap_or(name).strip_prefix(['v', 'V']);
    if digits.is_some_and(|digits| !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit())) {
        return Err(Problem::invalid(format!("Version alias name '{name}' is reserved.")));
    }
    Ok(())
}

/// The number of a version, read as Python reads whole numbers.
pub fn version(text: &str) -> Result<i64, Problem> {
    let refuse = || Problem::invalid(format!("Parameter 'version' must be an integer, got '{text}'."));
    let trimmed = text.trim();
    let digits = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
    let plain = !digits.is_empty()
        && digits.split('_').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    if !plain {
        return Err(refuse());
    }
    // No version has a number that does not fit.
    Ok(trimmed.replace('_', "").parse().unwrap_or(i64::MAX))
}

pub fn no_model(name: &str) -> Problem {
    Problem::missing(format!("Registered Model with name={name} not found"))
}

pub fn no_version(name: &str, version: i64) -> Problem {
    Problem::missing(format!("Model Version (name={name}, version={version}) not found"))
}
