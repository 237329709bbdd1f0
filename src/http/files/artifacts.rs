//! Artifacts of experiments by paths of the Files API: each call becomes the one of the artifact proxy that means the
//! same, for either backend.

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::error::Refusal;
use super::super::trail::Trail;
use super::super::{handle, limited, pages};
use super::{SignedUrl, absent, answered, done, encoded, existing, query, until};
use crate::backend::Outgoing;
use crate::objects::Existing;
use crate::wire::{Body, CanonicalPath, Head, Malformed, Method, Query, Reply};

pub(super) async fn answer(
    call: &mut Call<'_>,
    trail: &mut Trail,
    verb: &str,
    path: &str,
) -> Result<Reply, Refusal> {
    let asked = call.param("path").to_owned();
    let shown = format!("/{asked}");
    limited::count(call).await?;
    let head_only = call.head.method == Method::Head;
    match verb {
        "put" => {
            if existing(call)? == Existing::Keep && is_file(call, path).await? {
                return Err(crate::objects::ObjectsError::new(
                    crate::objects::ObjectsFault::Exists,
                    format!("'{shown}' exists already"),
                )
                .into());
            }
            let body = std::mem::replace(&mut call.body, Body::Empty);
            let reply = write(call, trail, Proxied::Put, path, body).await?;
            Ok(if reply.status < 300 { done(204) } else { reply })
        }
        "get" => {
            let mut reply = forward(call, Proxied::Get, path, Body::Empty).await?;
            if head_only && reply.status < 300 {
                // Its length is all that is wanted of the body.
                let length = reply.body.length();
                let stream = Box::pin(futures_util::stream::empty());
                reply.body = Body::Stream { stream, length };
            }
            Ok(reply)
        }
        "delete" => {
            if !is_file(call, path).await? {
                return Err(absent(&shown));
            }
            let reply = write(call, trail, Proxied::Delete, path, Body::Empty).await?;
            Ok(if reply.status < 300 { done(204) } else { reply })
        }
        // A directory is there as far as something lies in it.
        "directory_make" => Ok(done(204)),
        "directory_list" => {
            let entries = entries(call, path).await?;
            if entries.is_empty() {
                return Err(absent(&shown));
            }
            if head_only {
                return Ok(done(200));
            }
            let contents: Vec<Value> = entries.iter().map(|entry| listed(entry, &shown)).collect();
            Ok(answered(200, json!({ "contents": contents })))
        }
        "directory_remove" => match entries(call, path).await?.is_empty() {
            true => Err(absent(&shown)),
            false => Err(crate::objects::ObjectsError::new(
                crate::objects::ObjectsFault::NotEmpty,
                format!("'{shown}' is not empty"),
            )
            .into()),
        },
        "url_download" => {
            let asked = call.head.query.one("path")?.unwrap_or_default().to_owned();
            let until = until(call.head.query.one("expire_time")?)?;
            let target = format!("/api/2.0/fs/files/{}", asked.trim_start_matches('/'));
            let signed = SignedUrl::new(call, Method::Get, &target, &query(&[])?, until)?;
            Ok(answered(200, json!({ "url": signed.url, "headers": signed.headers })))
        }
        // Clients send the file whole once there is no URL for its first part.
        "upload" if call.head.query.one("action")? == Some("initiate-upload") => {
            Ok(answered(200, json!({ "multipart_upload": { "session_token": "whole" } })))
        }
        "url_parts" | "url_abort" => Err(absent("a URL for a part of an artifact; send the file whole")),
        _ => Err(Malformed::new("path", "artifacts of experiments are not sent in parts").into()),
    }
}

fn listed(entry: &Value, directory: &str) -> Value {
    let name = entry["path"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    let is_directory = entry["is_dir"].as_bool().unwrap_or(false);
    let size = entry["file_size"].as_u64().or_else(|| entry["file_size"].as_str()?.parse().ok());
    json!({
        "path": format!("{}/{name}", directory.trim_end_matches('/')),
        "name": name,
        "is_directory": is_directory,
        "file_size": size.unwrap_or(0),
    })
}

#[derive(Clone, Copy)]
enum Proxied {
    Get,
    Put,
    Delete,
    List,
}

/// A change among artifacts: those of a trace need its claim, as through the proxy itself.
async fn write(
    call: &mut Call<'_>,
    trail: &mut Trail,
    how: Proxied,
    path: &str,
    body: Body,
) -> Result<Reply, Refusal> {
    let fresh = handle::claim(call, &mut handle::After::Nothing, trail).await?;
    let reply = forward(call, how, path, body).await?;
    if (400..500).contains(&reply.status) {
        handle::unclaim(call, fresh).await?;
    }
    Ok(reply)
}

async fn forward(call: &Call<'_>, how: Proxied, path: &str, body: Body) -> Result<Reply, Refusal> {
    const BASE: &str = "/api/2.0/mlflow-artifacts/artifacts";
    let (operation, method) = match how {
        Proxied::Get => ("artifact.proxy_get", Method::Get),
        Proxied::Put => ("artifact.proxy_put", Method::Put),
        Proxied::Delete => ("artifact.proxy_delete", Method::Delete),
        Proxied::List => ("artifact.proxy_list", Method::Get),
    };
    let (target, query, params) = match how {
        Proxied::List => (BASE.to_owned(), query(&[("path", path)])?, Vec::new()),
        _ => {
            let params = vec![("artifact_path".to_owned(), path.to_owned())];
            (encoded(&format!("{BASE}/{path}"))?, Query::parse("")?, params)
        }
    };
    let mut headers = call.head.headers.clone();
    if matches!(how, Proxied::List) {
        headers.remove("range");
    }
    let head = Head { method, path: CanonicalPath::parse(&target)?, query, headers };
    let permit = call.permit_again()?;
    let outgoing = Outgoing { operation: operation.to_owned(), params, head, json: None, body };
    Ok(call.backend.forward(permit, outgoing).await?)
}

async fn entries(call: &Call<'_>, path: &str) -> Result<Vec<Value>, Refusal> {
    let reply = forward(call, Proxied::List, path, Body::Empty).await?;
    if reply.status == 404 {
        return Ok(Vec::new());
    }
    if reply.status >= 300 {
        return Err(crate::backend::BackendError::BrokenOff.into());
    }
    let page = pages::read(call, &reply.headers, reply.body).await?;
    match page.get("files") {
        Some(Value::Array(files)) => Ok(files.clone()),
        _ => Ok(Vec::new()),
    }
}

/// Whether a file has this path, by what its directory lists.
async fn is_file(call: &Call<'_>, path: &str) -> Result<bool, Refusal> {
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    let entries = entries(call, directory).await?;
    Ok(entries.iter().any(|entry| {
        let own = entry["path"].as_str().unwrap_or_default().rsplit('/').next() == Some(name);
        own && !entry["is_dir"].as_bool().unwrap_or(false)
    }))
}
