-- $1 migration: its first mapping whose target lacks a foreign key of the layout, or has it not validated where the source has.
SELECT p.id FROM mig.mapping p
WHERE p.migration = $1 AND EXISTS (
  SELECT FROM pg_catalog.jsonb_array_elements(p.layout -> 'fkeys') k
  WHERE NOT EXISTS (
    SELECT FROM pg_catalog.pg_constraint o
    WHERE o.conrelid = p.target AND o.contype = 'f' AND (o.convalidated OR coalesce((k ->> 'not_valid')::boolean, false)) AND o.conname = (k ->> 'name')::name))
ORDER BY p.ordinal LIMIT 1
