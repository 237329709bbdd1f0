//! Whether what questions are answered from is what the records say: the columns of their rows, and the
//! rows of the traces and securables that they name. Whoever can write to the database could change who
//! is said to have seen a trace without touching a record.

use futures_util::TryStreamExt;

use super::columns::Table;
use super::rows::Batch;
use super::{AuditIndex, AuditIndexError, Database, IndexRow, on, record_id, seq_of};

/// How many rows of traces and securables there ought to be for each record.
#[derive(Debug)]
pub struct Tally {
    after: u64,
    /// By seq, from `after` + 1 on.
    rows: Vec<u32>,
}

impl Tally {
    /// For a replica's records after a seq.
    pub fn after(after: u64) -> Self {
        Self { after, rows: Vec::new() }
    }

    fn note(&mut self, seq: u64) {
        let place = usize::try_from(seq.saturating_sub(self.after + 1)).unwrap_or(usize::MAX);
        if place >= self.rows.len() {
            self.rows.resize(place.saturating_add(1), 0);
        }
        self.rows[place] += 1;
    }

    fn of(&self, seq: u64) -> u32 {
        let place = usize::try_from(seq.saturating_sub(self.after + 1)).unwrap_or(usize::MAX);
        self.rows.get(place).copied().unwrap_or_default()
    }
}

impl AuditIndex {
    /// The first of these records of which the index holds something other than what it says.
    pub async fn misfit(
        &self,
        replica: &str,
        records: &[IndexRow],
        tally: &mut Tally,
    ) -> Result<Option<u64>, AuditIndexError> {
        let Some(number) = self.number_of(replica).await? else { return Ok(None) };
        let batch = Batch::of(number, records);
        let mut first = None;
        for (table, counted) in [(batch.events, false), (batch.trace_ids, true), (batch.securables, true)] {
            if table.rows() == 0 {
                continue;
            }
            if counted {
                table.numbers("id").for_each(|id| tally.note(seq_of(id)));
            }
            let found: Option<i64> = on!(&self.database, readers, pool => {
                sqlx::query_scalar(sqlx::AssertSqlSafe(self.misfits_in(&table)))
                    .bind(table.to_json().to_string())
                    .fetch_one(pool)
                    .await?
            });
            first = first.into_iter().chain(found.map(seq_of)).min();
        }
        Ok(first)
    }

    /// The first record of which the index holds more than was tallied, among those up to a seq.
    pub async fn surplus(
        &self,
        replica: &str,
        tally: &Tally,
        through: u64,
    ) -> Result<Option<u64>, AuditIndexError> {
        let Some(number) = self.number_of(replica).await? else { return Ok(None) };
        const COUNTS: &str = "SELECT id, COUNT(*) FROM (SELECT id FROM audit_trace_ids WHERE id > $1 AND id <= $2 \
            UNION ALL SELECT id FROM audit_securables WHERE id > $1 AND id <= $2) named GROUP BY id ORDER BY id";
        on!(&self.database, readers, pool => {
            let mut counts = sqlx::query_as::<_, (i64, i64)>(COUNTS)
                .bind(record_id(number, tally.after))
                .bind(record_id(number, through))
                .fetch(pool);
            while let Some((id, count)) = counts.try_next().await? {
                if count != i64::from(tally.of(seq_of(id))) {
                    return Ok(Some(seq_of(id)));
                }
            }
        });
        Ok(None)
    }

    /// The last record of a replica that has a row.
    pub async fn last_row(&self, replica: &str) -> Result<Option<u64>, AuditIndexError> {
        let Some(number) = self.number_of(replica).await? else { return Ok(None) };
        let last: Option<i64> = on!(&self.database, readers, pool => {
            sqlx::query_scalar("SELECT MAX(id) FROM audit_events WHERE id > $1 AND id < $2")
                .bind(record_id(number, 0))
                .bind(record_id(number + 1, 0))
                .fetch_one(pool)
                .await?
        });
        Ok(last.map(seq_of))
    }

    /// Asks for the lowest id of rows that a table ought to hold and does not hold so.
    fn misfits_in(&self, table: &Table) -> String {
        let source = match self.database {
            Database::Sqlite { .. } => "json_each($1)",
            Database::Postgres(_) => "json_array_elements(CAST($1 AS JSON)) AS source(value)",
        };
        let columns = table.comparable();
        let expected: Vec<String> = columns
            .iter()
            .enumerate()
            .map(|(place, (name, of))| format!("CAST(value ->> {place} AS {of}) AS {name}"))
            .collect();
        let same: Vec<String> = columns
            .iter()
            .map(|(name, _)| match *name {
                // Never NULL, and what the table is found by.
                "id" | "time_ms" | "trace_id" | "securable" => format!("k.{name} = e.{name}"),
                _ => format!("k.{name} IS NOT DISTINCT FROM e.{name}"),
            })
            .collect();
        format!(
            "WITH expected AS (SELECT {} FROM {source}) SELECT MIN(e.id) FROM expected e \
             WHERE NOT EXISTS (SELECT 1 FROM {} k WHERE {})",
            expected.join(", "),
            table.name(),
            same.join(" AND ")
        )
    }
}
