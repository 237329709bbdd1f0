//! Refusals, and the one function that turns them into answers: status, MLflow's JSON error shape,
//! `Retry-After`, `WWW-Authenticate`.

use crate::access::Outcome;
use crate::app::LookupError;
use crate::backend::{BackendError, SpoolError};
use crate::classify::otlp::OtlpError;
use crate::identity::IdentityError;
use crate::lake::LakeError;
use crate::policy::Unavailable;
use crate::store::StoreError;
use crate::wire::{Body, Headers, Malformed, Reply};

/// Why a call is not answered by its backend.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("{0}")]
    Malformed(#[from] Malformed),
    #[error("the {what} is larger than {limit} bytes; an administrator can raise `limits.{key}`")]
    TooLarge { what: &'static str, limit: u64, key: &'static str },
    #[error(
        "the head of the request is larger than {limit} bytes; an administrator can raise `server.header_bytes`"
    )]
    HeadTooLarge { limit: u64 },
    #[error(
        "the body came too slowly: an administrator can change `server.stall_timeout_ms` and `server.least_bytes_per_second`"
    )]
    TooSlow,
    /// Larger than what is taken, whatever the configuration.
    #[error("the {what} is larger than {limit} bytes, the most that is taken (`{name}`)")]
    Oversized { what: &'static str, limit: u64, name: &'static str },
    #[error("{0}")]
    Unauthenticated(String),
    #[error("no operation has this method and path")]
    UnknownEndpoint,
    #[error("{0}")]
    Denied(String),
    /// By name, hidden and missing look alike.
    #[error("{0}")]
    NotFound(String),
    /// The state that the change was asked for is no longer there.
    #[error("{0}")]
    Conflict(String),
    /// A bad request with a code of its own, which MLflow's clients look at.
    #[error("{message}")]
    Mlflow { code: &'static str, message: String },
    /// SCIM has kinds of its own: `uniqueness` is a conflict, all others are bad requests.
    #[error("{message}")]
    Scim { kind: &'static str, message: String },
    /// The catalog has a code for each kind of object.
    #[error("{message}")]
    Catalog { fault: CatalogFault, code: &'static str, message: String },
    /// The token endpoint's own errors, such as `invalid_grant`.
    #[error("{message}")]
    OAuth { error: &'static str, message: String },
    /// More than a limit allows: which, its value, and who can raise it.
    #[error("{message}")]
    Limited { code: &'static str, message: String, retry_after_ms: u64 },
    #[error("{0}")]
    NotOffered(String),
    #[error("no decision can be made now: {0}")]
    Policy(#[from] Unavailable),
    #[error("the audit record cannot be written, so the call is refused")]
    Audit,
    #[error("who calls cannot be verified now: {0}")]
    Identity(String),
    #[error("Tracegate's own state cannot be reached")]
    Store(StoreError),
    #[error("{0}")]
    Backend(#[from] BackendError),
    #[error("the tables cannot be reached now; send the call again")]
    Lake,
    #[error("the call broke off: {0}")]
    Client(String),
    #[error("the disk of the gateway is full; nothing of this call was kept")]
    DiskFull,
    #[error("internal error")]
    Internal(String),
}

/// What is wrong with a call on an object of the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatalogFault {
    /// Not there, or hidden: the two look alike.
    Missing,
    Denied,
    /// The name or the place is taken.
    Taken,
    /// It cannot be done as it was asked.
    Refused,
    /// Something that is needed for it does not answer now.
    Away,
}

/// In which shape a client expects errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `{"error_code", "message"}`, Databricks' too.
    Mlflow,
    /// As `Mlflow`, with the code among `details` too.
    Catalog,
    /// RFC 7644, 3.12.
    Scim,
    /// RFC 6749, 5.2.
    OAuth,
    /// A page for a person.
    Page,
}

impl Shape {
    /// That of an operation's clients.
    pub fn of(operation: &str) -> Self {
        match operation.split('.').next() {
            Some("scim") => Self::Scim,
            _ if matches!(operation, "oauth.token" | "browser.backchannel_sign_out") => Self::OAuth,
            Some("browser") => Self::Page,
            Some("catalog") => Self::Catalog,
            _ => Self::Mlflow,
        }
    }
}

fn scim_error(status: u16, refusal: &Refusal, message: &str) -> serde_json::Value {
    let mut body = serde_json::json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
        "detail": message,
        "status": status.to_string(),
    });
    let kind = match refusal {
        Refusal::Scim { kind, .. } => Some(*kind),
        Refusal::Malformed(_) => Some("invalidValue"),
        _ => None,
    };
    if let Some(kind) = kind {
        body["scimType"] = kind.into();
    }
    body
}

/// What went wrong with a file of ours.
fn of_disk(what: &str, error: &std::io::Error) -> Refusal {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    tracing::error!(%error, what, "a file of our own could not be written");
    match error.kind() {
        StorageFull | QuotaExceeded => Refusal::DiskFull,
        _ => Refusal::Internal(format!("{what}: {error}")),
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        if matches!(error, StoreError::Moved { .. } | StoreError::Exists(_)) {
            return Self::Conflict(error.to_string());
        }
        if matches!(error, StoreError::Full) {
            return Self::DiskFull;
        }
        if error.is_refusal() {
            return Self::Malformed(Malformed::new("request", error.to_string()));
        }
        tracing::error!(%error, "the store failed");
        Self::Store(error)
    }
}

impl From<LookupError> for Refusal {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::Backend(error) => error.into(),
            LookupError::Store(error) => error.into(),
            LookupError::Inconsistent(problem) => Self::Internal(problem),
        }
    }
}

