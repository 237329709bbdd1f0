//! Making an object: its container is there, its name is free, its location is nobody's, and no grant that was
//! written for the name before gives anything on it.

use std::collections::BTreeMap;

use serde_json::json;

use super::CatalogError;
use super::object::{Detail, namespace, parent, written};
use super::read::{Claim, overlapping};
use crate::access::{Effect, Given, Grant, GrantId, Location, NewGrant, Principal, Securable, SecurableKind};
use crate::clock::UnixMillis;
use crate::store::apply::bulk;
use crate::store::change::{Change, PolicyTransaction};
use crate::store::{Store, StoreError, grants, rows};

/// An object to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewObject {
    /// A UUID.
    pub id: String,
    pub securable: Securable,
    pub owner: Principal,
    pub comment: Option<String>,
    pub properties: BTreeMap<String, String>,
    pub detail: Detail,
    pub location: Option<Location>,
    /// The location that a caller chose, which no other object may lie in.
    pub claim: Option<Location>,
}

impl Store {
    /// Makes an object, which belongs to its owner from the same version on.
    pub async fn create_catalog_object(
        &self,
        new: &NewObject,
        by: &str,
        now: UnixMillis,
    ) -> Result<Change, CatalogError> {
        let mut policy = self.begin_policy().await?;
        let container = parent(&new.securable)?;
        if container.kind != SecurableKind::Metastore {
            super::read::find(&mut policy, &container).await?;
        }
        if let Some(claim) = &new.claim {
            let theirs = overlapping(&mut policy, claim, "").await?;
            if theirs.iter().any(|their| in_the_way(new.securable.kind, claim, their)) {
                return Err(CatalogError::Overlaps);
            }
        }
        let stale = forget(&mut policy, &new.securable).await?;
        let inserted = sqlx::query(
            "INSERT INTO catalog_objects (id, kind, namespace, full_name, parent, comment, properties, detail, \
                 location, claim, created_at_ms, created_by, updated_at_ms, updated_by) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $11, $12) \
             ON CONFLICT (namespace, full_name) DO NOTHING RETURNING id",
        )
        .bind(new.id.clone())
        .bind(new.securable.kind.as_str())
        .bind(namespace(new.securable.kind))
        .bind(new.securable.id.clone())
        .bind(container.to_string())
        .bind(new.comment.clone())
        .bind(written(&new.properties)?)
        .bind(written(&new.detail)?)
        .bind(new.location.as_ref().map(|location| location.to_string()))
        .bind(new.claim.as_ref().map(|location| location.to_string()))
        .bind(now.0)
        .bind(by)
        .fetch_optional(&mut *policy.transaction)
        .await?;
        if inserted.is_none() {
            return Err(CatalogError::Exists(new.securable.id.clone()));
        }
        let owner = NewGrant {
            principal: new.owner.clone(),
            securable: new.securable.clone(),
            privilege: Given::OWNER.as_str().to_owned(),
            effect: Effect::Allow,
            reason: None,
            expires_at: None,
        };
        grants::write(&mut policy, &owner, by, now).await?;
        let object = super::read::find(&mut policy, &new.securable).await?;
        let before = json!({ "object": null, "grants": stale });
        Ok(policy.commit(by, now, "catalog.create", before, json!({ "object": object })).await?)
    }
}

/// Whether an object's location keeps another from being made here.
///
/// External locations keep each other out, and nothing is put around what lies in none any more. Tables and volumes
/// keep out each other and what catalogs and schemas manage; these may share a root, below which each has a place of
/// its own.
pub(super) fn in_the_way(kind: SecurableKind, mine: &Location, their: &Claim) -> bool {
    use SecurableKind::{Catalog, ExternalLocation, Schema};
    match (kind, their.kind) {
        (ExternalLocation, ExternalLocation) => true,
        (ExternalLocation, _) => mine.lies_in(&their.location),
        (_, ExternalLocation) => false,
        (Catalog | Schema, Catalog | Schema) => false,
        _ => true,
    }
}

/// Removes what was allowed on a name that is free, and below it. What was denied in advance stays denied.
pub(super) async fn forget(
    policy: &mut PolicyTransaction,
    named: &Securable,
) -> Result<Vec<Grant>, StoreError> {
    remove(policy, named, true).await
}

/// Removes every grant on an object that goes; a container's objects go one by one.
pub(super) async fn remove_all(
    policy: &mut PolicyTransaction,
    named: &Securable,
) -> Result<Vec<Grant>, StoreError> {
    remove(policy, named, false).await
}

async fn remove(
    policy: &mut PolicyTransaction,
    named: &Securable,
    allowing_only: bool,
) -> Result<Vec<Grant>, StoreError> {
    let mut ids = Vec::new();
    let mut take = |found: Vec<sqlx::any::AnyRow>| -> Result<(), StoreError> {
        for row in &found {
            if !allowing_only || rows::text(row, "effect")? == Effect::Allow.as_str() {
                ids.push(GrantId(rows::number(row, "id")?));
            }
        }
        Ok(())
    };
    for name in spellings(named) {
        let found = sqlx::query("SELECT id, effect FROM grants WHERE securable = $1").bind(name);
        take(found.fetch_all(&mut *policy.transaction).await?)?;
    }
    for prefix in prefixes(named) {
        let found = sqlx::query("SELECT id, effect FROM grants WHERE substr(securable, 1, length($1)) = $1");
        take(found.bind(prefix).fetch_all(&mut *policy.transaction).await?)?;
    }
    bulk::revoke(policy, &ids).await
}

/// A table and a view of one name share it.
fn spellings(named: &Securable) -> Vec<String> {
    match named.kind {
        SecurableKind::Table | SecurableKind::View => [SecurableKind::Table, SecurableKind::View]
            .map(|kind| format!("{}:{}", kind.as_str(), named.id))
            .into(),
        _ => vec![named.to_string()],
    }
}

/// How the securables begin that would lie in a container.
pub(super) fn prefixes(container: &Securable) -> Vec<String> {
    use SecurableKind::{Catalog, Function, Schema, Table, View, Volume};
    let kinds: &[SecurableKind] = match container.kind {
        Catalog => &[Schema, Table, View, Volume, Function],
        Schema => &[Table, View, Volume, Function],
        _ => &[],
    };
    kinds.iter().map(|kind| format!("{}:{}.", kind.as_str(), container.id)).collect()
}
