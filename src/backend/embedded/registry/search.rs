//! Searching models and versions.

use super::super::EmbeddedShared;
use super::super::filter::order::{Key, KeyKind, Order, printed};
use super::super::filter::page::Search;
use super::super::filter::value::{Number, Value};
use super::super::filter::{
    self, Clause, Comparator, OrderBy, Query, Rules, parse_order_by, python_text, unquote_key,
};
use super::super::pages::Listing;
use super::super::problem::Problem;
use super::super::request::{Request, wrong_type};
use super::IS_PROMPT;
use super::read::{self, MODEL, Model, OF_VERSIONS, VERSION, Version};
use crate::wire::Reply;

const TEXT_COMPARATORS: [Comparator; 6] = [
    Comparator::Equal,
    Comparator::NotEqual,
    Comparator::Like,
    Comparator::ILike,
    Comparator::In,
    Comparator::NotIn,
];

/// In what the two searches differ.
struct Kind {
    operation: &'static str,
    default_page: i64,
    largest_page: i64,
    select: &'static str,
    from: &'static str,
    /// Attributes of filters with their columns.
    attributes: &'static [(&'static str, &'static str)],
    /// Those of them that are compared with lists.
    listed: &'static [&'static str],
    /// The tags of the row, for a comparison with `t.key` and `t.value`.
    tagged: &'static str,
    /// Leaves out prompts.
    no_prompts: &'static str,
}

const MODELS: Kind = Kind {
    operation: "registered models",
    default_page: 100,
    largest_page: 1000,
    select: MODEL,
    from: "FROM registered_models m",
    attributes: &[("name", "m.name")],
    listed: &["name"],
    tagged: "EXISTS (SELECT 1 FROM registered_model_tags t WHERE t.model_no = m.model_no",
    no_prompts: "NOT EXISTS (SELECT 1 FROM registered_model_tags t WHERE t.model_no = m.model_no \
                 AND t.key = 'mlflow.prompt.is_prompt' AND t.value = 'true')",
};

const VERSIONS: Kind = Kind {
    operation: "model versions",
    default_page: 10_000,
    largest_page: 200_000,
    select: VERSION,
    from: OF_VERSIONS,
    attributes: &[
        ("name", "m.name"),
        ("run_id", "v.run_id"),
        ("source_path", "v.source"),
        (VERSION_NUMBER, "v.version"),
    ],
    listed: &["name", "run_id"],
    tagged: "EXISTS (SELECT 1 FROM model_version_tags t WHERE t.version_no = v.version_no",
    no_prompts: "v.model_no NOT IN (SELECT w.model_no FROM model_version_tags t JOIN model_versions w \
                 ON w.version_no = t.version_no WHERE t.key = 'mlflow.prompt.is_prompt' AND t.value = 'true')",
};

const VERSION_NUMBER: &str = "version_number";

pub async fn models(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let asked = Asked::of(&MODELS, request)?;
    let order = order_of(&asked.order_by, |clause| {
        let column = match clause.identifier.as_str() {
            "name" => "m.name",
            "timestamp" | "last_updated_timestamp" => "m.last_update_time",
            other => {
                return Err(filter::refuse(
                    &format!(
                        "Invalid order by key '{other}' specified. Valid keys are '{{'name', 'timestamp'}}'"
                    ),
                    1,
                ));
            }
        };
        Ok(column)
    })?;
    let order = with_tie_breaks(order, &[("m.name", true)]);
    answer(store, &MODELS, &asked, &order).await
}

pub async fn versions(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let mut asked = Asked::of(&VERSIONS, request)?;
    if asked.order_by.is_empty() {
        asked.order_by.push("last_updated_timestamp DESC".to_owned());
    }
    let order = order_of(&asked.order_by, column_of_version)?;
    let order = with_tie_breaks(order, &[("m.name", true), ("v.version", false)]);
    answer(store, &VERSIONS, &asked, &order).await
}

fn column_of_version(clause: &OrderBy) -> Result<&'static str, Problem> {
    const KEYS: &str = "{'creation_timestamp', 'last_updated_timestamp', 'name', 'version_number'}";
    let (entity, key) = clause.split();
    let key = unquote_key(key);
    let refuse = |message: String| Err(filter::refuse(&message, 1));
    match entity {
        None | Some("attribute") => match key {
            "name" => Ok("m.name"),
            VERSION_NUMBER => Ok("v.version"),
            "creation_timestamp" => Ok("v.creation_time"),
            "last_updated_timestamp" => Ok("v.last_update_time"),
            _ => refuse(format!("Invalid attribute key '{key}' specified. Valid keys are '{KEYS}'")),
        },
        Some("tag" | "tags") => {
            refuse(format!("Invalid order by key '{key}' specified. Valid keys are {KEYS}"))
        }
        Some(entity) => refuse(invalid_entity(entity)),
    }
}

