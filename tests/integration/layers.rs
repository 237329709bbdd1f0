//! The layers of `src`, checked in the source: who may import whom, and who owns which dependency.
//!
//! A layer imports what lies below it and never beside it, but for the few that the table names; that is
//! what keeps a decision from knowing HTTP and a store from knowing callers.

use std::path::Path;

/// Each module of `src`, and the modules that it may name after `crate::`.
const LAYERS: [(&str, &[&str]); 18] = [
    ("access", &["clock"]),
    ("clock", &[]),
    ("wire", &[]),
    ("config", &["access", "clock"]),
    ("telemetry", &["access", "clock", "config"]),
    ("store", &["access", "clock", "config"]),
    ("seal", &["access", "clock", "store"]),
    ("identity", &["access", "clock", "wire", "config", "store"]),
    ("classify", &["access", "clock", "wire", "store"]),
    ("policy", &["access", "clock", "store", "config"]),
    ("audit", &["access", "clock", "config", "store"]),
    ("limits", &["access", "clock", "config", "store"]),
    // Forwarding takes a permit, and that is all a backend knows of policy.
    ("backend", &["access", "clock", "wire", "config", "policy::Permit"]),
    (
        "app",
        &[
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
            "limits",
            "seal",
            "backend",
        ],
    ),
    (
        "http",
        &[
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
            "limits",
            "seal",
            "backend",
            "app",
        ],
    ),
    ("cli", &["*"]),
    ("main", &["*"]),
    ("lib", &[]),
];

/// Each dependency, or path of the standard library, that has owners, and those owners.
const OWNERS: [(&str, &[&str]); 11] = [
    ("actix_web", &["http", "app", "cli/serve", "cli/demo"]),
    ("actix_rt", &["backend"]),
    ("awc", &["backend"]),
    ("actix_tls", &["backend"]),
    ("casbin", &["policy"]),
    ("sqlx", &["store"]),
    ("jsonwebtoken", &["identity"]),
    ("reqwest", &["identity", "cli", "telemetry"]),
    ("chacha20poly1305", &["seal"]),
    ("std::env", &["config"]),
    ("graphql_parser", &["classify"]),
];

/// The file that alone turns outcomes into status codes of our own.
const STATUS_OWNER: &str = "http/error";

/// What is wrong in one file; `name` is its path below `src` without `.rs`.
fn problems(name: &str, text: &str) -> Vec<String> {
    let module = name.split('/').next().unwrap();
    let allowed = LAYERS.iter().find(|(known, _)| *known == module).map(|(_, allowed)| *allowed);
    let Some(allowed) = allowed else { return vec![format!("{name}: `{module}` has no layer")] };
    let code = without_tests_and_comments(text);
    let mut problems = Vec::new();
    for path in paths_after(&code, "crate::") {
        let imported = path.split("::").next().unwrap();
        let fits = |allowed: &&str| {
            *allowed == "*" || *allowed == imported || allowed.contains("::") && path.starts_with(*allowed)
        };
        // The last words of a macro-exported path, or of `pub(in crate::…)`, name the module itself.
        if imported != module && !allowed.iter().any(fits) {
            problems.push(format!("{name}: `{module}` imports `crate::{path}`"));
        }
    }
    for (dependency, owners) in OWNERS {
        let owned = owners.iter().any(|owner| *owner == module || *owner == name);
        if !owned && !paths_after(&code, &format!("{dependency}::")).is_empty() {
            problems.push(format!("{name}: `{dependency}` belongs to {owners:?}"));
        }
    }
    if module == "http" && name != STATUS_OWNER {
        for line in
            code.lines().filter(|line| line.contains("StatusCode::") || line.contains("HttpResponse::"))
        {
            // `StatusCode::from_u16` passes on what was decided elsewhere.
            let passes_on = line.contains("StatusCode::from_u16") || name == "http/convert";
            if !passes_on {
                problems.push(format!("{name}: picks a status code: {}", line.trim()));
            }
        }
    }
    problems
}

/// Every path that begins with `prefix` where a path can begin; groups are taken apart one level deep.
fn paths_after(code: &str, prefix: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (start, _) in code.match_indices(prefix) {
        let before = code[..start].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = &code[start + prefix.len()..];
        let word = |text: &str| -> String {
            text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':').collect()
        };
        match rest.strip_prefix('{') {
            None => paths.push(word(rest)),
            Some(group) => {
                let mut depth = 0;
                let mut member = String::new();
                for c in group.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => paths.push(word(&std::mem::take(&mut member))),
                        _ => {}
                    }
                    if c != ',' || depth > 0 {
                        member.push(c);
                    }
                }
                paths.push(word(&member));
            }
        }
    }
    paths.retain(|path| !path.is_empty());
    paths
}

