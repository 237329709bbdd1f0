//! A chain as lines of JSON, from the spool or from the index. [`verify`](crate::audit::verify_export)
//! reads them back.
//!
//! A chain begins with a line that says what follows; each other line is a record with its payload as it
//! was hashed, byte by byte, or says which records the index had let go. A file may hold several chains.
//!
//! ```text
//! {"tracegate_audit_export":1,"replica":"eu-1","first_seq":1,"last_seq":9,"previous":"…"}
//! {"replica":"eu-1","seq":1,"record":"event","hash":"…","payload":{…}}
//! {"replica":"eu-1","seq":2,"absent_through":8}
//! ```

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::audit::record::RecordKind;
use crate::store::audit_index::{AuditEntry, ChainRow};

pub const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
pub struct Head {
    pub tracegate_audit_export: u32,
    pub replica: String,
    pub first_seq: u64,
    /// Told beforehand, so that an end that was cut shows.
    pub last_seq: u64,
    /// Hash of the record before the first, in hex, if it is known.
    pub previous: Option<String>,
}

#[derive(Deserialize)]
pub struct Entry<'l> {
    pub replica: &'l str,
    pub seq: u64,
    pub record: &'l str,
    pub hash: Option<&'l str>,
    #[serde(borrow)]
    pub payload: &'l RawValue,
}

#[derive(Serialize, Deserialize)]
pub struct Absent<'l> {
    pub replica: &'l str,
    pub seq: u64,
    pub absent_through: u64,
}

/// Where a chain's lines have come.
pub struct Chain {
    head: Head,
    seq: u64,
}

impl Chain {
    pub fn new(replica: &str, first_seq: u64, last_seq: u64, previous: Option<&[u8]>) -> Self {
        let head = Head {
            tracegate_audit_export: VERSION,
            replica: replica.to_owned(),
            first_seq,
            last_seq,
            previous: previous.map(hex::encode),
        };
        Self { head, seq: first_seq.saturating_sub(1) }
    }

    pub fn replica(&self) -> &str {
        &self.head.replica
    }

    /// The last record that was written.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    pub fn last_seq(&self) -> u64 {
        self.head.last_seq
    }

    pub fn head(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string(&self.head)? + "\n")
    }

    /// Lines for the next rows.
    pub fn lines(&mut self, rows: &[ChainRow]) -> Result<String, serde_json::Error> {
        let mut lines = String::new();
        for row in rows {
            if row.seq > self.seq + 1 {
                let (replica, seq) = (self.head.replica.as_str(), self.seq + 1);
                let absent = Absent { replica, seq, absent_through: row.seq - 1 };
                lines.push_str(&serde_json::to_string(&absent)?);
                lines.push('\n');
            }
            let kind = RecordKind::of_index(&row.kind).map_or(row.kind.as_str(), |kind| kind.as_str());
            lines.push_str(&line(&self.head.replica, row.seq, kind, row.hash.as_deref(), &row.json));
            lines.push('\n');
            self.seq = row.seq;
        }
        Ok(lines)
    }
}

/// One record.
pub fn line(replica: &str, seq: u64, record: &str, hash: Option<&[u8]>, payload: &str) -> String {
    let hash = hash.map_or_else(|| "null".to_owned(), |hash| format!("\"{}\"", hex::encode(hash)));
    // By hand: another pass through a parser might spell the payload anew. The names need no escapes.
    format!(
        "{{\"replica\":\"{replica}\",\"seq\":{seq},\"record\":\"{record}\",\"hash\":{hash},\"payload\":{payload}}}"
    )
}

/// A record among chosen ones.
pub fn chosen(entry: &AuditEntry) -> String {
    let record = RecordKind::of_index(&entry.kind).map_or(entry.kind.as_str(), |kind| kind.as_str());
    line(&entry.replica, entry.seq, record, entry.hash.as_deref(), &entry.json)
}
