//! How records become rows: a whole batch is gathered by table and column, so that it goes to the
//! database in a few statements instead of thousands.

use std::collections::{BTreeMap, BTreeSet};

use super::columns::{Column, Table, text};
use super::shadowed::HOUR_MS;
use super::{Level, record_id};
use crate::access::{Event, EventKind, Sight, Verdict};
use crate::clock::UnixMillis;

const DAY_MS: i64 = 86_400_000;

/// A record of the spool, to be indexed.
#[derive(Debug, Clone)]
pub struct IndexRow {
    pub seq: u64,
    pub body: RowBody,
    /// The payload as it stands in the spool.
    pub json: String,
    /// The record's hash in its chain.
    pub hash: [u8; 32],
}

#[derive(Debug, Clone)]
pub enum RowBody {
    Event(Box<Event>),
    /// A record of the chain's own (`recovered`, `closed`), or one of a later version (`unreadable`).
    Chain {
        kind: &'static str,
        time: UnixMillis,
    },
}

/// First and last time, and how often.
struct Uses {
    first: i64,
    last: i64,
    times: i64,
}

pub struct Batch {
    replica: i64,
    pub events: Table,
    pub trace_ids: Table,
    pub securables: Table,
    /// Sorted, so that replicas that insert at once touch shared rows in one order and cannot deadlock.
    addresses: BTreeMap<(String, String), (i64, i64)>,
    grants: BTreeMap<i64, Uses>,
    days: BTreeMap<(i64, String, String, String, &'static str), i64>,
    /// By hour, and what [`Shadowed`](super::Shadowed) tells.
    shadowed: BTreeMap<(i64, [String; 5], bool), Uses>,
}

impl Batch {
    /// `replica` is the number of the replica whose records these are.
    pub fn of(replica: i64, records: &[IndexRow]) -> Self {
        let mut batch = Self {
            replica,
            events: Table::new(
                "audit_events",
                &[
                    "id",
                    "time_ms",
                    "kind",
                    "decision_id",
                    "principal",
                    "operation",
                    "decision",
                    "outcome",
                    "status",
                    "hash",
                    "json",
                    "actor",
                ],
                [
                    Column::numbers(),
                    Column::numbers(),
                    Column::texts(),
                    Column::texts(),
                    Column::texts(),
                    Column::texts(),
                    Column::texts(),
                    Column::texts(),
                    Column::numbers(),
                    Column::bytes(),
                    Column::texts(),
                    Column::texts(),
                ],
            ),
            trace_ids: Table::new(
                "audit_trace_ids",
                &["trace_id", "time_ms", "id", "level", "principal", "operation", "actor"],
                [
                    Column::texts(),
                    Column::numbers(),
                    Column::numbers(),
                    Column::numbers(),
                    Column::texts(),
                    Column::texts(),
                    Column::texts(),
                ],
            ),
            securables: Table::new(
                "audit_securables",
                &["securable", "time_ms", "id"],
                [Column::texts(), Column::numbers(), Column::numbers()],
            ),
            addresses: BTreeMap::new(),
            grants: BTreeMap::new(),
            days: BTreeMap::new(),
            shadowed: BTreeMap::new(),
        };
        for record in records {
            match &record.body {
                RowBody::Event(event) => batch.event(record, event),
                RowBody::Chain { kind, time } => batch.chain(record, kind, *time),
            }
        }
        batch
    }

    fn chain(&mut self, record: &IndexRow, kind: &str, time: UnixMillis) {
        let row = self.events.row();
        row[0].number(record_id(self.replica, record.seq));
        row[1].number(time.0);
        row[2].text(kind);
        for column in &mut row[3..9] {
            column.none();
        }
        row[9].blob(&record.hash);
        row[10].text(&record.json);
        row[11].none();
    }

