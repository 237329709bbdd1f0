//! PATCH: its operations, done to the resource as it is written. What comes out is then wished for, as with PUT.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::filter::{Path, path};
use super::schema::{Attribute, Shape, wrong};
use super::{Kind, refuse};
use crate::http::error::Refusal;

const SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
/// Operations in one request.
const MOST: usize = 1000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Add,
    Replace,
    Remove,
}

/// Does what was sent to the resource, in its order.
pub(super) fn apply(
    kind: Kind,
    resource: &mut Map<String, Value>,
    sent: &Map<String, Value>,
) -> Result<(), Refusal> {
    if let Some(schemas) = field(sent, "schemas") {
        let names = schemas.as_array().into_iter().flatten().filter_map(Value::as_str);
        if !names.into_iter().any(|name| name.eq_ignore_ascii_case(SCHEMA)) {
            return Err(refuse("invalidSyntax", format!("`schemas` does not name `{SCHEMA}`")));
        }
    }
    let operations = field(sent, "Operations").and_then(Value::as_array);
    let operations = operations.ok_or_else(|| refuse("invalidSyntax", "`Operations` must be a list"))?;
    if operations.is_empty() || operations.len() > MOST {
        return Err(refuse("invalidSyntax", format!("`Operations` has 1 to {MOST} elements")));
    }
    for operation in operations {
        let Value::Object(operation) = operation else {
            return Err(refuse("invalidSyntax", "an operation must be an object"));
        };
        one(kind, resource, operation)?;
    }
    Ok(())
}

fn field<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn one(kind: Kind, resource: &mut Map<String, Value>, operation: &Map<String, Value>) -> Result<(), Refusal> {
    let verb = match field(operation, "op").and_then(Value::as_str).map(str::to_ascii_lowercase).as_deref() {
        Some("add") => Verb::Add,
        Some("replace") => Verb::Replace,
        Some("remove") => Verb::Remove,
        _ => return Err(refuse("invalidSyntax", "`op` is `add`, `replace` or `remove`")),
    };
    let value = field(operation, "value").filter(|value| !value.is_null());
    let missing = || {
        refuse(
            "invalidValue",
            "`value` is missing. Some clients leave out what is false or empty: to deactivate, send the whole \
             resource by PUT, or `{\"active\": false}` as the value of an operation without a path",
        )
    };
    let target = match field(operation, "path") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(path(kind, text)?),
        Some(_) => return Err(refuse("invalidPath", "`path` must be a string")),
    };
    match (verb, target) {
        (Verb::Remove, None) => Err(refuse("noTarget", "`remove` needs a `path`")),
        (Verb::Remove, Some(target)) => remove(resource, &target, value),
        (_, Some(target)) => put(resource, verb, &target, value.ok_or_else(missing)?),
        (_, None) => {
            let Value::Object(values) = value.ok_or_else(missing)? else {
                return Err(wrong("value", "must be an object where there is no `path`"));
            };
            for (name, value) in values {
                // Unknown ones are left out, as in a whole resource; directories send their own `id` along.
                let Ok(target) = path(kind, name) else { continue };
                let same = resource.get(target.attribute.name) == Some(value);
                let of_ours = matches!(target.attribute.name, "schemas" | "meta");
                if target.attribute.read_only && (same || of_ours) || value.is_null() {
                    continue;
                }
                put(resource, verb, &target, value)?;
            }
            Ok(())
        }
    }
}

fn writable(attribute: &Attribute) -> Result<(), Refusal> {
    if attribute.read_only {
        let help = if attribute.name == "groups" { "; change the members of the group instead" } else { "" };
        return Err(refuse("mutability", format!("`{}` cannot be written{help}", attribute.name)));
    }
    Ok(())
}

