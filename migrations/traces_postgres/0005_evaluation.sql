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
