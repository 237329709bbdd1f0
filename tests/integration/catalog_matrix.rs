//! Every operation of the catalog by callers of every kind of privilege, as a text that a person can read.
//!
//! Each cell is an answer of the real handlers: a row's caller holds what the row says, and nothing else.
//! `UPDATE_GOLDEN=1 cargo test --test integration -- catalog_matrix` writes it anew.

use std::fmt::Write;
use std::path::Path;

use serde_json::{Value, json};
use tracegate::access::{Effect, GrantId, NewGrant};

use crate::support::callers::Who;
use crate::support::gateway::Gateway;
use crate::support::raw_http::{Answer, Request};

const BASE: &str = "/api/2.1/unity-catalog";

const WAY: [(&str, &str); 2] = [("USE_CATALOG", "catalog:main"), ("USE_SCHEMA", "schema:main.s")];

/// What a row's caller holds; `+` stands for the way into the schema.
const ROWS: &[(&str, &[(&str, &str)])] = &[
    ("nothing", &[]),
    ("BROWSE on catalog", &[("BROWSE", "catalog:main")]),
    ("USE CATALOG", &[("USE_CATALOG", "catalog:main")]),
    ("USE SCHEMA alone", &[("USE_SCHEMA", "schema:main.s")]),
    ("way", &[("+", "")]),
    ("SELECT on table alone", &[("SELECT", "table:main.s.t")]),
    ("SELECT on table, way", &[("+", ""), ("SELECT", "table:main.s.t")]),
    ("SELECT on catalog, way", &[("+", ""), ("SELECT", "catalog:main")]),
    ("MODIFY on table, way", &[("+", ""), ("MODIFY", "table:main.s.t")]),
    ("READ VOLUME, way", &[("+", ""), ("READ_VOLUME", "volume:main.s.v")]),
    ("WRITE VOLUME, way", &[("+", ""), ("WRITE_VOLUME", "volume:main.s.v")]),
    ("EXECUTE, way", &[("+", ""), ("EXECUTE", "function:main.s.f")]),
    ("CREATE CATALOG", &[("CREATE_CATALOG", "metastore:default")]),
    ("CREATE SCHEMA alone", &[("CREATE_SCHEMA", "catalog:main")]),
    ("CREATE SCHEMA, USE CATALOG", &[("USE_CATALOG", "catalog:main"), ("CREATE_SCHEMA", "catalog:main")]),
    ("CREATE TABLE alone", &[("CREATE_TABLE", "schema:main.s")]),
    ("CREATE TABLE, way", &[("+", ""), ("CREATE_TABLE", "schema:main.s")]),
    ("CREATE VOLUME, way", &[("+", ""), ("CREATE_VOLUME", "schema:main.s")]),
    ("CREATE FUNCTION, way", &[("+", ""), ("CREATE_FUNCTION", "schema:main.s")]),
    ("CREATE EXT. TABLE on location", &[("CREATE_EXTERNAL_TABLE", "external_location:loc")]),
    (
        "CREATE EXT. TABLE, CREATE TABLE, way",
        &[("+", ""), ("CREATE_TABLE", "schema:main.s"), ("CREATE_EXTERNAL_TABLE", "external_location:loc")],
    ),
    ("CREATE EXTERNAL LOCATION", &[("CREATE_EXTERNAL_LOCATION", "metastore:default")]),
    ("ALL PRIVILEGES on catalog", &[("ALL_PRIVILEGES", "catalog:main")]),
    ("ALL PRIVILEGES on schema", &[("ALL_PRIVILEGES", "schema:main.s")]),
    ("MANAGE on catalog", &[("MANAGE", "catalog:main")]),
    ("MANAGE on schema alone", &[("MANAGE", "schema:main.s")]),
    ("MANAGE on schema, USE CATALOG", &[("MANAGE", "schema:main.s"), ("USE_CATALOG", "catalog:main")]),
    ("MANAGE on table alone", &[("MANAGE", "table:main.s.t")]),
    ("MANAGE on table, way", &[("+", ""), ("MANAGE", "table:main.s.t")]),
    ("MANAGE on location", &[("MANAGE", "external_location:loc")]),
    ("owner of catalog", &[("OWNER", "catalog:main")]),
    ("owner of schema alone", &[("OWNER", "schema:main.s")]),
    ("owner of schema, USE CATALOG", &[("OWNER", "schema:main.s"), ("USE_CATALOG", "catalog:main")]),
    ("owner of table alone", &[("OWNER", "table:main.s.t")]),
    ("owner of table, way", &[("+", ""), ("OWNER", "table:main.s.t")]),
    ("owner of volume, way", &[("+", ""), ("OWNER", "volume:main.s.v")]),
    ("EXTERNAL USE SCHEMA, way", &[("+", ""), ("EXTERNAL_USE_SCHEMA", "schema:main.s")]),
    (
        "EXTERNAL USE SCHEMA, SELECT, no way",
        &[("EXTERNAL_USE_SCHEMA", "schema:main.s"), ("SELECT", "table:main.s.t")],
    ),
    (
        "EXTERNAL USE SCHEMA, SELECT, way",
        &[("+", ""), ("EXTERNAL_USE_SCHEMA", "schema:main.s"), ("SELECT", "schema:main.s")],
    ),
    (
        "EXTERNAL USE SCHEMA on catalog, SELECT, MODIFY, way",
        &[
            ("+", ""),
            ("EXTERNAL_USE_SCHEMA", "catalog:main"),
            ("SELECT", "table:main.s.t"),
            ("MODIFY", "table:main.s.t"),
        ],
    ),
    (
        "EXTERNAL USE SCHEMA, MODIFY, way",
        &[("+", ""), ("EXTERNAL_USE_SCHEMA", "schema:main.s"), ("MODIFY", "table:main.s.t")],
    ),
    (
        "EXTERNAL USE SCHEMA, READ VOLUME, way",
        &[("+", ""), ("EXTERNAL_USE_SCHEMA", "schema:main.s"), ("READ_VOLUME", "volume:main.s.v")],
    ),
    (
        "EXTERNAL USE SCHEMA, ALL PRIVILEGES on schema, way",
        &[("+", ""), ("EXTERNAL_USE_SCHEMA", "schema:main.s"), ("ALL_PRIVILEGES", "schema:main.s")],
    ),
    ("READ FILES on location", &[("READ_FILES", "external_location:loc")]),
    ("EXTERNAL USE LOCATION on location", &[("EXTERNAL_USE_LOCATION", "external_location:loc")]),
    (
        "EXTERNAL USE LOCATION, READ FILES",
        &[("EXTERNAL_USE_LOCATION", "external_location:loc"), ("READ_FILES", "external_location:loc")],
    ),
    (
        "EXTERNAL USE LOCATION, READ and WRITE FILES",
        &[
            ("EXTERNAL_USE_LOCATION", "external_location:loc"),
            ("READ_FILES", "external_location:loc"),
            ("WRITE_FILES", "external_location:loc"),
        ],
    ),
    (
        "EXTERNAL USE LOCATION, ALL PRIVILEGES on location",
        &[("EXTERNAL_USE_LOCATION", "external_location:loc"), ("ALL_PRIVILEGES", "external_location:loc")],
    ),
    ("ALL PRIVILEGES on location", &[("ALL_PRIVILEGES", "external_location:loc")]),
    ("owner of location", &[("OWNER", "external_location:loc")]),
    ("owner of metastore", &[("OWNER", "metastore:default")]),
    ("ALL on workspace", &[("ALL", "workspace:default")]),
    ("administrator", &[("admin", "")]),
];

