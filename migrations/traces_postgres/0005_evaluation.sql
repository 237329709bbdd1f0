-- What evaluation needs beside traces, and uploads on their way.

-- Files that arrive in parts.
CREATE TABLE artifact_uploads (
    upload_id    TEXT PRIMARY KEY,
    -- what the caller was authorized for when the upload began
    directory    TEXT NOT NULL,
    path         TEXT NOT NULL,
    created_time BIGINT NOT NULL,
    completed    BIGINT NOT NULL
);
CREATE INDEX artifact_uploads_by_time ON artifact_uploads (created_time);

CREATE TABLE scorers (
    scorer_id     TEXT PRIMARY KEY,
    experiment_id BIGINT NOT NULL REFERENCES experiments (experiment_id),
    name          TEXT NOT NULL,
    UNIQUE (experiment_id, name)
);

CREATE TABLE scorer_versions (
    scorer_id     TEXT NOT NULL REFERENCES scorers (scorer_id) ON DELETE CASCADE,
    version       BIGINT NOT NULL,
    -- JSON, as it was registered
    serialized    TEXT NOT NULL,
    creation_time BIGINT NOT NULL,
    PRIMARY KEY (scorer_id, version)
);

-- How a scorer is to be applied to new traces: one configuration each.
CREATE TABLE scorer_configs (
    scorer_id     TEXT PRIMARY KEY REFERENCES scorers (scorer_id) ON DELETE CASCADE,
    config_id     TEXT NOT NULL,
    sample_rate   DOUBLE PRECISION NOT NULL,
    filter_string TEXT
);

-- The questions that reviewers are asked.
CREATE TABLE label_schemas (
    schema_id        TEXT PRIMARY KEY,
    experiment_id    BIGINT NOT NULL REFERENCES experiments (experiment_id),
    name             TEXT NOT NULL,
    -- 'FEEDBACK' or 'EXPECTATION'
    type             TEXT NOT NULL,
    instruction      TEXT,
    enable_comment   BIGINT NOT NULL,
    -- JSON: how it is answered
    input            TEXT NOT NULL,
    created_time     BIGINT NOT NULL,
    last_update_time BIGINT NOT NULL,
    -- the one question that every experiment has
    is_default       BIGINT NOT NULL,
    UNIQUE (experiment_id, name)
);
CREATE INDEX label_schemas_by_time ON label_schemas (experiment_id, created_time DESC, schema_id);

CREATE TABLE review_queues (
    queue_id         TEXT PRIMARY KEY,
    experiment_id    BIGINT NOT NULL REFERENCES experiments (experiment_id),
    name             TEXT NOT NULL,
    -- the name in lower case, by which it is unique
    name_key         TEXT NOT NULL,
    -- 'USER' or 'CUSTOM'
    type             TEXT NOT NULL,
    created_by       TEXT,
    creation_time    BIGINT NOT NULL,
    last_update_time BIGINT NOT NULL,
    UNIQUE (experiment_id, name_key)
);
CREATE INDEX review_queues_by_time ON review_queues (experiment_id, creation_time DESC, queue_id);

CREATE TABLE review_queue_users (
    queue_id TEXT NOT NULL REFERENCES review_queues (queue_id) ON DELETE CASCADE,
    user_id  TEXT NOT NULL,
    PRIMARY KEY (queue_id, user_id)
);
CREATE INDEX review_queue_users_by_user ON review_queue_users (user_id);

-- A queue may name a question that was deleted since.
CREATE TABLE review_queue_schemas (
    queue_id  TEXT NOT NULL REFERENCES review_queues (queue_id) ON DELETE CASCADE,
    schema_id TEXT NOT NULL,
    PRIMARY KEY (queue_id, schema_id)
);

CREATE TABLE review_queue_items (
    queue_id         TEXT NOT NULL REFERENCES review_queues (queue_id) ON DELETE CASCADE,
    item_id          TEXT NOT NULL REFERENCES traces (trace_id) ON DELETE CASCADE,
    -- 'PENDING', 'COMPLETE' or 'DECLINED'
    status           TEXT NOT NULL,
    completed_by     TEXT,
    completed_time   BIGINT,
    creation_time    BIGINT NOT NULL,
    last_update_time BIGINT NOT NULL,
    PRIMARY KEY (queue_id, item_id)
);
CREATE INDEX review_queue_items_by_time ON review_queue_items (queue_id, creation_time DESC, item_id);
CREATE INDEX review_queue_items_by_item ON review_queue_items (item_id);

CREATE TABLE evaluation_datasets (
    dataset_id       TEXT PRIMARY KEY,
    name             TEXT NOT NULL,
    -- texts with JSON, as clients read them
    schema           TEXT,
    profile          TEXT,
    digest           TEXT NOT NULL,
    -- how many records there are
    records          BIGINT NOT NULL,
    created_time     BIGINT NOT NULL,
    last_update_time BIGINT NOT NULL,
    created_by       TEXT,
    last_updated_by  TEXT
);
CREATE INDEX evaluation_datasets_by_time ON evaluation_datasets (created_time DESC, dataset_id DESC);
CREATE INDEX evaluation_datasets_by_name ON evaluation_datasets (name);

CREATE TABLE evaluation_dataset_tags (
    dataset_id TEXT NOT NULL REFERENCES evaluation_datasets (dataset_id) ON DELETE CASCADE,
    key        TEXT NOT NULL,
    value      TEXT NOT NULL,
    PRIMARY KEY (dataset_id, key)
);

CREATE TABLE evaluation_dataset_experiments (
    dataset_id    TEXT NOT NULL REFERENCES evaluation_datasets (dataset_id) ON DELETE CASCADE,
    experiment_id BIGINT NOT NULL REFERENCES experiments (experiment_id),
    created_time  BIGINT NOT NULL,
    PRIMARY KEY (dataset_id, experiment_id)
);
CREATE INDEX evaluation_dataset_experiments_by_experiment
    ON evaluation_dataset_experiments (experiment_id, dataset_id);

CREATE TABLE evaluation_dataset_records (
    record_id        TEXT PRIMARY KEY,
    dataset_id       TEXT NOT NULL REFERENCES evaluation_datasets (dataset_id) ON DELETE CASCADE,
    -- of the inputs, by which records are told apart
    input_hash       TEXT NOT NULL,
    -- JSON
    inputs           TEXT NOT NULL,
    outputs          TEXT,
    expectations     TEXT,
    tags             TEXT NOT NULL,
    source           TEXT,
    created_time     BIGINT NOT NULL,
    last_update_time BIGINT NOT NULL,
    created_by       TEXT,
    last_updated_by  TEXT,
    UNIQUE (dataset_id, input_hash)
);
CREATE INDEX evaluation_dataset_records_by_time
    ON evaluation_dataset_records (dataset_id, created_time, record_id);
