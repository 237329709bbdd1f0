//! The media type of an artifact, guessed from its name as MLflow's server guesses it. What a person may want
//! to read is plain text, whatever it is.

use std::collections::HashMap;
use std::sync::LazyLock;

const TEXT: &[&str] = &[
    "txt",
    "log",
    "err",
    "cfg",
    "conf",
    "cnf",
    "cf",
    "ini",
    "properties",
    "prop",
    "hocon",
    "toml",
    "yaml",
    "yml",
    "xml",
    "json",
    "js",
    "py",
    "py3",
    "csv",
    "tsv",
    "md",
    "rst",
    "ipynb",
    "MLmodel",
    "MLproject",
];
/// Suffixes that say how a file is packed: the type is that of what is packed.
const PACKED: &[&str] = &["gz", "Z", "bz2", "xz", "br"];
const UNKNOWN: &str = "application/octet-stream";

static TYPES: LazyLock<HashMap<&'static str, &'static str>> = LazyLock::new(|| {
    let lines = include_str!("media_types.txt").lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(' ')).collect()
});

pub(super) fn guess(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or(path);
    let (stem, suffix) = split(name);
    if TEXT.contains(&suffix.unwrap_or(name)) {
        return "text/plain";
    }
    let suffix = match suffix {
        Some("tgz" | "taz" | "tz" | "tbz2" | "txz") => Some("tar"),
        Some("svgz") => Some("svg"),
        Some(packed) if PACKED.contains(&packed) => split(stem).1,
        other => other,
    };
    let Some(suffix) = suffix else { return UNKNOWN };
    TYPES.get(suffix).or_else(|| TYPES.get(suffix.to_ascii_lowercase().as_str())).copied().unwrap_or(UNKNOWN)
}

/// A name and its suffix; `.bashrc` has none.
fn split(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once('.') {
        Some((stem, suffix)) if !stem.trim_start_matches('.').is_empty() && !suffix.is_empty() => {
            (stem, Some(suffix))
        }
        _ => (name, None),
    }
}

#[cfg(test)]
mod tests {
    use super::guess;

    #[test]
    fn names_have_the_types_that_mlflow_gives_them() {
        for (name, media_type) in [
            ("12/r/a.json", "text/plain"),
            ("MLmodel", "text/plain"),
            ("model/x.MLmodel", "text/plain"),
            ("a.html", "text/html"),
            ("A.PNG", "image/png"),
            ("a.tar.gz", "application/x-tar"),
            ("a.tgz", "application/x-tar"),
            ("a.json.gz", "application/json"),
            ("a.pkl", "application/octet-stream"),
            ("plain", "application/octet-stream"),
            (".json", "application/octet-stream"),
            ("a.gz", "application/octet-stream"),
            ("d.json/plain", "application/octet-stream"),
        ] {
            assert_eq!(guess(name), media_type, "{name}");
        }
    }
}
