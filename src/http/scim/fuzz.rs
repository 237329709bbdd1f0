//! Filters and paths of any text: printed and read again, they are the same and hold for the same.

#![allow(clippy::unwrap_used, reason = "a failure is what is looked for")]

use serde_json::{Value, json};

use super::Kind;
use super::filter::{Filter, Operator, Place, filter, path};

pub(crate) fn scim_filter(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let person = json!({
        "id": "7", "userName": "Ann@Example.com", "active": true, "title": "",
        "name": { "givenName": "Ann", "familyName": "O\"Hara" },
        "emails": [{ "value": "ann@example.com", "type": "work", "primary": true }, { "value": "x" }],
    });
    for kind in Kind::ALL {
        if let Ok(path) = path(kind, text)
            && let Some(inner) = &path.filter
        {
            let _ = inner.holds(&person["emails"][0]);
        }
        let Ok(read) = filter(kind, text) else { continue };
        let printed = print(&read, None);
        if printed.len() > 4096 {
            continue;
        }
        let again = filter(kind, &printed).unwrap_or_else(|error| panic!("{printed}: {error}"));
        assert_eq!(format!("{again:?}"), format!("{read:?}"), "{printed}");
        let holds = read.holds(&person);
        assert_eq!(again.holds(&person), holds);
        let mut found = Vec::new();
        if read.equalities(&mut found) && holds {
            // What is looked up by its equalities instead of being looked at is found.
            assert!(!found.is_empty(), "{printed}");
        }
        assert_ne!(Filter::Not(Box::new(read)).holds(&person), holds, "{printed}");
    }
}

/// With every parenthesis; `within` a list only the names of its parts.
fn print(filter: &Filter, within: Option<&str>) -> String {
    match filter {
        Filter::Present(place) => format!("{} pr", name(*place, within)),
        Filter::Compare(place, operator, value) => {
            format!("{} {} {}", name(*place, within), word(*operator), literal(value))
        }
        Filter::Element(attribute, inner) => {
            format!("{}[{}]", attribute.name, print(inner, Some(attribute.name)))
        }
        Filter::Not(inner) => format!("not ({})", print(inner, within)),
        Filter::And(left, right) => format!("({}) and ({})", print(left, within), print(right, within)),
        Filter::Or(left, right) => format!("({}) or ({})", print(left, within), print(right, within)),
    }
}

fn literal(value: &Value) -> String {
    value.to_string()
}

fn name(place: Place, within: Option<&str>) -> String {
    match (place.sub, within) {
        (Some(sub), Some(_)) => sub.to_owned(),
        // The extension's parts stand behind a colon.
        (Some(sub), None) if place.attribute.name.starts_with("urn:") => {
            format!("{}:{sub}", place.attribute.name)
        }
        (Some(sub), None) => format!("{}.{sub}", place.attribute.name),
        (None, _) => place.attribute.name.to_owned(),
    }
}

fn word(operator: Operator) -> &'static str {
    match operator {
        Operator::Equal => "eq",
        Operator::NotEqual => "ne",
        Operator::Contains => "co",
        Operator::Starts => "sw",
        Operator::Ends => "ew",
        Operator::Greater => "gt",
        Operator::GreaterOrEqual => "ge",
        Operator::Less => "lt",
        Operator::LessOrEqual => "le",
    }
}
