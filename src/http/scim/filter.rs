//! Filters of RFC 7644, 3.4.2.2, and the paths of PATCH that hold them.

mod parse;
#[cfg(test)]
mod tests;

use serde_json::Value;

use super::schema::Attribute;
pub(super) use parse::{filter, path};

/// One attribute, or one sub-attribute of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub attribute: &'static Attribute,
    pub sub: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Contains,
    Starts,
    Ends,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

#[derive(Debug)]
pub(super) enum Filter {
    Present(Place),
    Compare(Place, Operator, Value),
    /// One element of the list for which all of the inner filter holds.
    Element(&'static Attribute, Box<Filter>),
    Not(Box<Filter>),
    And(Box<Filter>, Box<Filter>),
    Or(Box<Filter>, Box<Filter>),
}

/// What PATCH changes.
#[derive(Debug)]
pub(super) struct Path {
    pub attribute: &'static Attribute,
    pub filter: Option<Filter>,
    pub sub: Option<&'static str>,
}

impl Filter {
    /// Whether it holds for a resource, or, inside brackets, for one element.
    pub fn holds(&self, on: &Value) -> bool {
        match self {
            Self::Present(place) => values(on, *place).into_iter().any(is_there),
            Self::Compare(place, Operator::NotEqual, wanted) => {
                !values(on, *place).into_iter().any(|value| place.compares(Operator::Equal, value, wanted))
                    && (!wanted.is_null() || values(on, *place).into_iter().any(is_there))
            }
            Self::Compare(place, Operator::Equal, Value::Null) => {
                !values(on, *place).into_iter().any(is_there)
            }
            Self::Compare(place, operator, wanted) => {
                values(on, *place).into_iter().any(|value| place.compares(*operator, value, wanted))
            }
            Self::Element(attribute, inner) => match on.get(attribute.name) {
                Some(Value::Array(elements)) => elements.iter().any(|element| inner.holds(element)),
                Some(one) => inner.holds(one),
                None => false,
            },
            Self::Not(inner) => !inner.holds(on),
            Self::And(one, other) => one.holds(on) && other.holds(on),
            Self::Or(one, other) => one.holds(on) || other.holds(on),
        }
    }

    /// What an element must have for the filter to hold, if it says so plainly.
    pub fn equalities(&self, found: &mut Vec<(&'static str, Value)>) -> bool {
        match self {
            Self::Compare(place, Operator::Equal, value) if !value.is_null() => {
                found.push((place.sub.unwrap_or("value"), value.clone()));
                true
            }
            Self::And(one, other) => one.equalities(found) && other.equalities(found),
            _ => false,
        }
    }
}

fn is_there(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(elements) => !elements.is_empty(),
        Value::Object(object) => !object.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

/// The values at a place: of a list those of all elements, and of an element without a sub-attribute its `value`.
pub(super) fn values(on: &Value, place: Place) -> Vec<&Value> {
    let elements: Vec<&Value> = match on.get(place.attribute.name) {
        Some(Value::Array(elements)) => elements.iter().collect(),
        Some(one) => vec![one],
        // Inside brackets there is the element itself.
        None if place.sub.is_some() && is_element(on, place) => vec![on],
        None => return Vec::new(),
    };
    elements
        .into_iter()
        .filter_map(|element| match (element, place.sub) {
            (Value::Object(object), Some(sub)) => object.get(sub),
            (Value::Object(object), None) => Some(object.get("value").unwrap_or(element)),
            (plain, None | Some("value")) => Some(plain),
            _ => None,
        })
        .collect()
}

fn is_element(on: &Value, place: Place) -> bool {
    on.as_object().is_some_and(|object| {
        !object.contains_key("schemas") && object.keys().all(|key| place.attribute.sub(key).is_some())
    })
}

impl Place {
    fn compares(self, operator: Operator, value: &Value, wanted: &Value) -> bool {
        match (value, wanted) {
            (Value::Bool(value), Value::Bool(wanted)) => operator == Operator::Equal && value == wanted,
            (Value::String(value), Value::String(wanted)) => {
                let exact = self.attribute.exact && self.sub.is_none_or(|sub| sub == "value");
                let folded = |text: &str| if exact { text.to_owned() } else { text.to_lowercase() };
                let (value, wanted) = (folded(value), folded(wanted));
                match operator {
                    Operator::Equal => value == wanted,
                    Operator::NotEqual => value != wanted,
                    Operator::Contains => value.contains(&wanted),
                    Operator::Starts => value.starts_with(&wanted),
                    Operator::Ends => value.ends_with(&wanted),
                    Operator::Greater => value > wanted,
                    Operator::GreaterOrEqual => value >= wanted,
                    Operator::Less => value < wanted,
                    Operator::LessOrEqual => value <= wanted,
                }
            }
            _ => false,
        }
    }
}
