-- $1 migration: its mappings without an anchor, see sqlgen::anchor.
SELECT p.id FROM mig.mapping p
WHERE p.migration = $1 AND NOT EXISTS (
  SELECT FROM pg_catalog.pg_class c WHERE c.relnamespace = 'mig'::regnamespace AND c.relname = 'm' || p.id || '_anchor')
ORDER BY p.ordinal
