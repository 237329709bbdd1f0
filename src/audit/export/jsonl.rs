//! The record as it was written: `replica`, `seq`, `record`, `hash` and, last, `payload`, whose bytes are
//! those in the spool. With the hash of the record before, these are all that the hash is made of, so that
//! a chain can be verified from lines alone.

use serde_json::json;

use crate::store::audit_index::AuditEntry;

pub fn line(entry: &AuditEntry) -> String {
    let record = match entry.kind.as_str() {
        "begin" | "returned" | "complete" | "policy_change" | "unreadable" => "event",
        of_the_chain => of_the_chain,
    };
    let head = json!({
        "replica": entry.replica,
        "seq": entry.seq,
        "record": record,
        "hash": entry.hash.as_ref().map(hex::encode),
    });
    let head = head.to_string();
    // By hand: another pass through a parser might spell the payload anew.
    format!("{},\"payload\":{}}}", head.trim_end_matches('}'), entry.json)
}
