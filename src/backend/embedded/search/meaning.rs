//! What the words of a trace filter mean: `trace.status`, ``tags.`a b` ``, `span.content`, `feedback.score`.
//!
//! Some keys are other names: `name` is the tag `mlflow.traceName`, `run_id` the metadata
//! `mlflow.sourceRun`, `prompt` the linked versions of prompts, `text` the content of spans. As in MLflow that
//! holds whatever stands before the key (other than `span.`), so that `tags.text` searches content too.

use super::super::filter::{
    self, Clause, Comparator, Number, OrderBy, Piece, Rules, Value, python_set, unquote_key,
};
use super::super::problem::Problem;

pub const TRACE_NAME: &str = "mlflow.traceName";
pub const SESSION: &str = "mlflow.trace.session";
pub const SOURCE_RUN: &str = "mlflow.sourceRun";
const LINKED_PROMPTS: &str = "mlflow.linkedPrompts";
/// Kept as numbers of their own, so that MLflow compares them only as a whole.
const RESERVED: [&str; 2] = ["mlflow.trace.tokenUsage", "mlflow.trace.cost"];

const SEARCH_KEYS: &[&str] = &[
    "request_id",
    "timestamp",
    "timestamp_ms",
    "execution_time",
    "execution_time_ms",
    "end_time",
    "end_time_ms",
    "status",
    "client_request_id",
    "name",
    "run_id",
    "prompt",
    "text",
];
const ORDER_KEYS: &[&str] = &[
    "experiment_id",
    "timestamp",
    "timestamp_ms",
    "execution_time",
    "execution_time_ms",
    "end_time",
    "end_time_ms",
    "status",
    "request_id",
    "name",
    "run_id",
];
const NUMERIC_KEYS: &[&str] =
    &["timestamp_ms", "timestamp", "execution_time_ms", "execution_time", "end_time_ms", "end_time"];
const LISTED_KEYS: &[&str] = &["name", "status", "request_id", "run_id", "client_request_id"];
const ENTITIES: &[&str] = &[
    "tag",
    "request_metadata",
    "attribute",
    "span",
    "feedback",
    "expectation",
    "issue",
    "tags",
    "attributes",
    "trace",
    "metadata",
];

use Comparator::{Equal, ILike, In, IsNotNull, IsNull, Like, NotEqual, NotIn, RLike};

const OF_TAGS: &[Comparator] = &[NotEqual, Equal, Like, ILike, RLike, IsNull, IsNotNull];
const OF_TEXTS: &[Comparator] = &[NotEqual, Equal, In, NotIn, Like, ILike, RLike];
const OF_CONTENT: &[Comparator] = &[Like, ILike];
const OF_ASSESSMENTS: &[Comparator] = &[
    NotEqual,
    Equal,
    Comparator::Greater,
    Comparator::GreaterOrEqual,
    Comparator::Less,
    Comparator::LessOrEqual,
    Like,
    ILike,
    RLike,
    IsNull,
    IsNotNull,
];

/// What stands before the dot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entity {
    Tag,
    Metadata,
    Attribute,
    Span,
    Feedback,
    Expectation,
    Issue,
}

