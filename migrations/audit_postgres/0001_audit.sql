-- The audit index: what the spool holds, by the questions that people ask. The spool is the truth;
-- this can be dropped and filled again from it.

CREATE TABLE audit_events (
    replica     TEXT COLLATE "C" NOT NULL,
    seq         BIGINT NOT NULL,
    time_ms     BIGINT NOT NULL,
    kind        TEXT NOT NULL,
    decision_id TEXT COLLATE "C",
    principal   TEXT COLLATE "C",
    operation   TEXT COLLATE "C",
    decision    TEXT,
    outcome     TEXT,
    status      BIGINT,
    json        TEXT NOT NULL,
    PRIMARY KEY (replica, seq)
);

CREATE INDEX audit_events_by_time ON audit_events (time_ms, replica, seq);
CREATE INDEX audit_events_by_principal ON audit_events (principal, time_ms, replica, seq);
CREATE INDEX audit_events_by_operation ON audit_events (operation, time_ms, replica, seq);
CREATE INDEX audit_events_by_decision_id ON audit_events (decision_id);
-- Refusals are few, so that looking for them among everything else would be slow.
CREATE INDEX audit_events_denied ON audit_events (time_ms, replica, seq) WHERE decision = 'deny';

CREATE TABLE audit_trace_ids (
    trace_id    TEXT COLLATE "C" NOT NULL,
    time_ms     BIGINT NOT NULL,
    replica     TEXT COLLATE "C" NOT NULL,
    seq         BIGINT NOT NULL,
    PRIMARY KEY (trace_id, time_ms, replica, seq)
);

CREATE TABLE audit_securables (
    securable   TEXT COLLATE "C" NOT NULL,
    time_ms     BIGINT NOT NULL,
    replica     TEXT COLLATE "C" NOT NULL,
    seq         BIGINT NOT NULL,
    PRIMARY KEY (securable, time_ms, replica, seq)
);

-- How far each replica's spool has been taken in: its last record here and that record's hash. Moved
-- in the transaction that inserts the records, so that none is taken twice or left out.
CREATE TABLE audit_positions (
    replica     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    seq         BIGINT NOT NULL,
    hash        BYTEA NOT NULL
);
