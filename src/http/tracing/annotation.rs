//! What is said of traces beside their spans: head, tags, assessments, links to runs. Rows are only ever added; the
//! latest of one annotation counts, and one that is deleted has a row that says so.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::place::{Part, Place};
use super::read::Row;
use crate::http::error::Refusal;
use crate::lake::otlp::Version;
use crate::lake::{arrow, schemas};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The head of a trace: previews, metadata, when, how long, how it ended.
    Metadata,
    Tag,
    Feedback,
    Expectation,
    RunLink,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Metadata, Self::Tag, Self::Feedback, Self::Expectation, Self::RunLink];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Metadata => "METADATA",
            Self::Tag => "TAG",
            Self::Feedback => "FEEDBACK",
            Self::Expectation => "EXPECTATION",
            Self::RunLink => "RUN_LINK",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// The name of the log event that carries it in version 1.
    fn event(self) -> &'static str {
        match self {
            Self::Metadata => "genai.trace.snapshot",
            Self::Tag => "genai.tags.snapshot",
            Self::Feedback | Self::Expectation => "genai.assessments.snapshot",
            Self::RunLink => "genai.run_links.snapshot",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Annotation {
    pub id: String,
    /// The trace's 32 hexadecimal digits.
    pub trace: String,
    pub kind: Kind,
    pub name: String,
    pub value: Value,
    pub comment: Option<String>,
    pub metadata: Map<String, Value>,
    /// Microseconds since 1970.
    pub created_at: i64,
    pub created_by: String,
    pub updated_at: i64,
    pub updated_by: String,
    pub deleted_at: Option<i64>,
}

impl Annotation {
    /// One of which a trace has one by this kind and name, such as a tag.
    pub fn only(trace: &str, kind: Kind, name: &str, value: Value, by: &str, at: i64) -> Self {
        let id = hex::encode(&Sha256::digest(format!("{trace}\0{}\0{name}", kind.as_str()))[..16]);
        Self::new(id, trace, kind, name, value, by, at)
    }

    pub fn new(id: String, trace: &str, kind: Kind, name: &str, value: Value, by: &str, at: i64) -> Self {
        Self {
            id,
            trace: trace.to_owned(),
            kind,
            name: name.to_owned(),
            value,
            comment: None,
            metadata: Map::new(),
            created_at: at,
            created_by: by.to_owned(),
            updated_at: at,
            updated_by: by.to_owned(),
            deleted_at: None,
        }
    }

    pub fn deleted(mut self, by: &str, at: i64) -> Self {
        self.updated_at = at;
        self.updated_by = by.to_owned();
        self.deleted_at = Some(at);
        self
    }

    /// As a row of `_otel_annotations`.
    fn row(&self) -> Value {
        json!({
            "annotation_id": self.id, "target_type": "TRACE", "target_id": self.trace,
            "annotation_type": self.kind.as_str(), "name": self.name, "value": self.value.to_string(),
            "comment": self.comment, "metadata": Value::Object(self.metadata.clone()).to_string(),
            "created_at": self.created_at, "created_by": self.created_by,
            "updated_at": self.updated_at, "updated_by": self.updated_by,
            "deleted_at": self.deleted_at, "deleted_by": self.deleted_at.map(|_| &self.updated_by),
            "_change_type": "insert",
        })
    }

    /// As a log event of version 1: the same, as the body.
    fn event(&self) -> Value {
        let nanos = self.updated_at.saturating_mul(1000);
        json!({
            "event_name": self.kind.event(), "trace_id": self.trace, "body": self.row().to_string(),
            "time_unix_nano": nanos, "observed_time_unix_nano": nanos,
        })
    }

    /// Of a row that a table holds; whoever may write the table may have written anything.
    pub fn of_row(row: &Row) -> Option<Self> {
        let text = |field: &str| row.get(field).and_then(Value::as_str).map(str::to_owned);
        let number = |field: &str| row.get(field).and_then(Value::as_i64);
        let parsed = |field: &str| text(field).and_then(|text| serde_json::from_str(&text).ok());
        let updated_at = number("updated_at")?;
        Some(Self {
            id: text("annotation_id")?,
            trace: text("target_id")?,
            kind: Kind::parse(&text("annotation_type")?)?,
            name: text("name").unwrap_or_default(),
            value: parsed("value").or_else(|| text("value").map(Value::String)).unwrap_or_default(),
            comment: text("comment"),
            metadata: match parsed("metadata") {
                Some(Value::Object(metadata)) => metadata,
                _ => Map::new(),
            },
            created_at: number("created_at").unwrap_or(updated_at),
            created_by: text("created_by").unwrap_or_default(),
            updated_at,
            updated_by: text("updated_by").unwrap_or_default(),
            deleted_at: number("deleted_at"),
        })
    }

    /// The statement's part that reads them, of the traces whose ids stand in `ids`.
    pub fn select(place: &Place, condition: &str) -> String {
        let table = place.quoted(place.notes());
        match place.version() {
            Version::V2 => format!(
                "SELECT annotation_id, target_id, annotation_type, name, value, comment, metadata, created_by, updated_by, \
                 CAST(created_at AS BIGINT) AS created_at, CAST(updated_at AS BIGINT) AS updated_at, \
                 CAST(deleted_at AS BIGINT) AS deleted_at FROM {table} WHERE target_type = 'TRACE' AND target_id {condition}"
            ),
            Version::V1 => format!(
                "SELECT body FROM {table} WHERE event_name LIKE 'genai.%.snapshot' AND trace_id {condition}"
            ),
        }
    }

    /// Of a row of [`Annotation::select`].
    pub fn of_selected(version: Version, row: &Row) -> Option<Self> {
        match version {
            Version::V2 => Self::of_row(row),
            Version::V1 => match serde_json::from_str(row.get("body")?.as_str()?).ok()? {
                Value::Object(row) => Self::of_row(&row),
                _ => None,
            },
        }
    }
}

/// Rows for the table of a place in which annotations lie.
pub(super) fn rows(place: &Place, annotations: &[Annotation]) -> Result<arrow::array::RecordBatch, Refusal> {
    let (schema, rows): (_, Vec<Value>) = match place.notes() {
        Part::Logs => (schemas::logs_v1(), annotations.iter().map(Annotation::event).collect()),
        _ => (schemas::annotations(), annotations.iter().map(Annotation::row).collect()),
    };
    crate::lake::batch(schema, &rows).map_err(|error| Refusal::Internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_annotation_comes_back_as_it_was_written() {
        let trace = "ab".repeat(16);
        let mut tag = Annotation::only(&trace, Kind::Tag, "k/1", json!("v"), "user:ann", 7);
        tag.comment = Some("why".to_owned());
        tag.metadata.insert("a".to_owned(), json!("b"));
        let Value::Object(row) = tag.row() else { panic!() };
        assert_eq!(Annotation::of_row(&row), Some(tag.clone()));
        let Value::Object(event) = tag.event() else { panic!() };
        assert_eq!(Annotation::of_selected(Version::V1, &event), Some(tag.clone()));
        let same = Annotation::only(&trace, Kind::Tag, "k/1", json!("w"), "user:bob", 8);
        let other = Annotation::only(&trace, Kind::Tag, "k/2", json!("v"), "user:ann", 7);
        assert!(same.id == tag.id && other.id != tag.id);
    }

    #[test]
    fn what_somebody_else_wrote_into_the_table_does_no_harm() {
        for row in [
            json!({}),
            json!({"annotation_id": 5}),
            json!({"annotation_id": "a", "target_id": "t", "annotation_type": "OTHER", "updated_at": 1}),
        ] {
            assert_eq!(Annotation::of_row(row.as_object().unwrap()), None);
        }
        let bare = json!({"annotation_id": "a", "target_id": "t", "annotation_type": "TAG", "value": "{", "updated_at": 1});
        let read = Annotation::of_row(bare.as_object().unwrap()).unwrap();
        assert_eq!((read.value, read.created_at), (json!("{"), 1));
    }
}
