//! The rows of a replica in the order of its chain, for whoever checks them or hands them on whole.

use super::{AuditIndex, AuditIndexError, Database, IndexPosition, SEQ_BITS, on, record_id, seq_of};
use crate::clock::UnixMillis;

/// A record as it stands in its replica's chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainRow {
    pub seq: u64,
    /// `begin`, `complete` … for events, `checkpoint` … for the chain's own.
    pub kind: String,
    /// The record's hash; absent for records that an earlier version indexed.
    pub hash: Option<Vec<u8>>,
    /// The payload.
    pub json: String,
}

/// The stretch of a replica's chain in which the records of a period lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    pub replica: String,
    pub first_seq: u64,
    pub last_seq: u64,
    /// The hash of the record before the first, if that is here.
    pub previous: Option<Vec<u8>>,
}

impl AuditIndex {
    /// The replicas whose records are here.
    pub async fn replicas(&self) -> Result<Vec<String>, AuditIndexError> {
        Ok(on!(&self.database, readers, pool => {
            sqlx::query_scalar("SELECT replica FROM audit_positions ORDER BY replica").fetch_all(pool).await?
        }))
    }

    /// How far a replica's chain is here; `None` if it was never heard of.
    pub async fn known_position(&self, replica: &str) -> Result<Option<IndexPosition>, AuditIndexError> {
        let found: Option<(i64, Vec<u8>)> = on!(&self.database, readers, pool => {
            sqlx::query_as("SELECT seq, hash FROM audit_positions WHERE replica = $1")
                .bind(replica)
                .fetch_optional(pool)
                .await?
        });
        let malformed = || AuditIndexError::MalformedPosition(replica.to_owned());
        let position = |(seq, hash): (i64, Vec<u8>)| {
            Ok(IndexPosition {
                seq: u64::try_from(seq).map_err(|_| malformed())?,
                hash: hash.try_into().map_err(|_| malformed())?,
            })
        };
        found.map(position).transpose()
    }

    /// A replica's records after a seq, in order, up to a seq.
    pub async fn chain_rows(
        &self,
        replica: &str,
        after: u64,
        through: u64,
        limit: u32,
    ) -> Result<Vec<ChainRow>, AuditIndexError> {
        let Some(number) = self.number_of(replica).await? else { return Ok(Vec::new()) };
        let found: Vec<(i64, String, Option<Vec<u8>>, String)> = on!(&self.database, readers, pool => {
            sqlx::query_as(
                "SELECT id, kind, hash, json FROM audit_events WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $3",
            )
            .bind(record_id(number, after))
            .bind(record_id(number, through.min(LAST_SEQ)))
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await?
        });
        let row = |(id, kind, hash, json)| ChainRow { seq: seq_of(id), kind, hash, json };
        Ok(found.into_iter().map(row).collect())
    }

    /// The stretch of each replica's chain that holds its records of a period. Since clocks are set back
    /// and calls overtake one another, there may be records of just before and after in it.
    pub async fn stretches(
        &self,
        since: Option<UnixMillis>,
        until: Option<UnixMillis>,
    ) -> Result<Vec<Stretch>, AuditIndexError> {
        // The sign keeps the databases from walking the records by id: what the index by time holds is enough.
        let found: Vec<(i64, i64)> = on!(&self.database, readers, pool => {
            sqlx::query_as(
                "SELECT MIN(+id), MAX(+id) FROM audit_events WHERE time_ms >= $1 AND time_ms < $2 \
                 GROUP BY id >> $3 ORDER BY 1",
            )
            .bind(since.map_or(i64::MIN, |time| time.0))
            .bind(until.map_or(i64::MAX, |time| time.0))
            .bind(SEQ_BITS as i32)
            .fetch_all(pool)
            .await?
        });
        let mut stretches = Vec::with_capacity(found.len());
        for (first, last) in found {
            let previous: Option<Option<Vec<u8>>> = on!(&self.database, readers, pool => {
                sqlx::query_scalar("SELECT hash FROM audit_events WHERE id = $1")
                    .bind(first - 1)
                    .fetch_optional(pool)
                    .await?
            });
            stretches.push(Stretch {
                replica: self.replica_of(first).await?,
                first_seq: seq_of(first),
                last_seq: seq_of(last),
                previous: previous.flatten(),
            });
        }
        Ok(stretches)
    }

    /// The number under which a replica's records are here.
    pub(super) async fn number_of(&self, replica: &str) -> Result<Option<i64>, AuditIndexError> {
        let known = self.replicas.read().iter().find(|(_, name)| *name == replica).map(|(number, _)| *number);
        if known.is_some() {
            return Ok(known);
        }
        let number: Option<i64> = on!(&self.database, readers, pool => {
            sqlx::query_scalar("SELECT number FROM audit_positions WHERE replica = $1")
                .bind(replica)
                .fetch_optional(pool)
                .await?
        });
        if let Some(number) = number {
            self.replicas.write().insert(number, replica.to_owned());
        }
        Ok(number)
    }
}

/// The last that an id has room for.
const LAST_SEQ: u64 = (1 << SEQ_BITS) - 1;

#[cfg(test)]
impl AuditIndex {
    /// Does to the index what somebody with access to the database could. `SEQ_IS(n)` and `SEQ_SET(n)` in
    /// the statement stand for how a record of the first replica is found and numbered.
    pub(crate) async fn tamper(&self, statement: &str) {
        let first = record_id(1, 0);
        let sql = statement
            .replace("SEQ_IS(", &format!("(id = {first} + "))
            .replace("SEQ_SET(", &format!("id = ({first} + "));
        let changed = on!(&self.database, writer, pool => {
            sqlx::query(sqlx::AssertSqlSafe(sql)).execute(pool).await.unwrap().rows_affected()
        });
        assert_eq!(changed, 1, "{statement}");
    }
}
