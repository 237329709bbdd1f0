//! The logged models that a run made or read.

use sqlx::AnyConnection;

use super::{row, run_id_of_today};
use crate::backend::embedded::problem::{Code, Problem};
use crate::backend::embedded::request::{self, Request};
use crate::backend::embedded::{EmbeddedShared, entries, reply};
use crate::wire::Reply;

/// The ids and steps of the models of a body.
pub fn models(request: &Request) -> Result<Vec<(String, i64)>, Problem> {
    let model = |(path, object): (String, &serde_json::Map<_, _>)| {
        let id = entries::text(object, &path, "model_id")?.unwrap_or_default().to_owned();
        Ok((id, entries::whole(object, &path, "step")?.unwrap_or_default()))
    };
    entries::objects(request, "models")?.into_iter().map(model).collect()
}

pub async fn log(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let run_id = run_id_of_today(request)?.to_owned();
    if request.json.get("models").is_none_or(serde_json::Value::is_null) {
        return Err(request::missing("models"));
    }
    let models = models(request)?;
    let dialect = store.database.dialect;
    store
        .writer
        .write(move |connection| {
            Box::pin(async move {
                let run = row::lock_active(connection, dialect, &run_id).await?;
                if put(connection, run.run_no, "output", &models).await? == models.len() {
                    return Ok(());
                }
                Err(Problem::new(
                    Code::BadRequest,
                    "A model is logged already as an output of the run at another step",
                ))
            })
        })
        .await?;
    Ok(reply::empty_object())
}

/// How many of the models the run has then, at the steps that are said.
pub async fn put(
    connection: &mut AnyConnection,
    run_no: i64,
    role: &'static str,
    models: &[(String, i64)],
) -> Result<usize, Problem> {
    let mut written = 0;
    for (model, step) in models {
        let done = sqlx::query(
            "INSERT INTO run_models (run_no, role, model_id, step) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (run_no, role, model_id) DO UPDATE SET step = excluded.step \
             WHERE run_models.step = excluded.step",
        )
        .bind(run_no)
        .bind(role)
        .bind(model)
        .bind(*step)
        .execute(&mut *connection)
        .await?;
        written += usize::try_from(done.rows_affected()).unwrap_or_default();
    }
    Ok(written)
}
