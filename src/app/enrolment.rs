//! Entering principals on first sight: those whom an issuer vouches for and nobody entered before.
//!
//! Whoever was entered once stays what an administrator made of it: a deactivated or deleted principal is
//! known, and so never comes back this way.

use super::App;
use crate::access::{Caller, Scheme};
use crate::policy::View;
use crate::store::{Change, StoreError};

impl App {
    /// Enters the caller if its issuer brought it and it is new; nothing for all who are known already.
    pub async fn enroll(&self, view: &View, caller: &Caller) -> Result<Option<Change>, StoreError> {
        let brought = matches!(caller.proof.scheme, Scheme::Jwt);
        if !brought || view.snapshot().principal_index(&caller.principal).is_some() {
            return Ok(None);
        }
        // Grants and groups may name somebody before they ever came, so policy may know more than this.
        let change = self.store.ensure_principal(&caller.principal, "enrolment", self.clock.now()).await?;
        self.identity.forget();
        Ok(Some(change))
    }
}
