//! Whose traces: which session, which end user, by the tags and metadata that traces carry. This is no
//! part of the record and stands beside it, so that it can be erased, value by value.

use super::columns::{Column, Table, text};
use super::{AuditIndex, AuditIndexError, Database, on};

/// One value of one key: `mlflow.trace.session` = `s-42`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject {
    pub key: String,
    pub value: String,
}

impl AuditIndex {
    /// Notes that traces are of subjects. What is known already stays.
    pub async fn learn_subjects(&self, known: &[(Subject, String)]) -> Result<(), AuditIndexError> {
        let mut table = Table::new(
            "audit_subjects",
            &["key", "value", "trace_id"],
            [Column::texts(), Column::texts(), Column::texts()],
        );
        for (subject, trace_id) in known {
            let row = table.row();
            row[0].text(&subject.key);
            row[1].text(&subject.value);
            row[2].text(trace_id);
        }
        const KEPT: &str = "ON CONFLICT DO NOTHING";
        match &self.database {
            Database::Sqlite { writer, .. } => {
                table.insert_sqlite(&mut *writer.acquire().await?, KEPT).await?;
            }
            Database::Postgres(pool) => table.insert_postgres(&mut *pool.acquire().await?, KEPT).await?,
        }
        Ok(())
    }

    /// The traces of a subject, in the order of their ids, from behind `after`.
    pub async fn traces_of(
        &self,
        subject: &Subject,
        after: &str,
        limit: u32,
    ) -> Result<Vec<String>, AuditIndexError> {
        Ok(on!(&self.database, readers, pool => {
            sqlx::query_scalar(
                "SELECT trace_id FROM audit_subjects WHERE key = $1 AND value = $2 AND trace_id > $3 \
                 ORDER BY trace_id LIMIT $4",
            )
            .bind(text(&subject.key))
            .bind(text(&subject.value))
            .bind(text(after))
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await?
        }))
    }

    /// Forgets which traces are of a subject. Answers how many there were.
    pub async fn erase_subject(&self, subject: &Subject) -> Result<u64, AuditIndexError> {
        let erased = on!(&self.database, writer, pool => {
            sqlx::query("DELETE FROM audit_subjects WHERE key = $1 AND value = $2")
                .bind(text(&subject.key))
                .bind(text(&subject.value))
                .execute(pool)
                .await?
                .rows_affected()
        });
        if let Database::Sqlite { writer, .. } = &self.database {
            // The write-ahead log held it too.
            sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(writer).await?;
        }
        Ok(erased)
    }
}
