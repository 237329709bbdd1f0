//! The securable tree: which folder an experiment lies in, as its name says.

use serde_json::json;

use super::change::Change;
use super::error::StoreError;
use super::{Store, rows};
use crate::access::{PolicyEdit, Securable, SecurableKind};
use crate::clock::UnixMillis;

impl Store {
    /// Puts a securable where it belongs; unchanged when it is there under this name already.
    pub async fn put_securable(
        &self,
        securable: &Securable,
        parent: &Securable,
        name: &str,
        by: &str,
        now: UnixMillis,
    ) -> Result<Change, StoreError> {
        const ACTION: &str = "securable.put";
        check(securable, parent)?;
        let mut policy = self.begin_policy().await?;
        let old = sqlx::query("SELECT parent, name FROM securables WHERE id = $1")
            .bind(securable.to_string())
            .fetch_optional(&mut *policy.transaction)
            .await?;
        let before = match &old {
            None => json!(null),
            Some(row) => json!({
                "securable": securable,
                "parent": rows::text(row, "parent")?,
                "name": rows::text(row, "name")?,
            }),
        };
        let after = json!({ "securable": securable, "parent": parent, "name": name });
        if before == after {
            return policy.unchanged(ACTION, after).await;
        }
        sqlx::query(
            "INSERT INTO securables (id, parent, name) VALUES ($1, $2, $3) \
             ON CONFLICT (id) DO UPDATE SET parent = excluded.parent, name = excluded.name",
        )
        .bind(securable.to_string())
        .bind(parent.to_string())
        .bind(name)
        .execute(&mut *policy.transaction)
        .await?;
        policy.edit(PolicyEdit::Place { securable: securable.clone(), parent: parent.clone() });
        policy.commit(by, now, ACTION, before, after).await
    }
}

/// Experiments and models lie in folders or the workspace; everything else, the whole catalog with it, lies
/// where its name says. So no circle can form, and no grant higher up reaches what was put elsewhere.
fn check(securable: &Securable, parent: &Securable) -> Result<(), StoreError> {
    let holds = matches!(parent.kind, SecurableKind::Workspace | SecurableKind::Folder);
    let fits = match securable.kind {
        SecurableKind::Experiment | SecurableKind::RegisteredModel => holds,
        _ => securable.parent().as_ref() == Some(parent),
    };
    if fits { Ok(()) } else { Err(StoreError::Refused(format!("`{securable}` cannot lie in `{parent}`"))) }
}
