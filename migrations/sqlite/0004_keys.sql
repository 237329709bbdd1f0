-- Keys by what they are for. The one that makes is the newest whose time has come; the others are accepted until
-- they are retired, which empties `value`. Key 1 is the one in `secrets`, copied by the first start that knows this.
CREATE TABLE keys (
    purpose TEXT NOT NULL,
    number INTEGER NOT NULL,
    value BLOB,
    created_at_ms INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    active_from_ms INTEGER NOT NULL,
    retired_at_ms INTEGER,
    retired_by TEXT,
    PRIMARY KEY (purpose, number)
) WITHOUT ROWID;

-- With which key a hash was made. Replicas that do not know of it have key 1 alone.
ALTER TABLE tokens ADD COLUMN hash_key TEXT NOT NULL DEFAULT 'k1';
ALTER TABLE client_secrets ADD COLUMN hash_key TEXT NOT NULL DEFAULT 'k1';
ALTER TABLE sessions ADD COLUMN hash_key TEXT NOT NULL DEFAULT 'k1';
