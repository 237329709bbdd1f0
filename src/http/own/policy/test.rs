//! `POST policy/test`: a document's expectations, held against the policy in force or the one that is planned.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{check, in_background, prepare, sent};
use crate::http::call::Call;
use crate::http::error::Refusal;
use crate::http::own::object;
use crate::policy::plan::{Document, failures, questions};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    policy: Document,
    /// Whether the document's own groups and grants are taken as applied.
    #[serde(default)]
    planned: bool,
}

pub(in crate::http::own) async fn test(call: &mut Call<'_>) -> Result<Map<String, Value>, Refusal> {
    let sent: Sent = sent(call).await?;
    let (policy, document) = if sent.planned {
        let prepared = prepare(call, sent.policy).await?;
        (prepared.after, prepared.document)
    } else {
        check(&sent.policy)?;
        call.app.confirm_policy().await?;
        (Arc::clone(call.view()?.snapshot()), Arc::new(sent.policy))
    };
    let (version, asked) = (policy.version() - i64::from(sent.planned), questions(&document));
    let now = call.app.clock.now();
    let failures = in_background(move || failures(&policy, &document, now)).await?;
    Ok(object(json!({
        "policy_version": version,
        "planned": sent.planned,
        "expectations": asked,
        "failures": failures,
    })))
}
