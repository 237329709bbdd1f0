//! What this service offers, as RFC 7643 has clients ask.

use serde_json::{Map, Value, json};

use super::schema::{Attribute, ENTERPRISE, Shape};
use super::{Kind, base, refuse, written};
use crate::http::call::Call;
use crate::http::error::Refusal;
use crate::wire::Reply;

const LIST: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";

pub(super) fn answer(call: &Call<'_>, what: &str) -> Result<Reply, Refusal> {
    let base = base(call);
    if call.head.query.one("filter")?.is_some() {
        return Err(refuse("invalidFilter", "what a service offers is not filtered"));
    }
    let found = match what {
        "config" => Some(config(&base)),
        "types" => Some(listed(Kind::ALL.map(|kind| resource_type(kind, &base)).to_vec())),
        "type" => {
            let id = call.param("id");
            Kind::ALL
                .into_iter()
                .find(|kind| kind.resource_type() == id)
                .map(|kind| resource_type(kind, &base))
        }
        "schemas" => Some(listed(schemas(&base))),
        "schema" => schemas(&base).into_iter().find(|schema| schema["id"] == call.param("id")),
        _ => return Err(Refusal::UnknownEndpoint),
    };
    match found {
        Some(Value::Object(object)) => Ok(written(200, &object)),
        _ => Err(Refusal::NotFound(format!("there is no `{}`", call.param("id")))),
    }
}

fn listed(resources: Vec<Value>) -> Value {
    json!({
        "schemas": [LIST],
        "totalResults": resources.len(),
        "startIndex": 1,
        "itemsPerPage": resources.len(),
        "Resources": resources,
    })
}

fn config(base: &str) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": { "supported": true },
        "bulk": { "supported": false, "maxOperations": 0, "maxPayloadSize": 0 },
        "filter": { "supported": true, "maxResults": 10_000 },
        "changePassword": { "supported": false },
        "sort": { "supported": true },
        "etag": { "supported": false },
        "authenticationSchemes": [{
            "type": "oauthbearertoken",
            "name": "Bearer token",
            "description": "A token of a principal that has identity.manage",
            "primary": true,
        }],
        "meta": { "resourceType": "ServiceProviderConfig", "location": format!("{base}/ServiceProviderConfig") },
    })
}

fn resource_type(kind: Kind, base: &str) -> Value {
    let name = kind.resource_type();
    let extensions =
        if kind == Kind::User { json!([{ "schema": ENTERPRISE, "required": false }]) } else { json!([]) };
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
        "id": name,
        "name": name,
        "endpoint": format!("/{}", kind.plural()),
        "schema": kind.schema(),
        "schemaExtensions": extensions,
        "meta": { "resourceType": "ResourceType", "location": format!("{base}/ResourceTypes/{name}") },
    })
}

fn schemas(base: &str) -> Vec<Value> {
    let of = |id: &str, name: &str, attributes: Vec<Value>| {
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
            "id": id,
            "name": name,
            "attributes": attributes,
            "meta": { "resourceType": "Schema", "location": format!("{base}/Schemas/{id}") },
        })
    };
    let mut schemas: Vec<Value> = Kind::ALL
        .into_iter()
        .map(|kind| {
            let own = kind.attributes().iter();
            let own =
                own.filter(|one| !matches!(one.name, ENTERPRISE | "id" | "externalId" | "schemas" | "meta"));
            of(kind.schema(), kind.resource_type(), own.map(|one| attribute(kind, one)).collect())
        })
        .collect();
    if let Some(company) = Kind::User.attribute(ENTERPRISE) {
        let subs = company.subs().iter().map(|sub| described(sub, "string", false, "readWrite", false));
        schemas.push(of(ENTERPRISE, "EnterpriseUser", subs.map(Value::Object).collect()));
    }
    schemas
}

fn attribute(kind: Kind, attribute: &Attribute) -> Value {
    let (shape, many) = match attribute.shape {
        Shape::Text => ("string", false),
        Shape::Flag => ("boolean", false),
        Shape::Complex(_) => ("complex", false),
        Shape::Many(_) => ("complex", true),
    };
    let is_name = attribute.name == kind.name_attribute();
    let mutability = match () {
        () if attribute.read_only => "readOnly",
        () if is_name => "immutable",
        () => "readWrite",
    };
    let mut described = described(attribute.name, shape, many, mutability, attribute.exact);
    described.insert("required".to_owned(), json!(is_name && kind != Kind::ServicePrincipal));
    described.insert("uniqueness".to_owned(), json!(if is_name { "server" } else { "none" }));
    if shape == "complex" {
        let subs = attribute.subs().iter().map(|sub| {
            let shape = if *sub == "primary" { "boolean" } else { "string" };
            Value::Object(self::described(sub, shape, false, mutability, false))
        });
        described.insert("subAttributes".to_owned(), subs.collect());
    }
    Value::Object(described)
}

fn described(name: &str, shape: &str, many: bool, mutability: &str, exact: bool) -> Map<String, Value> {
    let described = json!({
        "name": name,
        "type": shape,
        "multiValued": many,
        "description": "",
        "required": false,
        "caseExact": exact,
        "mutability": mutability,
        "returned": "default",
        "uniqueness": "none",
    });
    if let Value::Object(described) = described { described } else { Map::new() }
}
