//! Parameters, metrics and tags of a run at once: all of them or none.

use super::metrics::Metric;
use super::{metrics, model_metrics, params, row, run_id_of_today, tags};
use crate::backend::embedded::problem::Problem;
use crate::backend::embedded::request::{self, Request};
use crate::backend::embedded::{EmbeddedShared, entries, python, reply};
use crate::wire::Reply;

const METRICS: usize = 1000;
const PARAMS_OR_TAGS: usize = 100;
const ALL: usize = 1000;

type Pairs = Vec<(String, String)>;

pub async fn log(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let run_id = run_id_of_today(request)?.to_owned();
    let metrics: Vec<Metric> = entries::objects(request, "metrics")?
        .into_iter()
        .map(|(path, object)| Metric::parse(object, &path))
        .collect::<Result<_, _>>()?;
    let params = pairs(request, "params")?;
    let tags = pairs(request, "tags")?;
    row::check_id(&run_id)?;
    for (index, metric) in metrics.iter().enumerate() {
        metric.check(&format!("metrics[{index}]"))?;
    }
    let params = checked("params", &params, params::checked)?;
    let tags = checked("tags", &tags, tags::checked)?;
    check_limits(metrics.len(), params.len(), tags.len())?;
    check_unique(&params)?;
    let dialect = store.database.dialect;
    store
        .writer
        .write(move |connection| {
            Box::pin(async move {
                let run = row::lock_active(connection, dialect, &run_id).await?;
                let conflicts = params::put(connection, dialect, run.run_no, &params).await?;
                if !conflicts.is_empty() {
                    return Err(params::Conflict::of_batch(&run_id, &conflicts));
                }
                metrics::put(connection, &run, &metrics).await?;
                model_metrics::put(connection, dialect, &run, &metrics).await?;
                tags::apply(connection, run, tags).await
            })
        })
        .await?;
    Ok(reply::empty_object())
}

/// The keys and values of a list; each must have a key.
fn pairs(request: &Request, name: &str) -> Result<Pairs, Problem> {
    let pairs = entries::pairs(request, name)?;
    match pairs.iter().position(|(key, _)| key.is_empty()) {
        Some(index) => Err(request::missing(&format!("{name}[{index}].key"))),
        None => Ok(pairs),
    }
}

fn checked(
    name: &str,
    pairs: &[(String, String)],
    check: impl Fn(&str, &str, &str) -> Result<(String, String), Problem>,
) -> Result<Pairs, Problem> {
    let each = pairs.iter().enumerate();
    each.map(|(index, (key, value))| check(&format!("{name}[{index}]"), key, value)).collect()
}

fn check_limits(metrics: usize, params: usize, tags: usize) -> Result<(), Problem> {
    let limits = [
        ("metrics", METRICS, metrics),
        ("params", PARAMS_OR_TAGS, params),
        ("tags", PARAMS_OR_TAGS, tags),
        ("metrics, params, and tags", ALL, metrics + params + tags),
    ];
    match limits.into_iter().find(|(_, limit, count)| count > limit) {
        None => Ok(()),
        Some((what, limit, count)) => Err(Problem::invalid(format!(
            "A batch logging request can contain at most {limit} {what}. Got {count} {what}. Please split up \
             {what} across multiple requests and try again."
        ))),
    }
}

fn check_unique(params: &[(String, String)]) -> Result<(), Problem> {
    let mut seen = std::collections::HashSet::new();
    let doubled: Vec<&str> =
        params.iter().filter(|(key, _)| !seen.insert(key)).map(|(key, _)| key.as_str()).collect();
    if doubled.is_empty() {
        return Ok(());
    }
    Err(Problem::invalid(format!(
        "Duplicate parameter keys have been submitted: {}. Please ensure the request contains only one param \
         value per param key.",
        python::repr_list(doubled)
    )))
}
