//! Strict JSON: one object, UTF-8, every key once, so that no two parsers read it differently.

use serde_json::{Map, Value};

use super::Malformed;

/// Parses a request body that must be one JSON object. Refuses doubled keys at every depth.
pub fn parse_object(_bytes: &[u8]) -> Result<Map<String, Value>, Malformed> {
    todo!()
}

/// Looks a protobuf field up by its snake_case name or its camelCase JSON name; both at once is refused.
pub fn field<'a>(_object: &'a Map<String, Value>, _snake: &str) -> Result<Option<&'a Value>, Malformed> {
    todo!()
}
