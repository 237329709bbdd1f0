//! Changes of a custom queue. Its questions are fixed as soon as there is something to review: reviewers
//! would have answered others.

use sqlx::Row as _;

use super::{Kind, answer_one, by_id, check_schemas, set_schemas, set_users, taken, values};
use crate::backend::embedded::EmbeddedShared;
use crate::backend::embedded::evaluation;
use crate::backend::embedded::problem::Problem;
use crate::backend::embedded::request::Request;
use crate::backend::embedded::rows;
use crate::wire::Reply;

pub(super) async fn update(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let id = request.required("queue_id")?.to_owned();
    let list = |flag: &str, name: &str| {
        let asked = request.boolean(flag)?.unwrap_or_default();
        asked.then(|| request.texts(name)).transpose()
    };
    let users = list("update_users", "users")?;
    let schemas = list("update_schema_ids", "schema_ids")?;
    let name = request.text("name")?.map(str::to_owned);
    let owner = request.text("new_owner")?.map(str::to_owned);
    let (now, dialect, lock) =
        (store.clock.now().0, store.database.dialect, rows::for_update(store.database.dialect));
    let queue = id.clone();
    let updated = store.writer.write(move |connection| {
        Box::pin(async move {
            let row = by_id(&mut *connection, &id, lock).await?;
            if row.try_get::<String, _>(3)? == Kind::User.name() {
                return Err(Problem::invalid(
                    "A user queue's name, assigned user, schemas, and owner are fixed and cannot be updated.",
                ));
            }
            if users.is_none() && schemas.is_none() && name.is_none() && owner.is_none() {
                return Ok(());
            }
            let experiment: i64 = row.try_get(1)?;
            let owner = owner.as_deref().map(values::owner).transpose()?;
            let name = name.as_deref().map(values::custom_name).transpose()?;
            if let Some(users) = users {
                set_users(connection, &id, &values::users(&users)?).await?;
            }
            if let Some(schemas) = schemas {
                let busy: Option<i64> =
                    sqlx::query_scalar("SELECT 1 FROM review_queue_items WHERE queue_id = $1 LIMIT 1")
                        .bind(&id)
                        .fetch_optional(&mut *connection)
                        .await?;
                if busy.is_some() {
                    return Err(Problem::invalid(
                        "A review queue's questions are locked once items are assigned to it. Remove the items \
                         before changing its questions.",
                    ));
                }
                let schemas = values::schemas(&schemas)?;
                check_schemas(connection, dialect, experiment, &schemas).await?;
                set_schemas(connection, &id, &schemas).await?;
            }
            let key = name.as_deref().map(str::to_lowercase);
            sqlx::query(
                "UPDATE review_queues SET name = COALESCE($2, name), name_key = COALESCE($3, name_key), \
                 created_by = COALESCE($4, created_by), last_update_time = $5 WHERE queue_id = $1",
            )
            .bind(&id)
            .bind(&name)
            .bind(key)
            .bind(owner)
            .bind(now)
            .execute(connection)
            .await
            .map_err(|error| evaluation::or_taken(error, || taken(name.as_deref().unwrap_or_default())))?;
            Ok(())
        })
    });
    updated.await?;
    let row = by_id(&store.database.reader, &queue, "").await?;
    answer_one(store, row).await
}