fn put(resource: &mut Map<String, Value>, verb: Verb, target: &Path, value: &Value) -> Result<(), Refusal> {
    let attribute = target.attribute;
    writable(attribute)?;
    let name = attribute.name;
    let refused = || wrong(name, "has no value that can be read");
    if let Some(filter) = &target.filter {
        let mut elements = taken(resource, name);
        let mut found = false;
        for element in elements.iter_mut().filter(|element| filter.holds(element)) {
            set(attribute, element, target.sub, value)?;
            found = true;
        }
        if found {
            resource.insert(name.to_owned(), Value::Array(elements));
            return Ok(());
        }
        let mut equal = Vec::new();
        if verb == Verb::Replace || !filter.equalities(&mut equal) {
            return Err(refuse("noTarget", format!("no value of `{name}` is as `path` says")));
        }
        let mut element = Value::Object(Map::new());
        for (sub, value) in equal {
            set(attribute, &mut element, Some(sub), &value)?;
        }
        set(attribute, &mut element, target.sub, value)?;
        elements.push(element);
        resource.insert(name.to_owned(), Value::Array(elements));
        return Ok(());
    }
    if let Some(sub) = target.sub {
        let value = attribute.read_sub(sub, value)?;
        match attribute.shape {
            Shape::Many(_) => {
                let mut elements = taken(resource, name);
                if elements.is_empty() {
                    elements.push(Value::Object(Map::new()));
                }
                for element in elements.iter_mut().filter_map(Value::as_object_mut) {
                    element.insert(sub.to_owned(), value.clone());
                }
                resource.insert(name.to_owned(), Value::Array(elements));
            }
            _ => {
                let whole = resource.entry(name).or_insert_with(|| Value::Object(Map::new()));
                whole.as_object_mut().ok_or_else(refused)?.insert(sub.to_owned(), value);
            }
        }
        return Ok(());
    }
    let value = attribute.read(value)?.ok_or_else(refused)?;
    match (attribute.shape, value) {
        (Shape::Many(_), Value::Array(new)) if verb == Verb::Add => {
            let mut elements = taken(resource, name);
            without(&mut elements, &new);
            elements.extend(new);
            resource.insert(name.to_owned(), Value::Array(elements));
        }
        (Shape::Complex(_), Value::Object(mut new)) => {
            let whole = resource.entry(name).or_insert_with(|| Value::Object(Map::new()));
            whole.as_object_mut().ok_or_else(refused)?.append(&mut new);
        }
        (_, value) => {
            resource.insert(name.to_owned(), value);
        }
    }
    Ok(())
}

/// Takes out what is the same as one of these: it has the same `value`, or none and is equal.
fn without(elements: &mut Vec<Value>, gone: &[Value]) {
    let value = |element: &Value| element.get("value").and_then(Value::as_str).map(str::to_owned);
    let values: HashSet<String> = gone.iter().filter_map(value).collect();
    let others: Vec<&Value> = gone.iter().filter(|element| value(element).is_none()).collect();
    elements.retain(|element| match value(element) {
        Some(value) => !values.contains(&value),
        None => !others.contains(&element),
    });
}

fn set(
    attribute: &Attribute,
    element: &mut Value,
    sub: Option<&'static str>,
    value: &Value,
) -> Result<(), Refusal> {
    let Some(element) = element.as_object_mut() else {
        return Err(wrong(attribute.name, "has a value that cannot be changed"));
    };
    if let Some(sub) = sub {
        element.insert(sub.to_owned(), attribute.read_sub(sub, value)?);
        return Ok(());
    }
    if let Some(Value::Array(new)) = attribute.read(value)? {
        for mut new in new {
            if let Some(new) = new.as_object_mut() {
                element.append(new);
            }
        }
    }
    Ok(())
}

/// The elements of a list, which are put back by whoever changes them.
fn taken(resource: &mut Map<String, Value>, name: &str) -> Vec<Value> {
    match resource.remove(name) {
        Some(Value::Array(elements)) => elements,
        _ => Vec::new(),
    }
}

fn remove(resource: &mut Map<String, Value>, target: &Path, value: Option<&Value>) -> Result<(), Refusal> {
    let attribute = target.attribute;
    writable(attribute)?;
    if attribute.shape == Shape::Flag {
        return Err(refuse("mutability", format!("`{}` is always there: replace it", attribute.name)));
    }
    let Some(whole) = resource.get_mut(attribute.name) else { return Ok(()) };
    match (whole, &target.filter, target.sub) {
        (Value::Array(elements), Some(filter), None) => elements.retain(|element| !filter.holds(element)),
        (Value::Array(elements), filter, Some(sub)) => {
            let chosen =
                elements.iter_mut().filter(|one| filter.as_ref().is_none_or(|filter| filter.holds(one)));
            chosen.filter_map(Value::as_object_mut).for_each(|element| {
                element.remove(sub);
            });
        }
        (Value::Object(object), None, Some(sub)) => {
            object.remove(sub);
        }
        // Some directories name what to remove in `value`.
        (Value::Array(elements), None, None) if value.is_some() => {
            let gone = value.map(|value| attribute.read(value)).transpose()?.flatten();
            let gone = gone.as_ref().and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            without(elements, gone);
        }
        _ => {
            resource.remove(attribute.name);
        }
    }
    Ok(())
}
