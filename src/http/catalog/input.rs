//! What clients send to make and change objects, and what of it may be kept.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::access::{Securable, SecurableKind};
use crate::http::error::Refusal;
use crate::store::{Column, TableFormat};
use crate::wire::Malformed;

/// Bytes of a comment.
const LONGEST_COMMENT: usize = 64 * 1024;
const MOST_PROPERTIES: usize = 1_000;
const MOST_COLUMNS: usize = 10_000;
/// Names that queries keep for themselves.
const RESERVED_CATALOGS: [&str; 4] = ["system", "hive_metastore", "samples", "spark_catalog"];
const RESERVED_SCHEMAS: [&str; 1] = ["information_schema"];

pub(super) type Properties = BTreeMap<String, String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewContainer {
    pub name: String,
    pub catalog_name: Option<String>,
    pub comment: Option<String>,
    pub properties: Option<Properties>,
    pub storage_root: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTable {
    pub name: String,
    pub catalog_name: String,
    pub schema_name: String,
    pub table_type: String,
    pub data_source_format: Option<TableFormat>,
    pub columns: Option<Vec<NewColumn>>,
    pub storage_location: Option<String>,
    pub comment: Option<String>,
    pub properties: Option<Properties>,
    pub view_definition: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewColumn {
    name: String,
    type_text: Option<String>,
    type_json: Option<String>,
    type_name: Option<String>,
    type_precision: Option<i64>,
    type_scale: Option<i64>,
    type_interval_type: Option<String>,
    position: Option<i64>,
    comment: Option<String>,
    nullable: Option<bool>,
    partition_index: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewVolume {
    pub name: String,
    pub catalog_name: String,
    pub schema_name: String,
    pub volume_type: String,
    pub storage_location: Option<String>,
    pub comment: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewFunction {
    pub function_info: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewExternalLocation {
    pub name: String,
    pub url: String,
    pub credential_name: Option<String>,
    pub read_only: Option<bool>,
    pub comment: Option<String>,
    /// There is nothing that we look at besides the location itself.
    #[serde(rename = "skip_validation")]
    _skip_validation: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Update {
    pub comment: Option<String>,
    pub properties: Option<Properties>,
    pub owner: Option<String>,
    pub new_name: Option<String>,
    pub url: Option<String>,
    pub credential_name: Option<String>,
    pub read_only: Option<bool>,
    #[serde(rename = "force")]
    _force: Option<bool>,
    #[serde(rename = "skip_validation")]
    _skip_validation: Option<bool>,
}

impl Update {
    /// Refuses what such an object does not have, rather than leave it out unsaid.
    pub fn check(&self, kind: SecurableKind) -> Result<(), Refusal> {
        use SecurableKind::{Catalog, ExternalLocation, Function, Schema, Table, View};
        let named = [
            ("comment", self.comment.is_some(), kind != Function),
            ("properties", self.properties.is_some(), matches!(kind, Catalog | Schema | Table | View)),
            ("new_name", self.new_name.is_some(), !matches!(kind, Table | View | Function)),
            ("url", self.url.is_some(), kind == ExternalLocation),
            ("credential_name", self.credential_name.is_some(), kind == ExternalLocation),
            ("read_only", self.read_only.is_some(), kind == ExternalLocation),
        ];
        for (field, given, known) in named {
            if given && !known {
                let problem = format!("cannot be changed of a {}", super::kinds::noun(kind));
                return Err(Malformed::new(field, problem).into());
            }
        }
        Ok(())
    }
}

/// The securable of a name that is to be given. Names are stricter than those that may be asked for: two that look
/// alike would be two objects.
pub(super) fn new_name(
    kind: SecurableKind,
    container: Option<&str>,
    name: &str,
    field: &str,
) -> Result<Securable, Refusal> {
    let refuse = |problem: &str| -> Refusal { Malformed::new(field, problem).into() };
    let lower = name.to_lowercase();
    let good = |c: char| c.is_alphanumeric() || "_-+@=~$!&()".contains(c);
    if lower.is_empty() || lower.chars().count() > 255 || !lower.chars().all(good) {
        return Err(refuse("must be 1 to 255 letters, digits or characters of `_-+@=~$!&()`"));
    }
    let reserved = match kind {
        SecurableKind::Catalog => RESERVED_CATALOGS.contains(&lower.as_str()),
        SecurableKind::Schema => RESERVED_SCHEMAS.contains(&lower.as_str()),
        _ => false,
    };
    if reserved || lower.starts_with("__") {
        return Err(refuse("is a name that is kept for queries; choose another"));
    }
    let full = container.map_or_else(|| lower.clone(), |container| format!("{container}.{lower}"));
    Securable::new(kind, &full).map_err(|error| Malformed::new(field, error.to_string()).into())
}

pub(super) fn comment(comment: Option<String>) -> Result<Option<String>, Refusal> {
    let Some(comment) = comment.filter(|comment| !comment.is_empty()) else { return Ok(None) };
    if comment.len() > LONGEST_COMMENT || comment.contains('\0') {
        return Err(Malformed::new("comment", "has more than 65536 bytes, or a zero").into());
    }
    Ok(Some(comment))
}

pub(super) fn properties(properties: Option<Properties>) -> Result<Properties, Refusal> {
    let properties = properties.unwrap_or_default();
    let good = |(key, value): (&String, &String)| {
        !key.is_empty() && key.len() <= 1_000 && !key.chars().any(char::is_control) && !value.contains('\0')
    };
    if properties.len() > MOST_PROPERTIES || !properties.iter().all(good) {
        let problem = "has more than 1000 entries, or a key that is empty, longer than 1000 bytes or holds control characters";
        return Err(Malformed::new("properties", problem).into());
    }
    Ok(properties)
}

const TYPES: [&str; 24] = [
    "ARRAY",
    "BINARY",
    "BOOLEAN",
    "BYTE",
    "CHAR",
    "DATE",
    "DECIMAL",
    "DOUBLE",
    "FLOAT",
    "GEOGRAPHY",
    "GEOMETRY",
    "INT",
    "INTERVAL",
    "LONG",
    "MAP",
    "NULL",
    "SHORT",
    "STRING",
    "STRUCT",
    "TABLE_TYPE",
    "TIMESTAMP",
    "TIMESTAMP_NTZ",
    "USER_DEFINED_TYPE",
    "VARIANT",
];

/// The columns of a table, each with its own name and place.
pub(super) fn columns(sent: Option<Vec<NewColumn>>) -> Result<Vec<Column>, Refusal> {
    let sent = sent.unwrap_or_default();
    let refuse = |place: usize, problem: &str| -> Refusal {
        Malformed::new(format!("columns[{place}]"), problem).into()
    };
    if sent.len() > MOST_COLUMNS {
        return Err(Malformed::new("columns", "are more than 10000").into());
    }
    let (mut names, mut positions) = (HashSet::new(), HashSet::new());
    let mut columns = Vec::with_capacity(sent.len());
    for (place, column) in sent.into_iter().enumerate() {
        let position = column.position.unwrap_or_else(|| i64::try_from(place).unwrap_or(i64::MAX));
        if column.name.is_empty()
            || column.name.chars().count() > 255
            || column.name.chars().any(char::is_control)
        {
            return Err(refuse(place, "has a name that is empty, too long or holds control characters"));
        }
        if !names.insert(column.name.to_lowercase()) || !positions.insert(position) || position < 0 {
            return Err(refuse(place, "has the name or the position of another, or a negative position"));
        }
        if column.type_name.as_deref().is_some_and(|name| !TYPES.contains(&name)) {
            return Err(refuse(place, "has a `type_name` that is no type of columns"));
        }
        columns.push(Column {
            name: column.name,
            type_text: column.type_text,
            type_json: column.type_json,
            type_name: column.type_name,
            type_precision: column.type_precision,
            type_scale: column.type_scale,
            type_interval_type: column.type_interval_type,
            position,
            comment: column.comment,
            nullable: column.nullable.unwrap_or(true),
            partition_index: column.partition_index,
            mask: None,
        });
    }
    columns.sort_by_key(|column| column.position);
    Ok(columns)
}

/// What a function may say of itself besides its name, and the values that clients can read back.
const OF_FUNCTIONS: [(&str, &[&str]); 17] = [
    ("input_params", &[]),
    ("data_type", &TYPES),
    ("full_data_type", &[]),
    ("return_params", &[]),
    ("routine_body", &["SQL", "EXTERNAL"]),
    ("routine_definition", &[]),
    ("routine_dependencies", &[]),
    ("parameter_style", &["S"]),
    ("is_deterministic", &[]),
    ("sql_data_access", &["CONTAINS_SQL", "READS_SQL_DATA", "NO_SQL"]),
    ("is_null_call", &[]),
    ("security_type", &["DEFINER"]),
    ("specific_name", &[]),
    ("external_language", &[]),
    ("external_name", &[]),
    ("sql_path", &[]),
    ("properties", &[]),
];

/// The definition of a function, without what names it.
pub(super) fn definition(sent: Map<String, Value>) -> Result<Map<String, Value>, Refusal> {
    let mut definition = Map::new();
    for (key, value) in sent {
        if matches!(key.as_str(), "name" | "catalog_name" | "schema_name" | "comment") || value.is_null() {
            continue;
        }
        let field = || format!("function_info.{}", key.chars().take(80).collect::<String>());
        let Some((_, allowed)) = OF_FUNCTIONS.iter().find(|(known, _)| *known == key) else {
            return Err(Malformed::new(field(), "is not something that a function has").into());
        };
        if !allowed.is_empty() && !value.as_str().is_some_and(|text| allowed.contains(&text)) {
            return Err(Malformed::new(field(), format!("must be one of {}", allowed.join(", "))).into());
        }
        definition.insert(key, value);
    }
    Ok(definition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_taken_for_others_are_not_given() {
        let named = |name: &str| new_name(SecurableKind::Table, Some("main.s"), name, "name");
        assert_eq!(named("Spans_1").unwrap().to_string(), "table:main.s.spans_1");
        assert_eq!(named("\u{212a}elvin").unwrap().to_string(), "table:main.s.kelvin");
        assert!(named("größe").is_ok() && named(&"x".repeat(255)).is_ok());
        for bad in [
            "",
            "a.b",
            "a b",
            "a/b",
            "a\\b",
            "a'b",
            "a\"b",
            "a`b",
            "a%2e",
            "a\u{200b}b",
            "a\u{202e}b",
            "a\tb",
            "a;b",
            "a*",
            "..",
            "e\u{301}",
            "\u{130}",
            "__internal",
        ] {
            assert!(named(bad).is_err(), "{bad:?}");
        }
        assert!(named(&"x".repeat(256)).is_err());
        assert!(new_name(SecurableKind::Catalog, None, "System", "name").is_err());
        assert!(new_name(SecurableKind::Schema, Some("main"), "Information_Schema", "name").is_err());
        assert!(new_name(SecurableKind::Table, Some("main.s"), "system", "name").is_ok());
    }

    #[test]
    fn columns_have_names_and_places_of_their_own() {
        let read = |text: &str| columns(Some(serde_json::from_str(text).unwrap()));
        let both = read(r#"[{"name": "b", "position": 1}, {"name": "a", "position": 0, "nullable": false}]"#)
            .unwrap();
        assert_eq!((both[0].name.as_str(), both[0].nullable, both[1].nullable), ("a", false, true));
        for bad in [
            r#"[{"name": "a"}, {"name": "A"}]"#,
            r#"[{"name": "a", "position": 0}, {"name": "b", "position": 0}]"#,
            r#"[{"name": "a", "position": -1}]"#,
            r#"[{"name": ""}]"#,
            r#"[{"name": "a", "type_name": "SECRET"}]"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        // A mask that is left out unsaid would show what was to be hidden.
        assert!(
            serde_json::from_str::<NewColumn>(r#"{"name": "a", "mask": {"function_name": "f"}}"#).is_err()
        );
    }
}
