//! What the store would keep of an export of any bytes.

use std::collections::{BTreeMap, HashSet};

use super::read;
use crate::wire::ReplayBody;

/// The traces that it would write to, and how many spans into each; nothing if it would refuse the export.
pub(crate) fn kept_spans(data: &[u8], json: bool) -> Option<BTreeMap<String, u64>> {
    let body = ReplayBody::memory(data.to_vec());
    let export = read::export(&body, json, None, 1 << 20, std::env::temp_dir()).ok()?;
    let mut kept = BTreeMap::new();
    let mut names = HashSet::new();
    for trace in export.traces {
        assert!(names.insert(trace.trace_id.clone()), "{} is gathered twice", trace.trace_id);
        kept.insert(trace.trace_id, trace.rows.len() as u64);
    }
    Some(kept)
}