impl Entity {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "tag" | "tags" => Self::Tag,
            "request_metadata" | "metadata" => Self::Metadata,
            "attribute" | "attributes" | "trace" => Self::Attribute,
            "span" => Self::Span,
            "feedback" => Self::Feedback,
            "expectation" => Self::Expectation,
            "issue" => Self::Issue,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Tag => "tag",
            Self::Metadata => "request_metadata",
            Self::Attribute => "attribute",
            Self::Span => "span",
            Self::Feedback => "feedback",
            Self::Expectation => "expectation",
            Self::Issue => "issue",
        }
    }

    fn is_assessment(self) -> bool {
        matches!(self, Self::Feedback | Self::Expectation)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attribute {
    RequestTime,
    Duration,
    EndTime,
    State,
    TraceId,
    ClientRequestId,
    Experiment,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpanColumn {
    Name,
    Type,
    Status,
    Content,
    /// One of its attributes.
    Attribute(String),
}

/// What a clause asks.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    Attribute(Attribute, Comparator, Value),
    /// A tag or a metadata entry; without a value for IS NULL and IS NOT NULL.
    Mark {
        metadata: bool,
        key: String,
        comparator: Comparator,
        value: Option<Value>,
    },
    /// Belongs to the run, by its metadata or by a link.
    Run(String),
    Prompt(String),
    Issue(String),
    Span(SpanColumn, Comparator, Value),
    /// `feedback` or `expectation`; without a value for IS NULL and IS NOT NULL.
    Assessment {
        kind: &'static str,
        name: String,
        comparator: Comparator,
        value: Option<Value>,
    },
}

/// An identifier and a value that fit together, before keys are renamed.
struct Read<'a> {
    entity: Entity,
    key: String,
    value: Option<Value>,
    clause: Clause<'a>,
}

/// Reads a filter whole.
pub fn conditions(text: &str) -> Result<Vec<Condition>, Problem> {
    // As in MLflow, whatever is wrong with a value is told before what is wrong with a comparator.
    let read: Vec<Read<'_>> =
        filter::parse(text, Rules::TRACES)?.into_iter().map(read).collect::<Result<_, _>>()?;
    read.into_iter().map(condition).collect()
}

