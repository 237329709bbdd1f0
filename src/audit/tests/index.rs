//! The index against the spool and by itself: a row that was changed, left out or slipped in is named.

use std::time::Duration;

use super::fixture::{audit, event, spool_of};
use crate::access::Durability;
use crate::audit::{
    FaultKind, Known, PublicKey, SigningKey, VerifyError, VerifyIndexError, verify_index, verify_index_alone,
};
use crate::clock::UnixMillis;
use crate::config::audit::AuditConfig;
use crate::store::audit_index::{AuditIndex, AuditIndexLocation};

const NOW: UnixMillis = UnixMillis(1_000_000);

struct Gone {
    data: tempfile::TempDir,
    index: AuditIndex,
    config: AuditConfig,
}

/// A closed record of thirty events with checkpoints among them.
async fn closed() -> Gone {
    let data = tempfile::tempdir().unwrap();
    let running = audit(data.path(), |_| {}).await.unwrap();
    for number in 0..30 {
        running.sink().append(event(number), Durability::Written).await.unwrap();
        if number % 10 == 4 {
            running.checkpoint().await.unwrap();
        }
    }
    running.flush(Duration::from_secs(20)).await.unwrap();
    running.close().await.unwrap();
    drop(running);
    let index = AuditIndex::open(AuditIndexLocation::Sqlite(&data.path().join("audit.db"))).await.unwrap();
    Gone { data, index, config: AuditConfig { replica: Some("r".into()), ..AuditConfig::default() } }
}

fn first<T: std::fmt::Debug>(result: Result<T, VerifyIndexError>) -> (u64, FaultKind) {
    match result {
        Err(VerifyIndexError::Verify(VerifyError::Fault(fault))) => (fault.seq, fault.kind),
        other => panic!("{other:?}"),
    }
}

impl Gone {
    async fn beside_spool(&self) -> Result<crate::audit::IndexVerified, VerifyIndexError> {
        verify_index(&self.index, &spool_of(self.data.path()), &self.config, NOW, &mut |_| {}).await
    }

    async fn alone(&self) -> Result<crate::audit::IndexVerified, VerifyIndexError> {
        verify_index_alone(&self.index, "r", &self.known(), &self.config, &mut |_| {}).await
    }

    fn known(&self) -> Known {
        let key = SigningKey::load(&self.data.path().join("audit-signing-key.pem")).unwrap().unwrap();
        let public_keys: Vec<PublicKey> = vec![key.public()];
        let checkpoints = crate::audit::read_checkpoints(&spool_of(self.data.path())).unwrap();
        Known { public_keys, checkpoints, ..Known::default() }
    }
}

#[tokio::test]
async fn an_untouched_index_is_whole() {
    let gone = closed().await;
    // A key, a checkpoint, thirty events, three checkpoints, the last one, the end.
    let beside = gone.beside_spool().await.unwrap();
    assert_eq!((beside.rows, beside.last_seq, beside.expired), (37, 37, 0));
    let alone = gone.alone().await.unwrap();
    assert_eq!((alone.rows, alone.last_seq, alone.vouched_seq, alone.unproven), (37, 37, 35, 0));
}

#[tokio::test]
async fn a_row_that_was_changed_is_named() {
    let gone = closed().await;
    gone.index
        .tamper("UPDATE audit_events SET json = replace(json, 'user:ann', 'user:bob') WHERE SEQ_IS(12)")
        .await;
    assert_eq!(first(gone.beside_spool().await).0, 12);
    assert_eq!(first(gone.alone().await).0, 12);
    // With a principal that fits, too, it is no longer what was hashed.
    gone.index.tamper("UPDATE audit_events SET principal = 'user:bob' WHERE SEQ_IS(12)").await;
    let theirs = "UPDATE audit_trace_ids SET principal = 'user:bob' WHERE SEQ_IS(12)";
    gone.index.tamper(theirs).await;
    assert_eq!(first(gone.beside_spool().await), (12, FaultKind::IndexDiffers));
    assert_eq!(first(gone.alone().await), (12, FaultKind::Changed));
    // And where nothing says what was hashed: between the checkpoint before, of record 7, and the one after.
    for seq in 1..=37 {
        gone.index.tamper(&format!("UPDATE audit_events SET hash = NULL WHERE SEQ_IS({seq})")).await;
    }
    let (seq, kind) = first(gone.alone().await);
    assert!(matches!(kind, FaultKind::NotAsSigned { to: 18, .. }), "{kind:?}");
    assert!((8..=12).contains(&seq), "{seq}");
}

