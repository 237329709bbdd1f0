-- Logged models, and the registry of models and prompts.

CREATE TABLE logged_models (
    -- Ours, short: what the other tables refer to.
    model_no          INTEGER PRIMARY KEY,
    -- `m-` and 32 hex digits
    model_id          TEXT NOT NULL UNIQUE,
    experiment_id     INTEGER NOT NULL REFERENCES experiments (experiment_id),
    name              TEXT NOT NULL,
    artifact_location TEXT NOT NULL,
    creation_time     INTEGER NOT NULL,
    last_update_time  INTEGER NOT NULL,
    -- 0 unspecified, 1 pending, 2 ready, 3 upload failed
    status            INTEGER NOT NULL,
    -- 'active' or 'deleted'
    lifecycle_stage   TEXT NOT NULL,
    -- empty if there is none, as is `source_run_id`
    model_type        TEXT NOT NULL,
    source_run_id     TEXT NOT NULL
);
-- The order that searches ask for, and the tie-break that makes pages stable.
CREATE INDEX logged_models_by_time ON logged_models (experiment_id, creation_time DESC, model_id);

CREATE TABLE logged_model_tags (
    model_no INTEGER NOT NULL REFERENCES logged_models (model_no) ON DELETE CASCADE,
    key      TEXT NOT NULL,
    value    TEXT NOT NULL,
    PRIMARY KEY (model_no, key)
) WITHOUT ROWID;

CREATE TABLE logged_model_params (
    model_no INTEGER NOT NULL REFERENCES logged_models (model_no) ON DELETE CASCADE,
    key      TEXT NOT NULL,
    value    TEXT NOT NULL,
    PRIMARY KEY (model_no, key)
) WITHOUT ROWID;

-- Models that have versions. A prompt is one that has the tag `mlflow.prompt.is_prompt`.
CREATE TABLE registered_models (
    model_no         INTEGER PRIMARY KEY,
    name             TEXT NOT NULL UNIQUE,
    description      TEXT NOT NULL,
    creation_time    INTEGER NOT NULL,
    last_update_time INTEGER NOT NULL,
    -- The highest number that a version ever had: a deleted one's is not given again.
    last_version     INTEGER NOT NULL
);
CREATE INDEX registered_models_by_time ON registered_models (last_update_time, name);

CREATE TABLE registered_model_tags (
    model_no INTEGER NOT NULL REFERENCES registered_models (model_no) ON DELETE CASCADE,
    key      TEXT NOT NULL,
    value    TEXT NOT NULL,
    PRIMARY KEY (model_no, key)
) WITHOUT ROWID;

CREATE TABLE model_versions (
    version_no       INTEGER PRIMARY KEY,
    model_no         INTEGER NOT NULL REFERENCES registered_models (model_no) ON DELETE CASCADE,
    version          INTEGER NOT NULL,
    creation_time    INTEGER NOT NULL,
    last_update_time INTEGER NOT NULL,
    description      TEXT,
    -- 'None', 'Staging', 'Production' or 'Archived'
    stage            TEXT NOT NULL,
    source           TEXT NOT NULL,
    -- What the source led to when the version was made.
    storage_location TEXT NOT NULL,
    -- empty if there is none, as is `run_link`
    run_id           TEXT NOT NULL,
    run_link         TEXT NOT NULL,
    UNIQUE (model_no, version)
);
-- Finds the latest version of each stage.
CREATE INDEX model_versions_by_stage ON model_versions (model_no, stage, version);
CREATE INDEX model_versions_by_run ON model_versions (run_id);
-- The order that searches ask for.
CREATE INDEX model_versions_by_time ON model_versions (last_update_time DESC);

CREATE TABLE model_version_tags (
    version_no INTEGER NOT NULL REFERENCES model_versions (version_no) ON DELETE CASCADE,
    key        TEXT NOT NULL,
    value      TEXT NOT NULL,
    PRIMARY KEY (version_no, key)
) WITHOUT ROWID;
-- Searches leave prompts out unless they are asked for.
CREATE INDEX model_version_prompts ON model_version_tags (version_no)
    WHERE key = 'mlflow.prompt.is_prompt' AND value = 'true';

CREATE TABLE registered_model_aliases (
    model_no INTEGER NOT NULL REFERENCES registered_models (model_no) ON DELETE CASCADE,
    alias    TEXT NOT NULL,
    version  INTEGER NOT NULL,
    PRIMARY KEY (model_no, alias)
) WITHOUT ROWID;
CREATE INDEX registered_model_aliases_by_version ON registered_model_aliases (model_no, version);
