-- What makes searching traces fast beside the order of time.

CREATE INDEX traces_by_state ON traces (experiment_id, state, request_time DESC, trace_id);
CREATE INDEX spans_by_name ON spans (name, trace_no);
-- Assessments that count for all traces of their session.
CREATE INDEX assessments_of_sessions ON assessments (name, trace_no)
    WHERE instr(metadata, '"mlflow.trace.session":') > 0;

-- Traces whose spans changed since they were put into the index of content, which is a database of its own
-- beside this one. A change while a trace is being indexed gives it a new number, so that it stays.
CREATE TABLE content_pending (
    change   INTEGER PRIMARY KEY AUTOINCREMENT,
    trace_no INTEGER NOT NULL UNIQUE
);
CREATE TRIGGER content_added AFTER INSERT ON spans BEGIN
    DELETE FROM content_pending WHERE trace_no = NEW.trace_no;
    INSERT INTO content_pending (trace_no) VALUES (NEW.trace_no);
END;
CREATE TRIGGER content_changed AFTER UPDATE OF content, payload, payload_offset, payload_length ON spans BEGIN
    DELETE FROM content_pending WHERE trace_no = NEW.trace_no;
    INSERT INTO content_pending (trace_no) VALUES (NEW.trace_no);
END;
CREATE TRIGGER content_removed AFTER DELETE ON traces BEGIN
    DELETE FROM content_pending WHERE trace_no = OLD.trace_no;
    INSERT INTO content_pending (trace_no) VALUES (OLD.trace_no);
END;
-- The index that the numbers above are for; another one begins with all traces.
CREATE TABLE content_index (
    id TEXT NOT NULL
);
