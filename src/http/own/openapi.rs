//! Describes our own API, from the manifest and the contracts, so that a route cannot be served without being described.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::contract::{Answer, Contract};
use super::contracts;
use crate::classify::{Access, Handling, Manifest, Operation};

/// What every operation may answer instead of a success.
const ALWAYS: [u16; 4] = [400, 401, 403, 503];

/// An OpenAPI 3.1 document of `/api/tracegate/v1` and the monitoring pages.
pub(super) fn document(manifest: &Manifest) -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    let mut schemas = settings.into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for operation in manifest.operations().iter().filter(|operation| is_described(operation)) {
        let path = operation.template.replace("!}", "}").replace("...}", "}");
        let item = paths.entry(path).or_insert_with(|| json!({}));
        for method in &operation.methods {
            item[method.as_str().to_ascii_lowercase()] = described(operation, &mut schemas);
        }
    }
    let mut definitions = schemas.take_definitions(true);
    definitions.insert(
        "Error".to_owned(),
        json!({
            "type": "object",
            "required": ["error_code", "message"],
            "properties": {
                "error_code": { "type": "string", "examples": ["PERMISSION_DENIED"] },
                "message": { "type": "string", "description": "What is wrong, and with which field; ends with the decision id." }
            }
        }),
    );
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tracegate",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Tracegate's own API. The APIs of MLflow, Databricks and SCIM are served beside it under their own paths."
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "basic": { "type": "http", "scheme": "basic" }
            },
            "schemas": definitions
        }
    })
}

/// Ours alone: other people's APIs have descriptions of their own.
pub(super) fn is_described(operation: &Operation) -> bool {
    operation.handling == Handling::Own
        && (operation.template.starts_with("/api/tracegate/v1/") || operation.name.starts_with("tracegate."))
}

fn described(operation: &Operation, schemas: &mut SchemaGenerator) -> Value {
    let contract = contracts::of(&operation.name).unwrap_or_else(undescribed);
    let mut parameters: Vec<Value> = operation
        .template
        .split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| {
            let name = name.trim_end_matches(['!', '.']);
            json!({ "name": name, "in": "path", "required": true, "schema": path_schema(name, schemas) })
        })
        .collect();
    parameters.extend(contract.query.iter().map(|parameter| parameter.described(schemas)));
    let is_open = operation.access == Access::Public;
    let mut described = json!({
        "operationId": operation.name,
        "summary": contract.summary,
        "description": needs(operation),
        "parameters": parameters,
        "security": if is_open { json!([]) } else { json!([{ "bearer": [] }, { "basic": [] }]) },
        "responses": responses(operation, &contract, schemas),
    });
    if let Some(body) = contract.body {
        described["requestBody"] = json!({
            "required": true,
            "content": { "application/json": { "schema": body(schemas) } }
        });
    }
    described
}

fn undescribed() -> Contract {
    Contract::answering::<Map<String, Value>>("Not described yet.")
}

fn needs(operation: &Operation) -> String {
    let needs: Vec<String> =
        operation.needs.iter().map(|need| format!("`{}`", need.privilege.as_str())).collect();
    match (operation.access, needs.as_slice()) {
        (Access::Public, _) => "Needs no credential.".to_owned(),
        (_, []) => "Open to every caller, or decided by the securable that the request names.".to_owned(),
        (_, needs) => format!("Needs {} on the workspace.", needs.join(" and ")),
    }
}

fn path_schema(name: &str, schemas: &mut SchemaGenerator) -> Value {
    match name {
        "principal" | "group" | "member" => json!(schemas.subschema_for::<crate::access::Principal>()),
        "securable" => json!(schemas.subschema_for::<crate::access::Securable>()),
        _ => json!({ "type": "string", "minLength": 1 }),
    }
}

fn responses(operation: &Operation, contract: &Contract, schemas: &mut SchemaGenerator) -> Value {
    let content = match &contract.answer {
        Answer::Json(shape) => json!({ "application/json": { "schema": shape(schemas) } }),
        Answer::Text(kinds) => {
            kinds.iter().map(|kind| ((*kind).to_owned(), json!({ "schema": { "type": "string" } }))).collect()
        }
    };
    let headers = json!({
        "X-Tracegate-Decision-Id": { "schema": { "type": "string" } },
        "X-Tracegate-Policy-Version": { "schema": { "type": "integer" } }
    });
    let mut responses = Map::new();
    responses
        .insert("200".to_owned(), json!({ "description": "Done", "headers": headers, "content": content }));
    let mut statuses: Vec<u16> = match operation.access {
        Access::Public => vec![503],
        _ => ALWAYS.to_vec(),
    };
    if operation.template.contains('{') || !contract.query.is_empty() || contract.body.is_some() {
        statuses.push(404);
    }
    if contract.body.is_some() {
        statuses.push(413);
    }
    statuses.extend(contract.also);
    statuses.sort_unstable();
    for status in statuses {
        responses.insert(
            status.to_string(),
            json!({
                "description": reason(status),
                "headers": headers,
                "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } }
            }),
        );
    }
    Value::Object(responses)
}

fn reason(status: u16) -> &'static str {
    match status {
        400 => "The request has more than one reading or none, or a field is wrong; it is named",
        401 => "No credential, or one that is no good",
        403 => "Not allowed, or hidden",
        404 => "Not there, or hidden",
        409 => "The state that the change was asked for has changed",
        413 => "Too large; the limit is named",
        429 => "More than a limit allows; it is named",
        _ => "No decision, no record or no state now; try again after `Retry-After`",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_of_ours_is_described() {
        let manifest = Manifest::builtin().unwrap();
        let ours = manifest.operations().iter().filter(|operation| is_described(operation));
        let missing: Vec<&str> = ours
            .filter(|operation| contracts::of(&operation.name).is_none())
            .map(|operation| operation.name.as_str())
            .collect();
        assert!(missing.is_empty(), "without a contract: {missing:?}");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
            match value {
                Value::Object(object) => {
                    if let Some(Value::String(target)) = object.get("$ref") {
                        found.push(target);
                    }
                    object.values().for_each(|value| references(value, found));
                }
                Value::Array(list) => list.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document = document(&Manifest::builtin().unwrap());
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for target in found {
            let pointer = target.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{target} leads nowhere");
        }
    }
}
