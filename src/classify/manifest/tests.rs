//! The built-in manifest against MLflow's own route list, against mistakes, and as a matrix of who may what.

mod matrix;

use std::collections::BTreeSet;

use super::*;

/// `METHOD PATH` lines of MLflow 3.17.2, as its two frameworks spell them.
const UPSTREAM: &str = include_str!("../../../tests/fixtures/mlflow-3.17.2-routes.txt");

/// Flask's `<path:x>` and FastAPI's `{x:path}` as `{...}`, every other parameter as `{}`.
fn blank(path: &str) -> String {
    let mut blank = String::new();
    let mut rest = path;
    while let Some(start) = rest.find(['<', '{']) {
        let Some(end) = rest[start..].find(['>', '}']).map(|end| start + end) else { break };
        blank.push_str(&rest[..start]);
        let inner = &rest[start + 1..end];
        let many = inner.starts_with("path:") || inner.ends_with(":path") || inner.ends_with("...");
        blank.push_str(if many { "{...}" } else { "{}" });
        rest = &rest[end + 1..];
    }
    blank + rest
}

#[test]
fn the_manifest_covers_what_mlflow_serves_and_nothing_else() {
    let manifest = Manifest::builtin().unwrap();
    let upstream: BTreeSet<String> = UPSTREAM
        .lines()
        .map(|line| {
            let (method, path) = line.split_once(' ').unwrap();
            format!("{method} {}", blank(path))
        })
        .collect();
    let ours: BTreeSet<String> = manifest
        .operations()
        .iter()
        .filter(|operation| !of_tracegate(operation))
        .filter(|operation| operation.handling != Handling::Own || operation.name.starts_with("mlflow_auth."))
        .flat_map(|operation| {
            let methods = operation.methods.clone();
            operation.paths().into_iter().flat_map(move |path| {
                methods.clone().into_iter().map(move |method| format!("{method} {}", blank(&path)))
            })
        })
        .collect();
    assert_eq!(UPSTREAM.lines().count(), 545);
    assert_eq!(upstream.difference(&ours).collect::<Vec<_>>(), Vec::<&String>::new(), "not in the manifest");
    assert_eq!(ours.difference(&upstream).collect::<Vec<_>>(), Vec::<&String>::new(), "not in MLflow");
    for own in manifest.operations().iter().filter(|operation| operation.handling == Handling::Own) {
        let family = own.name.split('.').next().unwrap();
        assert!(ANSWERED.contains(&family), "{}", own.name);
    }
}

/// What Tracegate answers itself, by the first word of its name.
const ANSWERED: [&str; 11] = [
    "archive",
    "tracegate",
    "browser",
    "oauth",
    "scim",
    "permissions",
    "mlflow_auth",
    "catalog",
    "files",
    "tracing",
    "sql",
];

/// Whether it is a path of ours, which no MLflow server has.
fn of_tracegate(operation: &Operation) -> bool {
    operation.template.starts_with("/api/tracegate/")
}

fn classify<'m>(manifest: &'m Manifest, method: Method, path: &str) -> Option<Matched<'m>> {
    manifest.classify(method, &CanonicalPath::parse(path).unwrap()).unwrap()
}

