//! The index against the spool and by itself: a row that was changed, left out or slipped in is named.

use std::time::Duration;

use super::fixture::{audit, event, spool_of};
use crate::access::Durability;
use crate::audit::{
    FaultKind, Known, Position, PublicKey, SigningKey, VerifyError, VerifyIndexError, export::jsonl::Chain,
    verify_export, verify_index, verify_index_alone,
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
        "INSERT INTO audit_trace_ids SELECT 'tr-another', time_ms, id, level, principal, operation, actor FROM audit_trace_ids WHERE SEQ_IS(12)",
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
    let (index, known) = (&gone.index, Known::default());
    let verified = verify_index_alone(index, "other", &known, &gone.config, &mut |_| {}).await;
    assert!(matches!(verified, Err(VerifyIndexError::Unknown(name)) if name == "other"));
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
        .tamper("INSERT INTO audit_events SELECT id + 5, time_ms, kind, decision_id, principal, operation, decision, outcome, status, hash, json, actor FROM audit_events WHERE SEQ_IS(37)")
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
    gone.index
        .tamper("UPDATE audit_events SET json = replace(json, 'token:tok_1', 'token:tok_2') WHERE SEQ_IS(15)")
        .await;
    assert_eq!(first(gone.alone().await), (15, FaultKind::Changed));
    gone.index.tamper("UPDATE audit_events SET hash = NULL WHERE SEQ_IS(15)").await;
    assert_eq!(first(gone.alone().await), (16, FaultKind::Changed), "the next no longer follows");
    for seq in 16..=19 {
        gone.index.tamper(&format!("UPDATE audit_events SET hash = NULL WHERE SEQ_IS({seq})")).await;
    }
    assert!(matches!(first(gone.alone().await).1, FaultKind::NotAsSigned { to: 18, .. }));
}

/// The chains of a period as lines, as the API hands them out.
async fn lines(index: &AuditIndex) -> String {
    let mut lines = String::new();
    for stretch in index.stretches(None, None).await.unwrap() {
        let genesis = Position::genesis(&stretch.replica).hash.to_vec();
        let previous = if stretch.first_seq == 1 { Some(genesis) } else { stretch.previous };
        let (first, last) = (stretch.first_seq, stretch.last_seq);
        let mut chain = Chain::new(&stretch.replica, first, last, previous.as_deref());
        lines += &chain.head().unwrap();
        while chain.seq() < chain.last_seq() {
            let rows = index.chain_rows(chain.replica(), chain.seq(), chain.last_seq(), 7).await.unwrap();
            lines += &chain.lines(&rows).unwrap();
        }
    }
    lines
}

fn verified(data: &std::path::Path, text: &str, known: Known) -> Result<Vec<crate::audit::Verified>, u64> {
    let file = data.join("export.jsonl");
    std::fs::write(&file, text).unwrap();
    match verify_export(&file, known, &mut |_| {}) {
        Ok(verified) => Ok(verified),
        Err(VerifyError::Fault(fault)) => Err(fault.seq),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn an_export_from_the_index_is_the_one_from_the_spool() {
    let gone = closed().await;
    let text = lines(&gone.index).await;
    let mut of_spool = Vec::new();
    crate::audit::export(&spool_of(gone.data.path()), 1..=u64::MAX, &mut of_spool).unwrap();
    assert_eq!(text, String::from_utf8(of_spool).unwrap());
    let check = |text: &str, known: Known| verified(gone.data.path(), text, known);
    let chains = check(&text, gone.known()).unwrap();
    assert_eq!((chains.len(), chains[0].last_seq, chains[0].vouched_seq), (1, 37, 35));

    // Several chains in a file.
    let twice = format!("{text}{text}");
    assert_eq!(check(&twice, gone.known()).unwrap().len(), 2);
    let second = format!("{text}{}", text.replacen("user:ann", "user:bob", 1));
    assert_eq!(check(&second, gone.known()), Err(3));
    // Lines of another chain, and one too many.
    let other = text.replace("\"replica\":\"r\",\"seq\"", "\"replica\":\"q\",\"seq\"");
    assert_eq!(check(&other, Known::default()), Err(1));
    let more = format!("{text}{}\n", text.lines().next_back().unwrap());
    assert_eq!(check(&more, Known::default()), Err(38));
    // Chosen records are no chain.
    let (_, without_head) = text.split_once('\n').unwrap();
    let file = gone.data.path().join("chosen.jsonl");
    std::fs::write(&file, without_head).unwrap();
    let refused = verify_export(&file, Known::default(), &mut |_| {});
    assert!(matches!(refused, Err(VerifyError::NoChain(_))));
}

#[tokio::test]
async fn an_export_with_records_that_were_let_go_says_so_and_verifies() {
    let gone = closed().await;
    gone.index.tamper("DELETE FROM audit_events WHERE SEQ_IS(12)").await;
    let text = lines(&gone.index).await;
    assert!(text.contains("\"seq\":12,\"absent_through\":12}"));
    let check = |text: &str| verified(gone.data.path(), text, gone.known());
    let chains = check(&text).unwrap();
    assert_eq!((chains[0].absent, chains[0].unproven, chains[0].vouched_seq), (1, 1, 35));
    // What was dropped without a word is found, and so is another hash behind the gap.
    let silent: Vec<&str> = text.lines().filter(|line| !line.contains("absent")).collect();
    assert_eq!(check(&(silent.join("\n") + "\n")), Err(12));
    let line = text.lines().find(|line| line.contains("\"seq\":13,")).unwrap();
    let (before, after) = line.split_once("\"hash\":\"").unwrap();
    let forged = format!("{before}\"hash\":\"{}{}", "0".repeat(64), &after[64..]);
    assert_eq!(check(&text.replace(line, &forged)), Err(14));
}
