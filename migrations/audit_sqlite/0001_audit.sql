-- The audit index: what the spool holds, by the questions that people ask. The spool is the truth;
-- this can be dropped and filled again from it.

CREATE TABLE audit_events (
    replica     TEXT NOT NULL,
    seq         INTEGER NOT NULL,
    time_ms     INTEGER NOT NULL,
    kind        TEXT NOT NULL,
    decision_id TEXT,
    principal   TEXT,
    operation   TEXT,
    decision    TEXT,
    outcome     TEXT,
    status      INTEGER,
    json        TEXT NOT NULL,
    PRIMARY KEY (replica, seq)
) WITHOUT ROWID;

CREATE INDEX audit_events_by_time ON audit_events (time_ms, replica, seq);
CREATE INDEX audit_events_by_principal ON audit_events (principal, time_ms, replica, seq);
CREATE INDEX audit_events_by_operation ON audit_events (operation, time_ms, replica, seq);
CREATE INDEX audit_events_by_decision_id ON audit_events (decision_id);
-- Refusals are few, so that looking for them among everything else would be slow.
CREATE INDEX audit_events_denied ON audit_events (time_ms, replica, seq) WHERE decision = 'deny';

CREATE TABLE audit_trace_ids (
    trace_id    TEXT NOT NULL,
    time_ms     INTEGER NOT NULL,
    replica     TEXT NOT NULL,
    seq         INTEGER NOT NULL,
    PRIMARY KEY (trace_id, time_ms, replica, seq)
) WITHOUT ROWID;

CREATE TABLE audit_securables (
    securable   TEXT NOT NULL,
    time_ms     INTEGER NOT NULL,
    replica     TEXT NOT NULL,
    seq         INTEGER NOT NULL,
    PRIMARY KEY (securable, time_ms, replica, seq)
) WITHOUT ROWID;

-- How far each replica's spool has been taken in: its last record here and that record's hash. Moved
-- in the transaction that inserts the records, so that none is taken twice or left out.
CREATE TABLE audit_positions (
    replica     TEXT NOT NULL PRIMARY KEY,
    seq         INTEGER NOT NULL,
    hash        BLOB NOT NULL
) WITHOUT ROWID;