#[test]
fn requests_find_their_operation() {
    let manifest = Manifest::builtin().unwrap();
    let trace = "tr-a50f1d685f7cf6ff7e0dede8b2acad2c";
    for (method, path, name) in [
        (Method::Get, "/".to_owned(), "ui.index"),
        (Method::Head, "/health".to_owned(), "server.health"),
        (Method::Post, "/api/3.0/mlflow/traces".to_owned(), "trace.start_v3"),
        (Method::Post, "/ajax-api/2.0/mlflow/traces/".to_owned(), "trace.start_v2"),
        (Method::Get, "/api/3.0/mlflow/traces/get".to_owned(), "trace.get"),
        (Method::Head, "/api/3.0/mlflow/traces/get".to_owned(), "trace.get"),
        (Method::Get, format!("/api/3.0/mlflow/traces/{trace}"), "trace.info"),
        (Method::Get, format!("/api/2.0/mlflow/traces/{trace}/info"), "trace.info_v2"),
        (Method::Post, "/api/2.0mlflow/experiments/search-datasets".to_owned(), "experiment.search_datasets"),
        (
            Method::Get,
            "/api/2.0/mlflow-artifacts/artifacts/1/traces/x/traces.json".to_owned(),
            "artifact.proxy_get",
        ),
        (Method::Post, "/ajax-api/3.0/jobs".to_owned(), "job.submit"),
        (Method::Post, "/ajax-api/3.0/jobs/search".to_owned(), "job.search"),
        (Method::Get, "/api/3.0/mlflow/mcp-servers/io.github/x/versions/1".to_owned(), "mcp.version.get"),
        (
            Method::Post,
            "/gateway/gemini/v1beta/models/e:streamGenerateContent".to_owned(),
            "gateway.invoke.gemini.v1beta.models.streamGenerateContent",
        ),
        (Method::Put, "/api/tracegate/v1/groups/a%2Fb/members/user:c".to_owned(), "tracegate.group.add"),
    ] {
        let matched = classify(&manifest, method, &path).unwrap_or_else(|| panic!("{method} {path}"));
        assert_eq!(matched.operation.name, name, "{method} {path}");
    }
    let info = classify(&manifest, Method::Get, &format!("/ajax-api/3.0/mlflow/traces/{trace}")).unwrap();
    assert_eq!(info.params, [("trace_id".to_owned(), trace.to_owned())]);
}

#[test]
fn what_is_not_known_is_not_classified() {
    let manifest = Manifest::builtin().unwrap();
    for (method, path) in [
        (Method::Put, "/api/3.0/mlflow/traces/get"),
        (Method::Post, "/api/2.0/mlflow/experiments/get"),
        (Method::Get, "/API/2.0/mlflow/experiments/get"),
        (Method::Get, "/api/2.0/mlflow/experiments/get/x"),
        (Method::Get, "/api/9.0/mlflow/experiments/get"),
        (Method::Get, "/api%2F2.0/mlflow/experiments/get"),
        (Method::Get, "/api/2.0/preview/mlflow/experiments/get"),
        (Method::Get, "/get-artifact/x"),
        (Method::Get, "/static-files"),
        (Method::Delete, "/health"),
    ] {
        assert!(classify(&manifest, method, path).is_none(), "{method} {path}");
    }
    // Flask would decode this to `…/traces/x/info`: another operation than the one segment says.
    let path = CanonicalPath::parse("/api/3.0/mlflow/traces/x%2Finfo").unwrap();
    assert!(manifest.classify(Method::Get, &path).is_err());
}

#[test]
fn only_these_are_public_or_refused() {
    let manifest = Manifest::builtin().unwrap();
    let with = |access: Access| -> Vec<&str> {
        let names = manifest.operations().iter().filter(|operation| operation.access == access);
        names.map(|operation| operation.name.as_str()).collect()
    };
    assert_eq!(
        with(Access::Public),
        [
            "server.health",
            "server.version",
            "server.info",
            "tracegate.live",
            "tracegate.ready",
            "tracegate.metrics",
            "tracegate.openapi",
            "tracegate.docs",
            "browser.sign_in",
            "browser.callback",
            "browser.sign_out_page",
            "browser.sign_out",
            "browser.backchannel_sign_out",
            "oauth.config",
            "oauth.metadata",
            "oauth.openid_metadata",
            "oauth.authorize",
            "oauth.token",
        ]
    );
    assert_eq!(
        with(Access::Refused),
        ["artifact.presign_upload", "artifact.presign_download", "artifact.proxy_presigned",]
    );
}

