-- What shadow mode let pass, counted by hour: who would be denied what, once it is over.
CREATE TABLE audit_shadowed (
    hour        INTEGER NOT NULL,
    securable   TEXT NOT NULL,
    principal   TEXT NOT NULL,
    -- Of those without credentials, where they called from; else empty.
    address     TEXT NOT NULL,
    operation   TEXT NOT NULL,
    privilege   TEXT NOT NULL,
    -- 1: nothing would be refused, but a listing would show less.
    narrows     INTEGER NOT NULL,
    calls       INTEGER NOT NULL,
    first_ms    INTEGER NOT NULL,
    last_ms     INTEGER NOT NULL,
    PRIMARY KEY (hour, securable, principal, address, operation, privilege, narrows)
) WITHOUT ROWID;
