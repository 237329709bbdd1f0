//! How the words of access control look in JSON, for the description of our API.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{Given, Principal, Privilege, Scope, Securable};

macro_rules! text {
    ($word:ty, $name:literal, $schema:expr) => {
        impl JsonSchema for $word {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

text!(
    Principal,
    "Principal",
    json_schema!({
        "type": "string",
        "description": "A user, service principal or group, such as `user:ann@example.com`.",
        "pattern": "^(user|service_principal|group):[^\\s,\"\\x00-\\x1f\\x7f-\\x9f]([^,\"\\x00-\\x1f\\x7f-\\x9f]{0,58}[^\\s,\"\\x00-\\x1f\\x7f-\\x9f])?$",
        "examples": ["user:bob", "service_principal:agent", "group:analysts"]
    })
);
text!(
    Securable,
    "Securable",
    json_schema!({
        "type": "string",
        "description": "What policy protects, such as `experiment:12`, `folder:/team` or `workspace:default`.",
        "pattern": "^(workspace|folder|experiment|registered_model|warehouse|metastore|catalog|schema|table|view|volume|function|external_location):.+$",
        "examples": ["experiment:1", "workspace:default", "folder:/team"]
    })
);
text!(
    Privilege,
    "Privilege",
    json_schema!({
        "type": "string",
        "description": "One thing that one may do.",
        "enum": Privilege::ALL.iter().map(|privilege| privilege.as_str()).collect::<Vec<_>>()
    })
);
text!(
    Given,
    "Given",
    json_schema!({
        "type": "string",
        "description": "What a grant gives: a level, a bundle or a single privilege.",
        "enum": Given::every().map(Given::as_str).collect::<Vec<_>>()
    })
);

impl JsonSchema for Scope {
    fn schema_name() -> Cow<'static, str> {
        "Scope".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "What a token is for: a level or privilege on a securable and all below it.",
            "required": ["privilege", "securable"],
            "additionalProperties": false,
            "properties": {
                "privilege": generator.subschema_for::<Given>(),
                "securable": generator.subschema_for::<Securable>()
            }
        })
    }
}
