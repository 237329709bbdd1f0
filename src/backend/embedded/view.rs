//! Which stages of life a search looks at.

use serde_json::Value;

use super::filter::sql::Query;
use super::problem::Problem;
use super::request::{Request, integer, wrong_type};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    ActiveOnly,
    DeletedOnly,
    All,
}

/// In the order of their numbers in MLflow's protocol, which count from 1.
const VIEWS: [View; 3] = [View::ActiveOnly, View::DeletedOnly, View::All];

impl View {
    pub fn name(self) -> &'static str {
        match self {
            Self::ActiveOnly => "ACTIVE_ONLY",
            Self::DeletedOnly => "DELETED_ONLY",
            Self::All => "ALL",
        }
    }

    /// ` AND …`: rows of these stages.
    pub fn restrict(self, query: &mut Query, column: &str) {
        match self {
            Self::ActiveOnly => query.push(" AND ").push(column).push(" = 'active'"),
            Self::DeletedOnly => query.push(" AND ").push(column).push(" = 'deleted'"),
            Self::All => query,
        };
    }
}

/// By name or number. MLflow's parser passes over what the protocol does not know.
pub fn parse(request: &Request, name: &str) -> Result<View, Problem> {
    let value = if request.head.method.is_read() {
        request.text(name)?.map(Value::from)
    } else {
        request.json.get(name).filter(|value| !value.is_null()).cloned()
    };
    let Some(value) = value else { return Ok(View::ActiveOnly) };
    if let Some(known) = VIEWS.into_iter().find(|view| value.as_str() == Some(view.name())) {
        return Ok(known);
    }
    let number = integer(&value).and_then(|number| usize::try_from(number).ok()?.checked_sub(1));
    match (number.and_then(|place| VIEWS.get(place)), &value) {
        (Some(known), _) => Ok(*known),
        (None, Value::String(_) | Value::Number(_)) => Ok(View::ActiveOnly),
        _ => Err(wrong_type(name, &value)),
    }
}
