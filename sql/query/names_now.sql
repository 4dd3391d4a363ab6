-- $1 migration: what the keys of its targets refer to outside, under today's names. One row for each foreign key of a source, its columns in their
-- order; and one, without mapping, for the scope's table and its key.
SELECT p.id AS mapping, jsonb_build_object('schema', n.nspname, 'name', c.relname) AS "references",
  (SELECT jsonb_agg(a.attname ORDER BY k.i) FROM unnest(o.conkey) WITH ORDINALITY k(n, i)
   JOIN pg_catalog.pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = k.n) AS columns,
  (SELECT jsonb_agg(a.attname ORDER BY k.i) FROM unnest(o.confkey) WITH ORDINALITY k(n, i)
   JOIN pg_catalog.pg_attribute a ON a.attrelid = o.confrelid AND a.attnum = k.n) AS ref_columns
FROM mig.mapping p
JOIN pg_catalog.pg_constraint o ON o.conrelid = p.source AND o.contype = 'f' AND o.conparentid = 0
JOIN pg_catalog.pg_class c ON c.oid = o.confrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE p.migration = $1
UNION ALL
SELECT NULL, jsonb_build_object('schema', n.nspname, 'name', c.relname), jsonb_build_array(m.scope_column), jsonb_build_array(a.attname)
FROM mig.migration m
JOIN pg_catalog.pg_class c ON c.oid = m.scope_table
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND i.indisprimary AND i.indnkeyatts = 1
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
WHERE m.id = $1
