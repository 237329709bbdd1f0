//! Objects as they are, with the policy version that they were read at: whoever shows one decides at that version
//! or a later one, so that an object never meets the grants of another that had its name before.

use sqlx::{Any, Row, Transaction};

use super::CatalogError;
use super::object::{CatalogObject, namespace, of_ours, read, select_objects};
use crate::access::{Location, Securable, SecurableKind};
use crate::store::change::PolicyTransaction;
use crate::store::{Store, StoreError, rows};

/// What was read, and at which policy version.
#[derive(Debug, Clone, PartialEq)]
pub struct Found<T> {
    pub version: i64,
    pub found: T,
}

const VERSION: &str = "SELECT version FROM policy_head WHERE id = 1";

impl Store {
    /// The object of this name. A table is found where a view of its name is asked for, and the other way round.
    pub async fn catalog_object(
        &self,
        named: &Securable,
    ) -> Result<Found<Option<CatalogObject>>, StoreError> {
        let mut transaction = self.database.begin_read().await?;
        let version = version(&mut transaction).await?;
        let row = sqlx::query(select_objects!("WHERE o.namespace = $1 AND o.full_name = $2"))
            .bind(namespace(named.kind))
            .bind(named.id.clone())
            .fetch_optional(&mut *transaction)
            .await?;
        transaction.rollback().await?;
        Ok(Found { version, found: row.as_ref().map(read).transpose()? })
    }

    /// The objects of a kind in a container after a full name, by name, at most `limit`.
    pub async fn catalog_objects(
        &self,
        container: &Securable,
        kind: SecurableKind,
        after: &str,
        limit: i64,
    ) -> Result<Found<Vec<CatalogObject>>, StoreError> {
        let mut transaction = self.database.begin_read().await?;
        let version = version(&mut transaction).await?;
        let found = sqlx::query(select_objects!(
            "WHERE o.parent = $1 AND o.namespace = $2 AND o.full_name > $3 ORDER BY o.full_name LIMIT $4"
        ))
        .bind(container.to_string())
        .bind(namespace(kind))
        .bind(after)
        .bind(limit)
        .fetch_all(&mut *transaction)
        .await?;
        transaction.rollback().await?;
        Ok(Found { version, found: found.iter().map(read).collect::<Result<_, _>>()? })
    }

    /// Everything that lies in a catalog or schema.
    pub async fn catalog_below(&self, container: &Securable) -> Result<Found<Vec<Securable>>, StoreError> {
        let mut transaction = self.database.begin_read().await?;
        let version = version(&mut transaction).await?;
        let found = below(&mut transaction, container).await?;
        transaction.rollback().await?;
        Ok(Found { version, found: found.into_iter().map(|(_, securable)| securable).collect() })
    }

    /// The external location that a location is or lies in.
    pub async fn external_location_of(
        &self,
        location: &Location,
    ) -> Result<Found<Option<CatalogObject>>, StoreError> {
        let mut transaction = self.database.begin_read().await?;
        let version = version(&mut transaction).await?;
        let row = sqlx::query(select_objects!(
            "WHERE o.namespace = 'external_location' \
             AND (o.claim = $1 OR substr($1, 1, length(o.claim) + 1) = o.claim || '/')"
        ))
        .bind(location.as_str())
        .fetch_optional(&mut *transaction)
        .await?;
        transaction.rollback().await?;
        Ok(Found { version, found: row.as_ref().map(read).transpose()? })
    }
}

impl Store {
    /// The volume, or else the external location, that a location is or lies in.
    pub async fn catalog_place_of(
        &self,
        location: &Location,
    ) -> Result<Found<Option<(Securable, String)>>, StoreError> {
        let mut transaction = self.database.begin_read().await?;
        let version = version(&mut transaction).await?;
        let row = sqlx::query(
            "SELECT kind || ':' || full_name AS securable, location FROM catalog_objects \
             WHERE kind IN ('volume', 'external_location') \
             AND (location = $1 OR substr($1, 1, length(location) + 1) = location || '/') \
             ORDER BY length(location) DESC, kind DESC LIMIT 1",
        )
        .bind(location.as_str())
        .fetch_optional(&mut *transaction)
        .await?;
        transaction.rollback().await?;
        let read = |row| Ok::<_, StoreError>((rows::parsed(row, "securable")?, row.try_get("location")?));
        Ok(Found { version, found: row.as_ref().map(read).transpose()? })
    }
}

/// Things that lie at one place are few, unless it holds a whole lake.
const AT_ONE_PLACE: i64 = 50;

