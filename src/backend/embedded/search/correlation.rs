//! How much two filters go together, as normalized pointwise mutual information: 1 if each trace satisfies
//! both or neither, -1 if none satisfies both, 0 if one says nothing of the other.

use std::collections::HashSet;

use serde_json::{Map, Value, json};
use sqlx::Row as _;

use super::super::EmbeddedShared;
use super::super::problem::Problem;
use super::super::reply;
use super::super::request::{Request, missing};
use super::compile::Compiled;
use super::{experiment_numbers, meaning, page};
use crate::wire::Reply;

/// What is added to each count for the smoothed value (Jeffreys' prior).
const PRIOR: f64 = 0.5;

pub(super) async fn answer(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    if !request.json.contains_key("experiment_ids") {
        return Err(missing("experiment_ids"));
    }
    let experiments = request.texts("experiment_ids")?;
    let first = request.required("filter_string1")?;
    let second = request.required("filter_string2")?;
    let base = request.text("base_filter")?.filter(|base| !base.is_empty());
    let experiments = experiment_numbers(&experiments)?;
    let combined =
        |filter: &str| base.map_or_else(|| filter.to_owned(), |base| format!("{base} and {filter}"));
    let first = satisfying(store, &experiments, &combined(first)).await?;
    let second = satisfying(store, &experiments, &combined(second)).await?;
    let total = match base {
        Some(base) => satisfying(store, &experiments, base).await?.len(),
        None => count(store, &experiments).await?,
    };
    let joint = first.intersection(&second).count();
    let counts = Counts { joint, first: first.len(), second: second.len(), total };
    let mut answer = Map::new();
    let (plain, smoothed) = counts.npmi();
    for (name, value) in [("npmi", plain), ("npmi_smoothed", smoothed)] {
        // Undefined is left out.
        if let Some(value) = value {
            answer.insert(name.to_owned(), json!(value));
        }
    }
    for (name, count) in [
        ("filter1_count", counts.first),
        ("filter2_count", counts.second),
        ("joint_count", counts.joint),
        ("total_count", counts.total),
    ] {
        answer.insert(name.to_owned(), json!(count));
    }
    reply::json(&Value::Object(answer))
}

async fn satisfying(
    store: &EmbeddedShared,
    experiments: &[i64],
    filter: &str,
) -> Result<HashSet<i64>, Problem> {
    let mut compiled = Compiled::new(store, experiments, meaning::conditions(filter)?).await?;
    Ok(page::members(store, &mut compiled).await?.into_iter().collect())
}

/// All traces of the experiments.
async fn count(store: &EmbeddedShared, experiments: &[i64]) -> Result<usize, Problem> {
    let compiled = Compiled::new(store, experiments, Vec::new()).await?;
    if experiments.is_empty() {
        return Ok(0);
    }
    let mut query = compiled.query.clone();
    query.push("SELECT COUNT(*) FROM traces t WHERE t.experiment_id IN ").push(&compiled.scope());
    let rows = query.fetch_all(&store.database.reader).await?;
    let count: i64 = rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or_default();
    Ok(usize::try_from(count).unwrap_or_default())
}

/// Of all traces: how many satisfy both filters, and each.
struct Counts {
    joint: usize,
    first: usize,
    second: usize,
    total: usize,
}

impl Counts {
    /// The value, and the smoothed one that few traces move less. Nothing where it is undefined.
    fn npmi(&self) -> (Option<f64>, Option<f64>) {
        if self.total == 0 || self.first == 0 || self.second == 0 {
            return (None, None);
        }
        let cells = [
            self.joint as f64,
            self.first as f64 - self.joint as f64,
            self.second as f64 - self.joint as f64,
            self.total as f64 - self.first as f64 - self.second as f64 + self.joint as f64,
        ];
        if cells.iter().any(|cell| *cell < 0.0) {
            return (None, None);
        }
        let plain = if self.joint == 0 { Some(-1.0) } else { of_cells(cells, 0.0) };
        (plain, of_cells(cells, PRIOR))
    }
}

/// Of the numbers of traces that satisfy both, the first alone, the second alone, and neither.
fn of_cells(cells: [f64; 4], smoothing: f64) -> Option<f64> {
    let [_, first_alone, second_alone, neither] = cells;
    let [both, first, second, rest] = cells.map(|cell| cell + smoothing);
    let all = both + first + second + rest;
    if first_alone == 0.0 && second_alone == 0.0 && neither == 0.0 {
        return Some(1.0);
    }
    if both <= 0.0 {
        return None;
    }
    let information = (both.ln() + all.ln()) - ((both + first).ln() + (both + second).ln());
    let most = -(both.ln() - all.ln());
    Some((information / most).clamp(-1.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npmi(joint: usize, first: usize, second: usize, total: usize) -> (Option<f64>, Option<f64>) {
        Counts { joint, first, second, total }.npmi()
    }

    /// Values of MLflow's own function.
    #[test]
    fn as_mlflow_computes_it() {
        let close =
            |value: Option<f64>, wanted: f64| assert!((value.unwrap() - wanted).abs() < 1e-12, "{value:?}");
        assert_eq!(npmi(0, 0, 5, 10), (None, None));
        assert_eq!(npmi(10, 10, 10, 10).0, Some(1.0));
        assert_eq!(npmi(0, 3, 4, 10).0, Some(-1.0));
        assert_eq!(npmi(5, 3, 4, 10), (None, None));
        let (plain, smoothed) = npmi(10, 20, 15, 100);
        close(plain, 0.522_878_745_280_337_5);
        close(smoothed, 0.509_868_999_183_141_2);
    }
}
