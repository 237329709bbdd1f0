//! What Databricks hands out as URLs of its cloud's store: here they are URLs of ours, each for one request of the
//! caller, and whoever uses one is decided about again.

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::error::Refusal;
use super::super::trail::Trail;
use super::{SignedUrl, answered, query};
use crate::access::Sight;
use crate::app::roots::segments;
use crate::backend::Owned;
use crate::wire::{Malformed, Method, Reply};

/// Paths that one call may name.
const MOST_PATHS: usize = 2000;

pub(super) async fn answer(call: &mut Call<'_>, trail: &mut Trail, verb: &str) -> Result<Reply, Refusal> {
    // What a URL is used for is recorded when it is used.
    trail.sees(Sight::Asked);
    let reads = matches!(verb, "trace_url_download" | "run_url_read" | "model_url_read");
    match verb {
        "run_url_write" | "run_url_read" => {
            let run = text(call, "run_id")?;
            let root = root(call, Owned::Run, &run, "Runs").await?;
            let mut infos = Vec::new();
            for path in paths(call, "path")? {
                infos.push(info(call, reads, &run, &format!("{root}/artifacts"), &path)?);
            }
            Ok(answered(200, json!({ "credential_infos": infos })))
        }
        "model_url_write" | "model_url_read" => {
            let model = call.param("model_id").to_owned();
            let root = root(call, Owned::LoggedModel, &model, "LoggedModels").await?;
            let mut infos = Vec::new();
            for path in paths(call, "paths")? {
                let info = info(call, reads, "", &format!("{root}/artifacts"), &path)?;
                infos.push(json!({ "credential_info": info }));
            }
            Ok(answered(200, json!({ "credentials": infos })))
        }
        _ => {
            let trace = call.param("request_id").to_owned();
            let attachment = call.head.query.one("path")?.filter(|path| !path.is_empty()).map(str::to_owned);
            let info = match attachment {
                None => {
                    let method = if reads { Method::Get } else { Method::Put };
                    let target = format!("/api/2.0/fs/trace-data/{trace}");
                    let signed = SignedUrl::new(call, method, &target, &query(&[])?, i64::MAX)?;
                    credential("", "traces.json", signed)
                }
                Some(path) => {
                    let root = root(call, Owned::Trace, &trace, "Traces").await?;
                    info(call, reads, "", &format!("{root}/artifacts"), &path)?
                }
            };
            Ok(answered(200, json!({ "credential_info": info })))
        }
    }
}

/// The path of the Files API below which something of an experiment lies.
async fn root(call: &Call<'_>, kind: Owned, id: &str, plural: &str) -> Result<String, Refusal> {
    let experiment = match kind {
        Owned::Trace => {
            let trace = crate::access::TraceId::parse(id)?;
            let claim = call.app.owners.of_trace(call.app, call.backend, &trace).await?;
            claim.map(|claim| claim.experiment)
        }
        _ => call.app.owners.of(call.backend, kind, id).await?.and_then(|owners| owners.first().cloned()),
    };
    let experiment = experiment.ok_or_else(|| Refusal::NotFound(format!("`{id}` does not exist")))?;
    Ok(format!("/api/2.0/fs/files/WorkspaceInternal/Mlflow/Artifacts/{experiment}/{plural}/{id}"))
}

fn info(call: &Call<'_>, reads: bool, run: &str, root: &str, path: &str) -> Result<Value, Refusal> {
    let below = segments(path)?.join("/");
    if below.is_empty() {
        return Err(Malformed::new("path", "must name a file").into());
    }
    let target = format!("{root}/{below}");
    let signed = match reads {
        true => SignedUrl::new(call, Method::Get, &target, &query(&[])?, i64::MAX)?,
        false => SignedUrl::new(call, Method::Put, &target, &query(&[("overwrite", "true")])?, i64::MAX)?,
    };
    Ok(credential(run, path, signed))
}

fn credential(run: &str, path: &str, signed: SignedUrl) -> Value {
    json!({
        "run_id": run,
        "path": path,
        "signed_uri": signed.url,
        "headers": signed.headers,
        "type": "AWS_PRESIGNED_URL",
    })
}

fn text(call: &Call<'_>, name: &str) -> Result<String, Refusal> {
    let sent = call.json.as_ref().and_then(|sent| sent.get(name)).and_then(Value::as_str);
    sent.map(str::to_owned).ok_or_else(|| Malformed::new(name, "must be a string").into())
}

fn paths(call: &Call<'_>, name: &str) -> Result<Vec<String>, Refusal> {
    let refuse = || Malformed::new(name, format!("must be a list of 1 to {MOST_PATHS} paths"));
    let given = call.json.as_ref().and_then(|sent| sent.get(name)).ok_or_else(refuse)?;
    let listed = given.as_array().ok_or_else(refuse)?;
    if listed.is_empty() || listed.len() > MOST_PATHS {
        return Err(refuse().into());
    }
    listed.iter().map(|path| Ok(path.as_str().ok_or_else(refuse)?.to_owned())).collect()
}
