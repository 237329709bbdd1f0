//! How a question is answered: by one of two buttons, a choice, a number or a text.

use serde_json::{Map, Value, json};

use crate::backend::embedded::problem::Problem;
use crate::backend::embedded::python;
use crate::backend::embedded::request::{integer, wrong_type};
use crate::wire::json::field;

const MAX_LABEL: usize = 64;
const MAX_OPTIONS: usize = 10;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Input {
    PassFail { positive: String, negative: String },
    Categorical { options: Vec<String>, multi_select: bool },
    Numeric { min: Option<f64>, max: Option<f64> },
    Text { max_length: Option<i64> },
}

impl Input {
    /// Reads the `input` of a request.
    pub fn parse(given: Option<&Value>) -> Result<Self, Problem> {
        let none = Map::new();
        let object = match given {
            None | Some(Value::Null) => &none,
            Some(Value::Object(object)) => object,
            Some(other) => return Err(wrong_type("input", other)),
        };
        let mut found = Vec::new();
        for name in ["pass_fail", "categorical", "numeric", "text"] {
            match part(object, name)? {
                None => {}
                Some(Value::Object(fields)) => found.push((name, fields)),
                Some(other) => return Err(wrong_type(name, other)),
            }
        }
        let [(kind, fields)] = found.as_slice() else {
            let what = if found.is_empty() { "an empty oneof" } else { "several" };
            return Err(Problem::invalid(format!(
                "Label schema `input` must have exactly one of `pass_fail`, `categorical`, `numeric`, or `text` \
                 set; got {what}."
            )));
        };
        Ok(match *kind {
            "pass_fail" => Self::PassFail {
                positive: text(fields, "positive_label")?,
                negative: text(fields, "negative_label")?,
            },
            "categorical" => {
                Self::Categorical { options: options(fields)?, multi_select: flag(fields, "multi_select")? }
            }
            "numeric" => {
                Self::Numeric { min: number(fields, "min_value")?, max: number(fields, "max_value")? }
            }
            _ => {
                let given = part(fields, "max_length")?;
                let max_length = given
                    .map(|value| integer(value).ok_or_else(|| wrong_type("max_length", value)))
                    .transpose()?;
                Self::Text { max_length }
            }
        })
    }

    /// As it is kept and answered.
    pub fn to_json(&self) -> Value {
        match self {
            Self::PassFail { positive, negative } => {
                json!({ "pass_fail": { "positive_label": positive, "negative_label": negative } })
            }
            Self::Categorical { options, multi_select } => {
                json!({ "categorical": { "options": options, "multi_select": multi_select } })
            }
            Self::Numeric { min, max } => {
                let mut bounds = Map::new();
                for (name, bound) in [("min_value", min), ("max_value", max)] {
                    if let Some(bound) = bound {
                        bounds.insert(name.to_owned(), json!(bound));
                    }
                }
                json!({ "numeric": bounds })
            }
            Self::Text { max_length: Some(length) } => json!({ "text": { "max_length": length } }),
            Self::Text { max_length: None } => json!({ "text": {} }),
        }
    }

    pub fn check(&self) -> Result<(), Problem> {
        match self {
            Self::PassFail { positive, negative } => check_labels(positive, negative),
            Self::Categorical { options, .. } => check_options(options),
            Self::Numeric { min: Some(min), max: Some(max) } if min >= max => Err(Problem::invalid(format!(
                "`InputNumeric.min_value` must be strictly less than `max_value`; got min={}, max={}.",
                python::float(*min),
                python::float(*max)
            ))),
            Self::Text { max_length: Some(length) } if *length < 1 => {
                Err(Problem::invalid(format!("`InputText.max_length` must be at least 1; got {length}.")))
            }
            Self::Numeric { .. } | Self::Text { .. } => Ok(()),
        }
    }

