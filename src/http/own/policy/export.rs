//! `GET policy/export` and `GET policy/casbin`: everything in force, streamed, so that its size does not matter.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use serde_json::json;
use tokio::sync::mpsc;

use crate::access::{GrantId, Principal};
use crate::app::App;
use crate::clock::UnixMillis;
use crate::http::call::Call;
use crate::http::error::Refusal;
use crate::policy::Snapshot;
use crate::policy::casbin_rules;
use crate::policy::plan::{ListedGrant, Listing};
use crate::wire::{Body, Headers, Malformed, Reply};

/// Bytes that are gathered before they are sent.
const CHUNK_BYTES: usize = 64 * 1024;
/// Chunks that wait for a slow reader.
const CHUNKS_WAITING: usize = 4;
/// Grants whose reasons are read from the store at once.
const GRANTS_AT_ONCE: usize = 500;

/// `GET policy/casbin?part=model` or `?part=rules`: what another casbin implementation reads.
pub(in crate::http::own) async fn casbin(call: &Call<'_>) -> Result<Reply, Refusal> {
    match call.head.query.one("part")? {
        Some("model") => Ok(reply("text/plain; charset=utf-8", Body::memory(casbin_rules::MODEL))),
        Some("rules") | None => {
            let policy = Arc::clone(call.view()?.snapshot());
            let stream = casbin_lines(policy, call.app.clock.now());
            Ok(reply("text/csv; charset=utf-8", Body::Stream { stream: Box::pin(stream), length: None }))
        }
        Some(_) => Err(Malformed::new("query parameter `part`", "must be `model` or `rules`").into()),
    }
}

/// The rules, made on a thread of their own as fast as they are read.
fn casbin_lines(
    policy: Arc<Snapshot>,
    now: UnixMillis,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> + 'static {
    let (send, receive) = mpsc::channel(CHUNKS_WAITING);
    tokio::task::spawn_blocking(move || {
        let mut chunk = String::with_capacity(CHUNK_BYTES + 1024);
        for line in casbin_rules::export(&policy, now) {
            chunk.push_str(&line.join(", "));
            chunk.push('\n');
            if chunk.len() >= CHUNK_BYTES && send.blocking_send(std::mem::take(&mut chunk)).is_err() {
                return;
            }
        }
        let _ = send.blocking_send(chunk);
    });
    stream::unfold(receive, |mut receive| async move {
        let chunk: String = receive.recv().await?;
        Some((Ok(Bytes::from(chunk)), receive))
    })
}

/// `GET policy/export`: a JSON object a line. First the version; then groups and securables as documents have them;
/// last whether it is all of one version.
pub(in crate::http::own) async fn export(call: &Call<'_>) -> Result<Reply, Refusal> {
    call.app.confirm_policy().await?;
    let policy = Arc::clone(call.view()?.snapshot());
    let now = call.app.clock.now();
    let listed = Arc::clone(&policy);
    let listing = super::in_background(move || Listing::of(&listed, now)).await?;
    let first = line(&json!({ "policy_version": policy.version(), "at_ms": now }));
    let state = Exporting {
        app: Arc::clone(call.app),
        policy,
        groups: listing.groups.into(),
        grants: listing.grants.into(),
        done: false,
    };
    let rest = stream::unfold(state, |mut state| async move {
        let chunk = state.next().await?;
        Some((chunk.map_err(std::io::Error::other), state))
    });
    let stream = stream::once(async move { Ok(Bytes::from(first)) }).chain(rest);
    Ok(reply("application/x-ndjson", Body::Stream { stream: Box::pin(stream), length: None }))
}

struct Exporting {
    app: Arc<App>,
    policy: Arc<Snapshot>,
    groups: VecDeque<(Principal, Vec<Principal>)>,
    grants: VecDeque<ListedGrant>,
    done: bool,
}

impl Exporting {
    async fn next(&mut self) -> Option<Result<Bytes, String>> {
        let mut text = String::new();
        if let Some((group, members)) = self.groups.pop_front() {
            text.push_str(&line(&json!({ "group": group, "members": members })));
            while text.len() < CHUNK_BYTES
                && let Some((group, members)) = self.groups.pop_front()
            {
                text.push_str(&line(&json!({ "group": group, "members": members })));
            }
            return Some(Ok(Bytes::from(text)));
        }
        if !self.grants.is_empty() {
            let some = self.grants.len().min(GRANTS_AT_ONCE);
            let listed: Vec<ListedGrant> = self.grants.drain(..some).collect();
            return Some(self.written(&listed).await);
        }
        if self.done {
            return None;
        }
        self.done = true;
        // Reasons were read while they were sent: they are of this version only if it is still in force.
        let version = match self.app.store.policy_version().await {
            Ok(version) => version,
            Err(error) => return Some(Err(error.to_string())),
        };
        Some(Ok(Bytes::from(line(&json!({ "end": true, "complete": version == self.policy.version() })))))
    }

    async fn written(&self, listed: &[ListedGrant]) -> Result<Bytes, String> {
        let ids: Vec<GrantId> = listed.iter().map(|grant| grant.id).collect();
        let held = self.app.store.grants_by_id(&ids).await.map_err(|error| error.to_string())?;
        let held: std::collections::HashMap<GrantId, _> =
            held.into_iter().map(|grant| (grant.id, grant.grant)).collect();
        let mut text = String::new();
        // One that is gone meanwhile is left out; the last line then says that it is not all of one version.
        for grant in ids.iter().filter_map(|id| held.get(id)) {
            text.push_str(&line(&json!(grant)));
        }
        Ok(Bytes::from(text))
    }
}

fn line(value: &serde_json::Value) -> String {
    format!("{value}\n")
}

fn reply(kind: &str, body: Body) -> Reply {
    let mut headers = Headers::new();
    headers.push("content-type", kind);
    Reply { status: 200, headers, body }
}
