//! A page of traces: chooses where to begin, and looks at candidates until the page is full.
//!
//! Newest first is the order of an index, so the usual page reads as many rows as it shows. A condition that
//! few traces satisfy is turned round: its traces are found first, then ordered. What the database cannot
//! compare (regular expressions on SQLite, content beside the database) is looked at here, candidate by
//! candidate in the order of the search, for a bounded time: then the page ends early, and its token goes on
//! from there.

use std::collections::HashSet;

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::super::EmbeddedShared;
use super::super::filter::Query;
use super::super::filter::order::{Key, KeyKind, Order};
use super::super::filter::page::{Search, Token};
use super::super::many;
use super::super::problem::Problem;
use super::compile::{Compiled, TraceText};
use super::content;
use super::meaning::{Attribute, OrderKey};
use crate::database::Dialect;

/// A set of fewer traces than this is worth ordering anew.
const SMALL_SET: i64 = 3000;
/// More experiments than this are searched as one.
const MAX_UNION: usize = 64;
/// Candidates that are looked at together, at first and at most.
const FIRST_BATCH: i64 = 200;
const LARGEST_BATCH: i64 = 4000;
/// Milliseconds after which a page ends as it is.
const PATIENCE: i64 = 8000;

/// The traces of a page, by number, and the token of the next one.
pub struct Page {
    pub traces: Vec<i64>,
    pub next: Option<String>,
}

/// What a page is of.
pub struct Asked<'a> {
    pub order: Vec<(OrderKey, bool)>,
    pub limit: i64,
    pub token: Option<&'a str>,
    pub search: Search,
}

/// Where the rows come from.
enum Source {
    /// The index by time, or whatever the database prefers.
    Traces,
    /// The marks that satisfy this, in the order of time.
    Marks(String),
    /// The traces that this statement yields.
    Members(String),
}

/// Finds a page.
pub async fn find(store: &EmbeddedShared, mut compiled: Compiled, asked: Asked<'_>) -> Result<Page, Problem> {
    let (order, by_time) = keys(&mut compiled.query, &asked.order);
    let mut token = asked.search.token(asked.token, &order)?;
    if compiled.experiments.is_empty() {
        return Ok(Page { traces: Vec::new(), next: None });
    }
    let (source, conditions) = source(store, &mut compiled, by_time).await?;
    let checked = compiled.spans.is_some() || !compiled.expressions.is_empty();
    let limit = usize::try_from(asked.limit).unwrap_or_default();
    let started = store.clock.now().0;
    let mut batch = if checked { FIRST_BATCH.max(asked.limit) } else { asked.limit };
    let mut traces = Vec::new();
    loop {
        let query = statement(&compiled, &source, &conditions, &order, token.as_ref(), batch);
        let rows = query.fetch_all(&store.database.reader).await?;
        let fitting = check(store, &compiled, &rows).await?;
        for row in &rows {
            let trace: i64 = row.try_get(0)?;
            if fitting.as_ref().is_none_or(|fitting| fitting.contains(&trace)) {
                traces.push(trace);
                if traces.len() == limit {
                    return Ok(Page { traces, next: Some(asked.search.token_after(row, &order)?) });
                }
            }
        }
        let Some(last) = rows.last().filter(|_| i64::try_from(rows.len()).is_ok_and(|rows| rows == batch))
        else {
            return Ok(Page { traces, next: None });
        };
        let next = asked.search.token_after(last, &order)?;
        if store.clock.now().0 - started > PATIENCE {
            return Ok(Page { traces, next: Some(next) });
        }
        token = asked.search.token(Some(&next), &order)?;
        batch = (batch * 2).min(LARGEST_BATCH);
    }
}

/// How many traces satisfy a filter; the numbers of all of them are needed if some have to be looked at.
pub async fn members(store: &EmbeddedShared, compiled: &mut Compiled) -> Result<Vec<i64>, Problem> {
    let mut found = Vec::new();
    if compiled.experiments.is_empty() {
        return Ok(found);
    }
    let (source, conditions) = source(store, compiled, false).await?;
    let order = Order(vec![Key::new("t.trace_no", KeyKind::Integer, true)]);
    let checked = compiled.spans.is_some() || !compiled.expressions.is_empty();
    let batch = if checked { LARGEST_BATCH } else { i64::MAX };
    let search = Search::of(&[]);
    let mut token: Option<Token> = None;
    loop {
        let query = statement(compiled, &source, &conditions, &order, token.as_ref(), batch);
        let rows = query.fetch_all(&store.database.reader).await?;
        let fitting = check(store, compiled, &rows).await?;
        for row in &rows {
            let trace: i64 = row.try_get(0)?;
            if fitting.as_ref().is_none_or(|fitting| fitting.contains(&trace)) {
                found.push(trace);
            }
        }
        match rows.last() {
            Some(last) if i64::try_from(rows.len()).is_ok_and(|rows| rows == batch) => {
                token = search.token(Some(&search.token_after(last, &order)?), &order)?;
            }
            _ => return Ok(found),
        }
    }
}