/// Who saw what is answered from columns and keys, not from records.
#[tokio::test]
async fn an_answer_that_was_changed_beside_the_records_is_named() {
    for statement in [
        "UPDATE audit_events SET principal = 'user:bob' WHERE SEQ_IS(12)",
        "UPDATE audit_events SET decision = 'deny' WHERE SEQ_IS(12)",
        "UPDATE audit_events SET decision_id = NULL WHERE SEQ_IS(12)",
        "UPDATE audit_events SET time_ms = time_ms + 1 WHERE SEQ_IS(12)",
        "UPDATE audit_trace_ids SET principal = 'user:bob' WHERE SEQ_IS(12)",
        "UPDATE audit_trace_ids SET level = 0 WHERE SEQ_IS(12)",
        "UPDATE audit_trace_ids SET trace_id = 'tr-another' WHERE SEQ_IS(12)",
        "UPDATE audit_securables SET securable = 'experiment:9' WHERE SEQ_IS(12)",
        "DELETE FROM audit_trace_ids WHERE SEQ_IS(12)",
        "DELETE FROM audit_securables WHERE SEQ_IS(12)",
    ] {
        let gone = closed().await;
        gone.index.tamper(statement).await;
        assert_eq!(first(gone.beside_spool().await), (12, FaultKind::IndexDiffers), "{statement}");
        assert_eq!(first(gone.alone().await), (12, FaultKind::IndexDiffers), "{statement}");
    }
    for statement in [
        "INSERT INTO audit_trace_ids SELECT 'tr-another', time_ms, id, level, principal, operation FROM audit_trace_ids WHERE SEQ_IS(12)",
        "INSERT INTO audit_securables SELECT 'experiment:9', time_ms, id FROM audit_securables WHERE SEQ_IS(12)",
        "UPDATE audit_trace_ids SET SEQ_SET(36) WHERE SEQ_IS(12)",
    ] {
        let gone = closed().await;
        gone.index.tamper(statement).await;
        let seq = 12;
        assert_eq!(first(gone.beside_spool().await).0, seq, "{statement}");
        assert_eq!(first(gone.alone().await).0, seq, "{statement}");
    }
}

#[tokio::test]
async fn a_replica_that_the_index_does_not_know_is_not_whole() {
    let gone = closed().await;
    let verified = verify_index_alone(&gone.index, "other", &Known::default(), &gone.config, &mut |_| {});
    assert!(matches!(verified.await, Err(VerifyIndexError::Unknown(name)) if name == "other"));
    assert_eq!(gone.index.replicas().await.unwrap(), ["r"], "asking adds none");
}

#[tokio::test]
async fn a_row_that_was_left_out_or_slipped_in_is_named() {
    let gone = closed().await;
    gone.index.tamper("DELETE FROM audit_events WHERE SEQ_IS(12)").await;
    assert_eq!(first(gone.beside_spool().await), (12, FaultKind::NotInIndex));
    assert_eq!(first(gone.alone().await), (12, FaultKind::Removed { found: 13 }));

    let gone = closed().await;
    gone.index.tamper("DELETE FROM audit_events WHERE SEQ_IS(37)").await;
    assert_eq!(first(gone.beside_spool().await), (37, FaultKind::NotInIndex));
    assert_eq!(first(gone.alone().await), (37, FaultKind::Missing { known: 37 }));

    let gone = closed().await;
    gone.index.tamper("UPDATE audit_events SET SEQ_SET(38) WHERE SEQ_IS(37)").await;
    assert_eq!(first(gone.beside_spool().await).0, 37);
    assert_eq!(first(gone.alone().await).0, 37);

    let gone = closed().await;
    gone.index
        .tamper("INSERT INTO audit_events SELECT id + 5, time_ms, kind, decision_id, principal, operation, decision, outcome, status, hash, json FROM audit_events WHERE SEQ_IS(37)")
        .await;
    assert_eq!(first(gone.beside_spool().await), (38, FaultKind::OnlyInIndex));
    assert_eq!(first(gone.alone().await), (38, FaultKind::OnlyInIndex));
}

/// Where retention is on, holes are expected, and only those that it makes.
#[tokio::test]
async fn a_row_may_be_missing_only_when_its_time_was_over() {
    let mut gone = closed().await;
    gone.index.tamper("DELETE FROM audit_events WHERE SEQ_IS(12)").await;
    gone.config.retention_days_reads = Some(1);
    assert_eq!(first(gone.beside_spool().await), (12, FaultKind::NotInIndex), "not due yet");
    assert_eq!(first(gone.alone().await), (12, FaultKind::OnlyInIndex), "its traces are there still");
    gone.index.tamper("DELETE FROM audit_trace_ids WHERE SEQ_IS(12)").await;
    gone.index.tamper("DELETE FROM audit_securables WHERE SEQ_IS(12)").await;
    let late = UnixMillis(3 * 86_400_000);
    let spool = spool_of(gone.data.path());
    let verified = verify_index(&gone.index, &spool, &gone.config, late, &mut |_| {}).await.unwrap();
    assert_eq!((verified.rows, verified.expired), (36, 1));
    let alone = gone.alone().await.unwrap();
    assert_eq!((alone.expired, alone.unproven, alone.vouched_seq), (1, 1, 35), "13 follows from nothing");
    // After a gap hashes are taken at their word, until the next checkpoint.
    gone.index.tamper("UPDATE audit_events SET json = replace(json, 'r12', 'r99') WHERE SEQ_IS(15)").await;
    assert_eq!(first(gone.alone().await), (15, FaultKind::Changed));
    gone.index.tamper("UPDATE audit_events SET hash = NULL WHERE SEQ_IS(15)").await;
    assert!(matches!(first(gone.alone().await).1, FaultKind::NotAsSigned { to: 18, .. }));
}
