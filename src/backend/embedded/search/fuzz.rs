//! Searches of any text: no text of a caller's becomes SQL, and none makes the database refuse.

#![allow(clippy::unwrap_used, reason = "a failure is what is looked for")]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::super::EmbeddedShared;
use super::super::filter::order::{Key, KeyKind, Order};
use super::super::filter::page::Search;
use super::super::filter::{Bind, Comparator, Value};
use super::super::fuzz::with_store;
use super::super::problem::{Code, Problem};
use super::compile::Compiled;
use super::meaning::{Attribute, Condition, OrderKey, conditions, orders};
use super::page::{self, Asked};

/// What a condition asks for, as far as the level of who asks matters.
#[derive(Debug)]
pub(crate) enum Asks {
    /// An id, a time or a state.
    Listed,
    Tag(String),
    More(&'static str),
}

/// What the store makes of a filter; nothing if it refuses it.
pub(crate) fn what_it_asks(filter: &str) -> Option<Vec<Asks>> {
    let asked = conditions(filter).ok()?.into_iter().map(|condition| match condition {
        Condition::Attribute(Attribute::ClientRequestId, ..) => Asks::More("the client's request id"),
        Condition::Attribute(..) => Asks::Listed,
        Condition::Mark { metadata: false, key, .. } => Asks::Tag(key),
        Condition::Mark { .. } => Asks::More("metadata"),
        Condition::Run(_) => Asks::More("a run"),
        Condition::Prompt(_) => Asks::More("a prompt"),
        Condition::Issue(_) => Asks::More("an issue"),
        Condition::Span(..) => Asks::More("spans"),
        Condition::Assessment { .. } => Asks::More("an assessment"),
    });
    Some(asked.collect())
}

/// The orders, a line feed, and the filter.
pub(crate) fn search(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (order, filter) = text.split_once('\n').unwrap_or(("", text));
    let clauses: Vec<String> = (!order.is_empty()).then(|| order.to_owned()).into_iter().collect();
    let (Ok(order), Ok(conditions)) = (orders(&clauses), conditions(filter)) else { return };
    with_store(async |store| {
        let marked: Vec<Condition> = conditions.iter().cloned().map(with_other_texts).collect();
        let Some(compiled) = checked(Compiled::new(&store, &[0], conditions).await) else { return };
        let expected: Vec<String> = sql(&compiled).into_iter().map(str::to_owned).collect();
        if let Some(marked) = checked(Compiled::new(&store, &[0], marked).await) {
            // Other texts of the caller's, the same SQL.
            assert_eq!(sql(&marked), expected, "{filter:?}");
        }
        found(&store, compiled, order, None, Search::of(&["fuzz"])).await;
    });
}

/// A page's token, as it is and as its content.
pub(crate) fn page_token(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let search = || Search::of(&["fuzz"]);
    let shown = format!("{:?}", search());
    let hash = shown.split('"').nth(1).unwrap();
    let packed = URL_SAFE_NO_PAD.encode(text.replace("SEARCH", hash));
    let kinds = [KeyKind::Integer, KeyKind::Text, KeyKind::Float];
    let order = Order(kinds.map(|kind| Key::new("c", kind, true)).to_vec());
    for token in [text, &packed] {
        let Ok(Some(read)) = search().token(Some(token), &order) else { continue };
        for (key, kind) in read.keys.iter().zip(kinds) {
            match (key, kind) {
                (None, _)
                | (Some(Bind::Integer(_)), KeyKind::Integer)
                | (Some(Bind::Float(_)), KeyKind::Float) => {}
                (Some(Bind::Text(text)), KeyKind::Text) => assert!(!text.contains('\0')),
                _ => panic!("{key:?} in the place of another kind"),
            }
        }
        assert_eq!(read.keys.len(), kinds.len());
    }
    with_store(async |store| {
        let mark = OrderKey::Mark { metadata: false, key: "k".to_owned() };
        let order = vec![(OrderKey::Attribute(Attribute::RequestTime), false), (mark, true)];
        let compiled = Compiled::new(&store, &[0], Vec::new()).await.unwrap();
        found(&store, compiled, order, Some(&packed), search()).await;
    });
}

async fn found(
    store: &EmbeddedShared,
    compiled: Compiled,
    order: Vec<(OrderKey, bool)>,
    token: Option<&str>,
    search: Search,
) {
    let page = page::find(store, compiled, Asked { order, limit: 2, token, search }).await;
    if let Some(page) = checked(page) {
        assert!(page.traces.len() <= 2 && page.traces.iter().all(|trace| (1..=3).contains(trace)));
    }
}

/// Any answer but that the store itself failed.
fn checked<T>(result: Result<T, Problem>) -> Option<T> {
    if let Err(problem) = &result {
        assert_ne!(problem.code, Code::Internal, "{problem}");
    }
    result.ok()
}

fn sql(compiled: &Compiled) -> Vec<&str> {
    let mut texts: Vec<&str> = compiled.plain.iter().map(String::as_str).collect();
    for set in &compiled.sets {
        texts.extend([set.condition.as_str(), set.members.as_str()]);
        texts.extend([&set.marks, &set.others].into_iter().flatten().map(String::as_str));
    }
    texts
}

/// The same condition on other texts of the same length.
fn with_other_texts(condition: Condition) -> Condition {
    let other = |text: String| text.replace(|c: char| c.is_ascii_alphanumeric(), "Ω");
    let other_value = |comparator: Comparator, value: Value| match value {
        // Of an expression not every letter stands for itself.
        Value::Text(text) if comparator != Comparator::RLike => Value::Text(other(text)),
        Value::Texts(texts) => Value::Texts(texts.into_iter().map(other).collect()),
        value => value,
    };
    match condition {
        // Texts are read as numbers, and tell apart as such.
        Condition::Attribute(
            attribute @ (Attribute::State | Attribute::TraceId | Attribute::ClientRequestId),
            comparator,
            value,
        ) => Condition::Attribute(attribute, comparator, other_value(comparator, value)),
        Condition::Mark { metadata, key, comparator, value } => Condition::Mark {
            metadata,
            key: other(key),
            comparator,
            value: value.map(|value| other_value(comparator, value)),
        },
        Condition::Run(run) => Condition::Run(other(run)),
        Condition::Prompt(prompt) => Condition::Prompt(other(prompt)),
        Condition::Issue(issue) => Condition::Issue(other(issue)),
        Condition::Span(column, comparator, value) => {
            Condition::Span(column, comparator, other_value(comparator, value))
        }
        Condition::Assessment { kind, name, comparator, value } => Condition::Assessment {
            kind,
            name: other(name),
            comparator,
            value: value.map(|value| other_value(comparator, value)),
        },
        condition => condition,
    }
}
