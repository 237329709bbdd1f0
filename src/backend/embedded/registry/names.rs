//! What names, keys, aliases and version numbers may be, in MLflow's words.

use super::super::pairs::Pair;
use super::super::problem::Problem;
use super::super::python;

/// Tags: longest key and value, in characters.
const KEY: usize = 250;
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
    no_other_path("name", name)?;
    length("name", NAME, name)
}

/// Checks the name that a model is to get.
pub fn new_model(name: &str) -> Result<(), Problem> {
    if name.trim().is_empty() {
        return Err(Problem::invalid("Missing value for required parameter 'new_name'."));
    }
    model(name)
}

/// Checks the key of a tag.
pub fn tag_key(key: &str) -> Result<(), Problem> {
    // A Python `$` lets a newline follow.
    let line = key.strip_suffix('\n').unwrap_or(key);
    if !line.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '/' | '.' | '-' | ' ' | ':')) {
        return Err(Problem::invalid(format!(
            "Invalid value {} for parameter 'key' supplied: Names may only contain alphanumerics, underscores \
             (_), dashes (-), periods (.), spaces ( ), colon(:) and slashes (/).",
            python::json_text(key)
        )));
    }
    no_other_path("key", key)
}

pub fn model_tag((key, value): &Pair) -> Result<(), Problem> {
    tag_key(key)?;
    length("key", KEY, key)?;
    length("value", VALUE, value)
}

pub fn version_tag((key, value): &Pair) -> Result<(), Problem> {
    tag_key(key)?;
    length("key", KEY, key)?;
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
    let plain = !digits.is_empty() && digits.split('_').all(|part| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())
    });
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

fn length(what: &str, limit: usize, text: &str) -> Result<(), Problem> {
    // Bytes first: counting the characters of every long text would be wasted.
    if text.len() <= limit || text.chars().nth(limit).is_none() {
        return Ok(());
    }
    Err(Problem::invalid(format!("'{what}' exceeds the maximum length of {limit} characters")))
}

/// A name may become part of a path, where it must stay the same name.
fn no_other_path(parameter: &str, name: &str) -> Result<(), Problem> {
    let normal = normal_path(name);
    if normal == name && normal != "." && !normal.starts_with("..") && !normal.starts_with('/') {
        return Ok(());
    }
    Err(Problem::invalid(format!(
        "Invalid value {} for parameter '{parameter}' supplied: Names may be treated as files in certain cases, \
         and must not resolve to other names when treated as such. This name would resolve to {}",
        python::json_text(name),
        python::repr(&normal)
    )))
}

/// A path without empty parts, `.` and what `..` takes back. Two leading slashes stay two.
fn normal_path(path: &str) -> String {
    let root = match path.bytes().take_while(|byte| *byte == b'/').count() {
        0 => "",
        2 => "//",
        _ => "/",
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').filter(|part| !matches!(*part, "" | ".")) {
        match parts.last() {
            _ if part != ".." => parts.push(part),
            Some(&"..") => parts.push(part),
            None if root.is_empty() => parts.push(part),
            _ => {
                parts.pop();
            }
        }
    }
    let normal = format!("{root}{}", parts.join("/"));
    if normal.is_empty() { ".".to_owned() } else { normal }
}
