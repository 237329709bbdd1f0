//! Conditions on spans. All of a filter's must hold for one and the same span.
//!
//! The content of a span is its JSON text: `span.content LIKE '%x%'` looks in all of it, and
//! `span.attributes.a LIKE '%x%'` for the attribute's name and then the pattern, as MLflow does. Content that
//! lies beside the database is read and compared here.

use std::collections::HashSet;

use futures_util::StreamExt as _;
use sqlx::Row as _;

use super::super::EmbeddedShared;
use super::super::filter::{Comparator, Query, Value};
use super::super::many;
use super::super::problem::Problem;
use super::like::Like;
use super::meaning::{SpanColumn, pattern_of};
use crate::database::Dialect;

/// Spans may have begun this much before the time that their trace must not begin before.
const CLOCK_SKEW_MILLISECONDS: f64 = 10_000.0;

/// What one span must satisfy.
#[derive(Debug, Clone, Default)]
pub struct SpanFilter {
    conditions: Vec<(SpanColumn, Comparator, Value)>,
    /// Nanoseconds.
    not_before: Option<f64>,
    /// Whether no span can satisfy it.
    pub never: bool,
}

/// How a text is compared that no database can compare for us.
enum Test {
    Like(Like),
    Expression(regex::Regex),
}

impl Test {
    fn holds(&self, text: &str) -> bool {
        match self {
            Self::Like(pattern) => pattern.matches(text),
            Self::Expression(expression) => expression.is_match(text),
        }
    }
}

impl SpanFilter {
    pub fn push(&mut self, column: SpanColumn, comparator: Comparator, value: Value) {
        let SpanColumn::Attribute(name) = column else {
            self.conditions.push((column, comparator, value));
            return;
        };
        match comparator {
            // MLflow compares with the whole content, which no such value is.
            Comparator::Equal => self.never = true,
            Comparator::NotEqual => {}
            _ => self.conditions.extend(of_attribute(&name, comparator, value)),
        }
    }

    /// The filter asks for traces that begin no earlier than this: spans from long before do not count.
    pub fn not_before(&mut self, milliseconds: f64) {
        let nanoseconds = (milliseconds - CLOCK_SKEW_MILLISECONDS) * 1e6;
        self.not_before = Some(self.not_before.map_or(nanoseconds, |known| known.max(nanoseconds)));
    }

    /// Whether the database alone cannot tell.
    pub fn needs_check(&self, dialect: Dialect) -> bool {
        self.conditions.iter().any(|(column, comparator, _)| {
            *column == SpanColumn::Content || (*comparator == Comparator::RLike && dialect == Dialect::Sqlite)
        })
    }

    /// The patterns of LIKE that the content must match.
    pub fn content_patterns(&self) -> impl Iterator<Item = &str> {
        self.conditions.iter().filter_map(|(column, comparator, value)| match (column, comparator, value) {
            (SpanColumn::Content, Comparator::Like | Comparator::ILike, Value::Text(pattern)) => {
                Some(pattern.as_str())
            }
            _ => None,
        })
    }

    /// Whether spans of a name are asked for, which an index finds.
    pub fn names_a_span(&self) -> bool {
        self.conditions.iter().any(|(column, comparator, _)| {
            *column == SpanColumn::Name && matches!(comparator, Comparator::Equal | Comparator::In)
        })
    }

    /// ` AND …` on the spans `s`, as far as the database can tell; content beside the database satisfies it if
    /// `or_beside`.
    pub fn push_conditions(&self, query: &mut Query, or_beside: bool) -> Result<(), Problem> {
        if let Some(start) = self.not_before {
            query.push(" AND s.start_time >= ").bind(start);
        }
        for (column, comparator, value) in &self.conditions {
            if *comparator == Comparator::RLike && query.dialect == Dialect::Sqlite {
                continue;
            }
            let name = match column {
                SpanColumn::Name => "s.name",
                SpanColumn::Type => "s.type",
                SpanColumn::Status => "s.status",
                SpanColumn::Content | SpanColumn::Attribute(_) => "s.content",
            };
            let beside = or_beside && name == "s.content";
            query.push(if beside { " AND (" } else { " AND " });
            query.compare(name, *comparator, value)?;
            if beside {
                query.push(" OR s.content IS NULL)");
            }
        }
        Ok(())
    }

