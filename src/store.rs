//! Tracegate's own state: who there is, what was granted, which trace belongs where.
//!
//! One [`Store`] over SQLite or PostgreSQL, with one file per noun under `store/`. Whatever changes what
//! policy means is one transaction that raises the policy version by one and leaves a line in the log of
//! changes, with the steps that another replica applies; a call that changes nothing raises nothing.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use tracegate::access::{ExperimentId, Principal, TraceId};
//! use tracegate::clock::UnixMillis;
//! use tracegate::config::database::DatabaseConfig;
//! use tracegate::store::Store;
//!
//! let store = Store::open(&DatabaseConfig::default(), std::path::Path::new("data")).await?;
//! let trace = TraceId::parse("tr-a50f1d685f7cf6ff7e0dede8b2acad2c")?;
//! let claim = store
//!     .claim_trace(&trace, &ExperimentId::parse("12")?, Some(&Principal::user("ann")?), UnixMillis(0))
//!     .await?;
//! assert!(claim.fresh || claim.experiment.as_str() != "12");
//! # Ok(())
//! # }
//! ```

mod access_requests;
mod access_reviews;
mod administrators;
mod apply;
mod archive_marks;
mod archives;
pub mod audit_index;
mod catalog;
mod change;
mod claim_batch;
mod claims;
mod client_secrets;
mod directory;
mod edits;
mod error;
mod feed;
mod grants;
mod groups;
mod keys;
mod limits;
pub mod mlflow_auth;
mod passwords;
mod policy_state;
mod principals;
mod read_policy;
mod roots;
mod rows;
mod secrets;
mod securable_names;
mod securables;
mod sessions;
mod shadow;
mod tokens;

#[cfg(test)]
pub(crate) mod test_postgres;
#[cfg(test)]
mod tests;

use std::path::Path;

pub use access_requests::{
    AccessRequest, Asked, Decided, MOST_A_DAY, MOST_WAITING, NewAccessRequest, RequestFilter, RequestState,
    WAITS_MS,
};
pub use access_reviews::AccessReview;
pub use apply::Wanted;
pub use archive_marks::Held;
pub use archives::{Archive, ArchiveUpdate, Progress};
pub use catalog::{
    CatalogError, CatalogObject, Column, ColumnMask, Deletion, Detail, Found, Metastore, NewObject,
    ObjectChange, RowFilter, TableFormat,
};
pub use change::{Change, PolicyChangeRecord};
pub use claims::Claim;
pub use client_secrets::{ClientSecretRecord, MOST_SECRETS, NewClientSecret};
pub use directory::{DirectoryEntry, Profile, Wish};
pub use edits::PolicyStep;
pub use error::StoreError;
pub use feed::{FeedEvent, PolicyFeed};
pub use groups::NESTING_LIMIT;
pub use keys::{FIRST_KEY, KeyRow, KeyedHash, MOST_KEYS, Purpose, Retired, Retirement};
pub use limits::{LimitKey, LimitName, UsageLimit};
pub use passwords::PasswordRecord;
pub use policy_state::PolicyState;
pub use principals::PrincipalRecord;
pub use read_policy::PolicyRow;
pub use sessions::{NewSession, SessionRecord, Sessions};
pub use shadow::Shadow;
pub use tokens::{NewToken, TokenKind, TokenRecord};

use crate::config::database::DatabaseConfig;
use crate::database::{Database, Place, Schema};

/// A handle on the state; cloning it is cheap and gives the same state.
#[derive(Debug, Clone)]
pub struct Store {
    database: Database,
    claims: claim_batch::Claims,
    feed: feed::Source,
    /// The policy version at which changes are made, if at one alone.
    expected: Option<i64>,
    /// Whether people may come with credentials that are not kept here.
    issuers: bool,
}

impl Store {
    /// Opens the database that the configuration names, creates it when it is new, and brings it to this
    /// version. Must be called on the runtime that outlives all use of the store.
    pub async fn open(config: &DatabaseConfig, data_dir: &Path) -> Result<Self, StoreError> {
        let Schema { place, migrations, .. } = Self::schema(config, data_dir);
        let database = match place {
            Place::Postgres(url) => Database::open_postgres(&url, config.max_connections, migrations).await?,
            Place::Sqlite(file) => {
                Database::open_sqlite(&file, config.max_connections, &[], migrations).await?
            }
        };
        let claims = claim_batch::Claims::start(database.clone());
        let feed = feed::Source::new(config.url.as_deref())?;
        Ok(Self { database, claims, feed, expected: None, issuers: false })
    }

    /// The tables of the state, and where they are.
    pub fn schema(config: &DatabaseConfig, data_dir: &Path) -> Schema {
        let (place, migrations) = match &config.url {
            Some(url) => (Place::Postgres(url.clone()), sqlx::migrate!("migrations/postgres")),
            None => (Place::Sqlite(data_dir.join("state.db")), sqlx::migrate!("migrations/sqlite")),
        };
        Schema { name: "state", place, migrations }
    }

    /// With trusted issuers administrators sign in there, and a token of theirs may go although it is the last.
    pub fn with_issuers(self, issuers: bool) -> Self {
        Self { issuers, ..self }
    }

    /// Whether the state can be read now, for readiness.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.policy_version().await.map(|_| ())
    }
}