fn invalid_entity(entity: &str) -> String {
    format!("Invalid entity type '{entity}'. Valid entity types are ('attribute', 'tag', 'tags')")
}

/// What a request asks for.
struct Asked {
    filter: String,
    most: usize,
    order_by: Vec<String>,
    token: Option<String>,
}

impl Asked {
    fn of(kind: &Kind, request: &Request) -> Result<Self, Problem> {
        let filter = request.text("filter")?.unwrap_or_default().to_owned();
        let most = request.integer("max_results")?;
        if let Some(most) = most.filter(|most| *most > kind.largest_page) {
            // As a query has it.
            return Err(wrong_type("max_results", &most.to_string().into()));
        }
        let most = most.unwrap_or(kind.default_page);
        let most = usize::try_from(most).ok().filter(|most| *most > 0).ok_or_else(|| {
            Problem::invalid(format!(
                "Invalid value for max_results. It must be a positive integer, but got {most}"
            ))
        })?;
        let order_by = request.texts("order_by")?;
        let token = request.text("page_token")?.map(str::to_owned);
        Ok(Self { filter, most, order_by, token })
    }
}

fn order_of(
    clauses: &[String],
    column: impl Fn(&OrderBy) -> Result<&'static str, Problem>,
) -> Result<Vec<(&'static str, bool)>, Problem> {
    let mut keys: Vec<(&str, bool)> = Vec::new();
    for clause in clauses {
        let parsed = parse_order_by(clause)?;
        let column = column(&parsed)?;
        if keys.iter().any(|(known, _)| *known == column) {
            return Err(Problem::invalid(format!(
                "`order_by` contains duplicate fields: {}",
                printed(clauses)
            )));
        }
        keys.push((column, parsed.ascending));
    }
    Ok(keys)
}

fn with_tie_breaks(mut keys: Vec<(&'static str, bool)>, ties: &[(&'static str, bool)]) -> Order {
    for tie in ties {
        if !keys.iter().any(|(known, _)| *known == tie.0) {
            keys.push(*tie);
        }
    }
    let kind = |column: &str| if column == "m.name" { KeyKind::Text } else { KeyKind::Integer };
    Order(keys.into_iter().map(|(column, ascending)| Key::new(column, kind(column), ascending)).collect())
}

async fn answer(store: &EmbeddedShared, kind: &Kind, asked: &Asked, order: &Order) -> Result<Reply, Problem> {
    let search = Search::of(&[kind.operation, &asked.filter, &order.clause(store.database.dialect)]);
    let token = search.token(asked.token.as_deref(), order)?;
    let mut query = Query::new(store.database.dialect, "SELECT ");
    query.push(kind.select).push(&order.columns()).push(" ").push(kind.from).push(" WHERE 1 = 1");
    conditions(&mut query, kind, &asked.filter)?;
    let mut reading = store.database.begin_read().await?;
    let listing = Listing { query, order, search: &search, token };
    let name = if kind.select == MODEL { "registered_models" } else { "model_versions" };
    let page = listing
        .page(
            &mut reading,
            asked.most,
            async |connection: &mut sqlx::AnyConnection, rows: &[sqlx::any::AnyRow]| {
                if kind.select == MODEL {
                    let found: Vec<Model> = rows.iter().map(Model::of).collect::<Result<_, _>>()?;
                    read::models(connection, &found).await
                } else {
                    let found: Vec<Version> = rows.iter().map(Version::of).collect::<Result<_, _>>()?;
                    read::versions(connection, &found).await
                }
            },
        )
        .await?;
    page.to_reply(name)
}

