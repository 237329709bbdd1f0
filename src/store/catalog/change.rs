//! Changing an object: what is said of it, who owns it, what it is called, and how a table's rows are shown.

use std::collections::BTreeMap;

use serde_json::json;

use super::CatalogError;
use super::create::in_the_way;
use super::delete::lies_in_use;
use super::object::{Detail, written};
use super::read::{find, overlapping};
use super::rename::rename;
use crate::access::{Effect, Given, Location, NewGrant, Principal, Securable};
use crate::clock::UnixMillis;
use crate::store::change::Change;
use crate::store::{Store, grants};

/// What is to be otherwise; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ObjectChange {
    /// The empty text: none.
    pub comment: Option<String>,
    pub properties: Option<BTreeMap<String, String>>,
    pub owner: Option<Principal>,
    /// Its own name, without those of its containers.
    pub name: Option<String>,
    pub detail: Option<Detail>,
    /// Where an external location points to.
    pub url: Option<Location>,
}

impl Store {
    pub async fn change_catalog_object(
        &self,
        named: &Securable,
        change: &ObjectChange,
        by: &str,
        now: UnixMillis,
    ) -> Result<Change, CatalogError> {
        const ACTION: &str = "catalog.update";
        let mut policy = self.begin_policy().await?;
        let before = find(&mut policy, named).await?;
        let mut after = before.clone();
        if let Some(comment) = &change.comment {
            after.comment = Some(comment.clone()).filter(|comment| !comment.is_empty());
        }
        if let Some(properties) = &change.properties {
            after.properties = properties.clone();
        }
        if let Some(detail) = change.detail.as_ref().filter(|detail| detail.kind() == named.kind) {
            after.detail = detail.clone();
        }
        let moved = change.url.as_ref().filter(|url| after.location.as_ref() != Some(*url));
        if let Some(url) = moved {
            if lies_in_use(&mut policy, before.location.as_ref(), &before.id).await? {
                return Err(CatalogError::NotEmpty(named.id.clone()));
            }
            let theirs = overlapping(&mut policy, url, &before.id).await?;
            if theirs.iter().any(|their| in_the_way(named.kind, url, their)) {
                return Err(CatalogError::Overlaps);
            }
            after.location = Some(url.clone());
        }
        let new_name = change.name.as_deref().filter(|name| *name != before.name());
        let new_owner = change.owner.as_ref().filter(|owner| before.owner.as_ref() != Some(*owner));
        if after == before && new_name.is_none() && new_owner.is_none() {
            return Ok(policy.unchanged(ACTION, json!({ "object": before })).await?);
        }
        sqlx::query(
            "UPDATE catalog_objects SET comment = $1, properties = $2, detail = $3, location = $4, \
             updated_at_ms = $5, updated_by = $6 WHERE id = $7",
        )
        .bind(after.comment.clone())
        .bind(written(&after.properties)?)
        .bind(written(&after.detail)?)
        .bind(after.location.as_ref().map(|location| location.to_string()))
        .bind(now.0)
        .bind(by)
        .bind(before.id.clone())
        .execute(&mut *policy.transaction)
        .await?;
        if let Some(url) = moved {
            sqlx::query("UPDATE catalog_objects SET claim = $1 WHERE id = $2")
                .bind(url.as_str())
                .bind(before.id.clone())
                .execute(&mut *policy.transaction)
                .await?;
        }
        if let Some(owner) = new_owner {
            let grant = NewGrant {
                principal: owner.clone(),
                securable: before.securable.clone(),
                privilege: Given::OWNER.as_str().to_owned(),
                effect: Effect::Allow,
                reason: None,
                expires_at: None,
            };
            grants::write(&mut policy, &grant, by, now).await?;
        }
        let called = match new_name {
            Some(name) => rename(&mut policy, &before.securable, name).await?,
            None => before.securable.clone(),
        };
        let after = find(&mut policy, &called).await?;
        Ok(policy.commit(by, now, ACTION, json!({ "object": before }), json!({ "object": after })).await?)
    }
}
