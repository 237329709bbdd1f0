//! The targets over their corpus and over a fixed number of mutations of it: the same ones each time.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::TARGETS;
use crate::backend::fuzz::{kept_spans, what_it_asks};
use crate::classify::otlp::fuzz::{JSON, PROTOBUF, rewritten};
use crate::classify::trace_filter::keys_of_filter;
use crate::lake::{otlp, sql};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % bound.max(1) as u64) as usize
    }
}

/// What grammars stumble over.
const TOKENS: &[&str] = &[
    "%",
    "%25",
    "%2e%2E",
    "%2F",
    "..",
    "/",
    "\\",
    "//",
    ";",
    "&",
    "=",
    "+",
    "\0",
    "\n",
    "\t",
    "\u{7f}",
    "\u{a0}",
    "\u{202e}",
    "\u{feff}",
    "é",
    "'",
    "''",
    "\"",
    "`",
    "\\\"",
    "\\u0000",
    "\\ud800",
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    ",",
    ":",
    ".",
    "--",
    "/*",
    "*/",
    "#",
    "$1",
    "%s",
    "*",
    "null",
    "true",
    "1e999",
    "-0",
    "18446744073709551616",
    "9223372036854775808",
    "AND",
    " or ",
    " not ",
    "LIKE",
    "IN (",
    "IS NULL",
    "...",
    "@include(if:true)",
    "fragment",
    "&a",
    "*a",
    "<<:",
    "!!str ",
    "? ",
    "- ",
    "|\n",
    "none",
    "HS256",
    "Basic ",
    "Bearer ",
    "for=",
    "unknown",
    "for=\"",
    "\u{ff}",
    "mlflow.traceTag.",
    "mlflow.",
    "tags.",
    "text",
    "SEARCH",
];

fn mutated(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut data = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(4) {
        let at = random.below(data.len() + 1);
        let end = (at + 1 + random.below(16)).min(data.len());
        match random.below(8) {
            0 if at < data.len() => data[at] ^= 1 << random.below(8),
            1 if at < data.len() => data[at] = [0, 1, 0x7f, 0x80, 0xff, b' ', b'"'][random.below(7)],
            2 => drop(data.drain(at..end)),
            3 => {
                let piece = data[at..end].to_vec();
                let times = 1 + random.below(3) * random.below(40);
                data.splice(at..at, piece.repeat(times));
            }
            4 | 5 => {
                let token = TOKENS[random.below(TOKENS.len())];
                data.splice(at..at, token.bytes());
            }
            6 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len() + 1);
                data.truncate(at);
                data.extend_from_slice(&other[from..]);
            }
            _ => data.truncate(at),
        }
    }
    data.truncate(64 * 1024);
    data
}

#[expect(clippy::disallowed_methods, reason = "the size of a test run is no setting of the program")]
fn mutations() -> u64 {
    std::env::var("FUZZ_MUTATIONS").map_or(1500, |text| text.parse().unwrap())
}

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target)
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = folder(target);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Runs one target on a stack as large as a worker's.
fn hold(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let corpus = corpus(name);
    assert!(corpus.len() > 2, "{name} has no corpus");
    let seed = name.bytes().fold(0_u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
    let mut random = Random(seed);
    let try_out = |data: &[u8]| {
        if catch_unwind(AssertUnwindSafe(|| (target.run)(data))).is_err() {
            panic!("{name} fails on {:?} ({})", String::from_utf8_lossy(data), hex::encode(data));
        }
    };
    for data in &corpus {
        try_out(data);
    }
    for _ in 0..mutations() {
        try_out(&mutated(&corpus, &mut random));
    }
}

macro_rules! held {
    ($($name:ident)*) => {
        $(#[test] fn $name() { hold(stringify!($name)); })*

        /// A target without its test would be run by `make fuzz` alone.
        #[test]
        fn every_target_is_here() {
            let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

held! {
    path query headers json request_head forwarded authorization jwt jwt_signed otlp_protobuf otlp_json
    otlp_encoded otlp_columns statement graphql trace_filter search scim_filter sealed page_token policy_yaml
    audit_segment audit_export
}

/// The corpus is in the repository, so it stays small.
#[test]
fn the_corpus_is_small() {
    for target in TARGETS {
        let bytes: usize = corpus(target.name).iter().map(Vec::len).sum();
        assert!(bytes <= 32 * 1024, "{} has {bytes} bytes", target.name);
    }
}

/// Rules about what is accepted say nothing of a corpus of which nothing is.
#[test]
fn the_corpus_is_accepted_in_part() {
    let accepted = |target: &str, accepts: &dyn Fn(&str) -> bool| {
        let texts = corpus(target);
        texts.iter().filter(|text| std::str::from_utf8(text).is_ok_and(accepts)).count()
    };
    assert!(accepted("jwt", &crate::identity::fuzz::is_accepted) >= 2);
    let both = |text: &str| keys_of_filter(text).is_ok() && what_it_asks(text).is_some();
    assert!(accepted("trace_filter", &both) >= 8);
    let searched = |text: &str| what_it_asks(text.split_once('\n').unwrap_or(("", text)).1).is_some();
    assert!(accepted("search", &searched) >= 8);
    let query = |text: &str| matches!(sql::parse(text), Ok(sql::Statement::Query(_)));
    assert!(
        accepted("statement", &query) >= 4 && accepted("statement", &|text| sql::parse(text).is_ok()) >= 9
    );
    let export = fs::read(folder("otlp_columns").join("seed-00")).unwrap();
    assert_eq!(otlp::spans(&export, otlp::Version::V2, 0).unwrap().trace_ids.len(), 2);
    for (target, media) in [("otlp_protobuf", PROTOBUF), ("otlp_json", JSON)] {
        let export = fs::read(folder(target).join("seed-00")).unwrap();
        let export = export.as_slice();
        assert_eq!(rewritten(export, media).unwrap().traces.len(), 2, "{target}");
        assert_eq!(kept_spans(export, media == JSON).unwrap().len(), 2, "{target}");
    }
}

/// What is found to pass must be able to fail: a reader with a hole, held to the same rule as ours.
#[test]
fn a_target_that_is_wrong_would_fail() {
    let careless = |data: &[u8]| {
        let text = String::from_utf8_lossy(data);
        assert!(!percent_encoding::percent_decode_str(&text).decode_utf8_lossy().contains("/../"), "{text}");
    };
    let corpus = corpus("path");
    let mut random = Random(1);
    let fails = (0..20_000).any(|_| {
        let data = mutated(&corpus, &mut random);
        catch_unwind(AssertUnwindSafe(|| careless(&data))).is_err()
    });
    assert!(fails);
}
