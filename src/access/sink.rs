//! The port through which everything above writes audit events.

use super::event::Event;

/// How safe a record must be before the call goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Handed to the operating system: survives a crash of the process. For reads.
    Written,
    /// Forced to the disk: survives a crash of the machine. For mutations, denials and policy changes.
    Synced,
}

#[derive(Debug, Clone, thiserror::Error)]
#[error("the audit record cannot be written: {0}")]
pub struct AuditError(pub String);

/// An append-only record. `append` returns when the event is as safe as asked for, and not before.
#[async_trait::async_trait]
pub trait AuditSink: Send + Sync + 'static {
    async fn append(&self, event: Event, durability: Durability) -> Result<(), AuditError>;

    /// Whether records can be written now, for readiness.
    fn writable(&self) -> bool;
}
