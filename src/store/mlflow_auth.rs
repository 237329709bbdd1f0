//! Reads the accounts of an MLflow server with basic-auth from its own database, and changes nothing there.
//!
//! Since MLflow 3.1x everything is a role's, and what a user was given directly is in a role `__user_ID__` of its own.
//! Servers before kept a table for each type of resource.

use std::collections::BTreeSet;
use std::path::Path;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Connection};

use super::error::StoreError;
use super::rows;

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Accounts {
    pub users: Vec<User>,
    pub roles: Vec<Role>,
    /// User and role, by their ids.
    pub assignments: Vec<(i64, i64)>,
    /// What users were given directly by servers without roles.
    pub direct: Vec<(i64, Given)>,
    /// Tables with permissions that mean nothing here, and how many rows they have.
    pub unread: Vec<(String, i64)>,
}

#[derive(Clone, PartialEq, Eq)]
pub struct User {
    pub id: i64,
    pub name: String,
    pub password_hash: String,
    pub is_admin: bool,
}

/// The hash is not shown.
impl std::fmt::Debug for User {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("User").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    pub id: i64,
    pub name: String,
    pub workspace: String,
    pub permissions: Vec<Given>,
}

/// One permission, in MLflow's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    pub resource_type: String,
    pub pattern: String,
    pub permission: String,
}

/// Reads a database by its SQLAlchemy URL, or a SQLite file by its path.
pub async fn read(database: &str) -> Result<Accounts, StoreError> {
    sqlx::any::install_default_drivers();
    let (url, is_sqlite) = url(database)?;
    let mut connection = AnyConnection::connect(&url)
        .await
        .map_err(|error| StoreError::Unavailable(format!("MLflow's database: {}", told(&error))))?;
    let accounts = read_from(&mut connection, is_sqlite).await;
    let _ = connection.close().await;
    accounts
}

/// Without the URL, which may hold a password.
fn told(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Configuration(_) => "this is not a URL of a database".to_owned(),
        other => other.to_string(),
    }
}

fn url(database: &str) -> Result<(String, bool), StoreError> {
    let rest = |scheme: &str| {
        let (name, rest) = database.split_once("://")?;
        (name == scheme || name.starts_with(&format!("{scheme}+"))).then_some(rest)
    };
    if let Some(rest) = rest("postgresql").or_else(|| rest("postgres")) {
        return Ok((format!("postgres://{rest}"), false));
    }
    // SQLAlchemy has a slash before the path, be it relative or absolute.
    let path = match rest("sqlite") {
        Some(rest) => rest.strip_prefix('/').unwrap_or(rest),
        None if database.contains("://") => {
            return Err(StoreError::Refused("the database must be SQLite or PostgreSQL".to_owned()));
        }
        None => database,
    };
    if !Path::new(path).is_file() {
        return Err(StoreError::Refused(format!("there is no file `{path}`")));
    }
    let escaped = percent_encoding::utf8_percent_encode(path, percent_encoding::NON_ALPHANUMERIC)
        .to_string()
        .replace("%2F", "/");
    Ok((format!("sqlite://{escaped}?mode=ro"), true))
}

