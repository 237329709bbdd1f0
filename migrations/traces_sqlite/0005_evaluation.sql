-- What evaluation needs beside traces, and uploads on their way.

-- Files that arrive in parts.
CREATE TABLE artifact_uploads (
    upload_id    TEXT PRIMARY KEY,
    -- what the caller was authorized for when the upload began
    directory    TEXT NOT NULL,
    path         TEXT NOT NULL,
    created_time INTEGER NOT NULL,
    completed    INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX artifact_uploads_by_time ON artifact_uploads (created_time);