/// The keys of an order, made total; and whether they are newest first.
fn keys(query: &mut Query, asked: &[(OrderKey, bool)]) -> (Order, bool) {
    let mut keys: Vec<Key> = asked
        .iter()
        .map(|(key, ascending)| match key {
            OrderKey::Attribute(attribute) => of_attribute(*attribute, *ascending),
            OrderKey::Mark { metadata, key } => {
                let text = TraceText::Mark { metadata: *metadata, key: key.clone() };
                Key::new(text.expression(query), KeyKind::Text, *ascending).nullable()
            }
        })
        .collect();
    let by_time = match asked {
        [] => true,
        [(OrderKey::Attribute(Attribute::RequestTime), ascending)] => !ascending,
        _ => false,
    };
    let named = |attribute: Attribute| asked.iter().any(|(key, _)| *key == OrderKey::Attribute(attribute));
    for (attribute, ascending) in [(Attribute::RequestTime, false), (Attribute::TraceId, true)] {
        if !named(attribute) {
            keys.push(of_attribute(attribute, ascending));
        }
    }
    (Order(keys), by_time)
}

fn of_attribute(attribute: Attribute, ascending: bool) -> Key {
    let (expression, kind) = match attribute {
        Attribute::RequestTime => ("t.request_time", KeyKind::Integer),
        Attribute::Duration => {
            return Key::new("t.duration", KeyKind::Integer, ascending).nullable();
        }
        Attribute::EndTime => ("(t.request_time + COALESCE(t.duration, 0))", KeyKind::Integer),
        Attribute::State => ("t.state", KeyKind::Text),
        Attribute::TraceId => ("t.trace_id", KeyKind::Text),
        Attribute::ClientRequestId => {
            return Key::new("t.client_request_id", KeyKind::Text, ascending).nullable();
        }
        Attribute::Experiment => ("t.experiment_id", KeyKind::Integer),
    };
    Key::new(expression, kind, ascending)
}

/// Chooses where the rows come from; answers that, and the conditions that remain.
async fn source(
    store: &EmbeddedShared,
    compiled: &mut Compiled,
    by_time: bool,
) -> Result<(Source, Vec<String>), Problem> {
    let mut conditions = std::mem::take(&mut compiled.plain);
    if let Some(spans) = &compiled.spans
        && let Some(candidates) = content::candidates(store, spans).await?
    {
        let list = compiled.query.place(many::list(&candidates));
        conditions.extend(compiled.sets.iter().map(|set| set.condition.clone()));
        let members = format!("SELECT value FROM json_each({list})");
        return Ok((Source::Members(members), conditions));
    }
    let mut sizes = Vec::new();
    // PostgreSQL knows how frequent values are.
    if compiled.query.dialect == Dialect::Sqlite && !(by_time && only_marks(compiled)) {
        for set in &compiled.sets {
            sizes.push(size(store, &compiled.query, &set.members).await?);
        }
    }
    let smallest =
        sizes.iter().enumerate().min_by_key(|(_, size)| **size).filter(|(_, size)| **size < SMALL_SET);
    let chosen = match smallest {
        Some((index, _)) => Some((index, Source::Members(compiled.sets[index].members.clone()))),
        None if by_time => timed(store, compiled).await?,
        None => None,
    };
    let without = chosen.as_ref().map(|(index, _)| *index);
    let others = compiled.sets.iter().enumerate().filter(|(index, _)| Some(*index) != without);
    conditions.extend(others.map(|(_, set)| set.condition.clone()));
    if let Some((index, Source::Members(_))) = &chosen {
        // The members may be a few more.
        conditions.push(compiled.sets[*index].condition.clone());
    }
    Ok((chosen.map_or(Source::Traces, |(_, source)| source), conditions))
}

/// Whether the one set is of marks, which yield the order by themselves however many they are.
fn only_marks(compiled: &Compiled) -> bool {
    matches!(compiled.sets.as_slice(), [set] if set.marks.is_some() && set.others.is_none())
}