impl Store {
    /// The object of an id. A table is found where a view is asked for, and the other way round.
    pub async fn catalog_object_of_id(
        &self,
        kind: SecurableKind,
        id: &str,
    ) -> Result<Found<Option<CatalogObject>>, StoreError> {
        let mut transaction = self.database.begin_read().await?;
        let version = version(&mut transaction).await?;
        let row = sqlx::query(select_objects!("WHERE o.namespace = $1 AND o.id = $2"))
            .bind(namespace(kind))
            .bind(id.to_owned())
            .fetch_optional(&mut *transaction)
            .await?;
        transaction.rollback().await?;
        Ok(Found { version, found: row.as_ref().map(read).transpose()? })
    }

    /// What lies at a location, in it or around it, or may come to lie there, but for external locations; the first
    /// fifty by name, tables and volumes first.
    pub async fn catalog_objects_at(&self, location: &Location) -> Result<Found<Vec<Securable>>, StoreError> {
        let mut transaction = self.database.begin_read().await?;
        let version = version(&mut transaction).await?;
        let found = sqlx::query(
            "SELECT kind || ':' || full_name AS securable FROM catalog_objects \
             WHERE kind <> 'external_location' AND ( \
                 location = $1 OR claim = $1 \
                 OR substr($1, 1, length(location) + 1) = location || '/' \
                 OR substr($1, 1, length(claim) + 1) = claim || '/' \
                 OR substr(location, 1, length($1) + 1) = $1 || '/' \
                 OR substr(claim, 1, length($1) + 1) = $1 || '/') \
             ORDER BY CASE WHEN kind IN ('table', 'volume') THEN 0 ELSE 1 END, full_name, kind LIMIT $2",
        )
        .bind(location.as_str())
        .bind(AT_ONE_PLACE)
        .fetch_all(&mut *transaction)
        .await?;
        transaction.rollback().await?;
        let found = found.iter().map(|row| rows::parsed(row, "securable")).collect::<Result<_, _>>()?;
        Ok(Found { version, found })
    }
}

async fn version(transaction: &mut Transaction<'static, Any>) -> Result<i64, StoreError> {
    Ok(sqlx::query(VERSION).fetch_one(&mut **transaction).await?.try_get(0)?)
}

/// The object of this name as a change sees it.
pub(super) async fn find(
    policy: &mut PolicyTransaction,
    named: &Securable,
) -> Result<CatalogObject, CatalogError> {
    let row = sqlx::query(select_objects!("WHERE o.namespace = $1 AND o.full_name = $2"))
        .bind(namespace(named.kind))
        .bind(named.id.clone())
        .fetch_optional(&mut *policy.transaction)
        .await?;
    let object = row.as_ref().map(read).transpose()?;
    // Asked for as what it is: grants on a view are none on a table.
    let object = object.filter(|object| object.securable.kind == named.kind);
    object.ok_or_else(|| CatalogError::Missing(named.id.clone()))
}

/// Ids and securables of everything in a container, at every depth.
pub(super) async fn below(
    transaction: &mut Transaction<'static, Any>,
    container: &Securable,
) -> Result<Vec<(String, Securable)>, StoreError> {
    let found = sqlx::query(
        "SELECT id, kind || ':' || full_name AS securable FROM catalog_objects \
         WHERE parent = $1 OR parent IN ( \
             SELECT kind || ':' || full_name FROM catalog_objects WHERE parent = $1 AND kind = 'schema') \
         ORDER BY full_name, kind",
    )
    .bind(container.to_string())
    .fetch_all(&mut **transaction)
    .await?;
    // External locations hold no objects by name, and a metastore is never asked for.
    found.iter().map(|row| Ok((rows::text(row, "id")?, rows::parsed(row, "securable")?))).collect()
}

/// A location that a caller chose, and which kind of object holds it.
pub(super) struct Claim {
    pub kind: SecurableKind,
    pub location: Location,
}

/// Those that overlap with a location, but for one object's own.
pub(super) async fn overlapping(
    policy: &mut PolicyTransaction,
    location: &Location,
    but: &str,
) -> Result<Vec<Claim>, StoreError> {
    let found = sqlx::query(
        "SELECT kind || ':' || full_name AS securable, claim FROM catalog_objects \
         WHERE claim IS NOT NULL AND id <> $2 AND (claim = $1 \
             OR substr($1, 1, length(claim) + 1) = claim || '/' \
             OR substr(claim, 1, length($1) + 1) = $1 || '/')",
    )
    .bind(location.as_str())
    .bind(but)
    .fetch_all(&mut *policy.transaction)
    .await?;
    found
        .iter()
        .map(|row| {
            let securable: Securable = rows::parsed(row, "securable")?;
            Ok(Claim { kind: securable.kind, location: of_ours(rows::text(row, "claim")?) })
        })
        .collect()
}