    /// What was answered under the old input must stay an answer under this one.
    pub fn check_same_kind(&self, existing: &str) -> Result<(), Problem> {
        let existing = serde_json::from_str(existing).map_err(Problem::internal)?;
        let existing = Self::parse(Some(&existing))?;
        if existing.name() != self.name() {
            return Err(Problem::invalid(format!(
                "A label schema's input type cannot be changed after creation (existing: {}, got: {}).",
                existing.name(),
                self.name()
            )));
        }
        match (self, &existing) {
            (Self::Categorical { multi_select: new, .. }, Self::Categorical { multi_select: old, .. })
                if new != old =>
            {
                Err(Problem::invalid("`InputCategorical.multi_select` cannot be changed after creation."))
            }
            _ => Ok(()),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::PassFail { .. } => "InputPassFail",
            Self::Categorical { .. } => "InputCategorical",
            Self::Numeric { .. } => "InputNumeric",
            Self::Text { .. } => "InputText",
        }
    }
}

fn check_labels(positive: &str, negative: &str) -> Result<(), Problem> {
    for (name, label) in [("positive_label", positive), ("negative_label", negative)] {
        let length = label.chars().count();
        if length == 0 {
            return Err(Problem::invalid(format!(
                "`InputPassFail.{name}` must be a non-empty string; got ''."
            )));
        }
        if length > MAX_LABEL {
            return Err(Problem::invalid(format!(
                "`InputPassFail.{name}` must be at most {MAX_LABEL} characters; got {length}."
            )));
        }
    }
    if positive == negative {
        return Err(Problem::invalid(format!(
            "`InputPassFail.positive_label` and `negative_label` must be distinct; got {} for both.",
            python::repr(positive)
        )));
    }
    Ok(())
}

fn check_options(options: &[String]) -> Result<(), Problem> {
    let refuse = |what: String| Err(Problem::invalid(format!("`InputCategorical.options` {what}")));
    if options.is_empty() {
        return refuse("must be a non-empty list; got [].".to_owned());
    }
    if options.len() > MAX_OPTIONS {
        return refuse(format!("must have at most {MAX_OPTIONS} entries; got {}.", options.len()));
    }
    for (index, option) in options.iter().enumerate() {
        let (length, shown) = (option.chars().count(), python::repr(option));
        if length == 0 {
            return refuse(format!("entries must be non-empty strings; got {shown}."));
        }
        if length > MAX_LABEL {
            return refuse(format!(
                "entries must be at most {MAX_LABEL} characters; got {length} for {shown}."
            ));
        }
        if options[..index].contains(option) {
            return refuse(format!("must be deduplicated; {shown} appears twice."));
        }
    }
    Ok(())
}

/// A field in either spelling; null is absent.
fn part<'a>(object: &'a Map<String, Value>, name: &str) -> Result<Option<&'a Value>, Problem> {
    field(object, name).map_err(|error| Problem::invalid(error.to_string()))
}

fn text(object: &Map<String, Value>, name: &str) -> Result<String, Problem> {
    match part(object, name)? {
        None => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(wrong_type(name, other)),
    }
}

fn flag(object: &Map<String, Value>, name: &str) -> Result<bool, Problem> {
    match part(object, name)? {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(other) => Err(wrong_type(name, other)),
    }
}

fn number(object: &Map<String, Value>, name: &str) -> Result<Option<f64>, Problem> {
    match part(object, name)? {
        None => Ok(None),
        Some(value) => {
            let number = value.as_f64().or_else(|| value.as_str()?.parse().ok()).filter(|n| n.is_finite());
            number.map(Some).ok_or_else(|| wrong_type(name, value))
        }
    }
}

fn options(object: &Map<String, Value>) -> Result<Vec<String>, Problem> {
    match part(object, "options")? {
        None => Ok(Vec::new()),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned).ok_or_else(|| wrong_type("options", item)))
            .collect(),
        Some(other) => Err(wrong_type("options", other)),
    }
}