    /// Which of these traces have such a span.
    pub async fn check(&self, store: &EmbeddedShared, traces: &[i64]) -> Result<HashSet<i64>, Problem> {
        let dialect = store.database.dialect;
        let mut found = HashSet::new();
        let by_hand = dialect == Dialect::Sqlite
            && self.conditions.iter().any(|(_, comparator, _)| *comparator == Comparator::RLike);
        let batch = many::integers(dialect, 1);
        if !by_hand {
            let mut query =
                Query::new(dialect, "SELECT DISTINCT s.trace_no FROM spans s WHERE s.trace_no IN ");
            query.place(many::list(traces));
            query.push(&batch).push(" AND s.content IS NOT NULL");
            self.push_conditions(&mut query, false)?;
            for row in query.fetch_all(&store.database.reader).await? {
                found.insert(row.try_get(0)?);
            }
        }
        let rest: Vec<i64> = traces.iter().copied().filter(|trace| !found.contains(trace)).collect();
        let content = if by_hand { "s.content" } else { "NULL" };
        let mut query = Query::new(
            dialect,
            &format!(
                "SELECT s.trace_no, s.name, s.type, s.status, CAST({content} AS TEXT), s.payload, \
                 s.payload_offset, s.payload_length FROM spans s WHERE s.trace_no IN "
            ),
        );
        query.place(many::list(&rest));
        query.push(&batch);
        if !by_hand {
            query.push(" AND s.payload IS NOT NULL");
        }
        self.push_conditions(&mut query, true)?;
        query.push(" ORDER BY s.trace_no");
        for row in query.fetch_all(&store.database.reader).await? {
            let trace: i64 = row.try_get(0)?;
            if !found.contains(&trace) && self.holds(store, &row).await? {
                found.insert(trace);
            }
        }
        Ok(found)
    }

    /// Whether what the database could not compare holds for a span.
    async fn holds(&self, store: &EmbeddedShared, row: &sqlx::any::AnyRow) -> Result<bool, Problem> {
        let mut content: Option<String> = row.try_get(4)?;
        for (column, comparator, value) in &self.conditions {
            let Value::Text(pattern) = value else { continue };
            let test = match comparator {
                Comparator::RLike => Test::Expression(pattern_of(pattern).map_err(Problem::invalid)?),
                _ if *column != SpanColumn::Content => continue,
                Comparator::Like => Test::Like(Like::new(pattern, false)),
                Comparator::ILike => Test::Like(Like::new(pattern, true)),
                _ => continue,
            };
            let text = match column {
                SpanColumn::Name => row.try_get::<Option<String>, _>(1)?,
                SpanColumn::Type => row.try_get::<Option<String>, _>(2)?,
                SpanColumn::Status => row.try_get::<Option<String>, _>(3)?,
                SpanColumn::Content | SpanColumn::Attribute(_) => {
                    if content.is_none() {
                        content = beside(store, row).await?;
                    }
                    content.clone()
                }
            };
            if !text.is_some_and(|text| test.holds(&text)) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// A pattern for an attribute as one for the content.
fn of_attribute(name: &str, comparator: Comparator, value: Value) -> Option<(SpanColumn, Comparator, Value)> {
    let Value::Text(value) = value else { return None };
    let pattern = match comparator {
        Comparator::RLike => {
            // An attribute is JSON text within JSON text: `"a": "\"value\""`.
            let (start, value) = match value.strip_prefix('^') {
                Some(rest) => (r#""\\""#, rest),
                None => (r#""\\".*"#, value.as_str()),
            };
            let (end, value) = match value.strip_suffix('$') {
                Some(rest) => (r#"\\""#, rest),
                None => ("", value),
            };
            format!("\"{name}\": {start}{value}{end}")
        }
        _ => format!("%\"{name}\"{value}%"),
    };
    Some((SpanColumn::Content, comparator, Value::Text(pattern)))
}

/// The content of a span that lies beside the database.
async fn beside(store: &EmbeddedShared, row: &sqlx::any::AnyRow) -> Result<Option<String>, Problem> {
    let object: Option<String> = row.try_get(5)?;
    let offset: Option<i64> = row.try_get(6)?;
    let length: Option<i64> = row.try_get(7)?;
    let (Some(object), Some(offset), Some(length)) = (object, offset, length) else { return Ok(None) };
    let start = u64::try_from(offset).unwrap_or_default();
    let range = start..start + u64::try_from(length).unwrap_or_default();
    let Some((_, mut stream)) = store.objects.get(&object, Some(range)).await? else { return Ok(None) };
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk.map_err(Problem::internal)?);
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(comparator: Comparator, value: &str) -> Option<Value> {
        of_attribute("a", comparator, Value::Text(value.to_owned())).map(|(_, _, value)| value)
    }

    #[test]
    fn attributes_are_looked_for_in_the_content() {
        let text = |text: &str| Some(Value::Text(text.to_owned()));
        assert_eq!(attribute(Comparator::Like, "%x%"), text("%\"a\"%x%%"));
        assert_eq!(attribute(Comparator::RLike, "^x$"), text(r#""a": "\\"x\\""#));
        assert_eq!(attribute(Comparator::RLike, "x"), text(r#""a": "\\".*x"#));
        let content = r#"{"attributes": {"a": "\"yx\"", "b": "1"}}"#;
        let Some(Value::Text(pattern)) = attribute(Comparator::RLike, "x$") else { panic!("a text") };
        assert!(pattern_of(&pattern).unwrap().is_match(content));
    }
}
