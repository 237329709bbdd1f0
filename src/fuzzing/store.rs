//! What the classifier reads is what the store keeps: two readers of one body or filter, side by side.

#![allow(clippy::unwrap_used, reason = "a failure is what is looked for")]

use std::collections::BTreeMap;

use crate::backend::fuzz::{Asks, kept_spans, what_it_asks};
use crate::classify::otlp::fuzz::{JSON, PROTOBUF, rewritten};
use crate::classify::trace_filter::{allowed_for_list, keys_of_filter};

pub(super) fn otlp_protobuf(data: &[u8]) {
    otlp(data, PROTOBUF);
}

pub(super) fn otlp_json(data: &[u8]) {
    otlp(data, JSON);
}

/// The store writes to the traces that were classified, and to no others.
fn otlp(data: &[u8], media: &str) {
    let Some(export) = rewritten(data, media) else { return };
    let Some(kept) = kept_spans(data, media == JSON) else { return };
    let classified: BTreeMap<String, u64> =
        export.traces.iter().map(|trace| (trace.trace.as_str().to_owned(), trace.spans)).collect();
    // Of two spans of one id the store keeps one.
    for (trace, spans) in &kept {
        let most = classified.get(trace);
        assert!(most.is_some_and(|most| spans <= most), "{trace}: {spans} of {classified:?}");
    }
    assert_eq!(kept.len(), classified.len());
}

/// A filter that is let through for whoever may only list asks for nothing but what a list shows, whatever
/// the store makes of it.
pub(super) fn trace_filter(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(keys) = keys_of_filter(text) else { return };
    let Some(asked) = what_it_asks(text) else { return };
    assert_eq!(keys.len(), asked.len(), "{text:?}");
    for (key, asks) in keys.iter().zip(asked) {
        match asks {
            Asks::Listed => {}
            Asks::Tag(tag) => assert_eq!(*key, format!("tag.{tag}"), "{text:?}"),
            Asks::More(what) => assert!(!allowed_for_list(key), "{text:?}: {key} is {what}"),
        }
    }
}
