//! Walks a JSON body along the steps of a source.

use serde_json::{Map, Value};

use super::super::manifest::{Source, Step};
use super::field;
use crate::wire::{Malformed, json};

/// Where a walk ends: what was found, and how to complain.
struct Walk<'a> {
    source: &'a Source,
    /// Elements need not hold the id.
    lenient: bool,
    found: Vec<String>,
}

/// The one value at the end of steps without lists; absent and null alike are `None`.
pub(super) fn one(
    source: &Source,
    steps: &[Step],
    body: Option<&Map<String, Value>>,
) -> Result<Option<String>, Malformed> {
    let mut walk = Walk { source, lenient: true, found: Vec::new() };
    walk.object(steps, body)?;
    Ok(walk.found.pop())
}

/// Every value at the end of steps with lists. Unless `lenient`, each element must hold one.
pub(super) fn many(
    source: &Source,
    steps: &[Step],
    body: Option<&Map<String, Value>>,
    lenient: bool,
) -> Result<Vec<String>, Malformed> {
    let mut walk = Walk { source, lenient, found: Vec::new() };
    walk.object(steps, body)?;
    Ok(walk.found)
}

impl Walk<'_> {
    fn refuse<T>(&self, problem: &str) -> Result<T, Malformed> {
        Err(Malformed::new(field(self.source), problem))
    }

    fn object(&mut self, steps: &[Step], object: Option<&Map<String, Value>>) -> Result<(), Malformed> {
        let Some((Step::Field(name), rest)) = steps.split_first() else {
            return self.refuse("has no reading");
        };
        let value = match object {
            Some(object) => json::field(object, name)?.filter(|value| !value.is_null()),
            None => None,
        };
        match value {
            Some(value) => self.value(rest, value),
            None => Ok(()),
        }
    }

    fn value(&mut self, steps: &[Step], value: &Value) -> Result<(), Malformed> {
        match (steps.split_first(), value) {
            (None, Value::String(id)) => {
                if !id.is_empty() {
                    self.found.push(id.clone());
                }
                Ok(())
            }
            (None, _) => self.refuse("must be a string"),
            (Some((Step::Field(_), _)), Value::Object(object)) => self.object(steps, Some(object)),
            (Some((Step::Field(_), _)), _) => self.refuse("must lie in an object"),
            (Some((Step::Each, rest)), Value::Array(elements)) => {
                elements.iter().try_for_each(|element| self.element(rest, element))
            }
            (Some((Step::Each, _)), _) => self.refuse("must lie in a list"),
            (Some((Step::Embedded, rest)), Value::String(text)) => {
                // The strict parser reads objects, and the text may be a list: wrapped, it must stay one field.
                let wrapped =
                    json::parse_object(format!("{{\"embedded\":{text}}}").as_bytes()).map_err(|error| {
                        Malformed::new(field(self.source), format!("must hold JSON ({})", error.problem))
                    })?;
                match wrapped.get("embedded") {
                    Some(value) if wrapped.len() == 1 => self.value(rest, value),
                    _ => self.refuse("must hold one JSON value"),
                }
            }
            (Some((Step::Embedded, _)), _) => self.refuse("must be a string of JSON"),
        }
    }

    fn element(&mut self, steps: &[Step], element: &Value) -> Result<(), Malformed> {
        let before = self.found.len();
        self.value(steps, element)?;
        // A list of ids has no place for an empty one; a list of objects may have some without the id.
        if self.found.len() == before && (!self.lenient || steps.is_empty()) {
            return self.refuse("must be given in every element");
        }
        Ok(())
    }
}
