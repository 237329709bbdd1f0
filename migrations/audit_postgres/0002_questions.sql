-- The index anew, by the questions that people ask of it: who saw this trace, what did this person do,
-- what was refused, what changed. A record's `id` is its replica's number and its seq in one integer, so
-- that every index ends in eight bytes and not in a name. What grows is partitioned by month (UTC); what
-- no partition is made for lands in the default one. What the index held before is kept.

ALTER TABLE audit_positions ADD COLUMN number BIGSERIAL;
CREATE UNIQUE INDEX audit_positions_by_number ON audit_positions (number);

ALTER TABLE audit_events RENAME TO audit_events_1;
ALTER TABLE audit_trace_ids RENAME TO audit_trace_ids_1;
ALTER TABLE audit_securables RENAME TO audit_securables_1;
ALTER TABLE audit_events_1 DROP CONSTRAINT audit_events_pkey;
ALTER TABLE audit_trace_ids_1 DROP CONSTRAINT audit_trace_ids_pkey;
ALTER TABLE audit_securables_1 DROP CONSTRAINT audit_securables_pkey;
DROP INDEX audit_events_by_time;
DROP INDEX audit_events_by_principal;
DROP INDEX audit_events_by_operation;
DROP INDEX audit_events_by_decision_id;
DROP INDEX audit_events_denied;

CREATE TABLE audit_events (
    -- number of the replica << 40 | seq
    id          BIGINT NOT NULL,
    time_ms     BIGINT NOT NULL,
    kind        TEXT NOT NULL,
    decision_id TEXT COLLATE "C",
    principal   TEXT COLLATE "C",
    operation   TEXT COLLATE "C",
    decision    TEXT,
    outcome     TEXT,
    status      BIGINT,
    -- The record's hash in its replica's chain.
    hash        BYTEA,
    json        TEXT NOT NULL,
    PRIMARY KEY (id, time_ms)
) PARTITION BY RANGE (time_ms);

-- What a trace's readers got of it, by this record: 0 nothing, 1 wrote, 2 listed, 3 read.
CREATE TABLE audit_trace_ids (
    trace_id    TEXT COLLATE "C" NOT NULL,
    time_ms     BIGINT NOT NULL,
    id          BIGINT NOT NULL,
    level       BIGINT NOT NULL,
    principal   TEXT COLLATE "C",
    operation   TEXT COLLATE "C",
    PRIMARY KEY (trace_id, time_ms, id)
) PARTITION BY RANGE (time_ms);

CREATE TABLE audit_securables (
    securable   TEXT COLLATE "C" NOT NULL,
    time_ms     BIGINT NOT NULL,
    id          BIGINT NOT NULL,
    PRIMARY KEY (securable, time_ms, id)
) PARTITION BY RANGE (time_ms);

CREATE TABLE audit_events_default PARTITION OF audit_events DEFAULT;
CREATE TABLE audit_trace_ids_default PARTITION OF audit_trace_ids DEFAULT;
CREATE TABLE audit_securables_default PARTITION OF audit_securables DEFAULT;

-- Whose a trace is, by its own tags and metadata. Not part of the record: it can be erased.
CREATE TABLE audit_subjects (
    key         TEXT COLLATE "C" NOT NULL,
    value       TEXT COLLATE "C" NOT NULL,
    trace_id    TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (key, value, trace_id)
);

-- From where each principal was seen, first.
CREATE TABLE audit_addresses (
    principal   TEXT COLLATE "C" NOT NULL,
    address     TEXT COLLATE "C" NOT NULL,
    first_ms    BIGINT NOT NULL,
    id          BIGINT NOT NULL,
    PRIMARY KEY (principal, address)
);
CREATE INDEX audit_addresses_by_time ON audit_addresses (first_ms, principal, address);

CREATE TABLE audit_grant_uses (
    grant_id    BIGINT NOT NULL PRIMARY KEY,
    uses        BIGINT NOT NULL,
    first_ms    BIGINT NOT NULL,
    last_ms     BIGINT NOT NULL
);

-- Calls counted by UTC day.
CREATE TABLE audit_days (
    day         BIGINT NOT NULL,
    principal   TEXT COLLATE "C" NOT NULL,
    securable   TEXT COLLATE "C" NOT NULL,
    operation   TEXT COLLATE "C" NOT NULL,
    decision    TEXT COLLATE "C" NOT NULL,
    calls       BIGINT NOT NULL,
    PRIMARY KEY (day, principal, securable, operation, decision)
);

