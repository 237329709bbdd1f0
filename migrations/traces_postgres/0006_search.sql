-- What makes searching traces fast beside the order of time.

CREATE INDEX traces_by_state ON traces (experiment_id, state, request_time DESC, trace_id);
CREATE INDEX spans_by_name ON spans (name, trace_no);
-- Assessments that count for all traces of their session.
CREATE INDEX assessments_of_sessions ON assessments (name, trace_no)
    WHERE strpos(metadata, '"mlflow.trace.session":') > 0;

-- The content of spans by groups of three characters, where the database has them. Whoever may not make the
-- extension is told by a slow search, not by a start that fails.
DO $$
BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm;
    CREATE INDEX spans_by_content ON spans USING gin (content gin_trgm_ops);
EXCEPTION WHEN OTHERS THEN
    RAISE NOTICE 'no index of content: %', SQLERRM;
END
$$;
