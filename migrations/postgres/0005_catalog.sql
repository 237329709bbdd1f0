-- Objects of the catalog. Who owns one is a grant of OWNER on it. Tables and views share their names.
CREATE TABLE catalog_objects (
    id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    namespace TEXT NOT NULL,
    -- In lower case, with its containers: `main.agents.spans`.
    full_name TEXT COLLATE "C" NOT NULL,
    -- The securable that holds it.
    parent TEXT NOT NULL,
    comment TEXT,
    properties TEXT NOT NULL,
    -- What only this kind has, as JSON.
    detail TEXT NOT NULL,
    location TEXT,
    -- The location that no other may lie in, where a caller chose it.
    claim TEXT,
    created_at_ms BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    updated_at_ms BIGINT NOT NULL,
    updated_by TEXT NOT NULL,
    UNIQUE (namespace, full_name)
);

CREATE INDEX catalog_objects_by_parent ON catalog_objects (parent, namespace, full_name);

-- One row: which metastore this is.
CREATE TABLE catalog_metastore (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    metastore_id TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL
);
