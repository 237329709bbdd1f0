//! What checkpoints add: a record that was written anew, by whoever has the spool and its files but not
//! the key, or the key but not the mirror, shows.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::fixture::{audit, event, spool_of};
use crate::access::Durability;
use crate::audit::checkpoint::{Before, Checkpoint, Line};
use crate::audit::reader::{ChainReader, FaultKind};
use crate::audit::record::{Position, RecordKind, SegmentHeader, encode};
use crate::audit::signing::{KeyNotice, SigningKey};
use crate::audit::{
    AuditOpenError, Known, PublicKey, VerifyError, directory, export, ledger, verify, verify_export,
};
use crate::clock::UnixMillis;
use crate::config::audit::AuditConfig;

const KEY: &str = "audit-signing-key.pem";

/// A record as it stands in a chain, to be edited.
#[derive(Debug, Clone, PartialEq)]
struct Raw {
    kind: RecordKind,
    payload: Vec<u8>,
}

/// A closed record with segments, checkpoints and events, and a mirror in `data/mirror`.
async fn signed(data: &Path, events: usize) {
    let mirror = format!("file:{}", data.join("mirror").display());
    let change = |config: &mut AuditConfig| {
        config.checkpoint_mirror = Some(mirror.clone());
        config.segment_bytes = 64 << 10;
    };
    let running = audit(data, change).await.unwrap();
    for number in 0..events {
        running.sink().append(event(number), Durability::Written).await.unwrap();
        if number % 7 == 3 {
            running.checkpoint().await.unwrap();
        }
    }
    running.close().await.unwrap();
}

fn records(spool: &Path) -> Vec<Raw> {
    let mut reader = ChainReader::after(spool, "r", Position::genesis("r"));
    let mut found = Vec::new();
    while let Some(record) = reader.next().unwrap() {
        found.push(Raw { kind: record.kind, payload: record.payload.to_vec() });
    }
    found
}

/// Writes a chain anew with sound hashes, as whoever controls the host can.
fn rewrite(spool: &Path, records: &[Raw]) {
    for first_seq in directory::segments(spool).unwrap() {
        std::fs::remove_file(spool.join(directory::segment_name(first_seq))).unwrap();
    }
    let mut last = Position::genesis("r");
    let mut bytes = SegmentHeader { first_seq: 1, previous: last.hash, replica: "r".into() }.encode();
    for record in records {
        encode(&mut bytes, record.kind, &record.payload, &mut last);
    }
    std::fs::write(spool.join(directory::segment_name(1)), bytes).unwrap();
}

fn fault(spool: &Path, known: Known) -> Option<(u64, FaultKind)> {
    match verify(spool, known, &mut |_| {}) {
        Ok(_) => None,
        Err(VerifyError::Fault(fault)) => Some((fault.seq, fault.kind)),
        Err(error) => panic!("{error}"),
    }
}

fn public_key(data: &Path) -> PublicKey {
    SigningKey::load(&data.join(KEY)).unwrap().unwrap().public()
}

fn forget_own_copies(spool: &Path) {
    for name in [ledger::CHECKPOINTS, ledger::KEYS] {
        std::fs::remove_file(spool.join(name)).unwrap();
    }
}

fn pinned(data: &Path) -> Known {
    Known { public_keys: vec![public_key(data)], ..Known::default() }
}

fn mirrored(data: &Path) -> Known {
    let checkpoints = ledger::read(&data.join("mirror")).unwrap();
    assert!(!checkpoints.is_empty());
    Known { checkpoints, ..Known::default() }
}

fn event_record(number: usize) -> Raw {
    Raw { kind: RecordKind::Event, payload: serde_json::to_vec(&event(number)).unwrap() }
}

