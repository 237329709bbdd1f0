//! What directories say of principals: a number to name them by, what they are called, and when they go.
//!
//! A number is made when it is first needed and never given again: whoever was deleted and comes back by the
//! same name has another one.

mod delete;
mod rename;
mod write;

use serde_json::{Map, Value, json};
use sqlx::any::AnyRow;
use sqlx::{Any, AssertSqlSafe, Row, Transaction};

use super::error::StoreError;
use super::{Store, rows};
use crate::access::{Principal, PrincipalKind};
use crate::clock::UnixMillis;

pub use write::Wish;

/// What is said of a principal beside its name.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Profile {
    pub display_name: Option<String>,
    pub external_id: Option<String>,
    /// By the names that SCIM has for them: `emails`, `name`, `entitlements`, …
    pub attributes: Map<String, Value>,
}

impl Profile {
    /// What it says, without saying it.
    fn fields(&self) -> Vec<&str> {
        let own = [("display_name", &self.display_name), ("external_id", &self.external_id)];
        let own = own.into_iter().filter(|(_, value)| value.is_some()).map(|(name, _)| name);
        own.chain(self.attributes.keys().map(String::as_str)).collect()
    }

    /// What it says otherwise than another.
    fn differs_in(&self, other: &Self) -> Vec<String> {
        let mut names: Vec<&str> = self.fields();
        names.extend(other.fields());
        names.sort_unstable();
        names.dedup();
        let same = |name: &str| match name {
            "display_name" => self.display_name == other.display_name,
            "external_id" => self.external_id == other.external_id,
            _ => self.attributes.get(name) == other.attributes.get(name),
        };
        names.into_iter().filter(|name| !same(name)).map(str::to_owned).collect()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct DirectoryEntry {
    pub number: i64,
    pub principal: Principal,
    pub active: bool,
    pub profile: Profile,
    /// What a group is for, in a sentence.
    pub description: Option<String>,
    pub created_at: UnixMillis,
    pub changed_at: UnixMillis,
}

impl DirectoryEntry {
    /// As it stands in records of changes. Those cannot be erased, and who a person is must be: of what is said
    /// of it they have the names alone.
    fn recorded(&self) -> Map<String, Value> {
        let state = json!({
            "principal": self.principal,
            "number": self.number,
            "active": self.active,
            "description": self.description,
            "profile": self.profile.fields(),
        });
        if let Value::Object(state) = state { state } else { Map::new() }
    }
}

/// Principals in one statement.
const CHUNK: usize = 500;

macro_rules! select_entries {
    ($end:literal) => {
        concat!(
            "SELECT directory.number, principals.id, principals.active, principals.created_at_ms, \
             directory.display_name, directory.external_id, directory.description, directory.attributes, \
             directory.changed_at_ms \
             FROM principals JOIN directory ON directory.principal = principals.id \
             WHERE principals.deleted_at_ms IS NULL ",
            $end
        )
    };
}

impl Store {
    /// Everybody of a kind who was not deleted, in the order of their numbers.
    pub async fn directory(&self, kind: PrincipalKind) -> Result<Vec<DirectoryEntry>, StoreError> {
        self.number_all().await?;
        let prefix = format!("{}:", kind.as_str());
        let length = i64::try_from(prefix.len()).unwrap_or(0);
        sqlx::query(select_entries!(
            "AND substr(principals.id, 1, CAST($1 AS INTEGER)) = $2 ORDER BY directory.number"
        ))
        .bind(length)
        .bind(prefix)
        .fetch_all(&self.database.reader)
        .await?
        .iter()
        .map(read)
        .collect()
    }

    /// Whoever has this number, unless deleted.
    pub async fn directory_entry(&self, number: i64) -> Result<Option<DirectoryEntry>, StoreError> {
        let found = sqlx::query(select_entries!("AND directory.number = $1"))
            .bind(number)
            .fetch_optional(&self.database.reader)
            .await?;
        found.as_ref().map(read).transpose()
    }

    /// Those of these numbers that there are, in no order.
    pub async fn directory_of_numbers(&self, numbers: &[i64]) -> Result<Vec<DirectoryEntry>, StoreError> {
        let mut found = Vec::with_capacity(numbers.len());
        for chunk in numbers.chunks(CHUNK) {
            let statement = format!(select_entries!("AND directory.number IN ({})"), places(chunk.len()));
            let mut query = sqlx::query(AssertSqlSafe(statement));
            for number in chunk {
                query = query.bind(*number);
            }
            for row in query.fetch_all(&self.database.reader).await? {
                found.push(read(&row)?);
            }
        }
        Ok(found)
    }

    /// The entries of those of these principals that were not deleted, in no order.
    pub async fn directory_of_all(&self, named: &[&Principal]) -> Result<Vec<DirectoryEntry>, StoreError> {
        if !named.is_empty() {
            self.number_all().await?;
        }
        let mut found = Vec::with_capacity(named.len());
        for chunk in named.chunks(CHUNK) {
            let statement = format!(select_entries!("AND principals.id IN ({})"), places(chunk.len()));
            let mut query = sqlx::query(AssertSqlSafe(statement));
            for principal in chunk {
                query = query.bind(principal.to_string());
            }
            for row in query.fetch_all(&self.database.reader).await? {
                found.push(read(&row)?);
            }
        }
        Ok(found)
    }

    /// A principal's entry; `None` if it is not known, or was deleted.
    pub async fn directory_of(&self, principal: &Principal) -> Result<Option<DirectoryEntry>, StoreError> {
        let find = || async {
            let found = sqlx::query(select_entries!("AND principals.id = $1"))
                .bind(principal.to_string())
                .fetch_optional(&self.database.reader)
                .await?;
            found.as_ref().map(read).transpose()
        };
        if let Some(entry) = find().await? {
            return Ok(Some(entry));
        }
        self.number_all().await?;
        find().await
    }

    /// Gives numbers to those who have none yet.
    async fn number_all(&self) -> Result<(), StoreError> {
        const WITHOUT: &str = "SELECT id FROM principals WHERE deleted_at_ms IS NULL \
             AND NOT EXISTS (SELECT 1 FROM directory WHERE directory.principal = principals.id) LIMIT 1";
        if sqlx::query(WITHOUT).fetch_optional(&self.database.reader).await?.is_none() {
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO directory (principal, changed_at_ms) SELECT id, created_at_ms FROM principals \
             WHERE deleted_at_ms IS NULL \
             AND NOT EXISTS (SELECT 1 FROM directory WHERE directory.principal = principals.id) \
             ORDER BY created_at_ms, id ON CONFLICT (principal) DO NOTHING",
        )
        .execute(&self.database.writer)
        .await?;
        Ok(())
    }
}

/// The entry as a change sees it; it gets a number if it has none.
async fn entry_of(
    transaction: &mut Transaction<'static, Any>,
    principal: &Principal,
    now: UnixMillis,
) -> Result<DirectoryEntry, StoreError> {
    let missing = || StoreError::NotFound(format!("`{principal}`"));
    let known = sqlx::query("SELECT id FROM principals WHERE id = $1 AND deleted_at_ms IS NULL")
        .bind(principal.to_string())
        .fetch_optional(&mut **transaction)
        .await?;
    known.ok_or_else(missing)?;
    sqlx::query(
        "INSERT INTO directory (principal, changed_at_ms) VALUES ($1, $2) ON CONFLICT (principal) DO NOTHING",
    )
    .bind(principal.to_string())
    .bind(now.0)
    .execute(&mut **transaction)
    .await?;
    let row = sqlx::query(select_entries!("AND principals.id = $1"))
        .bind(principal.to_string())
        .fetch_optional(&mut **transaction)
        .await?;
    read(&row.ok_or_else(missing)?)
}

fn places(count: usize) -> String {
    (1..=count).map(|place| format!("${place}")).collect::<Vec<_>>().join(", ")
}

fn read(row: &AnyRow) -> Result<DirectoryEntry, StoreError> {
    let attributes = serde_json::from_str(&rows::text(row, "attributes")?)
        .map_err(|error| StoreError::Corrupt(format!("a principal's attributes: {error}")))?;
    Ok(DirectoryEntry {
        number: rows::number(row, "number")?,
        principal: rows::parsed(row, "id")?,
        active: rows::number(row, "active")? != 0,
        profile: Profile {
            display_name: row.try_get("display_name")?,
            external_id: row.try_get("external_id")?,
            attributes,
        },
        description: row.try_get("description")?,
        created_at: rows::time(row, "created_at_ms")?,
        changed_at: rows::time(row, "changed_at_ms")?,
    })
}
