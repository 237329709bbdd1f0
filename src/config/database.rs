//! Where Tracegate keeps its own state: SQLite in the data directory, or PostgreSQL shared by replicas.

use std::fmt;

/// The `[database]` section.
#[derive(Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseConfig {
    /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE`. Without it, SQLite at `{data_dir}/state.db`, which
    /// serves one replica.
    pub url: Option<String>,
    /// Connections held open at most, per replica (count, 1 to 1000). SQLite uses them for reads and one
    /// more for writes, PostgreSQL one more to hear of policy changes.
    pub max_connections: u32,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self { url: None, max_connections: 10 }
    }
}

impl DatabaseConfig {
    pub fn validate(&self, problems: &mut Vec<String>) {
        let known = |url: &str| url.starts_with("postgres://") || url.starts_with("postgresql://");
        if self.url.as_deref().is_some_and(|url| !known(url)) {
            problems.push(
                "`database.url` must start with `postgres://`; leave it out to use SQLite in the data directory"
                    .to_owned(),
            );
        }
        if !(1..=1000).contains(&self.max_connections) {
            problems.push(format!(
                "`database.max_connections` is {}; set it to a number from 1 to 1000",
                self.max_connections
            ));
        }
    }
}

/// The URL may hold a password, in more than one place: none of it is shown.
impl fmt::Debug for DatabaseConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DatabaseConfig")
            .field("url", &self.url.as_ref().map(|_| "[redacted]"))
            .field("max_connections", &self.max_connections)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_the_url_is_not_shown() {
        let config = DatabaseConfig { url: Some("postgres://a:hunter2@db/t".into()), ..Default::default() };
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn bad_values_are_reported_by_key() {
        let config = DatabaseConfig { url: Some("mysql://x".into()), max_connections: 0 };
        let mut problems = Vec::new();
        config.validate(&mut problems);
        assert_eq!(problems.len(), 2);
        assert!(problems[0].contains("database.url") && problems[1].contains("database.max_connections"));
    }
}
