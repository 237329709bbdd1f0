-- Experiments whose traces are copied into a table of the catalog, as they come and change.
CREATE TABLE archives (
    id TEXT NOT NULL PRIMARY KEY,
    experiment TEXT NOT NULL UNIQUE,
    -- The table by its name, and by the id that it had when the archive was set up.
    table_name TEXT NOT NULL,
    table_id TEXT NOT NULL,
    -- In whose name traces are read and rows are written.
    owner TEXT NOT NULL,
    -- Of a million traces, how many.
    sampled_ppm BIGINT NOT NULL,
    filter TEXT,
    frequency_minutes BIGINT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    -- When every trace is looked at once more; null: that was done.
    look_again_at_ms BIGINT,
    -- Why nothing is copied now; null: all is well.
    stopped TEXT,
    -- The number of the batch that is being written, and of the last that is in the table.
    batch BIGINT,
    done BIGINT,
    copied BIGINT NOT NULL,
    copied_at_ms BIGINT,
    -- Which replica works on it, until when.
    holder TEXT,
    held_until_ms BIGINT NOT NULL
);

-- Traces that were written to. Made before a write goes on, due once it is over, or when nobody can still be writing.
CREATE TABLE archive_marks (
    archive TEXT NOT NULL,
    trace TEXT NOT NULL,
    call TEXT NOT NULL,
    made_at_ms BIGINT NOT NULL,
    -- 0: it goes on; 1: it is over; 2: it is over, and the trace is not; 3: it was looked at, and nobody said that it is over.
    ended BIGINT NOT NULL,
    due_at_ms BIGINT NOT NULL,
    batch BIGINT,
    -- What the row of this batch says, hashed; null: there is none.
    digest TEXT,
    PRIMARY KEY (archive, trace, call)
);

CREATE INDEX archive_marks_by_call ON archive_marks (call);
CREATE INDEX archive_marks_by_due ON archive_marks (archive, due_at_ms);
CREATE INDEX archive_marks_by_batch ON archive_marks (archive, batch) WHERE batch IS NOT NULL;

-- What the table has of each trace, so that nothing is copied again that did not change.
CREATE TABLE archived_traces (
    archive TEXT NOT NULL,
    trace TEXT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (archive, trace)
);
