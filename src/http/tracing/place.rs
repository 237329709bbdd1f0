//! Where traces lie in the catalog: a schema with tables of fixed names (version 1), or tables of one schema whose
//! names begin alike (version 2).

use std::fmt;

use serde_json::{Map, Value, json};

use crate::access::{Securable, SecurableKind};
use crate::http::edit::{child, text};
use crate::lake::otlp::Version;
use crate::wire::Malformed;

/// With what the tables of version 1 begin.
const FIRST: &str = "mlflow_experiment_trace";
/// The longest prefix, so that the tables' names fit.
const LONGEST: usize = 200;

/// What a table of a place holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Spans,
    Logs,
    Metrics,
    Annotations,
}

impl Part {
    fn suffix(self) -> &'static str {
        match self {
            Self::Spans => "_otel_spans",
            Self::Logs => "_otel_logs",
            Self::Metrics => "_otel_metrics",
            Self::Annotations => "_otel_annotations",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    catalog: String,
    schema: String,
    /// None in version 1.
    prefix: Option<String>,
}

impl Place {
    pub fn new(catalog: &str, schema: &str, prefix: Option<&str>, field: &str) -> Result<Self, Malformed> {
        let refuse = |problem: &str| Malformed::new(field, problem);
        let within = Securable::new(SecurableKind::Schema, &format!("{catalog}.{schema}"));
        let within = within.map_err(|error| Malformed::new(field, error.to_string()))?;
        let (catalog, schema) =
            within.id.split_once('.').ok_or_else(|| refuse("must name a catalog and a schema"))?;
        let prefix = prefix.map(str::to_ascii_lowercase);
        if let Some(prefix) = &prefix {
            if prefix == FIRST {
                return Err(refuse("is the prefix of the tables of version 1; choose another"));
            }
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
            if prefix.is_empty() || prefix.len() > LONGEST || !prefix.chars().all(plain) {
                return Err(refuse("must be 1 to 200 letters, digits, `_` or `-`"));
            }
        }
        Ok(Self { catalog: catalog.to_owned(), schema: schema.to_owned(), prefix })
    }

    /// `CATALOG.SCHEMA` or `CATALOG.SCHEMA.PREFIX`.
    pub fn parse(text: &str, field: &str) -> Result<Self, Malformed> {
        match text.split('.').collect::<Vec<_>>()[..] {
            [catalog, schema] => Self::new(catalog, schema, None, field),
            [catalog, schema, prefix] => Self::new(catalog, schema, Some(prefix), field),
            _ => Err(Malformed::new(field, "must be `CATALOG.SCHEMA` or `CATALOG.SCHEMA.TABLE_PREFIX`")),
        }
    }

    /// The place whose spans a table holds, by the table's full name.
    pub fn of_spans_table(name: &str, field: &str) -> Result<Self, Malformed> {
        let refuse = || {
            Malformed::new(
                field,
                "must be the full name of a spans table: `CATALOG.SCHEMA.PREFIX_otel_spans`",
            )
        };
        let [catalog, schema, table] = name.split('.').collect::<Vec<_>>()[..] else { return Err(refuse()) };
        let table = table.to_ascii_lowercase();
        let prefix = table.strip_suffix(Part::Spans.suffix()).ok_or_else(refuse)?;
        Self::new(catalog, schema, (prefix != FIRST).then_some(prefix), field)
    }

    /// As clients write it: `uc_schema` or `uc_table_prefix` in `object`; none if it is neither.
    pub fn of_json(object: &Map<String, Value>) -> Result<Option<Self>, Malformed> {
        let needed = |object: &Map<String, Value>, field: &str| {
            text(object, field)?.map(str::to_owned).ok_or_else(|| Malformed::new(field, "is missing"))
        };
        let schema = child(object, &["uc_schema"])?;
        let tables = child(object, &["uc_table_prefix"])?;
        match (schema, tables) {
            (Some(_), Some(_)) => {
                Err(Malformed::new("uc_schema", "comes with `uc_table_prefix`: send one of them"))
            }
            (Some(schema), None) => {
                let place = Self::new(
                    &needed(schema, "catalog_name")?,
                    &needed(schema, "schema_name")?,
                    None,
                    "uc_schema",
                )?;
                let named = [("otel_spans_table_name", Part::Spans), ("otel_logs_table_name", Part::Logs)];
                for (field, part) in named {
                    if text(schema, field)?.is_some_and(|name| name != place.short(part)) {
                        let problem = format!("must be `{}`", place.short(part));
                        return Err(Malformed::new(field, problem));
                    }
                }
                Ok(Some(place))
            }
            (None, Some(tables)) => {
                let prefix = needed(tables, "table_prefix")?;
                let (catalog, schema) = (needed(tables, "catalog_name")?, needed(tables, "schema_name")?);
                Self::new(&catalog, &schema, Some(&prefix), "uc_table_prefix.table_prefix").map(Some)
            }
            (None, None) => Ok(None),
        }
    }