-- Makes the partitions of the month in which a time lies, if they are not there.
CREATE FUNCTION audit_partition(of_ms BIGINT) RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE
    month TIMESTAMP := date_trunc('month', to_timestamp(of_ms / 1000.0) AT TIME ZONE 'UTC');
    first BIGINT := CAST(extract(epoch FROM month) * 1000 AS BIGINT);
    next BIGINT := CAST(extract(epoch FROM month + INTERVAL '1 month') * 1000 AS BIGINT);
    name TEXT;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('tracegate audit partitions'));
    FOREACH name IN ARRAY ARRAY['audit_events', 'audit_trace_ids', 'audit_securables'] LOOP
        IF to_regclass(name || to_char(month, '_YYYY_MM')) IS NULL THEN
            EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%s) TO (%s)',
                name || to_char(month, '_YYYY_MM'), name, first, next);
        END IF;
    END LOOP;
END $$;

SELECT audit_partition(month) FROM (
    SELECT DISTINCT CAST(extract(epoch FROM date_trunc('month', to_timestamp(time_ms / 1000.0) AT TIME ZONE 'UTC')) * 1000 AS BIGINT) AS month
    FROM audit_events_1 WHERE time_ms BETWEEN 0 AND 7258118400000
) months;

INSERT INTO audit_events
SELECT p.number << 40 | e.seq, e.time_ms, e.kind, e.decision_id, e.principal, e.operation, e.decision, e.outcome, e.status, NULL, e.json
FROM audit_events_1 e JOIN audit_positions p ON p.replica = e.replica;

-- Earlier records do not say what was released: an allowed reading counts as read.
INSERT INTO audit_trace_ids
SELECT t.trace_id, t.time_ms, p.number << 40 | t.seq,
    CASE WHEN e.decision = 'allow' AND e.outcome IN ('pending', 'success', 'interrupted') AND e.operation IN
        ('trace.get', 'trace.info', 'trace.info_v2', 'trace.batch_get', 'trace.batch_info', 'trace.artifact', 'trace.artifact_v2', 'trace.search', 'trace.search_v2')
        THEN 3 ELSE 0 END,
    e.principal, e.operation
FROM audit_trace_ids_1 t JOIN audit_positions p ON p.replica = t.replica
JOIN audit_events_1 e ON e.replica = t.replica AND e.seq = t.seq;

INSERT INTO audit_securables
SELECT s.securable, s.time_ms, p.number << 40 | s.seq FROM audit_securables_1 s JOIN audit_positions p ON p.replica = s.replica;

INSERT INTO audit_addresses
SELECT principal, CAST(json AS JSON) #>> '{request,source_address}', MIN(time_ms), MIN(id) FROM audit_events
WHERE principal IS NOT NULL AND CAST(json AS JSON) #>> '{request,source_address}' IS NOT NULL GROUP BY 1, 2;

INSERT INTO audit_grant_uses
SELECT CAST(g.value AS BIGINT), COUNT(*), MIN(e.time_ms), MAX(e.time_ms)
FROM audit_events e, json_array_elements_text(CAST(e.json AS JSON) -> 'deciding_grants') g
WHERE e.kind = 'complete' GROUP BY 1;

INSERT INTO audit_days
SELECT e.time_ms / 86400000, COALESCE(e.principal, ''), COALESCE(s.securable, ''), e.operation, e.decision, COUNT(*)
FROM audit_events e LEFT JOIN audit_securables s ON s.id = e.id AND s.time_ms = e.time_ms WHERE e.kind = 'complete' GROUP BY 1, 2, 3, 4, 5;

DROP TABLE audit_events_1;
DROP TABLE audit_trace_ids_1;
DROP TABLE audit_securables_1;

CREATE INDEX audit_events_by_time ON audit_events (time_ms, id);
CREATE INDEX audit_events_by_principal ON audit_events (principal, time_ms, id);
CREATE INDEX audit_events_by_operation ON audit_events (operation, time_ms, id);
CREATE INDEX audit_events_by_decision_id ON audit_events (decision_id);
-- What is rare has indexes of its own: looking for it among everything else would be slow.
CREATE INDEX audit_events_denied ON audit_events (time_ms, id) WHERE decision = 'deny';
CREATE INDEX audit_events_denied_by_principal ON audit_events (principal, time_ms, id) WHERE decision = 'deny';
CREATE INDEX audit_events_policy ON audit_events (time_ms, id) WHERE kind = 'policy_change';
CREATE INDEX audit_events_unidentified ON audit_events (time_ms, id) WHERE status = 401;
