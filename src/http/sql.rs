//! SQL (being built).
use super::call::Call;
use super::error::Refusal;
use crate::lake::sql::Parameter;
use crate::policy::Permit;
use serde_json::{Map, Value};

pub(in crate::http) async fn rows(
    _call: &Call<'_>,
    _permit: &Permit,
    _statement: &str,
    _parameters: &[Parameter],
    _most: u64,
) -> Result<Vec<Map<String, Value>>, Refusal> {
    Err(Refusal::Internal("not merged".to_owned()))
}
