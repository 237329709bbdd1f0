//! Paths of artifacts as callers give them.

use super::elsewhere;
use crate::backend::embedded::problem::Problem;
use crate::objects;

/// A caller's path in the form in which objects have it, without needless slashes; refused if it could mean
/// anything outside of what it is joined to.
pub(in crate::backend::embedded) fn safe(path: &str) -> Result<String, Problem> {
    let mut characters = path.chars();
    let windows_drive = characters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && characters.next() == Some(':')
        && matches!(characters.next(), Some('/' | '\\'));
    if path.contains('#') || path.starts_with(['/', '\\']) || windows_drive {
        return Err(Problem::invalid("Invalid path"));
    }
    let segments: Vec<&str> = path.split('/').filter(|segment| !matches!(*segment, "" | ".")).collect();
    let joined = segments.join("/");
    if segments.contains(&"..") || objects::is_reserved(&joined) {
        return Err(Problem::invalid("Invalid path"));
    }
    Ok(joined)
}

/// The object directory of an artifact URI, such as that of a run.
pub(in crate::backend::embedded) fn location(uri: &str) -> Result<String, Problem> {
    let rest = uri.strip_prefix("mlflow-artifacts:").ok_or_else(|| elsewhere(uri))?;
    let path = match rest.strip_prefix("//") {
        Some(with_host) => with_host.split_once('/').map_or("", |(_, path)| path),
        None => rest,
    };
    safe(path.trim_start_matches('/'))
}

/// `name` in `directory`; either may be empty.
pub(super) fn below(directory: &str, name: &str) -> String {
    match (directory, name) {
        ("", only) | (only, "") => only.to_owned(),
        _ => format!("{directory}/{name}"),
    }
}
