//! `POST policy/test`: a document's expectations, held against the policy in force or the one that is planned.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{check, in_background, prepare, sent};
use crate::http::call::Call;
use crate::http::error::Refusal;
use crate::policy::plan::{Document, Failure, failures, questions};

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http::own) struct Sent {
    policy: Document,
    /// Whether the document's own groups and grants are taken as applied.
    #[serde(default)]
    planned: bool,
}

#[derive(Serialize, schemars::JsonSchema)]
pub(in crate::http::own) struct Tested {
    policy_version: i64,
    planned: bool,
    /// Single questions that were asked.
    expectations: usize,
    failures: Vec<Failure>,
}

pub(in crate::http::own) async fn test(call: &mut Call<'_>) -> Result<Tested, Refusal> {
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
    Ok(Tested { policy_version: version, planned: sent.planned, expectations: asked, failures })
}