#[test]
fn whatever_is_no_get_changes_something_unless_it_says_that_it_reads() {
    let manifest = Manifest::builtin().unwrap();
    let quiet: Vec<&str> = manifest
        .operations()
        .iter()
        .filter(|operation| !operation.mutates && operation.methods.iter().any(|method| !method.is_read()))
        .map(|operation| operation.name.as_str())
        .collect();
    assert_eq!(
        quiet,
        [
            "tracegate.adoption.runs",
            "tracegate.adoption.held",
            "tracegate.policy.plan",
            "tracegate.policy.test",
            "tracing.search",
            "tracing.search.start",
            "trace.batch_info",
            "trace.search",
            "trace.metrics",
            "trace.correlation",
            "issue.search",
            "dataset.search",
            "experiment.search",
            "experiment.search_datasets",
            "experiment.search_datasets_ui",
            "run.search",
            "files.url_download",
            "files.run_url_read",
            "files.model_url_read",
            "logged_model.search",
            "model.latest_versions",
            "prompt_job.search",
            "ui.graphql",
            "job.search"
        ]
    );
}

#[test]
fn a_mistake_names_its_line() {
    for (line, expected) in [
        ("GET | /a", "line 2: 2 columns instead of 6"),
        ("FETCH | /a | a | public | pass |", "`FETCH` is not a method"),
        ("GET | a | a | public | pass |", "`a` does not begin with `/`"),
        ("GET | /a | a b | public | pass |", "`a b` is not a name"),
        ("GET | /a | a | | pass |", "no needs"),
        ("GET | /a | a | trace.peek@trace:query.x | pass |", "trace.peek"),
        ("GET | /a | a | trace.read@tree:query.x | pass |", "`tree` is not a target"),
        ("GET | /a | a | trace.read@trace | pass |", "no `:`"),
        ("GET | /a | a | trace.read@trace:cookie.x | pass |", "`cookie` is not a place"),
        ("GET | /a/{x} | a | trace.read@trace:path.y | pass |", "`path.y` is not in the template"),
        ("POST | /a | a | trace.read@trace:json.x | pass |", "needs the flag `json`"),
        ("POST | /a | a | trace.read@trace:json.x* | pass | json", "`*` belongs to a list"),
        ("POST | /a | a | trace.read@trace:json.x[] | pass | json", "`*` belongs to a list"),
        ("GET | /a | a | run.read~run.write@run:query.x | pass |", "`~` is for traces"),
        ("GET | /a | a | gateway.manage@workspace:query.x | pass |", "add `?`"),
        ("GET | /a | a | trace.read@trace:query.x? | pass |", "some handling must narrow"),
        ("GET | /a | a | public | juggle |", "`juggle` is not a handling"),
        ("GET | /a | a | public | pass | loud", "`loud` is not a flag"),
        ("GET | /ok | a | public | pass |", "`GET /ok` is ambiguous"),
        ("GET | /b | ok | public | pass |", "the name `ok` is taken"),
        ("POST | /b | b | public | pass | json", "`b` has no body"),
    ] {
        let error = Manifest::parse(&format!("GET | /ok | ok | public | pass |\n{line}\n"), "").unwrap_err();
        assert!(error.contains("line 2") && error.contains(expected), "{line}: {error}");
    }
    assert!(Manifest::parse("", "x = -").unwrap_err().contains("`x`"));
}

#[test]
fn needs_are_written_as_they_are_read() {
    let manifest = Manifest::builtin().unwrap();
    let text = include_str!("../operations.txt");
    for operation in manifest.operations() {
        for need in &operation.needs {
            assert!(text.contains(&need.to_string()), "{}: {need}", operation.name);
        }
    }
}

#[test]
fn the_listing_has_one_entry_per_method_and_path() {
    let manifest = Manifest::builtin().unwrap();
    let listing = manifest.to_json();
    let routes = listing.as_array().unwrap();
    let pairs: BTreeSet<String> =
        routes.iter().map(|route| format!("{} {}", route["method"], route["path"])).collect();
    assert_eq!(pairs.len(), routes.len());
    assert!(routes.contains(&serde_json::json!({
        "method": "PATCH",
        "path": "/ajax-api/3.0/mlflow/traces/{trace_id}/tags",
        "operation": "trace.tag_set",
        "access": "needs",
        "needs": ["trace.tag~trace.write@trace:path.trace_id=json.trace_id"],
        "handling": "trace_tag",
    })));
    assert_eq!(manifest.to_table().lines().count(), manifest.operations().len());
}
