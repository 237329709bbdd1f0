//! What the identifiers of filters and orders mean: `metrics.rmse`, `params."batch size"`, `start_time`.

use crate::backend::embedded::filter::{python_set, unquote_key, within};

/// What a filter or an order looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entity {
    Metric,
    Param,
    Tag,
    Attribute,
    Dataset,
}

impl Entity {
    pub fn name(self) -> &'static str {
        match self {
            Self::Metric => "metric",
            Self::Param => "parameter",
            Self::Tag => "tag",
            Self::Attribute => "attribute",
            Self::Dataset => "dataset",
        }
    }
}

/// `created` and `Run name` are columns of MLflow's web UI.
pub const SEARCHABLE: [&str; 12] = [
    "Created",
    "Run Name",
    "Run name",
    "artifact_uri",
    "created",
    "end_time",
    "run name",
    "run_id",
    "run_name",
    "start_time",
    "status",
    "user_id",
];

pub const ORDERABLE: [&str; 9] = [
    "Created",
    "artifact_uri",
    "created",
    "end_time",
    "run_id",
    "run_name",
    "start_time",
    "status",
    "user_id",
];

const DATASET_KEYS: [&str; 3] = ["name", "digest", "context"];

/// The entity and the key of an identifier, or why there is none.
pub fn identify<'a>(
    (entity, key): (Option<&str>, &'a str),
    attributes: &[&str],
) -> Result<(Entity, &'a str), String> {
    let entity = match entity.map(|name| within(name, '`').unwrap_or(name)) {
        None | Some("attribute" | "attributes" | "attr" | "run") => Entity::Attribute,
        Some("metric" | "metrics") => Entity::Metric,
        Some("parameter" | "parameters" | "param" | "params") => Entity::Param,
        Some("tag" | "tags") => Entity::Tag,
        Some("dataset" | "datasets") => Entity::Dataset,
        Some(other) => {
            return Err(format!(
                "Invalid entity type '{other}'. Valid values are ['metric', 'parameter', 'tag', 'attribute', \
                 'dataset']"
            ));
        }
    };
    let key = unquote_key(key);
    let known: Option<&[&str]> = match entity {
        Entity::Attribute => Some(attributes),
        Entity::Dataset => Some(&DATASET_KEYS),
        Entity::Metric | Entity::Param | Entity::Tag => None,
    };
    match known {
        Some(known) if !known.contains(&key) => Err(format!(
            "Invalid {} key '{key}' specified. Valid keys are '{}'",
            entity.name(),
            python_set(known)
        )),
        _ => Ok((entity, key)),
    }
}

/// The column of an attribute.
pub fn column(attribute: &str) -> &'static str {
    match attribute {
        "start_time" | "created" | "Created" => "r.start_time",
        "end_time" => "r.end_time",
        "status" => "r.status",
        "user_id" => "r.user_id",
        "artifact_uri" => "r.artifact_uri",
        "run_id" => "r.run_id",
        _ => "r.name",
    }
}

pub fn is_time(attribute: &str) -> bool {
    matches!(attribute, "start_time" | "end_time" | "created" | "Created")
}
