//! Searching logged models.

use serde_json::{Map, Value};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::super::filter::Query;
use super::super::filter::order::{Key, KeyKind, Order};
use super::super::filter::page::Search;
use super::super::pages::Listing;
use super::super::problem::{Code, Problem};
use super::super::request::{Request, experiment_number, missing};
use super::super::{EmbeddedShared, entries};
use super::criteria::{self, Dataset};
use super::read::{self, COLUMNS, Row};
use crate::wire::Reply;

const DEFAULT_PAGE: usize = 100;
/// Experiments that one search takes.
const MAX_EXPERIMENTS: usize = 10_000;

pub async fn answer(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let experiments = experiments_of(request)?;
    let filter = request.text("filter")?.unwrap_or_default();
    let datasets = datasets_of(request)?;
    let most = match request.integer("max_results")? {
        None | Some(0) => DEFAULT_PAGE,
        Some(most) => usize::try_from(most).map_err(|_| {
            Problem::invalid(format!(
                "Invalid value for max_results. It must be a positive integer, but got {most}"
            ))
        })?,
    };
    let order_by = entries::objects(request, "order_by")?;
    let order_by =
        order_by.iter().map(|(path, entry)| OrderBy::of(path, entry)).collect::<Result<Vec<_>, _>>()?;
    let order = order_of(&order_by)?;

    let asked: Vec<String> = ["experiment_ids", "filter", "datasets", "order_by"]
        .iter()
        .map(|name| request.json.get(*name).map(Value::to_string).unwrap_or_default())
        .collect();
    let asked: Vec<&str> = std::iter::once("logged models").chain(asked.iter().map(String::as_str)).collect();
    let search = Search::of(&asked);
    let token = search.token(request.text("page_token")?, &order)?;

    let mut query = Query::new(store.database.dialect, "SELECT ");
    query.push(COLUMNS).push(&order.columns()).push(" FROM (SELECT l.*");
    for (number, metric) in order_by.iter().filter_map(OrderBy::metric).enumerate() {
        push_latest(&mut query, metric, number);
    }
    query.push(" FROM logged_models l WHERE l.lifecycle_stage <> 'deleted' AND l.experiment_id IN ");
    if experiments.is_empty() {
        query.push("(-1)");
    } else {
        query.bind_all(experiments);
    }
    query.push(") l WHERE 1 = 1");
    criteria::push(&mut query, filter, &datasets)?;
    let mut reading = store.database.begin_read().await?;
    let listing = Listing { query, order: &order, search: &search, token };
    let page = listing
        .page(&mut reading, most, async |connection: &mut AnyConnection, rows: &[AnyRow]| {
            let rows: Vec<Row> = rows.iter().map(Row::of).collect::<Result<_, _>>()?;
            read::many(connection, &rows).await
        })
        .await?;
    page.to_reply("models")
}

fn experiments_of(request: &Request) -> Result<Vec<i64>, Problem> {
    if request.json.get("experiment_ids").is_none_or(Value::is_null) {
        return Err(missing("experiment_ids"));
    }
    let ids = request.texts("experiment_ids")?;
    if ids.len() > MAX_EXPERIMENTS {
        return Err(Problem::invalid(format!(
            "'experiment_ids' names {} experiments; at most {MAX_EXPERIMENTS} are searched at once",
            ids.len()
        )));
    }
    ids.iter().map(|id| experiment_number(id)).collect()
}

fn datasets_of(request: &Request) -> Result<Vec<Dataset>, Problem> {
    let mut datasets = Vec::new();
    for (path, entry) in entries::objects(request, "datasets")? {
        let name = entries::text(entry, &path, "dataset_name")?.filter(|name| !name.is_empty());
        let name = name
            .ok_or_else(|| Problem::invalid("`dataset_name` in the `datasets` clause must be specified."))?
            .to_owned();
        let digest = entries::text(entry, &path, "dataset_digest")?;
        let digest = digest.filter(|digest| !digest.is_empty()).map(str::to_owned);
        datasets.push(Dataset { name, digest });
    }
    Ok(datasets)
}

/// One entry of `order_by`.
struct OrderBy {
    field: String,
    ascending: bool,
    dataset_name: Option<String>,
    dataset_digest: Option<String>,
}

impl OrderBy {
    fn of(path: &str, entry: &Map<String, Value>) -> Result<Self, Problem> {
        let text = |name| {
            let text = entries::text(entry, path, name)?;
            Ok::<_, Problem>(text.filter(|text| !text.is_empty()).map(str::to_owned))
        };
        let ascending = match entry.get("ascending") {
            None | Some(Value::Null) => true,
            Some(Value::Bool(ascending)) => *ascending,
            Some(other) => {
                return Err(super::super::request::wrong_type(&format!("{path}.ascending"), other));
            }
        };
        Ok(Self {
            field: text("field_name")?.unwrap_or_default(),
            ascending,
            dataset_name: text("dataset_name")?,
            dataset_digest: text("dataset_digest")?,
        })
    }

    /// The metric that this orders by.
    fn metric(&self) -> Option<(&str, &Self)> {
        Some((self.field.strip_prefix("metrics.")?, self))
    }
}

/// Adds the column `metric_N`: the latest value of a metric, perhaps of those of one data set.
fn push_latest(query: &mut Query, (name, order): (&str, &OrderBy), number: usize) {
    query.push(", (SELECT x.value FROM logged_model_metrics x WHERE x.model_id = l.model_id AND x.key = ");
    query.bind(name);
    for (column, wanted) in
        [("x.dataset_name", &order.dataset_name), ("x.dataset_digest", &order.dataset_digest)]
    {
        if let Some(wanted) = wanted {
            query.push(" AND ").push(column).push(" = ").bind(wanted.as_str());
        }
    }
    query.push(" ORDER BY x.time DESC, x.step DESC, x.run_id LIMIT 1) AS ").push(&format!("metric_{number}"));
}

/// What is not there comes last; the newest models come first among equals.
fn order_of(order_by: &[OrderBy]) -> Result<Order, Problem> {
    let mut keys = Vec::new();
    let mut metrics = 0;
    for order in order_by {
        if order.metric().is_some() {
            let column = format!("l.metric_{metrics}");
            keys.push(Key::new(column, KeyKind::Float, order.ascending).nullable());
            metrics += 1;
            continue;
        }
        let refuse = |code, why: &str| {
            Err(Problem::new(code, format!("Invalid order by field name: {}{why}", order.field)))
        };
        if order.field.contains('.') {
            return refuse(Code::InvalidParameterValue, ". Only metrics are supported.");
        }
        let Some((column, kind)) = criteria::column(&order.field) else {
            return refuse(Code::UnknownAttribute, "");
        };
        keys.push(Key::new(column, kind, order.ascending));
    }
    for (column, kind, ascending) in
        [("l.creation_time", KeyKind::Integer, false), ("l.model_id", KeyKind::Text, true)]
    {
        if !keys.iter().any(|key| key.expression == column) {
            keys.push(Key::new(column, kind, ascending));
        }
    }
    Ok(Order(keys))
}