    fn event(&mut self, record: &IndexRow, event: &Event) {
        let id = record_id(self.replica, record.seq);
        let time = event.time.0;
        let row = self.events.row();
        row[0].number(id);
        row[1].number(time);
        row[2].text(event.kind.as_str());
        row[3].text(&event.decision_id);
        row[4].maybe_text(event.principal.as_deref());
        row[5].text(&event.operation);
        row[6].text(event.decision.as_str());
        row[7].text(event.outcome.as_str());
        match event.status {
            Some(status) => row[8].number(status.into()),
            None => row[8].none(),
        }
        row[9].blob(&record.hash);
        row[10].text(&record.json);
        row[11].maybe_text(event.actor.as_deref());

        // An id named twice in one event is one row.
        let level = level(event);
        let listed = texts(&event.listed_trace_ids);
        for trace_id in texts(&event.trace_ids) {
            let level =
                if level == Level::Read && listed.contains(&trace_id) { Level::Listed } else { level };
            let row = self.trace_ids.row();
            row[0].text(&trace_id);
            row[1].number(time);
            row[2].number(id);
            row[3].number(level as i64);
            row[4].maybe_text(event.principal.as_deref());
            row[5].text(&event.operation);
            row[6].maybe_text(event.actor.as_deref());
        }
        let securables = texts(&event.securables);
        for securable in &securables {
            let row = self.securables.row();
            row[0].text(securable);
            row[1].number(time);
            row[2].number(id);
        }
        self.summarize(event, id, &securables);
    }

    /// What is counted, beside being kept.
    fn summarize(&mut self, event: &Event, id: i64, securables: &BTreeSet<String>) {
        let time = event.time.0;
        // The address is of whoever really called.
        let caller = event.actor.as_ref().or(event.principal.as_ref());
        if let (Some(caller), Some(address)) = (caller, &event.request.source_address) {
            let first = self.addresses.entry((text(caller), text(address))).or_insert((time, id));
            *first = (*first).min((time, id));
        }
        // Each call has one `complete` record.
        if event.kind != EventKind::Complete {
            return;
        }
        for grant in &event.deciding_grants {
            let uses = self.grants.entry(*grant).or_insert(Uses { first: time, last: time, times: 0 });
            uses.first = uses.first.min(time);
            uses.last = uses.last.max(time);
            uses.times += 1;
        }
        for missing in &event.shadowed {
            let nobody = event.proof.as_deref().is_some_and(|proof| proof.starts_with("anonymous:"));
            let address = event.request.source_address.as_deref().filter(|_| nobody).unwrap_or_default();
            let principal = event.principal.as_deref().unwrap_or_default();
            let key =
                [&missing.securable, principal, address, &event.operation, &missing.privilege].map(text);
            let uses = self.shadowed.entry((time.div_euclid(HOUR_MS), key, missing.narrows));
            let uses = uses.or_insert(Uses { first: time, last: time, times: 0 });
            uses.first = uses.first.min(time);
            uses.last = uses.last.max(time);
            uses.times += 1;
        }
        let nothing = String::new();
        let named: Vec<&String> =
            if securables.is_empty() { vec![&nothing] } else { securables.iter().collect() };
        for securable in named {
            let key = (
                time.div_euclid(DAY_MS),
                event.principal.as_deref().map(text).unwrap_or_default(),
                securable.clone(),
                text(&event.operation),
                event.decision.as_str(),
            );
            *self.days.entry(key).or_default() += 1;
        }
    }

