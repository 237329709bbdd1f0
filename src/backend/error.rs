//! How forwarding fails. The messages may be shown to clients: they name no host and no cause within.

/// Why a backend gave no usable answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// No connection: the request was certainly not carried out.
    #[error("the MLflow server cannot be reached")]
    Unreachable,
    /// Sent, but no response headers in time: it may or may not have been carried out.
    #[error("the MLflow server did not answer in time")]
    Timeout,
    /// The answer was cut off or is none: the request may have been carried out.
    #[error("the MLflow server broke off its answer, or answered with something that is not one")]
    BrokenOff,
    /// The circuit breaker is open or all connections are in use: the request was not sent.
    #[error("the MLflow server is overloaded or down; try again in {retry_after_ms} ms")]
    Overloaded { retry_after_ms: u64 },
    /// The server wants a credential other than the gateway's: nothing the caller can mend.
    #[error("the MLflow server refused the gateway's own credential")]
    CredentialRefused,
    /// The caller's body stalled or ended before its declared length.
    #[error("the request body stalled or ended early")]
    RequestBody,
    /// The store of our own failed: the log has the cause.
    #[error("the trace store cannot be reached")]
    Store,
    /// The request has a part that no HTTP request can carry.
    #[error("the request has a header or target that cannot be forwarded")]
    Unsendable,
}

impl BackendError {
    /// Whether the backend may have carried the request out although it gave no answer.
    pub fn outcome_is_unknown(&self) -> bool {
        matches!(self, Self::Timeout | Self::BrokenOff | Self::RequestBody)
    }
}
