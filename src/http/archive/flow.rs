//! The flow of an experiment's traces into its archive: in batches, each in the table once.
//!
//! A batch has a number, is noted as begun, is read, and is appended to the table under its number; then its marks go.
//! The table takes a number only after the one that was the last before, so whoever takes a flow over can keep out what
//! another may still be about to write, and learns from the table alone whether a batch is in it.

use std::sync::Arc;
use std::time::Duration;

use super::write::Writes;
use crate::access::{Caller, Check, Proof, RequestContext, Scheme, Sight};
use crate::app::App;
use crate::backend::Backend;
use crate::clock::UnixMillis;
use crate::http::error::Refusal;
use crate::http::trail::Trail;
use crate::lake::LakeError;
use crate::policy::{Permit, Requirement};
use crate::store::{Archive, CatalogObject, Held, StoreError};

/// How long a replica has an archive for itself unless it says again that it works on it.
const HELD_MS: i64 = 10_000;
/// How often it says so.
const RENEWED_EVERY: Duration = Duration::from_secs(3);
/// Rounds after which others get their turn.
const ROUNDS: usize = 5;
/// Traces of a batch.
const BATCH: usize = 200;
/// When a trace that did not end, or could not be read, is looked at again, in milliseconds.
const AGAIN_MS: i64 = 10_000;

pub(super) struct Flow<'a> {
    pub app: &'a Arc<App>,
    pub backend: &'a dyn Backend,
    pub archive: &'a Archive,
}

/// Why a round came to nothing. It is tried again after a rest.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Halt(pub String);

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self(error.to_string())
    }
}

impl From<Refusal> for Halt {
    fn from(refusal: Refusal) -> Self {
        Self(refusal.to_string())
    }
}

impl From<LakeError> for Halt {
    fn from(error: LakeError) -> Self {
        Self(error.to_string())
    }
}

impl From<crate::access::AuditError> for Halt {
    fn from(error: crate::access::AuditError) -> Self {
        Self(error.to_string())
    }
}

