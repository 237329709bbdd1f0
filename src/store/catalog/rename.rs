//! Another name for an object. What it holds and what is granted on any of it come along; what was granted on the
//! new name before does not.

use super::CatalogError;
use super::create::{forget, prefixes};
use super::object::{namespace, parent};
use super::read::below;
use crate::access::{PolicyEdit, Securable};
use crate::store::change::PolicyTransaction;
use crate::store::{StoreError, grants};

/// Names an object anew in its container, and answers what it is then.
pub(super) async fn rename(
    policy: &mut PolicyTransaction,
    old: &Securable,
    name: &str,
) -> Result<Securable, CatalogError> {
    let full = match old.id.rsplit_once('.') {
        Some((container, _)) => format!("{container}.{name}"),
        None => name.to_owned(),
    };
    let new = Securable::new(old.kind, &full).map_err(|error| StoreError::Refused(error.to_string()))?;
    let taken = sqlx::query("SELECT id FROM catalog_objects WHERE namespace = $1 AND full_name = $2")
        .bind(namespace(new.kind))
        .bind(new.id.clone())
        .fetch_optional(&mut *policy.transaction)
        .await?;
    if taken.is_some() {
        return Err(CatalogError::Exists(new.id));
    }
    forget(policy, &new).await?;
    let inside = below(&mut policy.transaction, old).await?;
    call(policy, old, &new).await?;
    for (_, child) in &inside {
        call(policy, child, &moved(child, old, &new)?).await?;
    }
    move_grants(policy, old, &new).await?;
    Ok(new)
}

/// What something in a container is called once the container is.
fn moved(inside: &Securable, old: &Securable, new: &Securable) -> Result<Securable, StoreError> {
    let rest = inside.id.strip_prefix(&old.id).unwrap_or_default();
    Securable::new(inside.kind, &format!("{}{rest}", new.id))
        .map_err(|error| StoreError::Refused(error.to_string()))
}

async fn call(policy: &mut PolicyTransaction, old: &Securable, new: &Securable) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE catalog_objects SET full_name = $1, parent = $2 WHERE namespace = $3 AND full_name = $4",
    )
    .bind(new.id.clone())
    .bind(parent(new)?.to_string())
    .bind(namespace(old.kind))
    .bind(old.id.clone())
    .execute(&mut *policy.transaction)
    .await?;
    Ok(())
}

/// Moves the grants on a securable and below it. They keep their ids.
async fn move_grants(
    policy: &mut PolicyTransaction,
    old: &Securable,
    new: &Securable,
) -> Result<(), StoreError> {
    for grant in grants::on_any(policy, &old.to_string(), &prefixes(old)).await? {
        let there = if grant.grant.securable == *old {
            new.clone()
        } else {
            moved(&grant.grant.securable, old, new)?
        };
        let at = grants::put_at(policy, &grant, &there).await?;
        policy.edit(PolicyEdit::Revoke(grant.rule()));
        if at {
            let mut rule = grant.rule();
            rule.securable = there;
            policy.edit(PolicyEdit::Grant(rule));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_a_container_takes_its_new_name() {
        let named = |text: &str| text.parse::<Securable>().unwrap();
        let (old, new) = (named("catalog:main"), named("catalog:prod"));
        for (inside, there) in
            [("schema:main.main", "schema:prod.main"), ("table:main.agents.main", "table:prod.agents.main")]
        {
            assert_eq!(moved(&named(inside), &old, &new).unwrap(), named(there));
        }
    }
}