    /// As the tracing API writes it, names of tables and all.
    pub fn to_json(&self) -> Value {
        let full = |part| self.table(part).id;
        match &self.prefix {
            None => json!({"uc_schema": {
                "catalog_name": self.catalog, "schema_name": self.schema,
                "otel_spans_table_name": self.short(Part::Spans), "otel_logs_table_name": self.short(Part::Logs),
            }}),
            Some(prefix) => json!({"uc_table_prefix": {
                "catalog_name": self.catalog, "schema_name": self.schema, "table_prefix": prefix,
                "spans_table_name": full(Part::Spans), "logs_table_name": full(Part::Logs),
                "metrics_table_name": full(Part::Metrics), "annotations_table_name": full(Part::Annotations),
                "location_id": self.to_string(),
            }}),
        }
    }

    /// As a trace's `trace_location`.
    pub fn to_trace_location(&self) -> Value {
        let mut location = self.to_json();
        location["type"] = json!(if self.prefix.is_some() { "UC_TABLE_PREFIX" } else { "UC_SCHEMA" });
        location
    }

    pub fn version(&self) -> Version {
        if self.prefix.is_some() { Version::V2 } else { Version::V1 }
    }

    pub fn prefix(&self) -> &str {
        self.prefix.as_deref().unwrap_or(FIRST)
    }

    fn short(&self, part: Part) -> String {
        format!("{}{}", self.prefix(), part.suffix())
    }

    pub fn table(&self, part: Part) -> Securable {
        self.object(SecurableKind::Table, &self.short(part))
    }

    pub fn view(&self, suffix: &str) -> Securable {
        self.object(SecurableKind::View, &format!("{}{suffix}", self.prefix()))
    }

    fn object(&self, kind: SecurableKind, name: &str) -> Securable {
        named(kind, format!("{}.{}.{name}", self.catalog, self.schema))
    }

    /// Where what is said of traces is written.
    pub fn notes(&self) -> Part {
        if self.prefix.is_some() { Part::Annotations } else { Part::Logs }
    }

    /// A table, as a statement names it.
    pub fn quoted(&self, part: Part) -> String {
        format!("`{}`.`{}`.`{}`", self.catalog, self.schema, self.short(part))
    }

    /// A trace's id, with where it lies.
    pub fn trace(&self, hex: &str) -> String {
        format!("trace:/{self}/{hex}")
    }
}

/// Its parts were parsed when the place was.
fn named(kind: SecurableKind, id: String) -> Securable {
    Securable { kind, id }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.catalog, self.schema)?;
        self.prefix.as_ref().map_or(Ok(()), |prefix| write!(formatter, ".{prefix}"))
    }
}

/// A trace's 32 hexadecimal digits, which are not all zero.
pub(super) fn trace_hex<'t>(text: &'t str, field: &str) -> Result<&'t str, Malformed> {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() == 32 && text.bytes().all(hex) && text.bytes().any(|byte| byte != b'0') {
        return Ok(text);
    }
    Err(Malformed::new(field, "must be a trace id of 32 lower-case hexadecimal digits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_schema_or_a_prefix_in_it() {
        for (text, spans, notes) in [
            (
                "Main.Agents",
                "main.agents.mlflow_experiment_trace_otel_spans",
                "main.agents.mlflow_experiment_trace_otel_logs",
            ),
            ("main.agents.Bot", "main.agents.bot_otel_spans", "main.agents.bot_otel_annotations"),
        ] {
            let place = Place::parse(text, "location").unwrap();
            assert_eq!(place.table(Part::Spans).id, spans);
            assert_eq!(place.table(place.notes()).id, notes);
            assert_eq!(Place::of_spans_table(spans, "header").unwrap(), place);
            assert_eq!(Place::parse(&place.to_string(), "location").unwrap(), place);
            assert_eq!(Place::of_json(place.to_json().as_object().unwrap()).unwrap(), Some(place));
        }
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in [
            "",
            "main",
            "main.agents.",
            "main..bot",
            "main.agents.bot.x",
            "main.agents.a b",
            "main.agents.`bot",
            "main.agents.mlflow_experiment_trace",
            "main.agents.x'--",
        ] {
            assert!(Place::parse(text, "location").is_err(), "{text}");
        }
        for table in
            ["main.agents.bot", "agents.bot_otel_spans", "main.agents._otel_spans", "a.b.c_otel_logs"]
        {
            assert!(Place::of_spans_table(table, "header").is_err(), "{table}");
        }
        let other = json!({"uc_schema": {"catalog_name": "m", "schema_name": "a", "otel_spans_table_name": "secret"}});
        assert!(Place::of_json(other.as_object().unwrap()).is_err());
    }

    #[test]
    fn a_trace_id_has_one_spelling() {
        assert!(trace_hex(&"ab".repeat(16), "id").is_ok());
        for bad in
            ["", &"AB".repeat(16), &"0".repeat(32), &"ab".repeat(15), &format!("tr-{}", "ab".repeat(16))]
        {
            assert!(trace_hex(bad, "id").is_err(), "{bad}");
        }
    }
}
