//! Every edit of a spool is found, and the first record that it touches is named.

use std::path::Path;

use proptest::prelude::*;

use super::fixture::{write_segment, written};
use crate::audit::reader::ChainReader;
use crate::audit::record::Position;
use crate::audit::{ChainFault, FaultKind, Known, VerifyError, directory, verify};

const RECORDS: usize = 12;
const PER_SEGMENT: usize = 5;

fn fault(path: &Path, known: Known) -> Option<ChainFault> {
    match verify(path, known, &mut |_| {}) {
        Ok(_) => None,
        Err(VerifyError::Fault(fault)) => Some(fault),
        Err(error) => panic!("{error}"),
    }
}

/// The end of the chain, as the index would remember it.
fn end(path: &Path) -> Position {
    let mut reader = ChainReader::after(path, "r", Position::genesis("r"));
    while reader.next().unwrap().is_some() {}
    reader.position()
}

#[derive(Debug, Clone)]
enum Edit {
    Flip { bit: u8 },
    Drop,
    Repeat,
    SwapWithNext,
    MoveToEnd,
    InsertCopyOf { other: usize },
    CutAfter,
}

fn edits() -> impl Strategy<Value = Edit> {
    prop_oneof![
        (0u8..8).prop_map(|bit| Edit::Flip { bit }),
        Just(Edit::Drop),
        Just(Edit::Repeat),
        Just(Edit::SwapWithNext),
        Just(Edit::MoveToEnd),
        (0..RECORDS).prop_map(|other| Edit::InsertCopyOf { other }),
        Just(Edit::CutAfter),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn an_edited_record_is_found_and_named(edit in edits(), at in 0..RECORDS, byte in any::<prop::sample::Index>()) {
        let directory = tempfile::tempdir().unwrap();
        let segments = written(directory.path(), RECORDS, PER_SEGMENT);
        let known = Known { position: Some(end(directory.path())), whole: true, ..Known::default() };
        prop_assert_eq!(fault(directory.path(), known.clone()), None);

        let all: Vec<Vec<u8>> = segments.iter().flat_map(|(_, records)| records.clone()).collect();
        let (first_seq, records) = &segments[at / PER_SEGMENT];
        let mut records = records.clone();
        let here = at % PER_SEGMENT;
        let seq = at as u64 + 1;
        // The first record that is no longer where, or what, it was.
        let expected = match edit {
            Edit::Flip { bit } => {
                let index = byte.index(records[here].len());
                records[here][index] ^= 1 << bit;
                seq
            }
            Edit::Drop => { records.remove(here); seq }
            Edit::Repeat => { records.insert(here, records[here].clone()); seq + 1 }
            Edit::SwapWithNext if here + 1 < records.len() => { records.swap(here, here + 1); seq }
            Edit::MoveToEnd if here + 1 < records.len() => {
                let moved = records.remove(here);
                records.push(moved);
                seq
            }
            Edit::InsertCopyOf { other } => {
                records.insert(here, all[other].clone());
                if other == at { seq + 1 } else { seq }
            }
            Edit::CutAfter if here + 1 < records.len() => { records.truncate(here + 1); seq + 1 }
            _ => return Ok(()),
        };
        let name = directory::segment_name(*first_seq);
        let path = directory.path().join(&name);
        let header = directory::header_len(&path).unwrap() as usize;
        let mut bytes = std::fs::read(&path).unwrap()[..header].to_vec();
        bytes.extend(records.concat());
        std::fs::write(&path, bytes).unwrap();

        let found = fault(directory.path(), known.clone());
        prop_assert_eq!(found.map(|fault| fault.seq), Some(expected), "{:?} at {}", edit, at);
    }
}

#[test]
fn no_single_byte_of_a_spool_can_change_unseen() {
    let directory = tempfile::tempdir().unwrap();
    written(directory.path(), 3, 2);
    for first_seq in directory::segments(directory.path()).unwrap() {
        let path = directory.path().join(directory::segment_name(first_seq));
        let sound = std::fs::read(&path).unwrap();
        for index in 0..sound.len() {
            let mut changed = sound.clone();
            changed[index] ^= 0x11;
            std::fs::write(&path, &changed).unwrap();
            assert!(fault(directory.path(), Known::default()).is_some(), "byte {index} of {first_seq}");
        }
        std::fs::write(&path, &sound).unwrap();
    }
    assert_eq!(fault(directory.path(), Known::default()), None);
}

#[test]
fn an_end_cut_at_a_border_is_found_by_what_the_index_remembers() {
    let directory = tempfile::tempdir().unwrap();
    let segments = written(directory.path(), 4, 10);
    let known = Known { position: Some(end(directory.path())), whole: true, ..Known::default() };
    write_segment(directory.path(), Position::genesis("r"), &segments[0].1[..3]);
    assert_eq!(fault(directory.path(), Known::default()), None, "the chain alone cannot show it");
    assert_eq!(fault(directory.path(), known.clone()).unwrap().seq, 4);
}

#[test]
fn segments_removed_renamed_or_added_are_found() {
    let fresh = || {
        let directory = tempfile::tempdir().unwrap();
        written(directory.path(), 9, 3);
        directory
    };
    let name = directory::segment_name;
    let whole = Known { whole: true, ..Known::default() };

    let directory = fresh();
    std::fs::remove_file(directory.path().join(name(4))).unwrap();
    assert_eq!(fault(directory.path(), whole.clone()).unwrap().seq, 4);

    let directory = fresh();
    std::fs::remove_file(directory.path().join(name(1))).unwrap();
    assert_eq!(fault(directory.path(), whole.clone()).unwrap().seq, 1);
    let found = fault(directory.path(), Known::default()).unwrap();
    assert_eq!((found.seq, found.kind), (1, FaultKind::StartMissing), "no record says that it was pruned");

    let directory = fresh();
    std::fs::rename(directory.path().join(name(4)), directory.path().join("x")).unwrap();
    std::fs::rename(directory.path().join(name(7)), directory.path().join(name(4))).unwrap();
    assert_eq!(fault(directory.path(), whole.clone()).unwrap().seq, 4);

    let directory = fresh();
    std::fs::copy(directory.path().join(name(4)), directory.path().join(name(5))).unwrap();
    assert_eq!(fault(directory.path(), whole.clone()).unwrap().seq, 5);

    let directory = fresh();
    std::fs::write(directory.path().join("replica"), "other\n").unwrap();
    assert_eq!(fault(directory.path(), whole.clone()).unwrap().seq, 1);
}

#[test]
fn another_replicas_chain_does_not_pass_for_this_ones() {
    let directory = tempfile::tempdir().unwrap();
    written(directory.path(), 3, 3);
    let path = directory.path().join(directory::segment_name(1));
    let bytes = std::fs::read(&path).unwrap();
    let header = directory::header_len(&path).unwrap() as usize;
    let forged = crate::audit::record::SegmentHeader {
        first_seq: 1,
        previous: Position::genesis("r").hash,
        replica: "s".into(),
    };
    std::fs::write(&path, [forged.encode(), bytes[header..].to_vec()].concat()).unwrap();
    std::fs::write(directory.path().join("replica"), "s\n").unwrap();
    assert_eq!(fault(directory.path(), Known::default()).unwrap().seq, 1);
}
