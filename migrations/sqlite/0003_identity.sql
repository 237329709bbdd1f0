-- What directories (SCIM) and administrators say of principals beside their names. `number` is the id by which
-- SCIM and MLflow's accounts name one; it is never given again.
CREATE TABLE directory (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    principal TEXT NOT NULL UNIQUE REFERENCES principals (id),
    display_name TEXT,
    external_id TEXT,
    description TEXT,
    attributes TEXT NOT NULL DEFAULT '{}',
    changed_at_ms INTEGER NOT NULL
);

-- Deleted principals keep their row, inactive and without grants: records speak of them, and nobody who comes
-- later by the same name is them until an administrator says so.
ALTER TABLE principals ADD COLUMN deleted_at_ms INTEGER;

-- What a token is for, if for less than all (JSON); `personal` tokens are made by people, `oauth` ones by the
-- token endpoint, of the client secret or trust rule in `source`.
ALTER TABLE tokens ADD COLUMN kind TEXT NOT NULL DEFAULT 'personal';
ALTER TABLE tokens ADD COLUMN scopes TEXT;
ALTER TABLE tokens ADD COLUMN source TEXT;

CREATE INDEX tokens_by_source ON tokens (source) WHERE source IS NOT NULL;
CREATE INDEX tokens_by_end ON tokens (expires_at_ms) WHERE kind = 'oauth';

-- Several secrets of one service principal are good at once, so that they can be rotated. Tokens got for one
-- have its `scopes` (JSON), if it has any.
CREATE TABLE client_secrets (
    id TEXT NOT NULL PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    principal TEXT NOT NULL REFERENCES principals (id),
    created_at_ms INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    scopes TEXT,
    expires_at_ms INTEGER,
    last_used_at_ms INTEGER,
    revoked_at_ms INTEGER
);

CREATE INDEX client_secrets_by_principal ON client_secrets (principal);

-- People who signed in with a browser. The cookie's hash is kept, not the cookie; the issuer's tokens are sealed.
CREATE TABLE sessions (
    id TEXT NOT NULL PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    principal TEXT NOT NULL REFERENCES principals (id),
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    issuer_session TEXT,
    groups TEXT NOT NULL,
    sealed_tokens TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    last_used_at_ms INTEGER NOT NULL,
    refresh_at_ms INTEGER,
    expires_at_ms INTEGER NOT NULL,
    ended_at_ms INTEGER,
    ended_why TEXT,
    source_address TEXT,
    user_agent TEXT
);

CREATE INDEX sessions_by_principal ON sessions (principal);
CREATE INDEX sessions_by_subject ON sessions (issuer, subject);
CREATE INDEX sessions_by_end ON sessions (expires_at_ms);

-- Only with `identity.passwords`: a slow, salted hash in the form in which MLflow keeps its own.
CREATE TABLE passwords (
    principal TEXT NOT NULL PRIMARY KEY REFERENCES principals (id),
    hash TEXT NOT NULL,
    changed_at_ms INTEGER NOT NULL,
    changed_by TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE access_requests (
    id TEXT NOT NULL PRIMARY KEY,
    principal TEXT NOT NULL REFERENCES principals (id),
    securable TEXT NOT NULL,
    privilege TEXT NOT NULL,
    reason TEXT NOT NULL,
    duration_ms INTEGER,
    asked_at_ms INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'refused', 'withdrawn', 'expired')),
    decided_by TEXT,
    decided_at_ms INTEGER,
    decision_reason TEXT,
    grant_id INTEGER
);

CREATE INDEX access_requests_by_securable ON access_requests (securable, state);
CREATE INDEX access_requests_by_principal ON access_requests (principal);

-- That somebody looked at a grant and said that it is right.
CREATE TABLE access_reviews (
    grant_id INTEGER NOT NULL PRIMARY KEY,
    reviewed_by TEXT NOT NULL,
    reviewed_at_ms INTEGER NOT NULL,
    reason TEXT
);

-- How much of something: of all on a securable (`principal` empty), or of one principal on it.
CREATE TABLE usage_limits (
    securable TEXT NOT NULL,
    principal TEXT NOT NULL DEFAULT '',
    name TEXT NOT NULL,
    value INTEGER NOT NULL,
    set_by TEXT NOT NULL,
    set_at_ms INTEGER NOT NULL,
    PRIMARY KEY (securable, principal, name)
) WITHOUT ROWID;

-- What was used of a limit in one second or other span of time, over all replicas.
CREATE TABLE usage_counts (
    subject TEXT NOT NULL,
    span_start_ms INTEGER NOT NULL,
    used INTEGER NOT NULL,
    PRIMARY KEY (subject, span_start_ms)
) WITHOUT ROWID;

-- Everybody could make tokens so far. Databases that are new get this grant with the others, at the first start.
INSERT INTO grants (principal, securable, privilege, effect, reason, granted_by, granted_at_ms)
SELECT 'group:users', 'workspace:default', 'token.use', 'allow',
    'default: every user may make tokens; revoke it to restrict', 'tracegate', 0
WHERE EXISTS (SELECT 1 FROM memberships WHERE group_id = 'group:admins');
