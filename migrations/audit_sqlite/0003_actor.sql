-- Who called on behalf of a record's principal, so that what somebody did and who saw a trace find both. No
-- record that was written before has one.

ALTER TABLE audit_events ADD COLUMN actor TEXT;
ALTER TABLE audit_trace_ids ADD COLUMN actor TEXT;

CREATE INDEX audit_events_by_actor ON audit_events (actor, time_ms) WHERE actor IS NOT NULL;
