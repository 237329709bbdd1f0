-- Experiments of the embedded store. Its tables are those of MLflow's API, not of MLflow's database.

-- `0` is the default experiment. AUTOINCREMENT: an id is never given twice, whatever is deleted.
CREATE TABLE experiments (
    experiment_id     INTEGER PRIMARY KEY AUTOINCREMENT,
    name              TEXT NOT NULL UNIQUE,
    artifact_location TEXT NOT NULL,
    -- 'active' or 'deleted'
    lifecycle_stage   TEXT NOT NULL,
    -- milliseconds since 1970, as all times unless a column says otherwise
    creation_time     INTEGER NOT NULL,
    last_update_time  INTEGER NOT NULL
);

CREATE TABLE experiment_tags (
    experiment_id INTEGER NOT NULL REFERENCES experiments (experiment_id),
    key           TEXT NOT NULL,
    value         TEXT NOT NULL,
    PRIMARY KEY (experiment_id, key)
) WITHOUT ROWID;
