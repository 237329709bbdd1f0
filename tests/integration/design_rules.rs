//! Rules of the design that are read off the source, beside the layers (those are held by `src/layers.rs`).

use std::path::Path;

/// The only file that turns outcomes into status codes of our own.
const STATUS_OWNER: &str = "http/error.rs";
/// Passes on the status that a reply already has.
const PASSES_ON: &str = "http/convert.rs";

/// Lines of a file under `http` that pick a status code.
fn picked(name: &str, source: &str) -> Vec<String> {
    if !name.starts_with("http/") || name == STATUS_OWNER || name == PASSES_ON {
        return Vec::new();
    }
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    let picks = |line: &&str| line.contains("StatusCode::") || line.contains("HttpResponse::");
    code.filter(picks).map(|line| format!("{name}: {}", line.trim())).collect()
}

fn sources(directory: &Path, below: &str, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{below}{}", path.file_name().unwrap().to_string_lossy());
        if path.is_dir() {
            sources(&path, &format!("{name}/"), found);
        } else if name.ends_with(".rs") {
            found.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn one_file_picks_status_codes_no_module_is_called_mod_and_main_is_short() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut files);
    assert!(files.len() > 100, "{}", files.len());
    let picked: Vec<String> = files.iter().flat_map(|(name, source)| picked(name, source)).collect();
    assert!(picked.is_empty(), "{}", picked.join("\n"));
    assert!(files.iter().all(|(name, _)| !name.ends_with("/mod.rs")));
    let (_, main) = files.iter().find(|(name, _)| name == "main.rs").unwrap();
    assert!(main.lines().count() < 80);
}

#[test]
fn a_status_code_picked_elsewhere_is_found() {
    for line in ["return HttpResponse::Forbidden().finish();", "let s = StatusCode::FORBIDDEN;"] {
        assert_eq!(picked("http/own/grants.rs", line).len(), 1);
        assert!(picked(STATUS_OWNER, line).is_empty());
    }
    assert!(picked("http/own.rs", "// StatusCode::OK is not ours to pick").is_empty());
}
