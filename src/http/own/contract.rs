//! What each operation of our own API takes and answers. The description that clients read is made from this, and
//! a query parameter that is not here is refused, so that the two cannot differ.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

use super::{Call, Refusal};
use crate::wire::Malformed;

/// Makes the schema of a type, and enters those that it refers to.
pub(super) type Shape = fn(&mut SchemaGenerator) -> Schema;

pub(super) struct Contract {
    pub summary: &'static str,
    pub query: Vec<Parameter>,
    pub body: Option<Shape>,
    pub answer: Answer,
    /// Statuses that it may answer beside those that all have.
    pub also: &'static [u16],
}

pub(super) enum Answer {
    Json(Shape),
    /// Text of one of these content types.
    Text(&'static [&'static str]),
}

pub(super) struct Parameter {
    pub name: &'static str,
    pub kind: Kind,
    pub required: bool,
    pub meaning: &'static str,
}

pub(super) enum Kind {
    Text,
    Principal,
    Securable,
    Privilege,
    /// Milliseconds since 1970.
    Time,
    /// From one number to another.
    Number(u64, u64),
    OneOf(&'static [&'static str]),
}

impl Contract {
    /// One that answers a JSON object.
    pub fn answering<T: JsonSchema>(summary: &'static str) -> Self {
        let answer = Answer::Json(SchemaGenerator::subschema_for::<T>);
        Self { summary, query: Vec::new(), body: None, answer, also: &[] }
    }

    pub fn text(summary: &'static str, kinds: &'static [&'static str]) -> Self {
        Self { summary, query: Vec::new(), body: None, answer: Answer::Text(kinds), also: &[] }
    }

    pub fn query(mut self, query: Vec<Parameter>) -> Self {
        self.query = query;
        self
    }

    pub fn body<T: JsonSchema>(mut self) -> Self {
        self.body = Some(SchemaGenerator::subschema_for::<T>);
        self
    }

    pub fn also(mut self, statuses: &'static [u16]) -> Self {
        self.also = statuses;
        self
    }

    /// Refuses query parameters that the operation does not have.
    pub fn check_query(&self, call: &Call<'_>) -> Result<(), Refusal> {
        for (name, _) in call.head.query.pairs() {
            if !self.query.iter().any(|parameter| parameter.name == name) {
                let name: String = name.chars().take(80).collect();
                let names: Vec<&str> = self.query.iter().map(|parameter| parameter.name).collect();
                let problem = match names.as_slice() {
                    [] => "is not one that this route takes: it takes none".to_owned(),
                    names => format!("is not one that this route takes: {}", names.join(", ")),
                };
                return Err(Malformed::new(format!("query parameter `{name}`"), problem).into());
            }
        }
        Ok(())
    }
}

pub(super) const fn optional(name: &'static str, kind: Kind, meaning: &'static str) -> Parameter {
    Parameter { name, kind, required: false, meaning }
}

pub(super) const fn required(name: &'static str, kind: Kind, meaning: &'static str) -> Parameter {
    Parameter { name, kind, required: true, meaning }
}

impl Parameter {
    pub fn described(&self, schemas: &mut SchemaGenerator) -> Value {
        use crate::access::{Principal, Privilege, Securable};
        let schema = match self.kind {
            Kind::Text => json!({ "type": "string" }),
            Kind::Principal => json!(schemas.subschema_for::<Principal>()),
            Kind::Securable => json!(schemas.subschema_for::<Securable>()),
            Kind::Privilege => json!(schemas.subschema_for::<Privilege>()),
            Kind::Time => json!({ "type": "integer", "format": "int64", "minimum": 0 }),
            Kind::Number(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
            Kind::OneOf(values) => json!({ "type": "string", "enum": values }),
        };
        json!({
            "name": self.name, "in": "query", "required": self.required,
            "description": self.meaning, "schema": schema
        })
    }
}
