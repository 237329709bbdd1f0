//! The accounts of an MLflow server, read from its own database.

use sqlx::{AssertSqlSafe, Connection};

use crate::store::mlflow_auth::{Given, read};

const WITH_ROLES: &str = "
    CREATE TABLE users (id INTEGER PRIMARY KEY, username VARCHAR(255), password_hash VARCHAR(255), is_admin BOOLEAN);
    CREATE TABLE roles (id INTEGER PRIMARY KEY, name VARCHAR(255), workspace VARCHAR(63), description VARCHAR(1024));
    CREATE TABLE role_permissions (id INTEGER PRIMARY KEY, role_id INTEGER, resource_type VARCHAR(64),
        resource_pattern VARCHAR(255), permission VARCHAR(255));
    CREATE TABLE user_role_assignments (id INTEGER PRIMARY KEY, user_id INTEGER, role_id INTEGER);
    CREATE TABLE experiment_permissions (id INTEGER PRIMARY KEY, experiment_id VARCHAR(255), user_id INTEGER,
        permission VARCHAR(255));
    INSERT INTO users VALUES (1, 'root', 'h1', 1), (2, 'ann', 'h2', 0), (3, 'bob', 'h3', NULL);
    INSERT INTO roles VALUES (7, 'readers', 'default', NULL), (8, '__user_2__', 'default', NULL);
    INSERT INTO role_permissions VALUES (1, 7, 'experiment', '*', 'READ'), (2, 8, 'experiment', '12', 'DENY');
    INSERT INTO user_role_assignments VALUES (1, 2, 7), (2, 2, 8);
    INSERT INTO experiment_permissions VALUES (1, '99', 2, 'MANAGE');";

async fn file(directory: &tempfile::TempDir, statements: &str) -> String {
    sqlx::any::install_default_drivers();
    let path = directory.path().join("auth %41.db").to_str().unwrap().to_owned();
    let url = format!("sqlite://{}?mode=rwc", path.replace('%', "%25").replace(' ', "%20"));
    let mut connection = sqlx::AnyConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    path
}

#[tokio::test]
async fn roles_count_and_the_tables_that_they_replaced_do_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory, WITH_ROLES).await;
    let accounts = read(&path).await.unwrap();
    let users: Vec<(&str, bool)> =
        accounts.users.iter().map(|user| (user.name.as_str(), user.is_admin)).collect();
    assert_eq!(users, [("root", true), ("ann", false), ("bob", false)]);
    let given = |pattern: &str, permission: &str| Given {
        resource_type: "experiment".into(),
        pattern: pattern.into(),
        permission: permission.into(),
    };
    assert_eq!(accounts.roles[0].permissions, [given("*", "READ")]);
    assert_eq!(accounts.roles[1].permissions, [given("12", "DENY")]);
    assert_eq!(accounts.assignments, [(2, 7), (2, 8)]);
    assert!(accounts.direct.is_empty() && accounts.unread.is_empty());
    assert!(!format!("{accounts:?}").contains("h2"));
    // By SQLAlchemy's URL as well.
    assert_eq!(read(&format!("sqlite:///{path}")).await.unwrap(), accounts);
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_and_not_made() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing.db");
    let told = read(missing.to_str().unwrap()).await.unwrap_err().to_string();
    assert!(told.contains("no file") && !missing.exists());
    let other = file(&directory, "CREATE TABLE experiments (id INTEGER);").await;
    assert!(read(&other).await.unwrap_err().to_string().contains("no basic-auth database"));
    let told = read("mysql://root:hunter2@127.0.0.1/auth").await.unwrap_err().to_string();
    assert!(!told.contains("hunter2"), "{told}");
    let told = read("postgresql+psycopg2://root:hunter2@127.0.0.1:1/auth").await.unwrap_err().to_string();
    assert!(!told.contains("hunter2"), "{told}");
}