#[tokio::test]
async fn a_signed_record_verifies_and_says_how_far_it_is_signed() {
    let data = tempfile::tempdir().unwrap();
    signed(data.path(), 200).await;
    let spool = spool_of(data.path());
    let known = Known { checkpoints: mirrored(data.path()).checkpoints, ..pinned(data.path()) };
    let verified = verify(&spool, known, &mut |_| {}).unwrap();
    assert!(verified.segments > 1 && verified.closed, "{verified:?}");
    // The last checkpoint is before the end, and names everything but itself and the end.
    assert_eq!(verified.vouched_seq, verified.last_seq - 2);
    assert_eq!(verified.keys, [public_key(data.path()).id()]);
    let lines = ledger::read(&spool.join(ledger::CHECKPOINTS)).unwrap();
    assert_eq!(lines, mirrored(data.path()).checkpoints, "the mirror has all of it, in order");
    assert_eq!(verified.checkpoints as usize, lines.len() - 1);
    let segments = directory::segments(&spool).unwrap();
    for first_seq in &segments[1..] {
        let mut reader = ChainReader::at_segment(&spool, "r", *first_seq).unwrap();
        assert_eq!(reader.next().unwrap().unwrap().kind, RecordKind::Checkpoint);
    }
}

#[derive(Debug, Clone)]
enum Edit {
    Change,
    Drop,
    Repeat,
    SwapWithNext,
    Insert,
    CutBefore,
}