impl Flow<'_> {
    /// Copies until nothing is due, for a while. Whether something was in the way.
    pub async fn rounds(&self, holder: &str) -> bool {
        for _ in 0..ROUNDS {
            match self.next(holder).await {
                Ok(true) => {}
                Ok(false) => return false,
                Err(_) => return true,
            }
        }
        false
    }

    async fn hold(&self, holder: &str) -> Result<Option<Held>, StoreError> {
        let now = self.app.clock.now();
        let until = UnixMillis(now.0 + HELD_MS);
        self.app.store.hold_archive(&self.archive.id, holder, now, until).await
    }

    /// Says again and again that this replica works on it, until it does not any more.
    async fn keep_hold(&self, holder: &str) -> Halt {
        loop {
            actix_web::rt::time::sleep(RENEWED_EVERY).await;
            match self.hold(holder).await {
                Ok(Some(_)) => {}
                Ok(None) => return Halt("another replica took it over".to_owned()),
                Err(error) => return error.into(),
            }
        }
    }

    /// A round, if no other replica has the archive; and how it went, for those who ask.
    async fn next(&self, holder: &str) -> Result<bool, Halt> {
        let Some(held) = self.hold(holder).await? else { return Ok(false) };
        let done = self.round(&held).await;
        let why = done.as_ref().err().map(|Halt(why)| why.as_str());
        if why != held.stopped.as_deref() {
            if let Some(why) = why {
                tracing::warn!(experiment = %self.archive.experiment, why, "an archive does not go on");
            }
            self.app.store.stop_archive(&held, why).await?;
        }
        if why.is_some() {
            // Another replica may reach what this one does not.
            self.app.store.release_archive(&held).await?;
        }
        done
    }

    /// One batch; whether there may be more.
    async fn round(&self, held: &Held) -> Result<bool, Halt> {
        let caller = self.caller();
        let mut trail = self.trail(&caller);
        let (permit, table) = match self.authorized(&caller, &mut trail).await {
            Ok(admitted) => admitted,
            Err(refusal) => return Err(refused(held, trail, refusal).await?),
        };
        let place = table.location.as_ref().ok_or_else(|| Halt("its table lies nowhere".to_owned()))?;
        let writes = Writes { flow: self, permit: &permit, place, held };
        if let Some(batch) = held.batch {
            writes.recover(batch).await?;
            return Ok(true);
        }
        let (app, store) = (self.app, &self.app.store);
        store.look_again(held, &self.archive.experiment, app.clock.now()).await?;
        let batch = number(app.clock.now(), held.done);
        let due = store.begin_batch(held, batch, BATCH, app.clock.now()).await?;
        if due.is_empty() {
            return Ok(false);
        }
        let full = due.len() == BATCH;
        let gathered = tokio::select! {
            gathered = self.gather(&caller, due, &mut trail) => gathered?,
            lost = self.keep_hold(&held.holder) => return Err(lost),
        };
        let now = app.clock.now();
        let later = UnixMillis(now.0 + AGAIN_MS);
        store.postpone(held, batch, &gathered.unended, later, true).await?;
        store.postpone(held, batch, &gathered.unread, later, false).await?;
        store.postpone(held, batch, &gathered.too_many, now, false).await?;
        // Reading took its time: what was revoked meanwhile counts.
        let permit = match self.authorized(&caller, &mut trail).await {
            Ok((permit, _)) => permit,
            Err(refusal) => return Err(refused(held, trail, refusal).await?),
        };
        let copied = Writes { permit: &permit, ..writes }.write(batch, gathered.rows, trail).await?;
        app.metrics.archived(copied);
        match gathered.why_unread {
            Some((trail, refusal)) => Err(refused(held, trail, refusal).await?),
            None => Ok(full || !gathered.too_many.is_empty()),
        }
    }

    /// Whoever set the archive up, of whom groups are known as far as they are kept here.
    fn caller(&self) -> Caller {
        let proof = Proof { scheme: Scheme::Token, credential: format!("archive {}", self.archive.id) };
        Caller::new(self.archive.owner.clone(), Vec::new(), proof)
    }

    pub fn trail(&self, caller: &Caller) -> Trail {
        let context = RequestContext {
            request_id: uuid::Uuid::now_v7().to_string(),
            method: "GET".to_owned(),
            path: format!("/api/tracegate/v1/archives/{}", self.archive.experiment),
            ..RequestContext::default()
        };
        let mut trail = Trail::new(self.app, context);
        trail.caller(caller);
        trail.operation("archive.copy");
        trail.sees(Sight::Read);
        trail
    }

    /// What setting the archive up took must still be there.
    async fn authorized(
        &self,
        caller: &Caller,
        trail: &mut Trail,
    ) -> Result<(Permit, CatalogObject), Refusal> {
        let found = self.app.store.catalog_object(&self.archive.table).await?;
        self.app.at_least(found.version).await?;
        let table = found.found.filter(|table| table.id == self.archive.table_id);
        let missing = || format!("table `{}` is not there any more", self.archive.table.id);
        let table = table.ok_or_else(|| Refusal::NotFound(missing()))?;
        let checks = super::demands(&self.archive.experiment, &table.securable);
        for check in &checks {
            trail.demands(check.securable.to_string(), check.privilege.to_string());
        }
        let view = self.app.policy.view()?;
        let (decision, permit) = view.authorize(Some(caller), &Requirement::All(checks))?;
        trail.decision(&decision);
        let permit = permit.ok_or_else(|| {
            let lacks = |check: Check| format!(" `{}` on `{}`", check.privilege, check.securable);
            let lacks = decision.refused.map(lacks).unwrap_or_default();
            Refusal::Denied(format!("`{}`, in whose name it runs, does not have{lacks}", caller.principal))
        })?;
        Ok((permit, table))
    }
}

/// Records a refusal once, and not each time that it is met again.
async fn refused(held: &Held, mut trail: Trail, refusal: Refusal) -> Result<Halt, Halt> {
    let why = refusal.to_string();
    if held.stopped.as_deref() != Some(why.as_str()) {
        trail.refused();
        trail.refuse(&why, refusal.outcome(), refusal.status()).await?;
    }
    Ok(Halt(why))
}

/// A number for a batch: greater than all before it, and most likely no other replica's.
pub(super) fn number(now: UnixMillis, last: Option<i64>) -> i64 {
    (now.0 << 12 | i64::from(rand::random::<u16>() & 0x0fff)).max(last.unwrap_or(0) + 1)
}
