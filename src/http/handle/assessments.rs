//! Assessments: a HUMAN one is by the caller, whatever the client says.

use serde_json::{Map, Value};

use super::super::call::Call;
use super::super::edit;
use super::super::error::Refusal;
use super::After;
use crate::access::Privilege;
use crate::backend::Owned;
use crate::wire::Malformed;

pub(super) async fn stamp(call: &mut Call<'_>) -> Result<After, Refusal> {
    let author = call.caller.principal.name.clone();
    let Some(object) = call.json.clone() else { return Ok(After::Nothing) };
    if let Some(assessment) = edit::child(&object, &["assessment"])?
        && crate::wire::json::field(assessment, "issue")?.is_some()
    {
        // The name of an assessment that refers to an issue is that issue's id, of whatever experiment.
        let issue = edit::text(assessment, "assessment_name")?.unwrap_or_default();
        call.demand_owned(Privilege::TraceRead, Owned::Issue, "issue", issue).await?;
    }
    if edit::child(&object, &["assessment", "source"])?.is_none() {
        return Ok(After::Nothing);
    }
    if let Some(assessment) = edit::child_mut(call.edit(), &["assessment"])? {
        stamp_source(assessment, &author)?;
    }
    Ok(After::Nothing)
}

/// Stamps the source of one assessment if it is a human's. A judge's or code's source stays as sent.
pub(in crate::http) fn stamp_source(
    assessment: &mut Map<String, Value>,
    author: &str,
) -> Result<(), Refusal> {
    let Some(source) = edit::child_mut(assessment, &["source"])? else { return Ok(()) };
    let kind = match crate::wire::json::field(source, "source_type")? {
        Some(Value::String(kind)) => kind.clone(),
        // Protobuf enums may be sent by number; there is one way to say it here.
        Some(_) => return Err(Malformed::new("source.source_type", "must be a name such as `HUMAN`").into()),
        None => String::new(),
    };
    if !matches!(kind.as_str(), "LLM_JUDGE" | "AI_JUDGE" | "CODE") {
        edit::set_text(source, "source_id", author)?;
    }
    Ok(())
}