fn edits() -> impl Strategy<Value = Edit> {
    prop_oneof![
        Just(Edit::Change),
        Just(Edit::Drop),
        Just(Edit::Repeat),
        Just(Edit::SwapWithNext),
        Just(Edit::Insert),
        Just(Edit::CutBefore),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// The forger has the spool and all files beside it, and makes every hash anew; not the key.
    #[test]
    fn a_chain_written_anew_with_sound_hashes_is_found(edit in edits(), at in any::<prop::sample::Index>()) {
        let data = tempfile::tempdir().unwrap();
        tokio::runtime::Runtime::new().unwrap().block_on(signed(data.path(), 24));
        let spool = spool_of(data.path());
        let sound = records(&spool);
        // Up to the last checkpoint: what comes after is only the end.
        let last_checkpoint = sound.iter().rposition(|record| record.kind == RecordKind::Checkpoint).unwrap();
        let here = at.index(last_checkpoint);
        let mut forged = sound.clone();
        match edit {
            Edit::Change => forged[here] = event_record(999),
            Edit::Drop => { forged.remove(here); }
            Edit::Repeat => forged.insert(here, forged[here].clone()),
            Edit::SwapWithNext => forged.swap(here, here + 1),
            Edit::Insert => forged.insert(here, event_record(999)),
            Edit::CutBefore => forged.truncate(here),
        }
        prop_assume!(forged != sound);
        rewrite(&spool, &forged);
        let seq = here as u64 + 1;
        // The last record that a checkpoint before vouches for: the fault is named after it.
        let before = sound[..here].iter().rposition(|record| record.kind == RecordKind::Checkpoint);
        let vouched = before.map_or(0, |index| index as u64);
        for (with, known) in [("its own copies", Known::default()), ("the mirror", mirrored(data.path()))] {
            let (found, kind) = fault(&spool, known).unwrap();
            prop_assert!(found > vouched && found <= seq + 1, "{edit:?} at {seq}, with {with}: {found} {kind:?}");
        }
        forget_own_copies(&spool);
        let (found, _) = fault(&spool, mirrored(data.path())).unwrap();
        prop_assert!(found > vouched && found <= seq + 1);
        // Without any copy an end that was cut at a border cannot show; anything else does.
        if !matches!(edit, Edit::CutBefore) {
            prop_assert!(fault(&spool, Known::default()).is_some(), "{edit:?} at {seq}");
        }
    }
}

/// The forger throws the signatures away, or signs with a key of his own.
#[tokio::test]
async fn a_new_chain_without_or_with_other_signatures_is_found_by_the_key_or_the_mirror() {
    let data = tempfile::tempdir().unwrap();
    signed(data.path(), 24).await;
    let spool = spool_of(data.path());
    let events: Vec<Raw> =
        records(&spool).into_iter().filter(|record| record.kind == RecordKind::Event).skip(1).collect();
    rewrite(&spool, &events);
    forget_own_copies(&spool);
    assert_eq!(fault(&spool, Known::default()), None, "nothing is left to compare with");
    assert_eq!(fault(&spool, pinned(data.path())), Some((1, FaultKind::NotSigned)));
    assert!(matches!(fault(&spool, mirrored(data.path())), Some((1, FaultKind::NotAsSigned { .. }))));

    // Whole, and signed, by a key that claims to be the first.
    let own = SigningKey::generate().unwrap();
    let notice = KeyNotice::of_first(own.public(), UnixMillis(1));
    let mut forged = vec![Raw { kind: RecordKind::Key, payload: serde_json::to_vec(&notice).unwrap() }];
    forged.extend(events);
    rewrite(&spool, &forged);
    let mut reader = ChainReader::after(&spool, "r", Position::genesis("r"));
    while reader.next().unwrap().is_some() {}
    let at = reader.position();
    let checkpoint = Checkpoint::sign(&own, "r", at, &Before::none(), UnixMillis(1));
    forged.push(Raw { kind: RecordKind::Checkpoint, payload: serde_json::to_vec(&checkpoint).unwrap() });
    rewrite(&spool, &forged);
    assert_eq!(fault(&spool, Known::default()), None, "signed by somebody: so the key must be pinned");
    assert_eq!(fault(&spool, pinned(data.path())).unwrap().1, FaultKind::NotSigned);
    assert_eq!(fault(&spool, mirrored(data.path())).unwrap().0, 1);
}

#[tokio::test]
async fn a_checkpoint_that_is_replaced_left_out_or_signed_by_a_stranger_is_found() {
    let data = tempfile::tempdir().unwrap();
    signed(data.path(), 24).await;
    let spool = spool_of(data.path());
    let sound = records(&spool);
    let places: Vec<usize> = sound
        .iter()
        .enumerate()
        .filter(|(_, record)| record.kind == RecordKind::Checkpoint)
        .map(|(index, _)| index)
        .collect();
    assert!(places.len() >= 4);
    forget_own_copies(&spool);
    let parse = |index: usize| serde_json::from_slice::<Checkpoint>(&sound[index].payload).unwrap();
    for (before, index) in places.iter().zip(&places[1..]) {
        let stranger = SigningKey::generate().unwrap();
        let mut by_stranger = parse(*index);
        by_stranger.signature = stranger.sign(&by_stranger.statement());
        let mut later = parse(*index);
        later.time = UnixMillis(later.time.0 + 1);
        let mut anothers = parse(*index);
        anothers.replica = "s".into();
        for forged in [by_stranger, later, anothers, parse(*before)] {
            let mut records = sound.clone();
            records[*index].payload = serde_json::to_vec(&forged).unwrap();
            rewrite(&spool, &records);
            let (found, kind) = fault(&spool, Known::default()).unwrap();
            let first = *before as u64 + 1;
            assert!(found >= first && found <= *index as u64 + 1, "{found} {kind:?} at {index}");
        }
    }
    // A rotation that the old key did not announce.
    let stranger = SigningKey::generate().unwrap();
    let mut records = sound.clone();
    let notice = KeyNotice::of_first(stranger.public(), UnixMillis(1));
    records.push(Raw { kind: RecordKind::Key, payload: serde_json::to_vec(&notice).unwrap() });
    rewrite(&spool, &records);
    let (found, kind) = fault(&spool, Known::default()).unwrap();
    assert_eq!((found, kind), (sound.len() as u64 + 1, FaultKind::Key(stranger.public().id())));
    // Unless whoever verifies was told of that key.
    let known = Known { public_keys: vec![public_key(data.path()), stranger.public()], ..Known::default() };
    assert_eq!(fault(&spool, known), None);
}

#[tokio::test]
async fn a_copy_of_the_checkpoints_that_was_edited_is_named_by_its_line() {
    let data = tempfile::tempdir().unwrap();
    signed(data.path(), 24).await;
    let spool = spool_of(data.path());
    let file = spool.join(ledger::CHECKPOINTS);
    let sound = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = sound.lines().collect();
    let line_of = |text: String| {
        std::fs::write(&file, text).unwrap();
        match verify(&spool, Known::default(), &mut |_| {}) {
            Err(VerifyError::Checkpoints { line, .. }) => line,
            other => panic!("{other:?}"),
        }
    };
    let join = |lines: &[&str]| lines.join("\n") + "\n";
    assert_eq!(line_of(sound.replacen("\"records\":", "\"records\":1", 1)), 2);
    assert_eq!(line_of(join(&[&lines[..2], &lines[3..]].concat())), 3);
    let mut swapped = lines.clone();
    swapped.swap(2, 3);
    assert_eq!(line_of(join(&swapped)), 3);
    // A line that arrived twice is no edit, and a copy may begin late or end early.
    let mut twice = lines.clone();
    twice.insert(2, lines[2]);
    for text in [join(&twice), join(&lines[..3]), sound.clone()] {
        std::fs::write(&file, text).unwrap();
        assert_eq!(fault(&spool, Known::default()), None);
    }
}

#[tokio::test]
async fn a_key_hands_over_to_the_next_while_running_and_at_a_start() {
    let data = tempfile::tempdir().unwrap();
    let key_file = data.path().join(KEY);
    let rotate = || {
        let current = SigningKey::load(&key_file).unwrap().unwrap();
        current.rotated(UnixMillis(1)).unwrap().save(&key_file).unwrap();
    };
    let running = audit(data.path(), |_| {}).await.unwrap();
    let first = public_key(data.path());
    rotate();
    running.checkpoint().await.unwrap();
    let second = public_key(data.path());
    running.close().await.unwrap();
    drop(running);
    rotate();
    rotate();
    audit(data.path(), |_| {}).await.unwrap().close().await.unwrap();
    let last = public_key(data.path());
    for key in [first, second, last] {
        let known = Known { public_keys: vec![key], ..Known::default() };
        let verified = verify(&spool_of(data.path()), known, &mut |_| {}).unwrap();
        assert_eq!(verified.keys, [first.id(), second.id(), last.id()], "one of them never signed");
        assert_eq!(verified.vouched_seq, verified.last_seq - 2);
    }
    let keys = std::fs::read_to_string(spool_of(data.path()).join(ledger::KEYS)).unwrap();
    assert_eq!(keys.lines().count(), 4, "all four are published");
    assert_eq!(PublicKey::parse(keys.lines().next().unwrap()), Some(first));
}

#[tokio::test]
async fn a_key_that_is_missing_or_a_strangers_stops_the_start_until_somebody_says_it_was_lost() {
    let data = tempfile::tempdir().unwrap();
    let key_file = data.path().join(KEY);
    audit(data.path(), |_| {}).await.unwrap().close().await.unwrap();
    let first = public_key(data.path());
    std::fs::remove_file(&key_file).unwrap();
    assert!(matches!(audit(data.path(), |_| {}).await, Err(AuditOpenError::Key(_))));
    SigningKey::generate().unwrap().save(&key_file).unwrap();
    assert!(matches!(audit(data.path(), |_| {}).await, Err(AuditOpenError::Key(_))));

    SigningKey::unannounced(UnixMillis(1)).unwrap().save(&key_file).unwrap();
    audit(data.path(), |_| {}).await.unwrap().close().await.unwrap();
    let second = public_key(data.path());
    let spool = spool_of(data.path());
    let known = |keys: &[PublicKey]| Known { public_keys: keys.to_vec(), ..Known::default() };
    for keys in [&[][..], &[first][..]] {
        assert!(verify(&spool, known(keys), &mut |_| {}).is_err(), "nobody vouches for the new key");
    }
    verify(&spool, known(&[first, second]), &mut |_| {}).unwrap();
}

/// A crash between the chain and the files beside it, and a hand in those files.
#[tokio::test]
async fn the_files_of_checkpoints_are_mended_from_the_chain_and_never_know_more() {
    let data = tempfile::tempdir().unwrap();
    signed(data.path(), 200).await;
    let spool = spool_of(data.path());
    let file = spool.join(ledger::CHECKPOINTS);
    let sound = std::fs::read_to_string(&file).unwrap();
    for kept in [0, 1, 5] {
        let mut torn: String = sound.lines().take(kept).map(|line| format!("{line}\n")).collect();
        torn.push_str("{\"kind\":\"check");
        std::fs::write(&file, torn).unwrap();
        std::fs::remove_file(spool.join(ledger::KEYS)).unwrap();
        audit(data.path(), |config| config.segment_bytes = 64 << 10).await.unwrap().close().await.unwrap();
        assert!(std::fs::read_to_string(&file).unwrap().starts_with(&sound), "{kept} lines were left");
        assert_eq!(std::fs::read_to_string(spool.join(ledger::KEYS)).unwrap().lines().count(), 1);
        verify(&spool, Known::default(), &mut |_| {}).unwrap();
    }
    // Cut together with the index: only the checkpoints know of the end.
    let known = ledger::read(&file).unwrap();
    let Some(Line::Checkpoint(last)) = known.last() else { panic!() };
    let kept = records(&spool)[..last.seq as usize].to_vec();
    rewrite(&spool, &kept);
    for name in ["audit.db", "audit.db-wal", "audit.db-shm"] {
        let _ = std::fs::remove_file(data.path().join(name));
    }
    assert!(matches!(
        audit(data.path(), |_| {}).await,
        Err(AuditOpenError::Damaged(fault)) if fault.kind == FaultKind::Missing { known: last.seq + 1 }
    ));
}

#[tokio::test]
async fn an_export_verifies_elsewhere_and_every_edit_of_it_is_named() {
    let data = tempfile::tempdir().unwrap();
    signed(data.path(), 24).await;
    let spool = spool_of(data.path());
    let mut text = Vec::new();
    let written = export(&spool, 1..=u64::MAX, &mut text).unwrap();
    let file: PathBuf = data.path().join("export.jsonl");
    let text = String::from_utf8(text).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let check = |lines: &[&str], known: Known| {
        std::fs::write(&file, lines.join("\n") + "\n").unwrap();
        match verify_export(&file, known, &mut |_| {}) {
            Ok(mut verified) => Ok(verified.remove(0)),
            Err(VerifyError::Fault(fault)) => Err(fault.seq),
            Err(error) => panic!("{error}"),
        }
    };
    let both = || Known { checkpoints: mirrored(data.path()).checkpoints, ..pinned(data.path()) };
    let verified = check(&lines, both()).unwrap();
    assert_eq!((verified.last_seq, verified.vouched_seq), (written, written - 2));
    for at in (1..lines.len()).step_by(3) {
        let mut dropped = lines.clone();
        dropped.remove(at);
        let mut twice = lines.clone();
        twice.insert(at, lines[at]);
        let edited = lines[at].replacen("\"time_ms\":1", "\"time_ms\":2", 1);
        let mut changed = lines.clone();
        changed[at] = &edited;
        for (what, lines, seq) in [
            ("dropped", dropped, at as u64),
            ("twice", twice, at as u64 + 1),
            ("changed", changed, at as u64),
        ] {
            assert_eq!(check(&lines, Known::default()).err(), Some(seq), "{what} at {at}");
        }
    }
    assert_eq!(check(&lines[..9], Known::default()).err(), Some(9), "its head says how far it goes");
    // A part of it, from the middle.
    let mut part = Vec::new();
    assert_eq!(export(&spool, 10..=19, &mut part).unwrap(), 10);
    let part = String::from_utf8(part).unwrap();
    let verified = check(&part.lines().collect::<Vec<_>>(), both()).unwrap();
    assert_eq!((verified.first_seq, verified.last_seq), (10, 19));
}
