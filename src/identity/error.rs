//! Why a caller was not identified.

use crate::store::StoreError;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// A credential was sent and it is no good; the reason may be shown to who sent it.
    #[error("{reason}")]
    Refused { reason: String },
    /// Not looked at: too much came before it.
    #[error("{reason}")]
    Slowed { reason: &'static str, retry_after_ms: u64 },
    /// Nobody can tell now: the store or the issuer's keys are out of reach.
    #[error("callers cannot be identified now: {reason}")]
    Unavailable { reason: String },
}

impl IdentityError {
    pub(super) fn refused(reason: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into() }
    }

    pub(super) fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into() }
    }
}

impl From<StoreError> for IdentityError {
    fn from(error: StoreError) -> Self {
        if error.is_refusal() {
            Self::refused(error.to_string())
        } else {
            Self::unavailable(error.to_string())
        }
    }
}