async fn read_from(connection: &mut AnyConnection, is_sqlite: bool) -> Result<Accounts, StoreError> {
    let listing = match is_sqlite {
        true => "SELECT name FROM sqlite_master WHERE type = 'table'",
        false => {
            "SELECT CAST(table_name AS TEXT) AS name FROM information_schema.tables \
             WHERE table_schema = current_schema()"
        }
    };
    let found = sqlx::query(listing).fetch_all(&mut *connection).await?;
    let tables: BTreeSet<String> =
        found.iter().map(|row| rows::text(row, "name")).collect::<Result<_, _>>()?;
    if !tables.contains("users") {
        return Err(StoreError::Refused(
            "this is no basic-auth database: it has no table `users`".to_owned(),
        ));
    }
    let mut accounts = Accounts { users: users(connection).await?, ..Accounts::default() };
    if tables.contains("role_permissions") {
        accounts.roles = roles(connection).await?;
        accounts.assignments = all(connection, ASSIGNMENTS, |row| {
            Ok((rows::number(row, "user_id")?, rows::number(row, "role_id")?))
        })
        .await?;
        // The older tables stay behind in such a database, but its server does not read them.
        return Ok(accounts);
    }
    for (table, kind, column) in [
        ("experiment_permissions", "experiment", "experiment_id"),
        ("registered_model_permissions", "registered_model", "name"),
    ] {
        if tables.contains(table) {
            let statement = format!(
                "SELECT CAST(user_id AS BIGINT) AS user_id, CAST({column} AS TEXT) AS pattern, \
                 CAST(permission AS TEXT) AS permission FROM {table} ORDER BY user_id, {column}"
            );
            let given = |row: &AnyRow| Ok((rows::number(row, "user_id")?, given(row, kind.to_owned())?));
            accounts.direct.extend(all(connection, &statement, given).await?);
        }
    }
    let other = |name: &&String| {
        name.ends_with("_permissions")
            && !matches!(name.as_str(), "experiment_permissions" | "registered_model_permissions")
    };
    for table in tables.iter().filter(other) {
        let quoted = table.replace('"', "");
        let statement = format!("SELECT COUNT(*) AS rows_there FROM \"{quoted}\"");
        let counted = all(connection, &statement, |row| rows::number(row, "rows_there")).await?;
        accounts
            .unread
            .extend(counted.first().filter(|count| **count > 0).map(|count| (table.clone(), *count)));
    }
    Ok(accounts)
}

const USERS: &str = "SELECT CAST(id AS BIGINT) AS id, CAST(username AS TEXT) AS username, \
     CAST(password_hash AS TEXT) AS password_hash, CASE WHEN is_admin THEN 1 ELSE 0 END AS is_admin \
     FROM users ORDER BY id";
const ROLES: &str = "SELECT CAST(id AS BIGINT) AS id, CAST(name AS TEXT) AS name, \
     CAST(workspace AS TEXT) AS workspace FROM roles ORDER BY id";
const PERMISSIONS: &str = "SELECT CAST(role_id AS BIGINT) AS role_id, CAST(resource_type AS TEXT) AS resource_type, \
     CAST(resource_pattern AS TEXT) AS pattern, CAST(permission AS TEXT) AS permission \
     FROM role_permissions ORDER BY role_id, id";
const ASSIGNMENTS: &str = "SELECT CAST(user_id AS BIGINT) AS user_id, CAST(role_id AS BIGINT) AS role_id \
     FROM user_role_assignments ORDER BY user_id, role_id";

async fn users(connection: &mut AnyConnection) -> Result<Vec<User>, StoreError> {
    all(connection, USERS, |row| {
        Ok(User {
            id: rows::number(row, "id")?,
            name: rows::text(row, "username")?,
            password_hash: rows::text(row, "password_hash")?,
            is_admin: rows::number(row, "is_admin")? != 0,
        })
    })
    .await
}

async fn roles(connection: &mut AnyConnection) -> Result<Vec<Role>, StoreError> {
    let mut roles = all(connection, ROLES, |row| {
        Ok(Role {
            id: rows::number(row, "id")?,
            name: rows::text(row, "name")?,
            workspace: rows::text(row, "workspace")?,
            permissions: Vec::new(),
        })
    })
    .await?;
    let permissions = all(connection, PERMISSIONS, |row| {
        Ok((rows::number(row, "role_id")?, given(row, rows::text(row, "resource_type")?)?))
    })
    .await?;
    for (role, given) in permissions {
        if let Some(role) = roles.iter_mut().find(|one| one.id == role) {
            role.permissions.push(given);
        }
    }
    Ok(roles)
}

fn given(row: &AnyRow, resource_type: String) -> Result<Given, StoreError> {
    Ok(Given {
        resource_type,
        pattern: rows::text(row, "pattern")?,
        permission: rows::text(row, "permission")?,
    })
}

async fn all<T>(
    connection: &mut AnyConnection,
    statement: &str,
    read: impl Fn(&AnyRow) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let found = sqlx::query(AssertSqlSafe(statement.to_owned())).fetch_all(connection).await?;
    found.iter().map(read).collect()
}