impl From<IdentityError> for Refusal {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::Refused { reason } => Self::Unauthenticated(reason),
            IdentityError::Slowed { reason, retry_after_ms } => {
                Self::Limited { code: "REQUEST_LIMIT_EXCEEDED", message: reason.to_owned(), retry_after_ms }
            }
            other => Self::Identity(other.to_string()),
        }
    }
}

impl From<crate::access::AuditError> for Refusal {
    fn from(error: crate::access::AuditError) -> Self {
        tracing::error!(%error, "the audit spool failed");
        Self::Audit
    }
}

impl From<crate::access::MalformedId> for Refusal {
    fn from(error: crate::access::MalformedId) -> Self {
        Self::Malformed(Malformed::new("id", error.to_string()))
    }
}

impl From<SpoolError> for Refusal {
    fn from(error: SpoolError) -> Self {
        match error {
            SpoolError::TooLarge { max_bytes } => {
                Self::TooLarge { what: "body", limit: max_bytes, key: "otlp_body_bytes" }
            }
            SpoolError::Source(error) => Self::of_client(&error),
            SpoolError::Storage(error) => of_disk("the body could not be spilled", &error),
        }
    }
}

impl From<OtlpError> for Refusal {
    fn from(error: OtlpError) -> Self {
        match error {
            OtlpError::TooLarge { limit } => {
                Self::TooLarge { what: "decompressed body", limit, key: "otlp_decompressed_bytes" }
            }
            OtlpError::Io(error) => of_disk("an export could not be kept", &error),
            other => Self::Malformed(Malformed::new("body", other.to_string())),
        }
    }
}

impl From<LakeError> for Refusal {
    fn from(error: LakeError) -> Self {
        match error {
            LakeError::Malformed(problem) => Self::Malformed(Malformed::new("body", problem)),
            LakeError::Unsupported(problem) => Self::Malformed(Malformed::new("the table", problem)),
            // Where a table lies is nothing for its readers.
            LakeError::NoTable(place) => {
                tracing::warn!(place, "a table of the catalog has no data");
                Self::NotFound("the table has no data: it was not made, or its files are gone".to_owned())
            }
            LakeError::Busy => Self::Limited {
                code: "RESOURCE_EXHAUSTED",
                message: "more rows wait to be written than the gateway holds; send them again".to_owned(),
                retry_after_ms: 1000,
            },
            LakeError::Internal(problem) => Self::Internal(problem),
            other => {
                tracing::error!(error = %other, "the lake failed");
                Self::Lake
            }
        }
    }
}