/// What is asked: its name, method, path and body; of a list the entry that is looked for.
struct Asked {
    name: &'static str,
    method: &'static str,
    path: &'static str,
    body: Value,
    entry: Option<&'static str>,
}

fn asked() -> Vec<Asked> {
    let get = |name, path| Asked { name, method: "GET", path, body: Value::Null, entry: None };
    let list = |name, path, entry| Asked { name, method: "GET", path, body: Value::Null, entry: Some(entry) };
    let patch = |name, path, body| Asked { name, method: "PATCH", path, body, entry: None };
    let post = |name, path, body| Asked { name, method: "POST", path, body, entry: None };
    let delete = |name, path| Asked { name, method: "DELETE", path, body: Value::Null, entry: None };
    let grants = json!({ "changes": [{ "principal": "reader", "add": ["APPLY_TAG"] }] });
    let comment = json!({ "comment": "changed" });
    let in_schema = |more: Value| {
        let mut body = json!({ "name": "new", "catalog_name": "main", "schema_name": "s" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let function = in_schema(json!({ "routine_body": "SQL", "routine_definition": "1" }));
    let credential = |name: &'static str, of: &str, id: &str, operation: &str| {
        let path = match of {
            "table_id" => "/temporary-table-credentials",
            "volume_id" => "/temporary-volume-credentials",
            _ => "/temporary-path-credentials",
        };
        post(name, path, json!({ of: id, "operation": operation }))
    };
    vec![
        credential("table credential", "table_id", "/tables/main.s.t", "READ"),
        credential("table credential, writing", "table_id", "/tables/main.s.t", "READ_WRITE"),
        credential("view credential", "table_id", "/tables/main.s.w", "READ"),
        credential("volume credential", "volume_id", "/volumes/main.s.v", "READ_VOLUME"),
        credential("volume credential, writing", "volume_id", "/volumes/main.s.v", "WRITE_VOLUME"),
        credential("path credential", "url", "s3://bucket/data/path", "PATH_READ"),
        credential("path credential, writing", "url", "s3://bucket/data/path", "PATH_READ_WRITE"),
        credential("path credential, new table", "url", "s3://bucket/data/path", "PATH_CREATE_TABLE"),
        credential("path credential, elsewhere", "url", "s3://elsewhere/path", "PATH_READ"),
        get("catalog get", "/catalogs/main"),
        get("catalog get, browsing", "/catalogs/main?include_browse=true"),
        list("catalogs list", "/catalogs", "main"),
        patch("catalog update", "/catalogs/main", comment.clone()),
        patch("catalog grants change", "/permissions/catalog/main", grants.clone()),
        get("catalog grants", "/permissions/catalog/main"),
        post("catalog create", "/catalogs", json!({ "name": "new" })),
        delete("catalog delete, not empty", "/catalogs/main"),
        get("schema get", "/schemas/main.s"),
        list("schemas list", "/schemas?catalog_name=main", "s"),
        patch("schema update", "/schemas/main.s", comment.clone()),
        patch("schema grants change", "/permissions/schema/main.s", grants.clone()),
        post("schema create", "/schemas", json!({ "name": "new", "catalog_name": "main" })),
        delete("schema delete, not empty", "/schemas/main.s"),
        get("table get", "/tables/main.s.t"),
        get("table get, browsing", "/tables/main.s.t?include_browse=true"),
        list("table exists", "/tables/main.s.t/exists", "true"),
        list("tables list", "/tables?catalog_name=main&schema_name=s", "t"),
        list("table summaries", "/table-summaries?catalog_name=main", "main.s.t"),
        patch("table update", "/tables/main.s.t", comment.clone()),
        patch("table grants change", "/permissions/table/main.s.t", grants.clone()),
        get("table effective grants", "/effective-permissions/table/main.s.t"),
        post(
            "table create",
            "/tables",
            in_schema(json!({ "table_type": "MANAGED", "data_source_format": "DELTA" })),
        ),
        post(
            "table create, external",
            "/tables",
            in_schema(json!({
                "name": "outside", "table_type": "EXTERNAL", "data_source_format": "DELTA",
                "storage_location": "s3://bucket/data/new",
            })),
        ),
        delete("table delete", "/tables/main.s.t"),
        get("view get", "/tables/main.s.w"),
        get("volume get", "/volumes/main.s.v"),
        list("volumes list", "/volumes?catalog_name=main&schema_name=s", "v"),
        patch("volume update", "/volumes/main.s.v", comment.clone()),
        post("volume create", "/volumes", in_schema(json!({ "volume_type": "MANAGED" }))),
        delete("volume delete", "/volumes/main.s.v"),
        get("function get", "/functions/main.s.f"),
        list("functions list", "/functions?catalog_name=main&schema_name=s", "f"),
        post("function create", "/functions", json!({ "function_info": function })),
        delete("function delete", "/functions/main.s.f"),
        get("location get", "/external-locations/loc"),
        list("locations list", "/external-locations", "loc"),
        patch("location update", "/external-locations/loc", comment),
        patch(
            "location grants change",
            "/permissions/external_location/loc",
            json!({
                "changes": [{ "principal": "reader", "add": ["READ_FILES"] }]
            }),
        ),
        post("location create", "/external-locations", json!({ "name": "new", "url": "s3://bucket/other" })),
        patch(
            "metastore grants change",
            "/permissions/metastore/default",
            json!({
                "changes": [{ "principal": "reader", "add": ["CREATE_CATALOG"] }]
            }),
        ),
    ]
}

async fn make(gateway: &Gateway) {
    let in_schema = |name: &str, more: Value| {
        let mut body = json!({ "name": name, "catalog_name": "main", "schema_name": "s" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let function = in_schema("f", json!({ "routine_body": "SQL", "routine_definition": "1" }));
    for (path, body) in [
        ("/catalogs", json!({ "name": "main" })),
        ("/schemas", json!({ "name": "s", "catalog_name": "main" })),
        ("/tables", in_schema("t", json!({ "table_type": "MANAGED", "data_source_format": "DELTA" }))),
        ("/tables", in_schema("w", json!({ "table_type": "VIEW", "view_definition": "SELECT 1" }))),
        ("/volumes", in_schema("v", json!({ "volume_type": "MANAGED" }))),
        ("/functions", json!({ "function_info": function })),
        ("/external-locations", json!({ "name": "loc", "url": "s3://bucket/data" })),
    ] {
        gateway.call(Who::Admin, Request::post(&format!("{BASE}{path}"), &body)).await.expect(200);
    }
}

async fn unmake(gateway: &Gateway, grants: &[GrantId]) {
    for grant in grants {
        gateway.app.store.remove_grant(*grant, "test", gateway.app.clock.now()).await.unwrap();
    }
    gateway.app.reload_policy().await.unwrap();
    for path in ["/catalogs/main", "/catalogs/new", "/external-locations/loc", "/external-locations/new"] {
        let path = format!("{BASE}{path}?force=true");
        let answer = gateway.call(Who::Admin, Request::new("DELETE", &path)).await;
        assert!([200, 404].contains(&answer.status), "{path}: {}", answer.text());
    }
}

async fn hold(gateway: &Gateway, what: &[(&str, &str)]) -> Vec<GrantId> {
    let spread = what.iter().flat_map(|one| if one.0 == "+" { WAY.to_vec() } else { vec![*one] });
    let mut ids = Vec::new();
    for (privilege, on) in spread.filter(|(privilege, _)| *privilege != "admin") {
        let grant = NewGrant {
            principal: Who::Stranger.principal(),
            securable: on.parse().unwrap(),
            privilege: privilege.to_owned(),
            effect: Effect::Allow,
            reason: None,
            expires_at: None,
        };
        let now = gateway.app.clock.now();
        ids.push(gateway.app.store.add_grant(&grant, "test", now).await.unwrap().0.id);
    }
    gateway.app.reload_policy().await.unwrap();
    ids
}

/// A cell: done, seen, denied, or as if it were not there.
fn cell(asked: &Asked, answer: &Answer) -> &'static str {
    match (answer.status, asked.entry) {
        (200, Some(entry)) => {
            let text = answer.text();
            let quoted = format!("\"{entry}\"");
            if text.contains(&quoted) || text.contains(&format!(":{entry}}}")) { "yes" } else { "none" }
        }
        (200, None) => "yes",
        (400, _) if asked.name.ends_with("not empty") => "yes",
        // There is no store here that could give what its caller may have.
        (400, _) if asked.name.contains("credential") && answer.text().contains("INVALID_STATE") => "yes",
        (403, _) => "denied",
        (404, _) => "hidden",
        (status, _) => panic!("{}: {status} {}", asked.name, answer.text()),
    }
}

#[actix_rt::test]
async fn the_catalog_matrix() {
    let gateway = Gateway::start().await;
    gateway.revoke_defaults().await;
    let asked = asked();
    let mut columns: Vec<Vec<&'static str>> = Vec::new();
    for (_, what) in ROWS {
        make(&gateway).await;
        let grants = hold(&gateway, what).await;
        let who =
            if what.first().is_some_and(|first| first.0 == "admin") { Who::Admin } else { Who::Stranger };
        let mut cells = Vec::new();
        for asked in &asked {
            let path = format!("{BASE}{}", asked.path);
            let mut body = asked.body.clone();
            for field in ["table_id", "volume_id"] {
                if let Some(id) = body.get_mut(field) {
                    let of = format!("{BASE}{}", id.as_str().unwrap());
                    *id = gateway.call(Who::Admin, Request::new("GET", &of)).await.expect(200).json()[field]
                        .clone();
                }
            }
            let request = match body {
                Value::Null => Request::new(asked.method, &path),
                body => Request::json(asked.method, &path, &body),
            };
            cells.push(cell(asked, &gateway.call(who, request).await));
        }
        columns.push(cells);
        unmake(&gateway, &grants).await;
    }
    gateway.stop().await;

    let mut matrix = String::from(
        "# What each caller may do in the catalog: done or seen (yes; of credentials: let in), seen without that entry (none), denied (403),\n\
         # or answered as if it were not there (hidden, 404). A caller holds what its heading says and nothing else;\n\
         # `way` is USE CATALOG on `main` and USE SCHEMA on `main.s`.\n",
    );
    for ((row, _), cells) in ROWS.iter().zip(&columns) {
        write!(matrix, "\n## {row}\n").unwrap();
        for answer in ["yes", "none", "denied", "hidden"] {
            let names: Vec<&str> = asked
                .iter()
                .zip(cells)
                .filter(|(_, cell)| **cell == answer)
                .map(|(asked, _)| asked.name)
                .collect();
            if names.len() == asked.len() {
                writeln!(matrix, "{answer}: everything").unwrap();
            } else if !names.is_empty() {
                writeln!(matrix, "{answer}: {}", names.join("; ")).unwrap();
            }
        }
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/catalog_matrix.txt");
    if option_env!("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &matrix).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap();
    for (ours, golden) in matrix.lines().zip(golden.lines()) {
        assert_eq!(ours, golden, "a change of meaning: review it, then UPDATE_GOLDEN=1");
    }
    assert_eq!(matrix.len(), golden.len());
}