/// A comparison of a filter, checked.
enum Condition {
    Attribute(&'static str, Comparator, Value),
    Tag(String, Comparator, Value),
}

fn conditions(query: &mut Query, kind: &Kind, text: &str) -> Result<(), Problem> {
    let clauses = filter::parse(text, Rules::PLAIN)?;
    let mut conditions =
        clauses.iter().map(|clause| condition(kind, clause)).collect::<Result<Vec<_>, _>>()?;
    if !asks_for_prompts(&conditions) {
        conditions.retain(|condition| !matches!(condition, Condition::Tag(key, ..) if key == IS_PROMPT));
        query.push(" AND ").push(kind.no_prompts);
    }
    for condition in conditions {
        query.push(" AND ");
        match condition {
            Condition::Attribute(column, comparator, value) => query.compare(column, comparator, &value)?,
            Condition::Tag(key, comparator, value) => {
                query.push(kind.tagged).push(" AND t.key = ").bind(key).push(" AND ");
                query.compare("t.value", comparator, &value)?;
                query.push(")");
            }
        }
    }
    Ok(())
}

/// The first comparison of the tag that makes prompts decides.
fn asks_for_prompts(conditions: &[Condition]) -> bool {
    conditions
        .iter()
        .find_map(|condition| match condition {
            Condition::Tag(key, comparator, Value::Text(value)) if key == IS_PROMPT => {
                Some(match (comparator, value.to_lowercase().as_str()) {
                    (Comparator::Equal, value) => value == "true",
                    (Comparator::NotEqual, value) => value == "false",
                    _ => false,
                })
            }
            _ => None,
        })
        .unwrap_or(false)
}

fn condition(kind: &Kind, clause: &Clause<'_>) -> Result<Condition, Problem> {
    let identifier = &clause.identifier;
    let (entity, key) = identifier.split();
    match entity {
        None | Some("attribute") => attribute(kind, clause, key),
        Some("tag" | "tags") => {
            let value = clause.text_value(|raw| {
                format!("Expected a quoted string value for tag (e.g. 'my-value'). Got value {raw}")
            })?;
            let comparator = clause
                .one_of(&TEXT_COMPARATORS[..4], |asked, _| format!("Invalid comparator for tag: {asked}"))?;
            Ok(Condition::Tag(unquote_key(key).to_owned(), comparator, Value::Text(value)))
        }
        Some(entity) => Err(identifier.refuse(invalid_entity(entity))),
    }
}

fn attribute(kind: &Kind, clause: &Clause<'_>, key: &str) -> Result<Condition, Problem> {
    let known = kind.attributes.iter().find(|(name, _)| *name == key);
    let Some((name, column)) = known.copied() else {
        let names: Vec<&str> = kind.attributes.iter().map(|(name, _)| *name).collect();
        let message = format!(
            "Invalid attribute key '{key}' specified. Valid keys are '{}'",
            filter::python_set(&names)
        );
        return Err(clause.identifier.refuse(message));
    };
    let value = attribute_value(kind, clause, name)?;
    if name == VERSION_NUMBER {
        let comparator = clause.one_of(Comparator::NUMERIC, |asked, _| {
            format!("Invalid comparator for attribute {name}: {asked}")
        })?;
        return Ok(Condition::Attribute(column, comparator, whole(clause, value)?));
    }
    let comparator =
        clause.one_of(&TEXT_COMPARATORS, |asked, _| format!("Invalid comparator for attribute: {asked}"))?;
    Ok(Condition::Attribute(column, comparator, value))
}

fn attribute_value(kind: &Kind, clause: &Clause<'_>, name: &str) -> Result<Value, Problem> {
    let numeric = name == VERSION_NUMBER;
    match &clause.value {
        Some(piece) if piece.is_text() => piece.quoted().map(Value::Text),
        Some(piece) if piece.is_list() && !kind.listed.contains(&name) => {
            let listed: Vec<String> = kind.listed.iter().map(|name| python_text(name)).collect();
            Err(piece.refuse(format!(
                "Only [{}] attributes support comparison with a list of quoted string values.",
                listed.join(", ")
            )))
        }
        Some(piece) if piece.is_list() => piece.list().map(Value::Texts),
        Some(piece) if piece.is_number() && numeric => piece.number().map(Value::Number),
        Some(piece) if piece.is_number() && kind.attributes.len() > 1 => Err(piece.refuse(
            "Only the '{'creation_timestamp', 'last_updated_timestamp', 'version_number'}' attributes support \
             comparison with numeric values.",
        )),
        other => {
            let raw = other.as_ref().map_or("NULL", |piece| piece.text);
            Err(other.as_ref().unwrap_or(&clause.identifier).refuse(format!(
                "Expected a quoted string value or a list of quoted string values for attributes. Got value {raw}"
            )))
        }
    }
}

/// The number of a version, which may be quoted.
fn whole(clause: &Clause<'_>, value: Value) -> Result<Value, Problem> {
    let refuse = |printed: String| {
        let piece = clause.value.as_ref().unwrap_or(&clause.identifier);
        Err(piece.refuse(format!("Invalid value for numeric attribute '{VERSION_NUMBER}': {printed}")))
    };
    match value {
        Value::Number(Number::Integer(_)) => Ok(value),
        Value::Number(Number::Float(number)) => refuse(super::super::python::float(number)),
        Value::Text(text) => match text.trim().parse() {
            Ok(number) => Ok(Value::Number(Number::Integer(number))),
            Err(_) => refuse(python_text(&text)),
        },
        Value::Texts(texts) => refuse(printed(&texts)),
    }
}
