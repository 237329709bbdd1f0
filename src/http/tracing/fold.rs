//! What a trace's annotations come to: for each of them the latest row, unless that one deletes it.

use std::collections::BTreeMap;

use super::annotation::{Annotation, Kind};

/// A trace's annotations as they are now.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub head: Option<Annotation>,
    pub tags: BTreeMap<String, Annotation>,
    /// By when they were made.
    pub assessments: Vec<Annotation>,
    pub runs: Vec<Annotation>,
}

/// By trace.
pub(super) fn fold(rows: impl IntoIterator<Item = Annotation>) -> BTreeMap<String, Notes> {
    let mut latest: BTreeMap<(String, &'static str, String), Annotation> = BTreeMap::new();
    for row in rows {
        // Of its own trace and kind alone: an id that is used again elsewhere takes nothing away there.
        let kind = match row.kind {
            Kind::Feedback | Kind::Expectation => "ASSESSMENT",
            other => other.as_str(),
        };
        let key = (row.trace.clone(), kind, row.id.clone());
        let newer = |known: &Annotation| {
            (known.updated_at, known.deleted_at.is_some()) <= (row.updated_at, row.deleted_at.is_some())
        };
        if latest.get(&key).is_none_or(newer) {
            latest.insert(key, row);
        }
    }
    let mut notes: BTreeMap<String, Notes> = BTreeMap::new();
    for row in latest.into_values().filter(|row| row.deleted_at.is_none()) {
        let of_trace = notes.entry(row.trace.clone()).or_default();
        match row.kind {
            Kind::Metadata => {
                if of_trace.head.as_ref().is_none_or(|head| head.updated_at <= row.updated_at) {
                    of_trace.head = Some(row);
                }
            }
            Kind::Tag => {
                let known = of_trace.tags.get(&row.name);
                if known.is_none_or(|known| known.updated_at <= row.updated_at) {
                    of_trace.tags.insert(row.name.clone(), row);
                }
            }
            Kind::Feedback | Kind::Expectation => of_trace.assessments.push(row),
            Kind::RunLink => of_trace.runs.push(row),
        }
    }
    for of_trace in notes.values_mut() {
        of_trace
            .assessments
            .sort_by(|one, other| (one.created_at, &one.id).cmp(&(other.created_at, &other.id)));
    }
    notes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_latest_counts_and_what_is_deleted_is_gone() {
        let trace = "ab".repeat(16);
        let tag = |value: &str, at| Annotation::only(&trace, Kind::Tag, "k", json!(value), "user:ann", at);
        let value = |rows: Vec<Annotation>| {
            let notes = fold(rows);
            notes.get(&trace).and_then(|notes| notes.tags.get("k")).map(|tag| tag.value.clone())
        };
        assert_eq!(value(vec![tag("new", 2), tag("old", 1)]), Some(json!("new")));
        assert_eq!(value(vec![tag("a", 1), tag("a", 1).deleted("user:ann", 2)]), None);
        assert_eq!(value(vec![tag("a", 1).deleted("user:ann", 2), tag("b", 3)]), Some(json!("b")));
    }

    #[test]
    fn an_id_that_is_used_again_takes_nothing_from_another_trace() {
        let feedback = |trace: &str, at| {
            Annotation::new("a-1".to_owned(), trace, Kind::Feedback, "q", json!(1), "user:ann", at)
        };
        let (one, other) = ("ab".repeat(16), "cd".repeat(16));
        let notes = fold([feedback(&one, 1), feedback(&other, 2).deleted("user:eve", 3)]);
        assert_eq!(notes.get(&one).map(|notes| notes.assessments.len()), Some(1));
        assert!(!notes.contains_key(&other));
    }
}