fn read(clause: Clause<'_>) -> Result<Read<'_>, Problem> {
    let (entity, key) =
        identifier(clause.identifier.split(), SEARCH_KEYS).map_err(|told| clause.identifier.refuse(told))?;
    let value = match &clause.value {
        None => None,
        Some(piece) => {
            if entity.is_assessment() {
                assessment_value_fits(entity, &clause, piece)?;
            }
            let value = value(entity, &key, piece)?;
            if entity == Entity::Span {
                span_comparator(&key, &clause)?;
            }
            Some(value)
        }
    };
    Ok(Read { entity, key, value, clause })
}

/// An entity and a key, or what is wrong with them.
fn identifier(split: (Option<&str>, &str), keys: &[&str]) -> Result<(Entity, String), String> {
    let (entity, key) = split;
    let entity = filter::within(entity.unwrap_or("attribute"), '`').or(entity).unwrap_or("attribute");
    let known = Entity::parse(entity).ok_or_else(|| {
        format!("Invalid entity type '{entity}'. Valid values are {}", python_set(ENTITIES))
    })?;
    let key = unquote_key(key);
    if known == Entity::Attribute && !keys.contains(&key) {
        return Err(format!(
            "Invalid attribute key '{key}' specified. Valid keys are '{}'",
            python_set(keys)
        ));
    }
    Ok((known, key.to_owned()))
}

fn assessment_value_fits(entity: Entity, clause: &Clause<'_>, value: &Piece<'_>) -> Result<(), Problem> {
    let numeric = matches!(clause.comparator_text.as_str(), ">" | ">=" | "<" | "<=");
    let fits = if numeric { value.is_number() } else { value.is_text() };
    if fits {
        return Ok(());
    }
    let (name, got) = (entity.name(), value.text);
    Err(value.refuse(if numeric {
        format!(
            "Expected a numeric value for {name} when using comparator '{}'. Got value {got}",
            clause.comparator_text
        )
    } else {
        format!("Expected a quoted string value for {name} (e.g. 'my-value'). Got value {got}")
    }))
}

fn value(entity: Entity, key: &str, piece: &Piece<'_>) -> Result<Value, Problem> {
    if piece.is_text() {
        return piece.quoted().map(Value::Text);
    }
    let name = entity.name();
    match entity {
        Entity::Attribute if piece.is_list() => {
            if !LISTED_KEYS.contains(&key) {
                return Err(piece.refuse(format!(
                    "Only attributes in {} supports comparison with a list of quoted string values.",
                    python_set(LISTED_KEYS)
                )));
            }
            piece.list().map(Value::Texts)
        }
        Entity::Attribute if piece.is_number() => {
            if !NUMERIC_KEYS.contains(&key) {
                return Err(piece.refuse(format!(
                    "Only the '{}' attributes support comparison with numeric values.",
                    python_set(NUMERIC_KEYS)
                )));
            }
            piece.number().map(Value::Number)
        }
        Entity::Attribute => Err(piece.refuse(format!(
            "Expected a quoted string value or a list of quoted string values for attributes. Got value {}",
            piece.text
        ))),
        Entity::Tag | Entity::Span if piece.is_list() => piece.list().map(Value::Texts),
        Entity::Feedback | Entity::Expectation if piece.is_number() => piece.number().map(Value::Number),
        _ => Err(piece.refuse(format!(
            "Expected a quoted string value for {name} (e.g. 'my-value'). Got value {}",
            piece.text
        ))),
    }
}

/// What a key of `span.` means and whether it can be compared so. MLflow looks at the comparator as it is
/// written here: `span.name like` is an error.
fn span_comparator(key: &str, clause: &Clause<'_>) -> Result<SpanColumn, Problem> {
    let (column, allowed) = match key {
        "name" => (SpanColumn::Name, OF_TEXTS),
        "type" => (SpanColumn::Type, OF_TEXTS),
        "status" => (SpanColumn::Status, OF_TEXTS),
        "content" => (SpanColumn::Content, OF_CONTENT),
        _ => match key.strip_prefix("attributes.") {
            Some("") => {
                return Err(clause
                    .identifier
                    .refuse("Span attribute name cannot be empty after 'attributes.'"));
            }
            Some(name) => {
                let name = filter::within(name, '`').unwrap_or(name);
                (SpanColumn::Attribute(name.to_owned()), OF_TEXTS)
            }
            None => {
                return Err(clause.identifier.refuse(format!(
                    "Invalid span attribute '{key}'. Supported attributes: name, status, type, \
                     attributes.<attribute_name>."
                )));
            }
        },
    };
    if !allowed.iter().any(|comparator| comparator.text() == clause.comparator_text) {
        return Err(clause.refuse_comparator(allowed, |_, allowed| {
            format!("span.{key} comparator '{}' not one of '{allowed}'", clause.comparator_text)
        }));
    }
    Ok(column)
}

/// Gives keys that are other names their own, and looks at the comparator.
fn condition(read: Read<'_>) -> Result<Condition, Problem> {
    let Read { mut entity, mut key, value, mut clause } = read;
    clause.comparator_text = clause.comparator_text.to_uppercase();
    if entity != Entity::Span {
        (entity, key) = renamed(entity, key);
    }
    match entity {
        Entity::Issue => issue(&key, &clause, value),
        Entity::Attribute => attribute(&key, &clause, value),
        Entity::Tag => tag(key, &clause, value),
        Entity::Metadata => metadata(key, &clause, value),
        Entity::Span => {
            let column = span_comparator(&key, &clause)?;
            let comparator = clause.one_of(OF_TEXTS, |_, _| String::new())?;
            if matches!(column, SpanColumn::Attribute(_)) && matches!(comparator, In | NotIn) {
                return Err(clause.identifier.refuse(format!(
                    "span.{key} cannot be compared with a list; compare with one value at a time"
                )));
            }
            Ok(Condition::Span(column, comparator, fitting(&clause, comparator, value)?))
        }
        Entity::Feedback | Entity::Expectation => {
            if key.is_empty() {
                return Err(clause.identifier.refuse("Assessment field name cannot be empty"));
            }
            let comparator = clause.one_of(OF_ASSESSMENTS, |asked, allowed| {
                format!("assessment.{key} comparator '{asked}' not one of '{allowed}'")
            })?;
            let value = value.map(|value| fitting(&clause, comparator, Some(value))).transpose()?;
            Ok(Condition::Assessment { kind: entity.name(), name: key, comparator, value })
        }
    }
}

fn renamed(entity: Entity, key: String) -> (Entity, String) {
    match key.to_lowercase().as_str() {
        "name" => (Entity::Tag, TRACE_NAME.to_owned()),
        "prompt" => (Entity::Tag, LINKED_PROMPTS.to_owned()),
        "run_id" => (Entity::Metadata, SOURCE_RUN.to_owned()),
        "text" => (Entity::Span, "content".to_owned()),
        "timestamp" => (entity, "timestamp_ms".to_owned()),
        "execution_time" => (entity, "execution_time_ms".to_owned()),
        "end_time" => (entity, "end_time_ms".to_owned()),
        _ => (entity, key),
    }
}

fn issue(key: &str, clause: &Clause<'_>, value: Option<Value>) -> Result<Condition, Problem> {
    if key != "id" {
        return Err(clause
            .identifier
            .refuse(format!("Invalid issue attribute '{key}'. Supported attributes: id")));
    }
    clause.one_of(&[Equal], |asked, allowed| {
        format!("issue.{key} comparator '{asked}' not one of '{allowed}'")
    })?;
    Ok(Condition::Issue(text(clause, value)?))
}

fn attribute(key: &str, clause: &Clause<'_>, value: Option<Value>) -> Result<Condition, Problem> {
    let attribute = attribute_of(key)
        .ok_or_else(|| clause.identifier.refuse(format!("Invalid attribute key '{key}' specified.")))?;
    let comparator = if NUMERIC_KEYS.contains(&key) {
        // The list in MLflow's message is that of texts.
        clause.one_of(Comparator::NUMERIC, |asked, _| {
            let names: Vec<&str> = OF_TEXTS.iter().map(|comparator| comparator.text()).collect();
            format!("Invalid comparator '{asked}' not one of '{}", python_set(&names))
        })?
    } else {
        clause.one_of(OF_TEXTS, |asked, allowed| {
            format!("Invalid comparator '{asked}' not one of '{allowed}'")
        })?
    };
    Ok(Condition::Attribute(attribute, comparator, fitting(clause, comparator, value)?))
}

fn attribute_of(key: &str) -> Option<Attribute> {
    Some(match key {
        "timestamp_ms" => Attribute::RequestTime,
        "execution_time_ms" => Attribute::Duration,
        "end_time_ms" => Attribute::EndTime,
        "status" => Attribute::State,
        "request_id" => Attribute::TraceId,
        "client_request_id" => Attribute::ClientRequestId,
        "experiment_id" => Attribute::Experiment,
        _ => return None,
    })
}

fn tag(key: String, clause: &Clause<'_>, value: Option<Value>) -> Result<Condition, Problem> {
    let comparator = clause
        .one_of(OF_TAGS, |asked, allowed| format!("Invalid comparator '{asked}' not one of '{allowed}"))?;
    if key == LINKED_PROMPTS {
        if comparator != Equal {
            return Err(clause.identifier.refuse(format!(
                "Invalid comparator '{}' for prompts filter. Only '=' is supported with format: prompt = \
                 \"name/version\"",
                comparator.text()
            )));
        }
        let prompt = text(clause, value)?;
        if prompt.matches('/').count() != 1 {
            return Err(clause.identifier.refuse(format!(
                "Invalid prompts filter value '{prompt}'. Expected format: prompt = \"name/version\""
            )));
        }
        return Ok(Condition::Prompt(prompt));
    }
    mark(false, key, clause, comparator, value)
}

fn metadata(key: String, clause: &Clause<'_>, value: Option<Value>) -> Result<Condition, Problem> {
    let comparator = clause
        .one_of(OF_TAGS, |asked, allowed| format!("Invalid comparator '{asked}' not one of '{allowed}'"))?;
    if RESERVED.contains(&key.as_str()) && !matches!(comparator, Equal | NotEqual | IsNull | IsNotNull) {
        return Err(clause.identifier.refuse(format!(
            "Comparator '{}' is not supported for reserved metadata '{key}'. Only '=', '!=', 'IS NULL', and \
             'IS NOT NULL' are supported.",
            comparator.text()
        )));
    }
    if key == SOURCE_RUN && comparator == Equal {
        return Ok(Condition::Run(text(clause, value)?));
    }
    mark(true, key, clause, comparator, value)
}

fn mark(
    metadata: bool,
    key: String,
    clause: &Clause<'_>,
    comparator: Comparator,
    value: Option<Value>,
) -> Result<Condition, Problem> {
    let value = value.map(|value| fitting(clause, comparator, Some(value))).transpose()?;
    Ok(Condition::Mark { metadata, key, comparator, value })
}

/// The value if the comparator can take one of its kind.
fn fitting(clause: &Clause<'_>, comparator: Comparator, value: Option<Value>) -> Result<Value, Problem> {
    let place = clause.value.unwrap_or(clause.identifier);
    let fits = match (&value, comparator) {
        (Some(Value::Texts(_)), In | NotIn) => true,
        (Some(Value::Texts(_)), _) | (_, In | NotIn) => false,
        (Some(Value::Number(_)), Like | ILike | RLike) => false,
        _ => true,
    };
    if let (Some(Value::Text(pattern)), RLike) = (&value, comparator) {
        pattern_of(pattern).map_err(|told| place.refuse(told))?;
    }
    value.filter(|_| fits).ok_or_else(|| {
        place.refuse(format!(
            "'{}' cannot be compared with {} by {}",
            clause.identifier.text,
            place.text,
            comparator.text()
        ))
    })
}

/// A regular expression of RLIKE.
pub fn pattern_of(pattern: &str) -> Result<regex::Regex, String> {
    regex::RegexBuilder::new(pattern)
        .size_limit(1 << 20)
        .build()
        .map_err(|error| format!("Invalid regular expression '{pattern}': {error}"))
}

fn text(clause: &Clause<'_>, value: Option<Value>) -> Result<String, Problem> {
    match fitting(clause, Equal, value)? {
        Value::Text(text) => Ok(text),
        _ => Err(clause.identifier.refuse("Expected a quoted string value")),
    }
}

/// What an order can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderKey {
    Attribute(Attribute),
    Mark { metadata: bool, key: String },
}

