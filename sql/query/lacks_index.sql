-- $1 migration: its mappings whose target lacks an index of the layout, or has it not valid or not as the constraint it becomes.
SELECT p.id FROM mig.mapping p
WHERE p.migration = $1 AND EXISTS (
  SELECT FROM pg_catalog.jsonb_array_elements(p.layout -> 'indexes') i
  WHERE NOT EXISTS (
    SELECT FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class c ON c.oid = x.indexrelid
    WHERE x.indrelid = p.target AND x.indisvalid AND c.relname = (i ->> 'name')::name
      AND (NOT (i ->> 'constraint')::boolean OR EXISTS (SELECT FROM pg_catalog.pg_constraint o WHERE o.conindid = x.indexrelid))))