    /// Every table that has rows, and what to do about rows that are there already.
    pub fn tables(self) -> Vec<(Table, &'static str)> {
        let mut addresses = Table::new(
            "audit_addresses",
            &["principal", "address", "first_ms", "id"],
            [Column::texts(), Column::texts(), Column::numbers(), Column::numbers()],
        );
        for ((principal, address), (first, id)) in &self.addresses {
            let row = addresses.row();
            row[0].text(principal);
            row[1].text(address);
            row[2].number(*first);
            row[3].number(*id);
        }
        let mut grants = Table::new(
            "audit_grant_uses",
            &["grant_id", "uses", "first_ms", "last_ms"],
            [Column::numbers(), Column::numbers(), Column::numbers(), Column::numbers()],
        );
        for (grant, uses) in &self.grants {
            let row = grants.row();
            row[0].number(*grant);
            row[1].number(uses.times);
            row[2].number(uses.first);
            row[3].number(uses.last);
        }
        let mut days = Table::new(
            "audit_days",
            &["day", "principal", "securable", "operation", "decision", "calls"],
            [
                Column::numbers(),
                Column::texts(),
                Column::texts(),
                Column::texts(),
                Column::texts(),
                Column::numbers(),
            ],
        );
        for ((day, principal, securable, operation, decision), calls) in &self.days {
            let row = days.row();
            row[0].number(*day);
            for (column, text) in row[1..5].iter_mut().zip([principal, securable, operation, *decision]) {
                column.text(text);
            }
            row[5].number(*calls);
        }
        let mut shadowed = Table::new(
            "audit_shadowed",
            &[
                "hour",
                "securable",
                "principal",
                "address",
                "operation",
                "privilege",
                "narrows",
                "calls",
                "first_ms",
                "last_ms",
            ],
            [
                Column::numbers(),
                Column::texts(),
                Column::texts(),
                Column::texts(),
                Column::texts(),
                Column::texts(),
                Column::numbers(),
                Column::numbers(),
                Column::numbers(),
                Column::numbers(),
            ],
        );
        for ((hour, key, narrows), uses) in &self.shadowed {
            let row = shadowed.row();
            row[0].number(*hour);
            for (column, text) in row[1..6].iter_mut().zip(key) {
                column.text(text);
            }
            row[6].number((*narrows).into());
            row[7].number(uses.times);
            row[8].number(uses.first);
            row[9].number(uses.last);
        }
        let mut tables = vec![
            (self.events, ""),
            (self.trace_ids, ""),
            (self.securables, ""),
            (
                addresses,
                "ON CONFLICT (principal, address) DO UPDATE SET first_ms = excluded.first_ms, id = excluded.id \
                 WHERE excluded.first_ms < audit_addresses.first_ms",
            ),
            (
                grants,
                "ON CONFLICT (grant_id) DO UPDATE SET uses = audit_grant_uses.uses + excluded.uses, \
                 first_ms = CASE WHEN excluded.first_ms < audit_grant_uses.first_ms THEN excluded.first_ms ELSE audit_grant_uses.first_ms END, \
                 last_ms = CASE WHEN excluded.last_ms > audit_grant_uses.last_ms THEN excluded.last_ms ELSE audit_grant_uses.last_ms END",
            ),
            (
                days,
                "ON CONFLICT (day, principal, securable, operation, decision) DO UPDATE SET calls = audit_days.calls + excluded.calls",
            ),
        ];
        tables.push((
            shadowed,
            "ON CONFLICT (hour, securable, principal, address, operation, privilege, narrows) DO UPDATE SET \
             calls = audit_shadowed.calls + excluded.calls, \
             first_ms = CASE WHEN excluded.first_ms < audit_shadowed.first_ms THEN excluded.first_ms ELSE audit_shadowed.first_ms END, \
             last_ms = CASE WHEN excluded.last_ms > audit_shadowed.last_ms THEN excluded.last_ms ELSE audit_shadowed.last_ms END",
        ));
        tables.retain(|(table, _)| table.rows() > 0);
        tables
    }
}

/// The UTC days on which records were made, as the first time of each.
pub fn days(records: &[IndexRow]) -> impl Iterator<Item = i64> {
    let day = |record: &IndexRow| match &record.body {
        RowBody::Event(event) => event.time.0.div_euclid(DAY_MS),
        RowBody::Chain { time, .. } => time.0.div_euclid(DAY_MS),
    };
    records.iter().map(day).collect::<BTreeSet<_>>().into_iter().map(|day| day * DAY_MS)
}

/// Distinct, in the form in which the database holds them: two ids that become one there are one row.
fn texts(values: &[String]) -> BTreeSet<String> {
    values.iter().map(|value| text(value)).collect()
}

/// What the caller got of the record's traces. Nothing is released by a refusal or a failure; a record
/// that does not say (written by an earlier version) counts as read rather than as unseen.
fn level(event: &Event) -> Level {
    let released = event.decision == Verdict::Allow && event.status.is_some_and(|status| status < 400);
    match event.sight {
        Some(Sight::Wrote) if event.decision == Verdict::Allow => Level::Wrote,
        Some(Sight::Read) if released => Level::Read,
        Some(Sight::Listed) if released => Level::Listed,
        None if event.decision == Verdict::Allow && event.status.is_none_or(|status| status < 400) => {
            Level::Read
        }
        _ => Level::Nothing,
    }
}
