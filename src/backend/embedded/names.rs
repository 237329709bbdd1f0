//! MLflow's rules for the names of tags, parameters and metrics, and for the length of what is stored.

use super::problem::Problem;
use super::python;

/// Characters of a name of a tag, a parameter or a metric.
pub const NAME_LIMIT: usize = 250;

/// A name holds word characters and `/.-: ` alone and is its own normal form as a path. `path` is what the
/// message calls it.
pub fn check(path: &str, name: &str) -> Result<(), Problem> {
    if !name.chars().all(|c| c.is_alphanumeric() || "_/.-: ".contains(c)) {
        return refuse(
            path,
            name,
            "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), \
             colon(:) and slashes (/).",
        );
    }
    check_path(path, name)
}

/// A name is its own normal form as a path, one that leads nowhere else.
pub fn check_path(path: &str, name: &str) -> Result<(), Problem> {
    let normal = normal_path(name);
    if normal != name || normal == "." || normal.starts_with("..") || normal.starts_with('/') {
        return refuse(
            path,
            name,
            &format!(
                "Names may be treated as files in certain cases, and must not resolve to other names when \
                 treated as such. This name would resolve to {}",
                python::repr(&normal)
            ),
        );
    }
    Ok(())
}

fn refuse(path: &str, name: &str, why: &str) -> Result<(), Problem> {
    Err(Problem::invalid(format!(
        "Invalid value {} for parameter '{path}' supplied: {why}",
        python::json_text(name)
    )))
}

/// Refuses a text of more characters than the limit.
pub fn check_length(path: &str, limit: usize, text: &str) -> Result<(), Problem> {
    if text.len() > limit && text.chars().count() > limit {
        return Err(Problem::invalid(format!("'{path}' exceeds the maximum length of {limit} characters")));
    }
    Ok(())
}

/// The first characters of a text: what MLflow keeps of a value that is too long.
pub fn cut(limit: usize, text: &str) -> &str {
    match text.char_indices().nth(limit) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// The path without `.`, `..` and doubled slashes, as POSIX resolves them; two slashes at the start stay.
fn normal_path(path: &str) -> String {
    let root = match path.bytes().take_while(|byte| *byte == b'/').count() {
        0 => "",
        2 => "//",
        _ => "/",
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        let above = parts.last().is_none_or(|last| *last == "..");
        if part != ".." || (root.is_empty() && above) {
            parts.push(part);
        } else {
            parts.pop();
        }
    }
    let normal = format!("{root}{}", parts.join("/"));
    if normal.is_empty() { ".".to_owned() } else { normal }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_resolved_as_posix_does() {
        for (path, normal) in [
            ("a/b", "a/b"),
            ("", "."),
            (".", "."),
            ("a/../b", "b"),
            ("../a", "../a"),
            ("a/../..", ".."),
            ("/..", "/"),
            ("//a", "//a"),
            ("///a//b/", "/a/b"),
            ("./a", "a"),
        ] {
            assert_eq!(normal_path(path), normal);
        }
    }

    #[test]
    fn names_are_words_that_are_no_paths_to_elsewhere() {
        for name in ["a", "a b", "mlflow.user", "x/y-z:1", "größe", "a..b"] {
            assert_eq!(check("key", name), Ok(()), "{name}");
        }
        for name in ["", "a/../b", "/a", "..", "a\u{0}", "a%", "a\"b", "a/"] {
            assert!(check("key", name).is_err(), "{name}");
        }
        assert_eq!(
            check("key", "é%").unwrap_err().message,
            "Invalid value \"\\u00e9%\" for parameter 'key' supplied: Names may only contain alphanumerics, \
             underscores (_), dashes (-), periods (.), spaces ( ), colon(:) and slashes (/)."
        );
    }

    #[test]
    fn lengths_count_characters() {
        assert_eq!(check_length("value", 3, "äöü"), Ok(()));
        assert_eq!(
            check_length("value", 3, "äöüx").unwrap_err().message,
            "'value' exceeds the maximum length of 3 characters"
        );
        assert_eq!(cut(2, "äöü"), "äö");
    }
}
