//! Opening a spool after a crash, and after somebody's hand.

use super::fixture::{audit, event, spool, spool_of, write_segment, written};
use crate::access::{AuditSink, Durability};
use crate::audit::record::Position;
use crate::audit::{AuditOpenError, FaultKind, Known, directory, verify};

const BIG: u64 = 64 << 20;

#[tokio::test]
async fn a_torn_tail_is_cut_kept_and_put_on_record() {
    let whole = tempfile::tempdir().unwrap();
    let segments = written(whole.path(), 6, 4);
    let (first_seq, records) = segments.last().unwrap();
    let bytes = std::fs::read(whole.path().join(directory::segment_name(*first_seq))).unwrap();
    let last_len = records.last().unwrap().len();
    // From a missing last byte to a single byte left, odd and even.
    for torn in (1..last_len).step_by(29).chain([last_len - 1]) {
        let directory = tempfile::tempdir().unwrap();
        super::fixture::copy(whole.path(), directory.path());
        let name = directory::segment_name(*first_seq);
        let mut cut = bytes[..bytes.len() - torn].to_vec();
        if torn % 2 == 0 {
            cut.resize(bytes.len(), 0); // a file system may leave zeros
        }
        std::fs::write(directory.path().join(&name), &cut).unwrap();
        assert!(verify(directory.path(), Known::default(), &mut |_| {}).is_err());

        let spool = spool(directory.path(), BIG).unwrap();
        spool.append(event(7), Durability::Synced).await.unwrap();
        spool.close().await.unwrap();
        let verified = verify(directory.path(), Known::default(), &mut |_| {}).unwrap();
        assert_eq!((verified.last_seq, verified.recoveries), (8, vec![6]), "cut by {torn}");
        let kept = std::fs::read(directory.path().join(format!("{name}.cut-6"))).unwrap();
        let sound = bytes.len() - last_len;
        assert_eq!(kept, cut[sound..]);
        let text = std::fs::read(directory.path().join(&name)).unwrap();
        let said = format!("\"bytes_cut\":{}", cut.len() - sound);
        assert!(text.windows(said.len()).any(|window| window == said.as_bytes()));
    }
}

/// The index holds a record that the spool lacks or has otherwise: no crash does that.
#[tokio::test]
async fn a_spool_that_lost_what_the_index_knows_stays_shut() {
    let data = tempfile::tempdir().unwrap();
    let running = audit(data.path(), |_| {}).await.unwrap();
    for number in 0..5 {
        running.sink().append(event(number), Durability::Written).await.unwrap();
    }
    running.close().await.unwrap();
    drop(running);
    let path = spool_of(data.path()).join(directory::segment_name(1));
    let bytes = std::fs::read(&path).unwrap();

    let mut changed = bytes.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    std::fs::write(&path, &changed).unwrap();
    assert!(matches!(audit(data.path(), |_| {}).await, Err(AuditOpenError::Damaged(_))));

    std::fs::write(&path, &bytes[..bytes.len() - 10]).unwrap();
    assert!(matches!(audit(data.path(), |_| {}).await, Err(AuditOpenError::Damaged(_))));

    std::fs::remove_file(&path).unwrap();
    assert!(matches!(
        audit(data.path(), |_| {}).await,
        Err(AuditOpenError::Damaged(fault)) if fault.kind == FaultKind::Missing { known: 9 }
    ));

    // Written anew from the start, sound in itself and as long as before.
    let mut records = Vec::new();
    let mut last = Position::genesis("r");
    for number in 10..19 {
        let mut bytes = Vec::new();
        let payload = serde_json::to_vec(&event(number)).unwrap();
        crate::audit::record::encode(
            &mut bytes,
            crate::audit::record::RecordKind::Event,
            &payload,
            &mut last,
        );
        records.push(bytes);
    }
    write_segment(&spool_of(data.path()), Position::genesis("r"), &records);
    assert!(verify(&spool_of(data.path()), Known::default(), &mut |_| {}).is_err(), "the checkpoints differ");
    assert!(matches!(
        audit(data.path(), |_| {}).await,
        Err(AuditOpenError::Damaged(fault)) if fault.kind == FaultKind::Rewritten
    ));

    std::fs::write(&path, &bytes).unwrap();
    audit(data.path(), |_| {}).await.unwrap().close().await.unwrap();
}

#[tokio::test]
async fn damage_before_the_last_segment_is_left_to_verify_unless_it_must_be_shipped() {
    let data = tempfile::tempdir().unwrap();
    std::fs::create_dir(spool_of(data.path())).unwrap();
    written(&spool_of(data.path()), 6, 2);
    audit(data.path(), |_| {}).await.unwrap().close().await.unwrap();
    let path = spool_of(data.path()).join(directory::segment_name(3));
    let mut bytes = std::fs::read(&path).unwrap();
    let end = bytes.len() - 1;
    bytes[end] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    audit(data.path(), |_| {}).await.unwrap().close().await.unwrap();
    assert!(verify(&spool_of(data.path()), Known::default(), &mut |_| {}).is_err());

    // To be shipped again: the shipper finds it, and the spool refuses from then on.
    for name in ["audit.db", "audit.db-wal", "audit.db-shm"] {
        let _ = std::fs::remove_file(data.path().join(name));
    }
    let running = audit(data.path(), |_| {}).await.unwrap();
    assert!(running.flush(std::time::Duration::from_secs(10)).await.is_err());
    while running.sink().writable() {
        tokio::task::yield_now().await;
    }
    assert!(running.sink().append(event(9), Durability::Written).await.is_err());
}
