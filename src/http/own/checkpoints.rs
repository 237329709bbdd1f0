//! What this replica has signed, for whoever keeps a copy elsewhere or verifies one.

use super::{Call, Refusal};
use crate::audit::{Checkpoint, KeyNotice, Line};
use crate::wire::Malformed;

const LARGEST_PAGE: usize = 1000;

/// What the replica that answers has signed.
#[derive(serde::Serialize, schemars::JsonSchema)]
pub(super) struct Signed {
    replica: String,
    keys: Vec<KeyNotice>,
    /// Oldest first.
    checkpoints: Vec<Checkpoint>,
    /// `after` of the next page.
    next: Option<u64>,
}

/// `GET audit/checkpoints?after&limit`: every key notice, and checkpoints after a number, oldest first.
pub(super) async fn list(call: &Call<'_>) -> Result<Signed, Refusal> {
    let number = |key: &str, most: usize| -> Result<Option<usize>, Refusal> {
        let Some(text) = call.head.query.one(key)? else { return Ok(None) };
        let refuse = || Malformed::new(format!("query parameter `{key}`"), format!("must be 0 to {most}"));
        Ok(Some(text.parse().ok().filter(|number| *number <= most).ok_or_else(refuse)?))
    };
    let after = number("after", usize::MAX)?.unwrap_or(0) as u64;
    let limit = number("limit", LARGEST_PAGE)?.unwrap_or(LARGEST_PAGE).max(1);
    let lines = call.app.records.signed().await.map_err(|error| {
        tracing::error!(%error, "the checkpoints cannot be read");
        Refusal::Internal("the checkpoints cannot be read".to_owned())
    })?;
    let (mut keys, mut checkpoints) = (Vec::new(), Vec::new());
    for line in lines {
        match line {
            Line::Key(notice) => keys.push(notice),
            Line::Checkpoint(checkpoint) if checkpoint.number > after => checkpoints.push(checkpoint),
            Line::Checkpoint(_) => {}
        }
    }
    let more = checkpoints.len() > limit;
    checkpoints.truncate(limit);
    let next = checkpoints.last().filter(|_| more).map(|checkpoint| checkpoint.number);
    Ok(Signed { replica: call.app.records.replica().to_owned(), keys, checkpoints, next })
}
