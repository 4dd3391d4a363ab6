-- $1 oid[], $2 text[]: the tables that the foreign keys of these names of these tables refer to.
SELECT DISTINCT c.oid::bigint AS oid, jsonb_build_object('schema', n.nspname, 'name', c.relname) AS name
FROM pg_catalog.pg_constraint o
JOIN pg_catalog.pg_class c ON c.oid = o.confrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE o.conrelid = ANY ($1) AND o.contype = 'f' AND o.conname = ANY ($2::name[])
