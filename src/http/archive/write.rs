//! Writes batches to the table of a flow, each once.

use serde_json::{Value, json};

use super::flow::{Flow, Halt, number};
use super::gather::Row;
use crate::access::{Durability, Location};
use crate::http::trail::Trail;
use crate::lake::arrow::array::RecordBatch;
use crate::lake::{self, schemas};
use crate::policy::Permit;
use crate::store::Held;
use crate::wire::{Body, Headers, Reply};

pub(super) struct Writes<'a> {
    pub flow: &'a Flow<'a>,
    pub permit: &'a Permit,
    pub place: &'a Location,
    pub held: &'a Held,
}

impl Writes<'_> {
    /// Writes the rows of a batch, and ends it. How many there were.
    pub async fn write(&self, batch: i64, rows: Vec<Row>, mut trail: Trail) -> Result<u64, Halt> {
        let (app, held, archive) = (self.flow.app, self.held, self.flow.archive);
        let now = app.clock.now();
        if rows.is_empty() {
            return Ok(app.store.end_batch(held, batch, true, held.done, now).await?);
        }
        let said = |(trace, digest, _): &Row| (trace.clone(), digest.clone());
        let digests: Vec<(String, String)> = rows.iter().map(said).collect();
        if !app.store.note_digests(held, batch, &digests).await? {
            // Another replica has it now.
            return Ok(0);
        }
        // On record before anybody can read it elsewhere.
        trail.begin(Durability::Synced).await?;
        let rows: Vec<Value> = rows
            .into_iter()
            .map(|(_, _, mut row)| {
                row["archived_at"] = json!(now.0.saturating_mul(1000));
                row
            })
            .collect();
        let rows = lake::batch(schemas::archive(), &rows)?;
        let written =
            app.lake.append_after(self.permit, self.place, rows, &archive.id, held.done, batch).await?;
        let copied = if written {
            app.store.end_batch(held, batch, true, Some(batch), now).await?
        } else {
            self.recover(batch).await?;
            0
        };
        trail.note(format!("copied into `{}`", archive.table.id));
        trail.complete(Reply { status: 200, headers: Headers::new(), body: Body::Empty }).await?;
        Ok(copied)
    }

    /// Finds out whether a batch is in the table. If it is not, it never will be.
    pub async fn recover(&self, batch: i64) -> Result<(), Halt> {
        const ATTEMPTS: usize = 5;
        let (app, held, archive) = (self.flow.app, self.held, self.flow.archive);
        for _ in 0..ATTEMPTS {
            let last = app.lake.last_sequence(self.permit, self.place, &archive.id).await?;
            if last == Some(batch) || last != held.done {
                let is_there = last == Some(batch);
                app.store.end_batch(held, batch, is_there, last, app.clock.now()).await?;
                return Ok(());
            }
            // Whoever began it may still be about to write it: a number without rows comes before.
            let fence = number(app.clock.now(), Some(batch));
            let nothing = RecordBatch::new_empty(schemas::archive());
            app.lake.append_after(self.permit, self.place, nothing, &archive.id, last, fence).await?;
        }
        Err(Halt("its table is written to all the while".to_owned()))
    }
}