impl Refusal {
    /// Why a client's body did not come whole.
    pub fn of_client(error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::TimedOut => Self::TooSlow,
            _ => Self::Client(error.to_string()),
        }
    }

    /// One more at once than may be.
    pub fn one_too_many(who: &str, limit: usize, key: &str) -> Self {
        Self::Limited {
            code: "REQUEST_LIMIT_EXCEEDED",
            message: format!(
                "{who} has {limit} calls in flight, the most that it may have at once; \
                 an administrator can raise `server.{key}`"
            ),
            retry_after_ms: 1000,
        }
    }

    fn parts(&self) -> (u16, &'static str) {
        match self {
            Self::Malformed(_)
            | Self::Client(_)
            | Self::Backend(BackendError::RequestBody | BackendError::Unsendable) => {
                (400, "INVALID_PARAMETER_VALUE")
            }
            Self::TooLarge { .. } | Self::Oversized { .. } => (413, "INVALID_PARAMETER_VALUE"),
            Self::HeadTooLarge { .. } => (431, "INVALID_PARAMETER_VALUE"),
            Self::TooSlow => (408, "DEADLINE_EXCEEDED"),
            Self::Unauthenticated(_) => (401, "UNAUTHENTICATED"),
            Self::UnknownEndpoint => (404, "ENDPOINT_NOT_FOUND"),
            Self::Denied(_) => (403, "PERMISSION_DENIED"),
            Self::NotFound(_) => (404, "RESOURCE_DOES_NOT_EXIST"),
            Self::Conflict(_) => (409, "RESOURCE_CONFLICT"),
            Self::Mlflow { code, .. } => (400, code),
            Self::Catalog { fault, code, .. } => match fault {
                CatalogFault::Missing => (404, code),
                CatalogFault::Denied => (403, code),
                CatalogFault::Taken => (409, code),
                CatalogFault::Refused => (400, code),
                CatalogFault::Away => (503, code),
            },
            Self::Scim { kind: "uniqueness", .. } => (409, "RESOURCE_ALREADY_EXISTS"),
            Self::Scim { .. } => (400, "INVALID_PARAMETER_VALUE"),
            Self::OAuth { error: "invalid_client", .. } => (401, "UNAUTHENTICATED"),
            Self::OAuth { .. } => (400, "INVALID_PARAMETER_VALUE"),
            Self::Limited { code, .. } => (429, code),
            Self::NotOffered(_) => (501, "NOT_IMPLEMENTED"),
            Self::Policy(_)
            | Self::Audit
            | Self::Identity(_)
            | Self::Store(_)
            | Self::DiskFull
            | Self::Lake => (503, "TEMPORARILY_UNAVAILABLE"),
            Self::Backend(BackendError::Timeout) => (504, "DEADLINE_EXCEEDED"),
            Self::Backend(BackendError::Overloaded { .. } | BackendError::Store) => {
                (503, "TEMPORARILY_UNAVAILABLE")
            }
            Self::Backend(_) => (502, "TEMPORARILY_UNAVAILABLE"),
            Self::Internal(_) => (500, "INTERNAL_ERROR"),
        }
    }

    fn oauth_code(&self) -> Option<&'static str> {
        match self {
            Self::OAuth { error, .. } => Some(error),
            _ => None,
        }
    }

    pub fn status(&self) -> u16 {
        self.parts().0
    }

    /// How the audit record calls it.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Backend(_)
            | Self::Lake
            | Self::Catalog { fault: CatalogFault::Away, .. }
            | Self::Internal(_)
            | Self::DiskFull
            | Self::Client(_)
            | Self::TooSlow => Outcome::Failed,
            _ => Outcome::Refused,
        }
    }

    /// The answer in the clients' own error shape.
    pub fn into_reply(self, decision_id: &str, shape: Shape) -> Reply {
        let (status, code) = self.parts();
        if let Self::Internal(detail) = &self {
            tracing::error!(detail, decision_id, "a call failed inside Tracegate");
        }
        if shape == Shape::Page {
            return super::page::refusal(status, decision_id);
        }
        let mut headers = Headers::new();
        headers.push("content-type", "application/json");
        match &self {
            Self::Unauthenticated(_) | Self::OAuth { error: "invalid_client", .. } => {
                headers.push("www-authenticate", "Basic realm=\"tracegate\"");
                headers.push("www-authenticate", "Bearer realm=\"tracegate\"");
            }
            Self::Backend(BackendError::Overloaded { retry_after_ms })
            | Self::Limited { retry_after_ms, .. } => {
                headers.push("retry-after", &retry_after_ms.div_ceil(1000).max(1).to_string());
            }
            _ if status == 503 => headers.push("retry-after", "1"),
            _ => {}
        }
        let message = format!("{self} (decision {decision_id})");
        let body = match shape {
            Shape::Mlflow | Shape::Page => serde_json::json!({ "error_code": code, "message": message }),
            Shape::Catalog => serde_json::json!({
                "error_code": code,
                "message": message,
                "details": [{
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": code,
                    "domain": "tracegate",
                    "metadata": { "decision_id": decision_id },
                }],
            }),
            Shape::Scim => {
                headers.set("content-type", "application/scim+json");
                scim_error(status, &self, &message)
            }
            Shape::OAuth => {
                headers.set("cache-control", "no-store");
                let error = self.oauth_code().unwrap_or(match status {
                    401 => "invalid_client",
                    403 => "unauthorized_client",
                    400 | 413 => "invalid_request",
                    429 | 503 => "temporarily_unavailable",
                    _ => "server_error",
                });
                serde_json::json!({ "error": error, "error_description": message })
            }
        };
        Reply { status, headers, body: Body::memory(body.to_string()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_for_a_version_that_has_gone_is_a_conflict_and_a_bad_one_is_the_callers_fault() {
        let moved = StoreError::Moved { expected: 3, current: 5 };
        let reply = Refusal::from(moved).into_reply("d", Shape::Mlflow);
        assert_eq!(reply.status, 409);
        let step = StoreError::Step { index: 7, problem: Box::new(StoreError::LastAdministrator) };
        let refusal = Refusal::from(step);
        assert_eq!(refusal.status(), 400);
        assert!(refusal.to_string().contains("step 7: the last administrator"), "{refusal}");
        let away = StoreError::Unavailable("gone".to_owned());
        assert_eq!(Refusal::from(away).status(), 503);
    }
}