/// The code that runs: comments go, and so does what stands behind `#[cfg(test)]`, to its closing brace
/// or semicolon.
fn without_tests_and_comments(text: &str) -> String {
    let mut code: String = text
        .lines()
        .map(|line| {
            line.split_once("//").map_or(line, |(code, _)| if code.ends_with(':') { line } else { code })
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    while let Some(start) = code.find("#[cfg(test)]") {
        let rest = &code[start..];
        let (semicolon, brace) = (rest.find(';'), rest.find('{'));
        let end = match (semicolon, brace) {
            (Some(semicolon), Some(brace)) if semicolon < brace => semicolon + 1,
            (_, Some(brace)) => {
                let mut depth = 0;
                let closing = rest[brace..].char_indices().find(|(_, c)| {
                    depth += i32::from(*c == '{') - i32::from(*c == '}');
                    depth == 0
                });
                closing.map_or(rest.len(), |(end, _)| brace + end + 1)
            }
            (Some(semicolon), None) => semicolon + 1,
            (None, None) => rest.len(),
        };
        code.replace_range(start..start + end, "");
    }
    code
}

fn sources(directory: &Path, below: &str, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // Tests may stand on anything.
        if path.is_dir() && name != "tests" {
            sources(&path, &format!("{below}{name}/"), found);
        } else if let Some(stem) = name.strip_suffix(".rs").filter(|stem| *stem != "tests") {
            found.push((format!("{below}{stem}"), std::fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn no_layer_imports_what_it_may_not_and_every_dependency_stays_with_its_owner() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut files);
    assert!(files.len() > 100, "{}", files.len());
    let found: Vec<String> = files.iter().flat_map(|(name, text)| problems(name, text)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn there_is_no_mod_rs_and_main_is_short() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut files);
    assert!(files.iter().all(|(name, _)| !name.ends_with("/mod")));
    let (_, main) = files.iter().find(|(name, _)| name == "main").unwrap();
    assert!(main.lines().count() < 80);
}

#[test]
fn what_is_planted_is_found() {
    for (name, text) in [
        ("access/check", "use crate::store::Store;"),
        ("wire", "fn f(_: crate::access::Check) {}"),
        ("store/grants", "use crate::{\n    access::Grant,\n    policy::Policy,\n};"),
        ("identity/jwt", "use crate::policy::View;"),
        ("policy", "use crate::identity::Identity;"),
        ("classify", "pub(crate) use crate::backend::Owned;"),
        ("audit", "let x = crate::http::start;"),
        ("backend", "use crate::policy::{Permit, View};"),
        ("backend", "use crate::policy::Policy;"),
        ("app", "use crate::http::start;"),
        ("http/x", "use crate::cli::run;"),
        ("telemetry", "use crate::app::App;"),
        ("unheard_of", "fn f() {}"),
        ("policy", "use actix_web::HttpRequest;"),
        ("http/x", "use sqlx::Row;"),
        ("app/x", "let e = casbin::Enforcer::new();"),
        ("http/x", "let c = awc::Client::new();"),
        ("backend/x", "use reqwest::Client;"),
        ("http/x", "use jsonwebtoken::decode;"),
        ("store/x", "let home = std::env::var(\"HOME\");"),
        ("http/own", "return HttpResponse::Forbidden().finish();"),
        ("http/pipeline", "let s = StatusCode::FORBIDDEN;"),
        ("store/x", "#[cfg(test)]\nmod tests;\nuse crate::http::x;"),
        ("store/x", "#[cfg(test)]\nmod tests { use crate::http::x; }\nuse crate::policy::y;"),
    ] {
        assert_eq!(problems(name, text).len(), 1, "{name}: {text}: {:?}", problems(name, text));
    }
    for (name, text) in [
        ("backend", "use crate::policy::Permit;"),
        ("store/x", "// use crate::http::x;\nuse crate::access::{Grant, Privilege};"),
        ("store/x", "#[cfg(test)]\nmod tests {\n    use crate::http::x;\n    use sqlx::y;\n}\n"),
        ("store/x", "use super::Store;\nuse crate::store::Claim;"),
        ("cli/demo", "use crate::http::start;"),
        ("http/x", "let url = \"https://x\"; let my_actix_web::y = 1;"),
    ] {
        assert_eq!(problems(name, text), Vec::<String>::new(), "{name}: {text}");
    }
}
