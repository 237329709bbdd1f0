//! Describes our own API from the manifest, so that a route cannot be served without being described.

use serde_json::{Map, Value, json};

use crate::classify::{Access, Handling, Manifest, Operation};

/// An OpenAPI 3.1 document of `/api/tracegate/v1` and the monitoring pages.
pub(super) fn document(manifest: &Manifest) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for operation in manifest.operations().iter().filter(|operation| operation.handling == Handling::Own) {
        let path = operation.template.replace("!}", "}");
        let item = paths.entry(path).or_insert_with(|| json!({}));
        for method in &operation.methods {
            item[method.as_str().to_ascii_lowercase()] = described(operation);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tracegate",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Tracegate's own API. MLflow's API is served unchanged beside it."
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "basic": { "type": "http", "scheme": "basic" }
            },
            "schemas": {
                "Error": {
                    "type": "object",
                    "required": ["error_code", "message"],
                    "properties": { "error_code": { "type": "string" }, "message": { "type": "string" } }
                }
            }
        }
    })
}

fn described(operation: &Operation) -> Value {
    let needs: Vec<&str> = operation.needs.iter().map(|need| need.privilege.as_str()).collect();
    let parameters: Vec<Value> = operation
        .template
        .split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| {
            json!({
                "name": name.trim_end_matches(['!', '.']), "in": "path", "required": true,
                "schema": { "type": "string" }
            })
        })
        .collect();
    let error = json!({
        "description": "Refused or failed",
        "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } }
    });
    let security = match operation.access {
        Access::Public => json!([]),
        _ => json!([{ "bearer": [] }, { "basic": [] }]),
    };
    json!({
        "operationId": operation.name,
        "summary": match needs.as_slice() {
            [] => "Open to every caller, or decided by the securable that the request names".to_owned(),
            needs => format!("Needs {}", needs.join(", ")),
        },
        "parameters": parameters,
        "security": security,
        "responses": {
            "200": { "description": "Done", "content": { "application/json": { "schema": { "type": "object" } } } },
            "default": error
        }
    })
}
