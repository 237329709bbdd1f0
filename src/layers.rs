//! Holds the code to its layers: which module may import which, and which module owns which dependency.
//! `docs/ARCHITECTURE.md` says why; this test says where it is broken. Tests may import what they like.

use std::fs;
use std::path::Path;

const LOWEST: &[&str] = &["access", "clock", "wire"];
const WITH_CONFIG: &[&str] = &["access", "clock", "wire", "config"];
const WITH_STORE: &[&str] = &["access", "clock", "wire", "config", "store"];
const BELOW_APP: &[&str] = &[
    "access",
    "clock",
    "wire",
    "config",
    "telemetry",
    "store",
    "identity",
    "classify",
    "policy",
    "audit",
    "seal",
    "keys",
    "limits",
    "objects",
    "backend",
    "lake",
];

/// What a module may import of ours; what is not listed may import nothing.
fn may_import(module: &str, other: &str) -> bool {
    let allowed: &[&str] = match module {
        "access" => &["clock"],
        "config" => LOWEST,
        "telemetry" | "database" => WITH_CONFIG,
        "store" => &["access", "clock", "wire", "config", "database"],
        // Imports nothing of ours, so that any layer may seal.
        "seal" => &[],
        "keys" => &["clock", "config", "store", "seal"],
        "identity" => &["access", "clock", "wire", "config", "store", "seal", "keys"],
        "classify" | "policy" | "audit" | "limits" => WITH_STORE,
        // Objects by path, for whatever keeps some: our own store and the volumes.
        "objects" => &["wire"],
        "backend" => &["access", "clock", "wire", "config", "database", "objects", "policy"],
        "lake" => &["access", "clock", "wire", "config", "policy"],
        "app" => BELOW_APP,
        // Beside `app`: of a gateway it has what lies on the disk, and runs none.
        "backup" => &["access", "audit", "backend", "clock", "config", "database", "store"],
        "http" => return matches!(other, "http" | "app") || BELOW_APP.contains(&other),
        "cli" => return true,
        _ => &[],
    };
    // A secret may pass through every layer.
    module == other || other == "secret" || allowed.contains(&other)
}

/// A dependency, and the only modules that may name it.
const OWNERS: &[(&str, &[&str])] = &[
    ("actix_web", &["http", "cli"]),
    ("actix_rt", &["backend"]),
    ("actix_service", &["backend", "http"]),
    ("actix_tls", &["backend"]),
    ("awc", &["backend"]),
    ("actix_http", &["http"]),
    ("actix_server", &["http"]),
    ("h2", &["http"]),
    ("http02", &["http"]),
    ("tokio_rustls", &["http"]),
    ("x509_parser", &["identity"]),
    ("rustls", &["backend", "http"]),
    ("socket2", &["backend"]),
    ("casbin", &["policy"]),
    ("object_store", &["objects"]),
    ("opentelemetry_proto", &["backend"]),
    ("prost", &["backend"]),
    ("jiff", &["backend", "http", "objects"]),
    ("csv", &["policy", "cli"]),
    ("hashbrown", &["policy"]),
    ("regex", &["backend"]),
    ("sqlx", &["database", "store", "backend"]),
    ("jsonwebtoken", &["identity"]),
    ("quick_xml", &["objects"]),
    ("reqwest", &["identity", "audit", "objects", "cli"]),
    ("aws_lc_rs", &["audit"]),
    ("flate2", &["wire"]),
    ("graphql_parser", &["classify"]),
    ("chacha20poly1305", &["seal"]),
    ("toml", &["config"]),
    ("opentelemetry", &["telemetry"]),
    ("opentelemetry_otlp", &["telemetry"]),
    ("opentelemetry_sdk", &["telemetry"]),
    ("prometheus_client", &["telemetry"]),
    ("tracing_opentelemetry", &["telemetry"]),
    ("tracing_subscriber", &["telemetry"]),
    ("clap", &["cli", "main"]),
    ("serde_saphyr", &["cli"]),
    ("tracegate_delta", &["lake"]),
];

/// What a file of a module does that its layer may not.
fn broken(module: &str, source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in source.lines().filter(|line| !line.trim_start().starts_with("//")) {
        for rest in line.split("crate::").skip(1) {
            let other = name_at_start(rest);
            if rest.starts_with('{') {
                found.push(format!("imports several modules in one `use`: {}", line.trim()));
            } else if !other.is_empty() && !may_import(module, other) && !is_item_of_root(other) {
                found.push(format!("imports `{other}`"));
            } else if matches!(module, "backend" | "lake")
                && other == "policy"
                && !rest.starts_with("policy::Permit")
            {
                found.push(format!("imports more of `policy` than its permit: {}", line.trim()));
            }
        }
        for (dependency, owners) in OWNERS {
            if !owners.contains(&module) && names(line, dependency) {
                found.push(format!("names `{dependency}`, which belongs to {owners:?}"));
            }
        }
    }
    found
}

fn name_at_start(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// `$crate::` in a macro, and the like: nothing of ours has a capital letter.
fn is_item_of_root(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
}

/// Whether a line has `dependency::`, not as the end of a longer name.
fn names(line: &str, dependency: &str) -> bool {
    let path = format!("{dependency}::");
    line.match_indices(&path)
        .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':'))
}

/// The part of a file that is not for tests; nothing if all of it is.
fn without_tests<'s>(path: &str, source: &'s str) -> &'s str {
    let for_tests = path.contains("/tests/")
        || path.contains("/policy/proof")
        || path.ends_with("/tests.rs")
        || path.contains("/test_")
        || path.ends_with("/testing.rs")
        || path.ends_with("/fuzz.rs")
        || path.contains("/fuzzing");
    if for_tests || path.ends_with("config/describe.rs") || path.ends_with("/layers.rs") {
        return "";
    }
    source.split("#[cfg(test)]\nmod tests {").next().unwrap()
}

fn visit(directory: &Path, found: &mut Vec<String>, root: &Path) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        // A crate of its own has none of ours to import.
        if path.join("Cargo.toml").is_file() {
            continue;
        }
        if path.is_dir() {
            visit(&path, found, root);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
            let module = name.split('/').next().unwrap().trim_end_matches(".rs");
            let source = without_tests(&format!("/{name}"), &source);
            found.extend(broken(module, source).into_iter().map(|problem| format!("src/{name} {problem}")));
        }
    }
}

#[test]
fn no_module_imports_what_its_layer_may_not() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    visit(&root, &mut found, &root);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_breach_would_be_found() {
    for (module, source) in [
        ("policy", "use crate::audit::Audit;"),
        ("access", "fn f() -> crate::wire::Body {"),
        ("store", "use crate::{access, http};"),
        ("backend", "use crate::policy::View;"),
        ("http", "use crate::cli::run;"),
        ("audit", "    let pool = sqlx::AnyPool::connect(url);"),
        ("backend", "use casbin::Enforcer;"),
        ("app", "pub use awc::Client;"),
    ] {
        assert_eq!(broken(module, source).len(), 1, "{module}: {source}");
    }
    for (module, source) in [
        ("policy", "use crate::store::PolicyState; // crate::audit"),
        ("audit", "//! See [`crate::store`] and `sqlx::Any`."),
        ("backend", "use crate::policy::Permit;"),
        ("store", "let x = my_casbin::y;"),
    ] {
        let module_breaks = broken(module, source.split(" // ").next().unwrap());
        assert!(module_breaks.is_empty(), "{module}: {module_breaks:?}");
    }
}
