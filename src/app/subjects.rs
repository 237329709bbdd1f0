//! Whose traces pass through: sessions and end users, by the tags and metadata that `audit.subject_keys`
//! names. What is learnt goes to the audit index by itself, beside the record and not into it, because a
//! person's name must be erasable and the record is not.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use serde_json::{Map, Value};
use sha2::Sha256;

use super::App;
use crate::access::TraceId;
use crate::store::audit_index::{AuditIndexError, Subject};

/// How long what is learnt gathers before it is written.
const GATHER: Duration = Duration::from_millis(500);
/// More than this is not held while the index cannot be written; what is beyond is learnt again when the
/// trace next passes by.
const MOST_WAITING: usize = 100_000;
/// Longer values name nobody.
const LONGEST_VALUE: usize = 1000;
/// The fields of a trace, in MLflow 2 and 3, that hold tags and metadata.
const FIELDS: [&str; 3] = ["tags", "trace_metadata", "request_metadata"];

pub struct Subjects {
    keys: Vec<String>,
    hash_key: [u8; 32],
    waiting: Mutex<Vec<(Subject, String)>>,
    /// Held while some are written, so that whoever waits for them does not go on too early.
    writing: tokio::sync::Mutex<()>,
    /// What was written lately: most calls tell nothing new.
    known: moka::sync::Cache<(Subject, String), ()>,
}

impl Subjects {
    pub fn new(keys: &[String], hash_key: [u8; 32]) -> Self {
        let known = moka::sync::Cache::new(100_000);
        Self {
            keys: keys.to_vec(),
            hash_key,
            waiting: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
            known,
        }
    }

    /// The tags, metadata and attributes that say whose a trace is.
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// Notes what pairs of key and value say of a trace.
    pub fn learn<'p>(&self, trace: &TraceId, pairs: impl IntoIterator<Item = (&'p str, &'p str)>) {
        for (key, value) in pairs {
            if value.is_empty() || value.len() > LONGEST_VALUE || !self.keys.iter().any(|known| known == key)
            {
                continue;
            }
            let subject = Subject { key: key.to_owned(), value: value.to_owned() };
            let fact = (subject, trace.to_string());
            if self.known.contains_key(&fact) {
                continue;
            }
            let mut waiting = self.waiting.lock();
            if waiting.len() < MOST_WAITING {
                waiting.push(fact);
            }
        }
    }

    /// Notes what a trace, as either MLflow version writes it, says of itself.
    pub fn learn_info(&self, trace: &TraceId, info: &Map<String, Value>) {
        if !self.keys.is_empty() {
            let pairs = pairs(info);
            self.learn(trace, pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        }
    }

    /// Stands for a subject's value where the value itself must not stay.
    pub fn hash(&self, subject: &Subject) -> String {
        match Hmac::<Sha256>::new_from_slice(&self.hash_key) {
            Ok(mut mac) => {
                mac.update(subject.key.as_bytes());
                mac.update(&[0]);
                mac.update(subject.value.as_bytes());
                format!("hmac:{}", hex::encode(mac.finalize().into_bytes()))
            }
            Err(_) => "hmac:".to_owned(),
        }
    }

    /// Forgets that a subject is written already, after it was erased.
    pub fn forget(&self) {
        self.known.invalidate_all();
    }
}

/// Texts by key in the fields of a trace that hold tags and metadata, as maps or as lists of pairs.
pub fn pairs(info: &Map<String, Value>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for field in FIELDS {
        match crate::wire::json::field(info, field) {
            Ok(Some(Value::Object(map))) => found.extend(
                map.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))),
            ),
            Ok(Some(Value::Array(list))) => found.extend(list.iter().filter_map(|pair| {
                let text = |field: &str| pair.get(field)?.as_str().map(str::to_owned);
                Some((text("key")?, text("value")?))
            })),
            _ => {}
        }
    }
    found
}

impl App {
    /// Writes what was learnt of subjects to the audit index.
    pub async fn flush_subjects(&self) -> Result<(), AuditIndexError> {
        let _writing = self.subjects.writing.lock().await;
        let waiting = std::mem::take(&mut *self.subjects.waiting.lock());
        if waiting.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.records.index().learn_subjects(&waiting).await {
            let mut kept = self.subjects.waiting.lock();
            let room = MOST_WAITING.saturating_sub(kept.len());
            kept.extend(waiting.into_iter().take(room));
            return Err(error);
        }
        for fact in waiting {
            self.subjects.known.insert(fact, ());
        }
        Ok(())
    }

    /// Writes what is learnt again and again, until the task is aborted.
    pub async fn keep_subjects(self: std::sync::Arc<Self>) {
        loop {
            tokio::time::sleep(GATHER).await;
            if let Err(error) = self.flush_subjects().await {
                tracing::warn!(%error, "whose traces passed by waits for the audit index");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace() -> TraceId {
        TraceId::parse("tr-0af7651916cd43dd8448eb211c80319c").unwrap()
    }

    #[test]
    fn only_configured_keys_are_learnt_in_either_form() {
        let subjects = Subjects::new(&["user".into(), "session".into()], [1; 32]);
        for info in [
            serde_json::json!({"tags": {"user": "ann", "mood": "good"}, "traceMetadata": {"session": "s"}}),
            serde_json::json!({"tags": [{"key": "user", "value": "ben"}], "request_metadata": [{"key": "x", "value": "y"}]}),
            serde_json::json!({"tags": {"user": "", "session": 7}, "trace_metadata": null}),
        ] {
            subjects.learn_info(&trace(), info.as_object().unwrap());
        }
        let learnt: Vec<(String, String)> =
            subjects.waiting.lock().iter().map(|(s, _)| (s.key.clone(), s.value.clone())).collect();
        let expected = [("user", "ann"), ("session", "s"), ("user", "ben")];
        assert_eq!(learnt, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    #[test]
    fn what_waits_is_bounded() {
        let subjects = Subjects::new(&["user".into()], [1; 32]);
        for number in 0..MOST_WAITING + 10 {
            subjects.learn(&trace(), [("user", format!("u{number}").as_str())]);
        }
        subjects.learn(&trace(), [("user", "x".repeat(LONGEST_VALUE + 1).as_str())]);
        assert_eq!(subjects.waiting.lock().len(), MOST_WAITING);
    }

    #[test]
    fn a_hash_names_nobody_and_depends_on_key_value_and_secret() {
        let of = |key: &str, value: &str, secret| {
            let subject = Subject { key: key.into(), value: value.into() };
            Subjects::new(&[], [secret; 32]).hash(&subject)
        };
        assert_eq!(of("user", "ann", 1), of("user", "ann", 1));
        for other in
            [of("user", "ben", 1), of("session", "ann", 1), of("usera", "nn", 1), of("user", "ann", 2)]
        {
            assert_ne!(other, of("user", "ann", 1));
        }
        assert!(!of("user", "ann", 1).contains("ann"));
    }
}
