-- The steps of each policy change as JSON, so that another replica can apply them; NULL before they were kept.
ALTER TABLE policy_changes ADD COLUMN edits TEXT;

-- Who owns a securable has one answer, whoever writes.
CREATE UNIQUE INDEX grants_one_owner ON grants (securable) WHERE privilege = 'OWNER';

-- One spelling of a privilege, as it is written from now on (`USE_CATALOG`). Where the same grant stands in
-- several spellings, one takes it and the others stay: they read the same.
UPDATE grants SET privilege = replace(privilege, ' ', '_')
WHERE id IN (
    SELECT MIN(spaced.id) FROM grants AS spaced
    WHERE spaced.privilege LIKE '% %'
    AND NOT EXISTS (
        SELECT 1 FROM grants AS plain
        WHERE plain.principal = spaced.principal AND plain.securable = spaced.securable
        AND plain.privilege = replace(spaced.privilege, ' ', '_') AND plain.effect = spaced.effect
    )
    GROUP BY spaced.principal, spaced.securable, replace(spaced.privilege, ' ', '_'), spaced.effect
);
