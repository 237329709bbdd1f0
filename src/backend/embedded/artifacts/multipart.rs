//! Files uploaded in parts, which arrive beside one another and in any order. Each part is an object of the
//! store's own until the upload is completed; then they become one file, whole or not at all.
//!
//! A part answers with an `ETag`, which is part of its object's name: a part that is sent twice is two
//! objects, and completing names the one that is meant.

use serde_json::{Value, json};
use uuid::Uuid;

use super::path::below;
use super::safe;
use crate::backend::embedded::problem::Problem;
use crate::backend::embedded::request::{Request, integer, missing, wrong_type};
use crate::backend::embedded::{EmbeddedShared, reply};
use crate::objects::SCRATCH;
use crate::wire::{Body, Headers, Reply};

/// Parts that an upload may have, as with S3.
const MAX_PARTS: i64 = 10_000;
/// How long an upload may take, in milliseconds.
const LIFETIME: i64 = 24 * 60 * 60 * 1000;
/// Expired uploads that one call clears away.
const CLEARED_AT_ONCE: i64 = 16;

pub(super) async fn create(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let directory = safe(request.param("artifact_path"))?;
    // The client's own path of the file, of which the name counts.
    let name = request.required("path")?.rsplit(['/', '\\']).next().unwrap_or_default();
    let path = safe(&below(&directory, name))?;
    let parts = request.integer("num_parts")?.unwrap_or_default();
    if name.is_empty() || !(0..=MAX_PARTS).contains(&parts) {
        return Err(Problem::invalid(format!(
            "An upload needs the name of a file and has {MAX_PARTS} parts at most."
        )));
    }
    clear_expired(store).await?;
    let upload = Uuid::new_v4().simple().to_string();
    let (id, now) = (upload.clone(), store.clock.now().0);
    store
        .writer
        .write(move |connection| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO artifact_uploads (upload_id, directory, path, created_time, completed) \
                     VALUES ($1, $2, $3, $4, 0)",
                )
                .bind(id)
                .bind(directory)
                .bind(path)
                .bind(now)
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await?;
    let credentials: Vec<Value> = (1..=parts).map(|part| json!({ "url": "", "part_number": part })).collect();
    reply::json(&json!({ "upload_id": upload, "credentials": credentials }))
}

/// A part: `upload_id` and `part_number` in the query, the bytes as the body.
pub(super) async fn part(store: &EmbeddedShared, request: Request) -> Result<Reply, Problem> {
    let query = |name: &str| {
        let value = request.head.query.one(name).map_err(|error| Problem::invalid(error.to_string()))?;
        value.ok_or_else(|| missing(name))
    };
    let number: i64 = query("part_number")?
        .parse()
        .ok()
        .filter(|number| (1..=MAX_PARTS).contains(number))
        .ok_or_else(|| Problem::invalid(format!("Parts have the numbers 1 to {MAX_PARTS}.")))?;
    let upload = query("upload_id")?.to_owned();
    let directory = safe(request.param("artifact_path"))?;
    if find(store, &upload, &directory).await?.completed {
        return Err(unknown(&upload));
    }
    let tag = Uuid::new_v4().simple().to_string();
    store.objects.put(&part_path(&upload, number, &tag), request.body).await?;
    if let Err(gone) = find(store, &upload, &directory).await {
        // Aborted meanwhile, and cleared before this part was there.
        store.objects.delete_below(&scratch(&upload)).await?;
        return Err(gone);
    }
    let mut headers = Headers::default();
    headers.set("etag", &format!("\"{tag}\""));
    Ok(Reply { status: 200, headers, body: Body::Empty })
}

