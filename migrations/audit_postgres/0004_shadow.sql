-- What shadow mode let pass, counted by hour: who would be denied what, once it is over.
CREATE TABLE audit_shadowed (
    hour        BIGINT NOT NULL,
    securable   TEXT NOT NULL,
    principal   TEXT NOT NULL,
    -- Of those without credentials, where they called from; else empty.
    address     TEXT NOT NULL,
    operation   TEXT NOT NULL,
    privilege   TEXT NOT NULL,
    -- 1: nothing would be refused, but a listing would show less.
    narrows     BIGINT NOT NULL,
    calls       BIGINT NOT NULL,
    first_ms    BIGINT NOT NULL,
    last_ms     BIGINT NOT NULL,
    PRIMARY KEY (hour, securable, principal, address, operation, privilege, narrows)
);
