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
    assert_eq!(first(gone.beside_spool().await), (12, FaultKind::IndexDiffers));
    // Alone: between the checkpoint before, of record 7, and the one after.
    let (seq, kind) = first(gone.alone().await);
    assert!(matches!(kind, FaultKind::NotAsSigned { to: 18, .. }), "{kind:?}");
    assert!((8..=12).contains(&seq), "{seq}");
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
}

/// Where retention is on, holes are expected, and only those that it makes.
#[tokio::test]
async fn a_row_may_be_missing_only_when_its_time_was_over() {
    let mut gone = closed().await;
    gone.index.tamper("DELETE FROM audit_events WHERE SEQ_IS(12)").await;
    gone.config.retention_days_reads = Some(1);
    assert_eq!(first(gone.beside_spool().await), (12, FaultKind::NotInIndex), "not due yet");
    let late = UnixMillis(3 * 86_400_000);
    let spool = spool_of(gone.data.path());
    let verified = verify_index(&gone.index, &spool, &gone.config, late, &mut |_| {}).await.unwrap();
    assert_eq!((verified.rows, verified.expired), (36, 1));
    let alone = gone.alone().await.unwrap();
    assert_eq!(
        (alone.expired, alone.unproven, alone.vouched_seq),
        (1, 6, 35),
        "13 to 18 follow from nothing"
    );
    gone.index
        .tamper("UPDATE audit_events SET json = replace(json, 'user:ann', 'user:bob') WHERE SEQ_IS(22)")
        .await;
    assert!(matches!(first(gone.alone().await).1, FaultKind::NotAsSigned { to: 29, .. }));
}
