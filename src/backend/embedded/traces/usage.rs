//! Tokens and cost: per span, summed over a trace, and as a trace's metadata tells them.
//!
//! A parent may already count what its children used, so a span counts only if no span above it does.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::super::python_json;

pub(in crate::backend::embedded) const TOKEN_USAGE: &str = "mlflow.trace.tokenUsage";
pub(in crate::backend::embedded) const COST: &str = "mlflow.trace.cost";

pub(in crate::backend::embedded) const TOKENS: [&str; 6] = [
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "cache_creation_input_tokens_above_1hr",
];
/// The first of [`TOKENS`] are told even if they are zero.
const ALWAYS_TOLD: usize = 3;
pub(in crate::backend::embedded) const COSTS: [&str; 3] = ["input_cost", "output_cost", "total_cost"];

/// Token counts in the order of [`TOKENS`].
pub(in crate::backend::embedded) type Tokens = [Option<i64>; 6];
/// Cost in US dollars in the order of [`COSTS`].
pub(in crate::backend::embedded) type Costs = [Option<f64>; 3];

/// What a JSON object says of tokens; what is no whole number says nothing.
pub(in crate::backend::embedded) fn tokens(object: &Map<String, Value>) -> Tokens {
    TOKENS.map(|name| object.get(name).and_then(token_count))
}

pub(in crate::backend::embedded) fn costs(object: &Map<String, Value>) -> Costs {
    COSTS.map(|name| object.get(name).and_then(amount))
}

fn token_count(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| {
            number
                .as_f64()
                .filter(|float| float.fract() == 0.0 && float.abs() < 9e18)
                .map(|float| float as i64)
        }),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn amount(value: &Value) -> Option<f64> {
    let float = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    float.filter(|float| float.is_finite())
}

/// The object in a JSON text; empty if it is none.
pub(in crate::backend::embedded) fn object(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap_or_default()
}

/// Tokens as metadata tells them; nothing if there are none.
pub(in crate::backend::embedded) fn tokens_text(tokens: &Tokens) -> Option<String> {
    let told = TOKENS.iter().zip(tokens).filter_map(|(name, count)| Some((*name, Value::from((*count)?))));
    text(told)
}

pub(in crate::backend::embedded) fn costs_text(costs: &Costs) -> Option<String> {
    text(COSTS.iter().zip(costs).filter_map(|(name, amount)| Some((*name, Value::from((*amount)?)))))
}

fn text<'n>(told: impl Iterator<Item = (&'n str, Value)>) -> Option<String> {
    let map: Map<String, Value> = told.map(|(name, value)| (name.to_owned(), value)).collect();
    (!map.is_empty()).then(|| python_json::dumps(&Value::Object(map)))
}

/// A span in the tree over which is summed.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::backend::embedded) struct Node {
    pub span: String,
    pub parent: Option<String>,
    /// Nothing if the span does not speak of tokens.
    pub tokens: Option<Tokens>,
    pub costs: Option<Costs>,
}

pub(in crate::backend::embedded) fn sum_tokens(nodes: &[Node]) -> Option<Tokens> {
    let counted: Vec<Tokens> = outermost(nodes, |node| node.tokens);
    if counted.is_empty() {
        return None;
    }
    let mut sum: Tokens = [Some(0), Some(0), Some(0), None, None, None];
    debug_assert_eq!(sum.iter().flatten().count(), ALWAYS_TOLD);
    for tokens in counted {
        for (total, count) in sum.iter_mut().zip(tokens) {
            if let Some(count) = count {
                *total = Some(total.unwrap_or_default().saturating_add(count));
            }
        }
    }
    Some(sum)
}

pub(in crate::backend::embedded) fn sum_costs(nodes: &[Node]) -> Option<Costs> {
    let counted: Vec<Costs> = outermost(nodes, |node| node.costs);
    if counted.is_empty() {
        return None;
    }
    let mut sum = [0.0; 3];
    for costs in counted {
        for (total, amount) in sum.iter_mut().zip(costs) {
            *total += amount.unwrap_or_default();
        }
    }
    Some(sum.map(Some))
}

/// What the spans say that have no span above them that says something.
fn outermost<T: Copy>(nodes: &[Node], said: impl Fn(&Node) -> Option<T>) -> Vec<T> {
    if nodes.iter().all(|node| said(node).is_none()) {
        return Vec::new();
    }
    let by_id: HashMap<&str, &Node> = nodes.iter().map(|node| (node.span.as_str(), node)).collect();
    // Whether something is said at a span or above it; known once per span, so that the walk is linear.
    let mut known: HashMap<&str, bool> = HashMap::new();
    let mut counted = Vec::new();
    for node in nodes {
        let mut path = Vec::new();
        let mut at = node.parent.as_deref().and_then(|parent| by_id.get(parent).copied());
        let mut above = false;
        while let Some(ancestor) = at {
            if let Some(settled) = known.get(ancestor.span.as_str()) {
                above = *settled;
                break;
            }
            if said(ancestor).is_some() {
                above = true;
                known.insert(&ancestor.span, true);
                break;
            }
            // Spans that are above each other: what a client sends is no tree of necessity.
            if path.len() > nodes.len() {
                break;
            }
            path.push(ancestor.span.as_str());
            at = ancestor.parent.as_deref().and_then(|parent| by_id.get(parent).copied());
        }
        for passed in path {
            known.insert(passed, above);
        }
        if !above {
            counted.extend(said(node));
        }
    }
    counted
}
