-- Traces, their spans and their assessments.

CREATE TABLE traces (
    -- Ours, short: what the other tables refer to.
    trace_no          INTEGER PRIMARY KEY,
    trace_id          TEXT NOT NULL UNIQUE,
    experiment_id     INTEGER NOT NULL REFERENCES experiments (experiment_id),
    request_time      INTEGER NOT NULL,
    -- milliseconds; null while the trace runs
    duration          INTEGER,
    -- 'OK', 'ERROR', 'IN_PROGRESS' or 'STATE_UNSPECIFIED'
    state             TEXT NOT NULL,
    client_request_id TEXT,
    request_preview   TEXT,
    response_preview  TEXT,
    -- JSON objects of texts: all tags, all metadata. The truth; `trace_marks` finds by them.
    tags              TEXT NOT NULL DEFAULT '{}',
    metadata          TEXT NOT NULL DEFAULT '{}',
    -- What `metadata` says of tokens and cost, as numbers, for sums.
    input_tokens      INTEGER,
    output_tokens     INTEGER,
    total_tokens      INTEGER,
    cache_read_input_tokens               INTEGER,
    cache_creation_input_tokens           INTEGER,
    cache_creation_input_tokens_above_1hr INTEGER,
    input_cost        REAL,
    output_cost       REAL,
    total_cost        REAL,
    -- What merging needs that came in several requests, in any order. 1: a StartTrace came, and it gave
    -- tokens (2) and cost (4). The span of time that exports of spans gave; the keys of tags that came from
    -- spans, as a JSON list.
    head              INTEGER NOT NULL DEFAULT 0,
    spans_start       INTEGER,
    spans_end         INTEGER,
    span_tags         TEXT
);
-- The order that searches ask for, and the tie-break that makes pages stable.
CREATE INDEX traces_by_time ON traces (experiment_id, request_time DESC, trace_id);

-- Finds traces by a tag or a metadata value. `value` is its first 256 characters: who looks for a longer
-- one compares with the truth as well.
CREATE TABLE trace_marks (
    trace_no      INTEGER NOT NULL REFERENCES traces (trace_no) ON DELETE CASCADE,
    -- 0: a tag, 1: metadata
    kind          INTEGER NOT NULL,
    key           TEXT NOT NULL,
    value         TEXT NOT NULL,
    experiment_id INTEGER NOT NULL,
    request_time  INTEGER NOT NULL,
    PRIMARY KEY (trace_no, kind, key)
) WITHOUT ROWID;
CREATE INDEX trace_marks_by_value ON trace_marks (experiment_id, kind, key, value, request_time DESC);

CREATE TABLE spans (
    trace_no       INTEGER NOT NULL REFERENCES traces (trace_no) ON DELETE CASCADE,
    -- 16 hex digits
    span_id        TEXT NOT NULL,
    parent_span_id TEXT,
    name           TEXT NOT NULL,
    type           TEXT,
    -- 'OK', 'ERROR' or 'UNSET'
    status         TEXT NOT NULL,
    -- nanoseconds since 1970; the end is null while the span runs
    start_time     INTEGER NOT NULL,
    end_time       INTEGER,
    model_name     TEXT,
    model_provider TEXT,
    input_cost     REAL,
    output_cost    REAL,
    total_cost     REAL,
    -- a JSON object of token counts
    usage          TEXT,
    -- The span as JSON, in the form in which MLflow's SDK reads it; null if it lies in `payload`.
    content        TEXT,
    -- Where a large one lies beside the database: the object, the first byte, and how many.
    payload        TEXT,
    payload_offset INTEGER,
    payload_length INTEGER,
    PRIMARY KEY (trace_no, span_id)
);
CREATE INDEX spans_by_payload ON spans (payload) WHERE payload IS NOT NULL;

-- A trace's assessments, in the order in which they came.
CREATE TABLE assessments (
    assessment_id   TEXT PRIMARY KEY,
    trace_no        INTEGER NOT NULL REFERENCES traces (trace_no) ON DELETE CASCADE,
    name            TEXT NOT NULL,
    -- 'feedback', 'expectation' or 'issue'
    kind            TEXT NOT NULL,
    -- JSON
    value           TEXT NOT NULL,
    error           TEXT,
    span_id         TEXT,
    run_id          TEXT,
    source_type     TEXT NOT NULL,
    source_id       TEXT,
    rationale       TEXT,
    -- a JSON object of texts
    metadata        TEXT,
    -- the assessment that this one replaces
    overrides       TEXT,
    valid           INTEGER NOT NULL DEFAULT 1,
    -- The value as a number, for means: booleans and yes/no count as 1 and 0 but are not numeric.
    aggregate_value  REAL,
    is_numeric_value INTEGER NOT NULL DEFAULT 0,
    created_time    INTEGER NOT NULL,
    last_updated_time INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX assessments_by_trace ON assessments (trace_no, created_time);
CREATE INDEX assessments_by_name ON assessments (name, trace_no);

-- Traces linked to runs (other than by their metadata `mlflow.sourceRun`) and to versions of prompts.
CREATE TABLE trace_links (
    trace_no INTEGER NOT NULL REFERENCES traces (trace_no) ON DELETE CASCADE,
    -- 'run' or 'prompt'
    kind     TEXT NOT NULL,
    -- a run's id; a prompt's `name/version`
    target   TEXT NOT NULL,
    PRIMARY KEY (trace_no, kind, target)
) WITHOUT ROWID;
CREATE INDEX trace_links_by_target ON trace_links (kind, target, trace_no);