pub(super) async fn complete(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let directory = safe(request.param("artifact_path"))?;
    let upload = request.required("upload_id")?.to_owned();
    let found = find(store, &upload, &directory).await?;
    // The answer to the first call may have been lost.
    if found.completed {
        return Ok(reply::empty_object());
    }
    let mut parts = Vec::new();
    for part in request.list("parts")? {
        let number = part.get("part_number").or_else(|| part.get("partNumber")).and_then(integer);
        let tag = part.get("etag").and_then(Value::as_str).map(|tag| tag.trim_matches('"'));
        let (Some(number), Some(tag)) = (number, tag) else { return Err(wrong_type("parts", part)) };
        if tag.is_empty() || !tag.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(no_part(number));
        }
        parts.push((number, tag.to_owned()));
    }
    parts.sort_unstable();
    if parts.is_empty() {
        return Err(missing("parts"));
    }
    if let Some(twice) = parts.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(Problem::invalid(format!("Part {} is named twice.", twice[0].0)));
    }
    let paths: Vec<String> = parts.iter().map(|(number, tag)| part_path(&upload, *number, tag)).collect();
    for ((number, _), path) in parts.iter().zip(&paths) {
        if store.objects.about(path).await?.is_none() {
            return Err(no_part(*number));
        }
    }
    store.objects.join(&found.path, &paths).await?;
    let id = upload.clone();
    let update = "UPDATE artifact_uploads SET completed = 1 WHERE upload_id = $1";
    execute(store, update, id).await?;
    store.objects.delete_below(&scratch(&upload)).await?;
    Ok(reply::empty_object())
}

pub(super) async fn abort(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let directory = safe(request.param("artifact_path"))?;
    let upload = request.required("upload_id")?.to_owned();
    if !find(store, &upload, &directory).await?.completed {
        forget(store, upload).await?;
    }
    Ok(reply::empty_object())
}

struct Upload {
    path: String,
    completed: bool,
}

/// An upload that was begun for this directory, which is what the caller was authorized for.
async fn find(store: &EmbeddedShared, upload: &str, directory: &str) -> Result<Upload, Problem> {
    let found: Option<(String, i64)> = sqlx::query_as(
        "SELECT path, completed FROM artifact_uploads WHERE upload_id = $1 AND directory = $2 \
         AND created_time > $3",
    )
    .bind(upload)
    .bind(directory)
    .bind(store.clock.now().0 - LIFETIME)
    .fetch_optional(&store.database.reader)
    .await?;
    let (path, completed) = found.ok_or_else(|| unknown(upload))?;
    Ok(Upload { path, completed: completed != 0 })
}

async fn forget(store: &EmbeddedShared, upload: String) -> Result<(), Problem> {
    let directory = scratch(&upload);
    // The row goes last: until then the parts can be found by it.
    store.objects.delete_below(&directory).await?;
    execute(store, "DELETE FROM artifact_uploads WHERE upload_id = $1", upload).await?;
    Ok(store.objects.delete_below(&directory).await?)
}

async fn execute(store: &EmbeddedShared, statement: &'static str, upload: String) -> Result<(), Problem> {
    let write = store.writer.write(move |connection| {
        Box::pin(async move {
            sqlx::query(statement).bind(upload).execute(connection).await?;
            Ok(())
        })
    });
    write.await
}

/// Clears away what nobody completed or aborted, and what is known of completed ones.
pub(super) async fn clear_expired(store: &EmbeddedShared) -> Result<(), Problem> {
    let expired: Vec<String> = sqlx::query_scalar(
        "SELECT upload_id FROM artifact_uploads WHERE created_time <= $1 ORDER BY created_time LIMIT $2",
    )
    .bind(store.clock.now().0 - LIFETIME)
    .bind(CLEARED_AT_ONCE)
    .fetch_all(&store.database.reader)
    .await?;
    for upload in expired {
        forget(store, upload).await?;
    }
    Ok(())
}

fn scratch(upload: &str) -> String {
    format!("{SCRATCH}/uploads/{upload}")
}

fn part_path(upload: &str, number: i64, tag: &str) -> String {
    format!("{}/{number}-{tag}", scratch(upload))
}

fn unknown(upload: &str) -> Problem {
    Problem::missing(format!("No upload with id={upload} is in progress"))
}

fn no_part(number: i64) -> Problem {
    Problem::invalid(format!("Part {number} of the upload is not there, or another one has taken its place."))
}