/// The first set whose marks yield its traces in the order of time.
async fn timed(store: &EmbeddedShared, compiled: &Compiled) -> Result<Option<(usize, Source)>, Problem> {
    for (index, set) in compiled.sets.iter().enumerate() {
        let Some(marks) = &set.marks else { continue };
        if let Some(others) = &set.others {
            let mut query = compiled.query.clone();
            query.push(others);
            if !query.fetch_all(&store.database.reader).await?.is_empty() {
                continue;
            }
        }
        return Ok(Some((index, Source::Marks(marks.clone()))));
    }
    Ok(None)
}

/// The number of a set's members, up to where it matters.
async fn size(store: &EmbeddedShared, query: &Query, members: &str) -> Result<i64, Problem> {
    let mut query = query.clone();
    query.push("SELECT COUNT(*) FROM (").push(members).push(&format!(" LIMIT {SMALL_SET}) few"));
    let rows = query.fetch_all(&store.database.reader).await?;
    Ok(rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or_default())
}

/// The numbers of the traces of a page or batch, with the keys of its order.
fn statement(
    compiled: &Compiled,
    source: &Source,
    conditions: &[String],
    order: &Order,
    token: Option<&Token>,
    limit: i64,
) -> Query {
    let mut query = compiled.query.clone();
    let dialect = query.dialect;
    let after = query
        .aside(|query| {
            if let Some(token) = token {
                order.after(query, token);
            }
            Ok(())
        })
        .unwrap_or_default();
    let limit = query.place(limit);
    let all: String = conditions.iter().map(|condition| format!(" AND ({condition})")).collect();
    let columns = order.columns();
    let ordered = order.clause(dialect);
    let one = |scope: &str| match source {
        Source::Traces => format!(
            "SELECT t.trace_no{columns} FROM traces t WHERE t.experiment_id {scope}{all}{after}{ordered} \
             LIMIT {limit}"
        ),
        Source::Marks(marks) => {
            // The same times, in the index that finds the marks.
            let of_marks = |text: &str| text.replace("t.request_time", "m.request_time");
            format!(
                "SELECT t.trace_no{columns} FROM trace_marks m JOIN traces t ON t.trace_no = m.trace_no WHERE \
                 m.experiment_id {scope} AND {marks}{all}{}{} LIMIT {limit}",
                of_marks(&after),
                of_marks(&ordered)
            )
        }
        Source::Members(members) => {
            // The plus keeps SQLite from walking the index by time instead.
            let plus = if dialect == Dialect::Sqlite { "+" } else { "" };
            format!(
                "SELECT t.trace_no{columns} FROM traces t WHERE t.trace_no IN ({members}) AND \
                 {plus}t.experiment_id {scope}{all}{after}{ordered} LIMIT {limit}"
            )
        }
    };
    let text = match compiled.experiments.as_slice() {
        [experiment] => one(&format!("= {experiment}")),
        several if several.len() <= MAX_UNION && !matches!(source, Source::Members(_)) => {
            // Each experiment has its own order in the index.
            let parts: Vec<String> = several
                .iter()
                .map(|experiment| format!("SELECT * FROM ({}) part", one(&format!("= {experiment}"))))
                .collect();
            let merged: Vec<Key> = order
                .0
                .iter()
                .enumerate()
                .map(|(index, key)| Key { expression: format!("key_{index}"), ..key.clone() })
                .collect();
            format!(
                "SELECT * FROM ({}) parts{} LIMIT {limit}",
                parts.join(" UNION ALL "),
                Order(merged).clause(dialect)
            )
        }
        _ => one(&format!("IN {}", compiled.scope())),
    };
    query.push(&text);
    query
}

/// Which of the candidates satisfy what the database could not compare; nothing if it compared all.
async fn check(
    store: &EmbeddedShared,
    compiled: &Compiled,
    rows: &[AnyRow],
) -> Result<Option<HashSet<i64>>, Problem> {
    if compiled.spans.is_none() && compiled.expressions.is_empty() {
        return Ok(None);
    }
    let mut traces: Vec<i64> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    for (text, expression) in &compiled.expressions {
        if traces.is_empty() {
            break;
        }
        let dialect = store.database.dialect;
        let mut query = Query::new(dialect, "SELECT t.trace_no, ");
        query.place(many::list(&traces));
        let column = text.expression(&mut query);
        query.push(&column).push(" FROM traces t WHERE t.trace_no IN ").push(&many::integers(dialect, 1));
        traces.clear();
        for row in query.fetch_all(&store.database.reader).await? {
            let text: Option<String> = row.try_get(1)?;
            if text.is_some_and(|text| expression.is_match(&text)) {
                traces.push(row.try_get(0)?);
            }
        }
    }
    match &compiled.spans {
        Some(spans) if !traces.is_empty() => spans.check(store, &traces).await.map(Some),
        _ => Ok(Some(traces.into_iter().collect())),
    }
}