/// Reads the orders of a search.
pub fn orders(clauses: &[String]) -> Result<Vec<(OrderKey, bool)>, Problem> {
    let mut orders: Vec<(OrderKey, bool)> = Vec::new();
    for clause in clauses {
        let order = filter::parse_order_by(clause)?;
        let key = order_key(&order).map_err(|told| filter::refuse(&told, 1))?;
        if orders.iter().any(|(known, _)| *known == key) {
            return Err(Problem::invalid(format!(
                "`order_by` contains duplicate fields: {}",
                filter::order::printed(clauses)
            )));
        }
        orders.push((key, order.ascending));
    }
    Ok(orders)
}

fn order_key(order: &OrderBy) -> Result<OrderKey, String> {
    let (entity, key) = identifier(order.split(), ORDER_KEYS)?;
    let (entity, key) = if entity == Entity::Span { (entity, key) } else { renamed(entity, key) };
    match entity {
        Entity::Attribute => attribute_of(&key)
            .map(OrderKey::Attribute)
            .ok_or_else(|| format!("Invalid attribute key '{key}' specified.")),
        Entity::Tag => Ok(OrderKey::Mark { metadata: false, key }),
        Entity::Metadata if RESERVED.contains(&key.as_str()) => Err(format!(
            "Ordering by reserved metadata '{key}' is not supported because it is represented by multiple \
             columns."
        )),
        Entity::Metadata => Ok(OrderKey::Mark { metadata: true, key }),
        _ => Err(format!("Invalid identifier type '{}'", entity.name())),
    }
}

/// A number, perhaps written in quotes: a database takes `'5'` for 5 where a number is wanted. Nothing if it
/// is none.
pub fn as_number(value: &Value) -> Option<Number> {
    match value {
        Value::Number(number) => Some(*number),
        Value::Text(text) => {
            let text = text.trim();
            let float = || text.parse::<f64>().ok().filter(|float| float.is_finite()).map(Number::Float);
            text.parse().map(Number::Integer).ok().or_else(float)
        }
        Value::Texts(_) => None,
    }
}
