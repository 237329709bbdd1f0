-- Tracegate's own state. Principals, securables and trace ids are written as text in the one spelling
-- that `access` gives them (`user:alice`, `experiment:12`); times are milliseconds since the Unix epoch.

CREATE TABLE principals (
    id TEXT NOT NULL PRIMARY KEY,
    active INTEGER NOT NULL DEFAULT 1,
    created_at_ms INTEGER NOT NULL,
    created_by TEXT NOT NULL
);

INSERT INTO principals (id, created_at_ms, created_by)
VALUES ('group:admins', 0, 'tracegate'), ('group:users', 0, 'tracegate');

CREATE TABLE memberships (
    group_id TEXT NOT NULL REFERENCES principals (id),
    member_id TEXT NOT NULL REFERENCES principals (id),
    PRIMARY KEY (group_id, member_id)
) WITHOUT ROWID;

CREATE INDEX memberships_by_member ON memberships (member_id);

-- Only a keyed hash of a token is kept: who reads this table cannot use what it holds.
CREATE TABLE tokens (
    id TEXT NOT NULL PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    principal TEXT NOT NULL REFERENCES principals (id),
    name TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    expires_at_ms INTEGER,
    last_used_at_ms INTEGER,
    revoked_at_ms INTEGER
);

CREATE INDEX tokens_by_principal ON tokens (principal);

-- AUTOINCREMENT: the id of a removed grant is never given again, since audit records speak of it.
CREATE TABLE grants (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    principal TEXT NOT NULL REFERENCES principals (id),
    securable TEXT NOT NULL,
    privilege TEXT NOT NULL,
    effect TEXT NOT NULL CHECK (effect IN ('allow', 'deny')),
    reason TEXT,
    expires_at_ms INTEGER,
    granted_by TEXT NOT NULL,
    granted_at_ms INTEGER NOT NULL,
    UNIQUE (principal, securable, privilege, effect)
);

CREATE INDEX grants_by_securable ON grants (securable);

CREATE TABLE securables (
    id TEXT NOT NULL PRIMARY KEY,
    parent TEXT NOT NULL,
    name TEXT NOT NULL
) WITHOUT ROWID;

-- One row: the policy version, and the lock under which policy changes are made one after another.
CREATE TABLE policy_head (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL
);

INSERT INTO policy_head (id, version) VALUES (1, 0);

CREATE TABLE policy_changes (
    version INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    changed_by TEXT NOT NULL,
    action TEXT NOT NULL,
    before_json TEXT NOT NULL,
    after_json TEXT NOT NULL
);

-- A trace belongs to one experiment, for good; `started_by` is who sent its first span.
CREATE TABLE trace_claims (
    trace TEXT NOT NULL PRIMARY KEY,
    experiment TEXT NOT NULL,
    started_by TEXT,
    claimed_at_ms INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE artifact_roots (
    path TEXT NOT NULL PRIMARY KEY,
    experiment TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE secrets (
    name TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;
