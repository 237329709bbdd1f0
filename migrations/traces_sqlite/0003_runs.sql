-- Runs, what was logged to them, and what they read and made.

CREATE TABLE runs (
    -- Ours, short: what the other tables refer to.
    run_no          INTEGER PRIMARY KEY,
    run_id          TEXT NOT NULL UNIQUE,
    experiment_id   INTEGER NOT NULL REFERENCES experiments (experiment_id),
    -- The tag `mlflow.runName` is kept in step with it.
    name            TEXT NOT NULL,
    user_id         TEXT NOT NULL,
    -- 'RUNNING', 'SCHEDULED', 'FINISHED', 'FAILED' or 'KILLED'
    status          TEXT NOT NULL,
    start_time      INTEGER NOT NULL,
    end_time        INTEGER,
    -- 'active' or 'deleted'
    lifecycle_stage TEXT NOT NULL,
    deleted_time    INTEGER,
    artifact_uri    TEXT NOT NULL
);
-- The order that searches ask for, and the tie-break that makes pages stable.
CREATE INDEX runs_by_time ON runs (experiment_id, start_time DESC, run_id);

CREATE TABLE run_params (
    run_no INTEGER NOT NULL REFERENCES runs (run_no) ON DELETE CASCADE,
    key    TEXT NOT NULL,
    value  TEXT NOT NULL,
    PRIMARY KEY (run_no, key)
) WITHOUT ROWID;

CREATE TABLE run_tags (
    run_no INTEGER NOT NULL REFERENCES runs (run_no) ON DELETE CASCADE,
    key    TEXT NOT NULL,
    value  TEXT NOT NULL,
    PRIMARY KEY (run_no, key)
) WITHOUT ROWID;

-- The latest value of each metric: that of the highest step, then time, then value.
CREATE TABLE run_metrics (
    run_no INTEGER NOT NULL REFERENCES runs (run_no) ON DELETE CASCADE,
    key    TEXT NOT NULL,
    -- 0 if it is not a number, the largest or smallest number if it is infinite
    value  REAL NOT NULL,
    time   INTEGER NOT NULL,
    step   INTEGER NOT NULL,
    -- 0 or 1
    is_nan INTEGER NOT NULL,
    PRIMARY KEY (run_no, key)
) WITHOUT ROWID;

-- Every value that was ever logged. The key is the order of MLflow's histories, so that a page of one is a
-- range; the same value logged twice is one row.
CREATE TABLE metric_history (
    run_no INTEGER NOT NULL REFERENCES runs (run_no) ON DELETE CASCADE,
    key    TEXT NOT NULL,
    time   INTEGER NOT NULL,
    step   INTEGER NOT NULL,
    value  REAL NOT NULL,
    is_nan INTEGER NOT NULL,
    PRIMARY KEY (run_no, key, time, step, value, is_nan)
) WITHOUT ROWID;

-- Values that were logged with a model: what a logged model says of its metrics.
CREATE TABLE logged_model_metrics (
    model_id       TEXT NOT NULL,
    key            TEXT NOT NULL,
    time           INTEGER NOT NULL,
    step           INTEGER NOT NULL,
    run_id         TEXT NOT NULL REFERENCES runs (run_id) ON DELETE CASCADE,
    -- as in `metric_history`
    value          REAL NOT NULL,
    -- that of the run
    experiment_id  INTEGER NOT NULL REFERENCES experiments (experiment_id),
    dataset_name   TEXT,
    dataset_digest TEXT,
    PRIMARY KEY (model_id, key, time, step, run_id)
) WITHOUT ROWID;

-- The data sets that runs of an experiment read. (`evaluation_datasets` are another thing.)
CREATE TABLE run_datasets (
    dataset_no    INTEGER PRIMARY KEY,
    experiment_id INTEGER NOT NULL REFERENCES experiments (experiment_id),
    name          TEXT NOT NULL,
    digest        TEXT NOT NULL,
    source_type   TEXT NOT NULL,
    source        TEXT NOT NULL,
    schema        TEXT,
    profile       TEXT,
    UNIQUE (experiment_id, name, digest)
);

CREATE TABLE run_inputs (
    run_no     INTEGER NOT NULL REFERENCES runs (run_no) ON DELETE CASCADE,
    dataset_no INTEGER NOT NULL REFERENCES run_datasets (dataset_no),
    PRIMARY KEY (run_no, dataset_no)
) WITHOUT ROWID;
CREATE INDEX run_inputs_by_dataset ON run_inputs (dataset_no);

CREATE TABLE run_input_tags (
    run_no     INTEGER NOT NULL,
    dataset_no INTEGER NOT NULL,
    key        TEXT NOT NULL,
    value      TEXT NOT NULL,
    PRIMARY KEY (run_no, dataset_no, key),
    FOREIGN KEY (run_no, dataset_no) REFERENCES run_inputs (run_no, dataset_no) ON DELETE CASCADE
) WITHOUT ROWID;

-- The logged models that a run read or made.
CREATE TABLE run_models (
    run_no   INTEGER NOT NULL REFERENCES runs (run_no) ON DELETE CASCADE,
    -- 'input' or 'output'
    role     TEXT NOT NULL,
    model_id TEXT NOT NULL,
    step     INTEGER NOT NULL,
    PRIMARY KEY (run_no, role, model_id)
) WITHOUT ROWID;

-- Deleting a run deletes what it said of traces.
CREATE INDEX assessments_by_run ON assessments (run_id) WHERE run_id IS NOT NULL;
