//! Audit events: what is recorded of a call. They hold ids, never payloads and never secrets.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::decision::Verdict;
use crate::clock::UnixMillis;

/// UUIDv7: unique, and in order of time.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct EventId(#[schemars(with = "String")] pub uuid::Uuid);

impl fmt::Display for EventId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

/// A call leaves a `begin` before anything is forwarded or returned and a `complete` after; the two
/// share the decision id. Refusals and policy changes are one `complete` record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    Begin,
    /// More trace ids of a call whose answer is still being released.
    Returned,
    Complete,
    PolicyChange,
}

impl EventKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::Returned => "returned",
            Self::Complete => "complete",
            Self::PolicyChange => "policy_change",
        }
    }
}

#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Not known yet: the record was written before the work.
    Pending,
    Success,
    Refused,
    Failed,
    /// The client or the backend went away in the middle.
    Interrupted,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Success => "success",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

/// What became of a record's trace ids: whether the caller got anything of those traces by this record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sight {
    /// Contents or metadata were released, but of `listed_trace_ids` only what a listing shows.
    Read,
    /// What a listing shows was released: ids, times, states, tags.
    Listed,
    /// The caller wrote to them, and got back no more than what was sent.
    Wrote,
    /// They were asked for and nothing of them was released.
    Asked,
    /// An earlier record of the same call says it already.
    Told,
}

/// Where a call came from; copied into each of its records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RequestContext {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_address: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    pub request_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_parent: Option<String>,
    pub method: String,
    /// The canonical path, without its query.
    pub path: String,
}

/// What a policy change did, as JSON before and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PolicyChange {
    pub action: String,
    pub before: serde_json::Value,
    pub after: serde_json::Value,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Event {
    pub id: EventId,
    pub kind: EventKind,
    #[serde(rename = "time_ms")]
    pub time: UnixMillis,
    /// `user:alice`; absent when nobody was identified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// Scheme and credential id: `token:tok_…`, `jwt:issuer#jti`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
    /// Who called on behalf of `principal`: `service_principal:agent`; `proof` is then of this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    pub request: RequestContext,
    /// The operation's name in the route manifest, or `unknown`.
    pub operation: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub securables: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub privileges: Vec<String>,
    pub decision_id: String,
    pub decision: Verdict,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deciding_grants: Vec<i64>,
    pub policy_version: i64,
    pub outcome: Outcome,
    /// The HTTP status answered, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why it was refused or failed, in one phrase; of a token that was given, which one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default)]
    pub bytes_in: u64,
    #[serde(default)]
    pub bytes_out: u64,
    #[serde(default)]
    pub duration_us: u64,
    /// Every trace id asked for, written or returned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trace_ids: Vec<String>,
    /// What the caller got of them; absent in records that were written before this was noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sight: Option<Sight>,
    /// Those of `trace_ids` of which the caller may only see that they exist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listed_trace_ids: Vec<String>,
    /// What was asked of the record itself. Of a session or an end user it holds a keyed hash: the record
    /// cannot be erased.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub question: BTreeMap<String, String>,
    /// A known principal whose name came with a credential that was no good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed: Option<String>,
    /// How many further refusals of nobody in particular this record stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeated: Option<u64>,
    /// What the caller lacks: shadow mode let the call pass, or a listing show more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadowed: Vec<Missing>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_change: Option<PolicyChange>,
}

/// A privilege that a caller does not have on something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Missing {
    pub securable: String,
    /// `authenticate` if it is credentials that are missing.
    pub privilege: String,
    /// Whether nothing would be refused for it, but an answer show less.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub narrows: bool,
}
